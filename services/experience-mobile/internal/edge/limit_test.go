package edge

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
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
			if q.take(caller, 1) == 0 {
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
	for i := range maxBuckets - 1 {
		require.Zero(t, q.take(fmt.Sprint(i), 1))
	}
	require.Zero(t, took("a", 100), "as many callers are told apart at once")
	require.Zero(t, q.take("one more", 10))
	require.Len(t, q.buckets, maxBuckets, "no more")
	require.Equal(t, maxBuckets, q.recent.Len())
	require.Zero(t, took("a", 100), "who has been away for longest is forgotten, no other")
	require.NotContains(t, q.buckets, "0")
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

func TestQuota_Batches(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	q := newQuota(5, 10, func() time.Time { return now })
	require.Zero(t, q.take("a", 8))
	require.Equal(t, time.Second, q.take("a", 7), "what there are no tokens for is not begun")
	require.Zero(t, q.take("a", 2), "and takes none")
	require.Equal(t, 2*time.Second, q.take("a", 100), "a batch larger than what may come at once needs all of that")
	now = now.Add(2 * time.Second)
	require.Zero(t, q.take("a", 100))
	require.Equal(t, (90+1)*time.Second/5, q.take("a", 1), "and is paid for afterwards")
	now = now.Add((90 + 1) * time.Second / 5)
	require.Zero(t, q.take("a", 1))
	q.give("a", 100)
	require.Zero(t, q.take("a", 10), "nobody gets more back than there is")
	require.NotZero(t, q.take("a", 1))
}

func TestWritesOfABatch(t *testing.T) {
	t.Parallel()
	tel := start(t)
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Options{Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: time.Minute, MaxBody: 1 << 20, WriteLimit: 2})
		require.NoError(t, err)
		apply := func(n int) *httptest.ResponseRecorder {
			t.Helper()
			one := `,{"key":"a-key-of-one-of-many","kind":"CREATE_CUSTOMER","customer":{"name":"a"}}`
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/sync:apply", strings.NewReader(`{"mutations":[`+strings.Repeat(one, n)[1:]+`]}`))
			r.Header.Set("Authorization", "Bearer x")
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		require.NotEqual(t, http.StatusTooManyRequests, apply(3).Code)
		refused := apply(3)
		require.Equal(t, http.StatusTooManyRequests, refused.Code, "each write of a batch counts")
		require.Equal(t, `"writes";q=4;w=2`, refused.Header().Get("RateLimit-Policy"))
		require.Equal(t, `"writes";r=1;t=2`, refused.Header().Get("RateLimit"))
		require.Equal(t, "1", refused.Header().Get("Retry-After"))
		time.Sleep(time.Second)
		require.NotEqual(t, http.StatusTooManyRequests, apply(3).Code, "and comes through when it was told to come back")
		for range 2 { // without a token it is told to come back before its size is known
			wait, err := strconv.Atoi(apply(100).Header().Get("Retry-After"))
			require.NoError(t, err)
			time.Sleep(time.Duration(wait) * time.Second)
		}
		require.NotEqual(t, http.StatusTooManyRequests, apply(100).Code, "one larger than what may come at once, too")
		require.Equal(t, "49", apply(1).Header().Get("Retry-After"), "and is paid for afterwards")
	})
}
