package changes

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const epoch = "00112233445566778899aabbccddeeff"

// log is a feed in memory.
type log struct {
	mu     sync.Mutex
	epoch  string
	rows   []store.Change
	oldest int64
	purged time.Time
	broken error
}

func newLog() *log { return &log{epoch: epoch} }

func (l *log) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		p := l.oldest + int64(len(l.rows)) + 1
		l.rows = append(l.rows, store.Change{Position: p, Committed: time.UnixMicro(1000 + p), Customer: &erp.Customer{}})
	}
}

func (l *log) Bounds(context.Context) (store.Bounds, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := store.Bounds{Epoch: l.epoch, Oldest: l.oldest, Newest: l.oldest + int64(len(l.rows))}
	if l.oldest > 0 {
		b.OldestStamp = 1000 + l.oldest
	}
	if b.Newest > 0 {
		b.NewestStamp = 1000 + b.Newest
	}
	return b, l.broken
}

func (l *log) Changes(_ context.Context, after int64, limit int) ([]store.Change, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.oldest {
		return nil, expired()
	}
	rows := l.rows[after-l.oldest:]
	return append([]store.Change(nil), rows[:min(limit, len(rows))]...), l.broken
}

func (l *log) Stamp(_ context.Context, p int64) (int64, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p <= l.oldest || p > l.oldest+int64(len(l.rows)) {
		return 0, false, nil
	}
	return 1000 + p, true, nil
}

func (l *log) Purge(_ context.Context, before time.Time, limit int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return 0, l.broken
	}
	l.purged = before
	n := min(limit, len(l.rows))
	l.rows, l.oldest = l.rows[n:], l.oldest+int64(n)
	return n, nil
}

// reader collects what a stream sends.
type reader struct {
	mu       sync.Mutex
	messages []Batch
	done     chan error
}

func (r *reader) send(b Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, b)
	return nil
}

// sizes are the numbers of changes in the messages so far.
func (r *reader) sizes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]int, len(r.messages))
	for i, m := range r.messages {
		out[i] = len(m.Changes)
	}
	return out
}

func (r *reader) token() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages[len(r.messages)-1].Token
}

func watch(ctx context.Context, f *Feed, token string) *reader {
	r := &reader{done: make(chan error, 1)}
	go func() { r.done <- f.Watch(ctx, token, r.send) }()
	return r
}

func TestWatch(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, ctx context.Context, l *log, f *Feed){
		"the first message comes at once, also when there is nothing": func(t *testing.T, ctx context.Context, l *log, f *Feed) {
			l.add(3)
			r := watch(ctx, f, "")
			synctest.Wait()
			require.Equal(t, []int{0}, r.sizes())
			l.add(1)
			f.Wake()
			synctest.Wait()
			require.Equal(t, []int{0, 1}, r.sizes())
			require.EqualValues(t, 4, r.messages[1].Changes[0].Position, "only changes from now on")
		},
		"a silent stream beats": func(t *testing.T, ctx context.Context, _ *log, f *Feed) {
			r := watch(ctx, f, "")
			time.Sleep(61 * time.Second)
			synctest.Wait()
			require.Equal(t, []int{0, 0, 0, 0}, r.sizes())
		},
		"commits of other replicas arrive with the next poll": func(t *testing.T, ctx context.Context, l *log, f *Feed) {
			r := watch(ctx, f, "")
			synctest.Wait()
			l.add(2)
			synctest.Wait()
			require.Equal(t, []int{0}, r.sizes())
			time.Sleep(501 * time.Millisecond)
			synctest.Wait()
			require.Equal(t, []int{0, 2}, r.sizes())
		},
		"a backlog comes in batches of at most 200": func(t *testing.T, ctx context.Context, l *log, f *Feed) {
			start := watch(ctx, f, "")
			synctest.Wait()
			l.add(450)
			r := watch(ctx, f, start.token())
			synctest.Wait()
			require.Equal(t, []int{200, 200, 50}, r.sizes())
			again := watch(ctx, f, r.messages[1].Token)
			synctest.Wait()
			require.Equal(t, []int{50}, again.sizes())
			require.EqualValues(t, 401, again.messages[0].Changes[0].Position)
		},
		"a stream that falls out of the retention ends with an error": func(t *testing.T, ctx context.Context, l *log, f *Feed) {
			r := watch(ctx, f, "")
			synctest.Wait()
			l.add(5)
			_, err := l.Purge(ctx, time.Now(), 3)
			require.NoError(t, err)
			f.Wake()
			synctest.Wait()
			require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(<-r.done))
		},
		"an unreadable feed ends the stream and not the service": func(t *testing.T, ctx context.Context, l *log, f *Feed) {
			r := watch(ctx, f, "")
			synctest.Wait()
			l.mu.Lock()
			l.broken = errors.New("database is away")
			l.mu.Unlock()
			f.Wake()
			require.ErrorContains(t, <-r.done, "database is away")
			time.Sleep(time.Minute)
			l.mu.Lock()
			l.broken = nil
			l.mu.Unlock()
			r = watch(ctx, f, "")
			synctest.Wait()
			require.Equal(t, []int{0}, r.sizes())
		},
		"a caller that leaves ends its stream": func(t *testing.T, ctx context.Context, _ *log, f *Feed) {
			ctx, cancel := context.WithCancel(ctx)
			r := watch(ctx, f, "")
			synctest.Wait()
			cancel()
			require.ErrorIs(t, <-r.done, context.Canceled)
			f.mu.Lock()
			defer f.mu.Unlock()
			require.Empty(t, f.streams)
		},
	}
	for name, fn := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				f, err := New(l, Options{})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- f.Run(ctx) }()
				synctest.Wait()
				fn(t, ctx, l, f)
				cancel()
				require.NoError(t, <-ended)
			})
		})
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		f, err := New(l, Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		r := watch(t.Context(), f, "")
		synctest.Wait()
		l.add(1)
		cancel()
		require.NoError(t, <-ended)
		require.Equal(t, fault.ReasonShuttingDown, fault.ReasonOf(<-r.done))
		require.Equal(t, []int{0, 1}, r.sizes(), "what is there is still sent")
		f.Wake() // a late commit does no harm
		late := watch(t.Context(), f, "")
		require.Equal(t, fault.Unavailable, fault.KindOf(<-late.done))
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		l.add(2500)
		tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
		require.NoError(t, err)
		f, err := New(l, Options{Retention: time.Hour, Meter: tel.Meter.Meter("test")})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 2500, l.oldest)
		require.Equal(t, time.Now().Add(-time.Hour-time.Millisecond), l.purged)
		l.mu.Lock()
		l.broken = errors.New("down")
		l.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, "2", telemetrytest.Sample(tel.Metrics, `selfsame_retention_failures_total{selfsame_rows="changes"}`))
		require.Equal(t, "120.001", telemetrytest.Sample(tel.Metrics, `selfsame_retention_last_success_age_seconds{selfsame_rows="changes"}`))
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, tel.Shutdown(context.Background()))
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.add(5)
	f, err := New(l, Options{})
	require.NoError(t, err)
	b, err := f.List(t.Context(), "", 3)
	require.NoError(t, err)
	require.Len(t, b.Changes, 3)
	require.True(t, b.More)
	b, err = f.List(t.Context(), b.Token, 3)
	require.NoError(t, err)
	require.Len(t, b.Changes, 2)
	require.False(t, b.More)
	end, err := f.List(t.Context(), b.Token, 3)
	require.NoError(t, err)
	require.Empty(t, end.Changes)
	require.Equal(t, b.Token, end.Token, "nothing new, same token")
}

