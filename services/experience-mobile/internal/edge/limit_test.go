package edge

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

// busy answers when it is told to, and knows how many it had at once.
type busy struct {
	fixed
	release   chan struct{}
	now, most atomic.Int64
}

func (b *busy) Invoke(ctx context.Context, method string, in, reply any, o ...grpc.CallOption) error {
	n := b.now.Add(1)
	for most := b.most.Load(); n > most && !b.most.CompareAndSwap(most, n); most = b.most.Load() {
	}
	defer b.now.Add(-1)
	<-b.release
	return b.fixed.Invoke(ctx, method, in, reply, o...)
}

func TestShed(t *testing.T) {
	t.Parallel()
	tel := start(t)
	synctest.Test(t, func(t *testing.T) {
		below := &busy{release: make(chan struct{})}
		h, err := New(Options{Telemetry: tel, Service: below, Tokens: anyone{}, Budget: 5 * time.Second, MaxBody: 1 << 20, Load: Load{Shed: true}})
		require.NoError(t, err)
		var asked sync.WaitGroup
		var mu sync.Mutex
		answers := map[int]int{}
		ask := func(n int) {
			for range n {
				asked.Go(func() {
					r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/customers/c_a?summary=true", nil)
					r.Header.Set("Authorization", "Bearer x")
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if w.Code == http.StatusServiceUnavailable && (w.Header().Get("X-Error-Code") != "OVERLOADED" || w.Header().Get("Retry-After") == "") {
						t.Error(w.Header())
					}
					mu.Lock()
					defer mu.Unlock()
					answers[w.Code]++
				})
			}
		}
		got := func() map[int]int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			out := answers
			answers = map[int]int{}
			return out
		}
		ask(firstLimit + someWait*firstLimit)
		require.Empty(t, got(), "so many go below or wait")
		require.EqualValues(t, firstLimit, below.now.Load())
		ask(4 * firstLimit)
		late := got()[http.StatusServiceUnavailable]
		require.GreaterOrEqual(t, late, 2*firstLimit, "who cannot even wait is told at once")
		time.Sleep(waitFor)
		require.Equal(t, map[int]int{http.StatusServiceUnavailable: (4+someWait)*firstLimit - late}, got(), "who has waited in vain is told")
		ask(1)
		close(below.release)
		require.Equal(t, map[int]int{http.StatusOK: firstLimit + 1}, got(), "who waits for a place goes when there is one")
		require.EqualValues(t, firstLimit, below.most.Load(), "never more")
		asked.Wait()
	})
}

func TestQuota(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	q := newQuota(5, 10, func() time.Time { return now })
	took := func(caller string, n int) int {
		allowed := 0
		for range n {
			if q.take(caller) == 0 {
				allowed++
			}
		}
		return allowed
	}
	require.Equal(t, 10, took("a", 100), "twice the rate at once")
	require.Equal(t, 10, took("b", 100), "another caller is not affected")
	now = now.Add(time.Second)
	require.Equal(t, 5, took("a", 100))
	now = now.Add(time.Hour)
	require.Equal(t, 10, took("a", 100))
	for i := range maxBuckets {
		require.Zero(t, q.take(fmt.Sprint(i)))
		now = now.Add(time.Second)
	}
	require.LessOrEqual(t, len(q.buckets), maxBuckets, "callers that come once are forgotten")
	require.Equal(t, 50, func() int { q = newQuota(0, 0, nil); return took("a", 50) }(), "no limit")
}

func TestPublishedKeyFormat(t *testing.T) {
	t.Parallel()
	for _, bare := range []string{"0123456789abcdef", "urn:uuid:8e03978e-40d5-43e8-bc93-6894a57f9324", "A.b_c~d:e+f/g=h-ijkl"} {
		require.True(t, published(bare, []string{bare}), bare)
	}
	for _, bare := range []string{"", "0123456789abcde", "{tag}0123456789abcdef", "0123456789abcdef!", "?1"} {
		require.False(t, published(bare, []string{bare}), bare)
		if len(bare) >= minKey {
			require.True(t, published(bare, []string{` "` + bare + `"`}), "quoted, anything visible goes")
		}
	}
}
