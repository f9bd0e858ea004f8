package idempotenttest

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// grants begins n claims at once and returns how many were granted.
func (f fixture) grants(n int, key string) int {
	f.t.Helper()
	var (
		wg sync.WaitGroup
		mu sync.Mutex
		c  int
	)
	for range n {
		wg.Go(func() {
			cl := claim(key)
			cl.Takeover = true
			res, err := f.store.Begin(f.t.Context(), cl)
			if err != nil {
				f.t.Error(err)
			}
			if res.Outcome == idempotent.Granted {
				mu.Lock()
				c++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return c
}

func race(f fixture) {
	for i := range 5 {
		require.Equal(f.t, 1, f.grants(30, fmt.Sprint(i)))
	}
}

func takeoverRace(f fixture) {
	f.granted(claim("k"))
	for range 5 {
		f.clock.Advance(lease)
		require.Equal(f.t, 1, f.grants(30, "k"))
	}
}

// histories lets workers with crashes, stalls longer than the lease and lost replies work on few keys.
func histories(f fixture) {
	const workers, steps = 8, 40
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		first  = map[string]string{}         // key → the first answer anyone saw
		fences = map[string]map[int64]bool{} // key → fences granted
	)
	see := func(key, body string) {
		mu.Lock()
		defer mu.Unlock()
		if first[key] == "" {
			first[key] = body
		}
		if first[key] != body {
			f.t.Errorf("%s: answer %q after %q was seen", key, body, first[key])
		}
	}
	for w := range workers {
		wg.Go(func() {
			rng := mathrand.New(mathrand.NewPCG(uint64(w), 7))
			for i := range steps {
				key := fmt.Sprint(rng.IntN(6))
				c := claim(key)
				c.Takeover = true
				res, err := f.store.Begin(context.Background(), c)
				if err != nil {
					f.t.Error(err)
					return
				}
				switch res.Outcome {
				case idempotent.Replay:
					see(key, string(res.Answer.Body))
					continue
				case idempotent.Granted:
				default:
					f.clock.Advance(time.Second)
					continue
				}
				mu.Lock()
				if fences[key] == nil {
					fences[key] = map[int64]bool{}
				}
				if fences[key][res.Grant.Fence] {
					f.t.Errorf("%s: fence %d was granted twice", key, res.Grant.Fence)
				}
				fences[key][res.Grant.Fence] = true
				mu.Unlock()
				if rng.IntN(3) == 0 {
					continue // crash
				}
				if rng.IntN(3) == 0 {
					f.clock.Advance(2 * lease) // stall
				}
				body := fmt.Sprintf("worker %d step %d", w, i)
				switch err := f.store.Complete(context.Background(), res.Grant, answer(body)); {
				case err == nil:
					see(key, body)
				case !errors.Is(err, idempotent.ErrStale):
					f.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for key, seen := range fences {
		for n := range len(seen) {
			require.True(f.t, seen[int64(n+1)], "%s: fences have a hole: %v", key, seen)
		}
	}
	require.NotEmpty(f.t, first)
}

func purgeRace(f fixture) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := f.store.Purge(f.t.Context(), 10); err != nil {
					f.t.Error(err)
					return
				}
			}
		}
	})
	for i := range 40 {
		key := fmt.Sprint(i % 5)
		c := claim(key)
		c.Takeover = true
		res := f.begin(c)
		if res.Outcome == idempotent.Granted {
			f.outcome(claim(key), idempotent.InProgress)
			require.NoError(f.t, f.store.Complete(f.t.Context(), res.Grant, answer("x")))
			f.outcome(claim(key), idempotent.Replay)
		}
		if i%10 == 9 {
			f.clock.Advance(retention + idempotent.DefaultTombstone)
		}
	}
	close(stop)
	wg.Wait()
}
