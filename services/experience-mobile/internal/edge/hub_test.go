package edge

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
)

func TestHub(t *testing.T) {
	t.Parallel()
	const every = time.Second
	everybody := auth.Principal{Subject: "a"}
	t.Run("however many streams follow an order, it is looked at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var reads atomic.Int64
			var version atomic.Int64
			version.Store(1)
			h := newHub(every, func(context.Context, auth.Principal, string) (seenOrder, error) {
				reads.Add(1)
				return seenOrder{version: version.Load()}, nil
			})
			var streams sync.WaitGroup
			for range 100 {
				streams.Go(func() {
					w, leave := h.follow(t.Context(), everybody, seenOrder{version: 1}, "o")
					defer leave()
					for {
						latest, changed, failed := h.state(w)
						require.NoError(t, failed)
						if latest.version == 2 {
							return
						}
						<-changed
					}
				})
			}
			time.Sleep(10*every + every/2)
			require.EqualValues(t, 10, reads.Load())
			version.Store(2)
			streams.Wait()
			require.EqualValues(t, 11, reads.Load())
			time.Sleep(10 * every)
			require.EqualValues(t, 11, reads.Load(), "nobody follows it any more")
			require.Empty(t, h.watches)
		})
	})
	t.Run("who sees something else has a look of their own", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]int{}
			h := newHub(every, func(_ context.Context, p auth.Principal, order string) (seenOrder, error) {
				mu.Lock()
				defer mu.Unlock()
				asked[owned(p)+" "+order]++
				return seenOrder{version: 1}, nil
			})
			for _, p := range []auth.Principal{everybody, {Subject: "b"}, {Subject: "c", Restricted: true, Customers: []string{"c_1"}}, {Subject: "d", Restricted: true}} {
				for _, order := range []string{"o", "p"} {
					_, leave := h.follow(t.Context(), p, seenOrder{version: 1}, order)
					defer leave()
				}
			}
			time.Sleep(every + every/2)
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, map[string]int{"* o": 1, "* p": 1, "c_1 o": 1, "c_1 p": 1, " o": 1, " p": 1}, asked)
		})
	})
	t.Run("a failure that may pass is waited out, another ends the streams, and the next one begins anew", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			answers := []error{fault.New(fault.Unavailable, "", "later"), nil, fault.New(fault.NotFound, "", "gone"), nil}
			reads := 0
			h := newHub(every, func(context.Context, auth.Principal, string) (seenOrder, error) {
				reads++
				return seenOrder{version: int64(reads)}, answers[min(reads, len(answers))-1]
			})
			w, leave := h.follow(t.Context(), everybody, seenOrder{version: 1}, "o")
			_, changed, _ := h.state(w)
			<-changed
			latest, changed, failed := h.state(w)
			require.NoError(t, failed)
			require.EqualValues(t, 2, latest.version)
			<-changed
			_, _, failed = h.state(w)
			require.True(t, fault.Is(failed, fault.NotFound))
			again, leaveAgain := h.follow(t.Context(), everybody, seenOrder{version: 2}, "o")
			leave()
			_, changed, failed = h.state(again)
			require.NoError(t, failed)
			<-changed
			latest, _, _ = h.state(again)
			require.EqualValues(t, 4, latest.version)
			leaveAgain()
		})
	})
	t.Run("who begins a look may go while others follow", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var version atomic.Int64
			h := newHub(every, func(ctx context.Context, _ auth.Principal, _ string) (seenOrder, error) {
				return seenOrder{version: version.Add(1)}, ctx.Err()
			})
			first, cancel := context.WithCancel(t.Context())
			_, leaveFirst := h.follow(first, everybody, seenOrder{}, "o")
			w, leave := h.follow(t.Context(), everybody, seenOrder{}, "o")
			cancel()
			leaveFirst()
			_, changed, _ := h.state(w)
			<-changed
			latest, _, failed := h.state(w)
			require.NoError(t, failed)
			require.EqualValues(t, 1, latest.version)
			leave()
		})
	})
}