func TestPlace(t *testing.T) {
	t.Parallel()
	l := newLog()
	l.add(10)
	_, err := l.Purge(t.Context(), time.Now(), 4)
	require.NoError(t, err)
	f, err := New(l, Options{})
	require.NoError(t, err)
	for name, tok := range map[string]token{
		"another database":                    {"ffeeddccbbaa99887766554433221100", 6, 1006},
		"purged":                              {epoch, 3, 1003},
		"beyond the end, as after a restore":  {epoch, 11, 1011},
		"another history at the same place":   {epoch, 6, 1007},
		"another history at the oldest place": {epoch, 4, 1005},
		"another history at the newest place": {epoch, 10, 1011},
		"a place before anything, long since": {epoch, 0, 0},
	} {
		_, err := f.List(t.Context(), tok.encode(), 10)
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err), name)
		require.Equal(t, fault.Precondition, fault.KindOf(err), name)
		err = f.Watch(t.Context(), tok.encode(), func(Batch) error { t.Fatal("nothing may be sent"); return nil })
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err), name)
	}
	for _, p := range []int64{4, 6, 10} {
		b, err := f.List(t.Context(), token{epoch, p, 1000 + p}.encode(), 10)
		require.NoError(t, err)
		require.Len(t, b.Changes, int(10-p))
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, tok := range []token{{epoch, 0, 0}, {epoch, 1, 1}, {epoch, 1 << 60, 1 << 55}, {"", 5, -1}} {
		got, err := decode(tok.encode())
		require.NoError(t, err)
		require.Equal(t, tok, got)
		require.Less(t, len(tok.encode()), 100)
	}
	good := token{epoch, 7, 1007}.encode()
	for i := range good {
		changed := []byte(good)
		changed[i] ^= 1
		if _, err := decode(string(changed)); err == nil {
			t.Fatalf("a token with byte %d changed is accepted", i)
		}
	}
	for _, bad := range []string{"x", "garbage", good[:10], good + "AA", good + "=", "AQ", "AQAA"} {
		_, err := decode(bad)
		require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(err), bad)
		require.Equal(t, fault.Invalid, fault.KindOf(err), bad)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(token{epoch, 7, 1007}.encode())
	f.Add("AQAA")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := decode(s)
		if err == nil {
			again, err := decode(tok.encode())
			require.NoError(t, err)
			require.Equal(t, tok, again)
		}
	})
}
