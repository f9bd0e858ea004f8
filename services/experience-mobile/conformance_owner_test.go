package experiencemobile_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

// ownerCases are about requests whose execution died, slept or was cut off.
func ownerCases() []conformance {
	return []conformance{
		{"F-02 what an owner that died has begun is blocked for a lease, and then executed", func(t *testing.T, _ *world) {
			w, c := clocked(t, 0)
			w.vanishes(t, "F02", "f02")
			w.blocked(t, "F02", "f02")
			c.advance(31 * time.Second)
			require.Equal(t, "executed", w.create(t, "F02", "f02").header.Get("Idempotency-Status"))
			require.Equal(t, 2, w.fake.ran("F02"))
		}},
		{"F-04 what may not be executed again stays uncertain until somebody reconciles it", reconciled},
		{"F-07 an owner that slept answers what its successor stored", func(t *testing.T, _ *world) {
			w, s := stalled(t, "F07")
			successor := w.create(t, "F07", "f07")
			require.Equal(t, 201, successor.status, successor.body)
			require.Equal(t, "executed", successor.header.Get("Idempotency-Status"))
			s.wake()
			zombie := <-s.first
			require.Equal(t, 201, zombie.status, zombie.body)
			require.Equal(t, 2, w.fake.created("F07"), "the owner had a result of its own")
			for _, a := range []answer{zombie, w.create(t, "F07", "f07")} {
				require.Equal(t, successor.body, a.body)
				require.Equal(t, successor.header.Get("Location"), a.header.Get("Location"))
				require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
			}
		}},
		{"F-08 an owner that slept never answers its own while the successor runs", func(t *testing.T, _ *world) {
			w, s := stalled(t, "F08")
			release := w.fake.hold("F08")
			defer release()
			successor := make(chan answer, 1)
			go func() { successor <- w.create(t, "F08", "f08") }()
			require.Eventually(t, func() bool { return w.fake.ran("F08") == 2 }, time.Minute, time.Millisecond)
			s.wake()
			zombie := <-s.first
			require.True(t, *zombie.problem(t, 409, "IDEMPOTENCY_IN_PROGRESS").Retryable)
			require.Equal(t, 1, w.fake.created("F08"), "the owner had a result of its own")
			release()
			a := <-successor
			require.Equal(t, 201, a.status, a.body)
			require.Equal(t, "executed", a.header.Get("Idempotency-Status"))
			require.Equal(t, a.body, w.create(t, "F08", "f08").body)
		}},
		{"J-04 a connection that is cut after the effect is one effect and one answer", func(t *testing.T, _ *world) {
			l := newLine(t)
			w := setupOver(t, newBelow(waits(10*time.Second), func(b *below) { b.ending = sync.OnceFunc(l.cut) }), l.through)
			require.True(t, *w.create(t, "J04", "j04").problem(t, 503, "UNAVAILABLE").Retryable)
			require.Equal(t, 1, w.fake.created("J04"), "the effect was there")
			a := w.create(t, "J04", "j04")
			require.Equal(t, 201, a.status, a.body)
			require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
			require.Equal(t, 1, w.fake.ran("J04"))
			keys := w.keysBelow()
			require.Len(t, keys, 2)
			require.Equal(t, keys[0], keys[1])
		}},
	}
}

// reconciled lets owners die below which nothing may be executed twice, and settles what they left in both ways.
func reconciled(t *testing.T, _ *world) {
	c := newClock()
	w := setupOver(t, newBelow(waits(time.Millisecond), func(b *below) { b.now, b.manual = c.now, true }))
	for k, executed := range map[string]bool{"f04-done": true, "f04-not": false} {
		name := "F04 " + k
		w.vanishes(t, name, k)
		w.blocked(t, name, k)
		c.advance(31 * time.Second)
		for range 2 {
			w.create(t, name, k).problem(t, 409, "OUTCOME_UNCERTAIN")
		}
		require.Equal(t, 1, w.fake.ran(name))
		page, err := w.below.List(t.Context(), idempotent.Filter{States: []idempotent.State{idempotent.Uncertain}})
		require.NoError(t, err)
		require.Len(t, page.Entries, 1)
		e := page.Entries[0]
		require.NoError(t, w.below.Resolve(t.Context(), idempotent.Grant{Digest: e.Digest, Fence: e.Fence, Retention: time.Hour},
			idempotent.Verdict{Executed: executed, Answer: idempotent.Answer{OK: executed}}))
		a := w.create(t, name, k)
		if executed {
			a.problem(t, 410, "IDEMPOTENCY_RESULT_GONE")
			require.Equal(t, 1, w.fake.ran(name))
			continue
		}
		require.Equal(t, 201, a.status, a.body)
		require.Equal(t, "executed", a.header.Get("Idempotency-Status"))
		require.Equal(t, 2, w.fake.ran(name))
	}
}

// sleeper is a creation whose execution sleeps, and its answer.
type sleeper struct {
	first <-chan answer
	wake  func()
}

// stalled begins a creation, under a key of the same name in small letters, that has slept for longer than its lease.
func stalled(t *testing.T, name string) (*world, sleeper) {
	t.Helper()
	c := newClock()
	// Heartbeats come in real time: with a lease of an hour there is none while the test runs.
	w := setupOver(t, newBelow(waits(time.Millisecond), func(b *below) { b.now, b.options.Lease = c.now, time.Hour }))
	asleep, awake := make(chan struct{}), make(chan struct{})
	w.fake.plan(name, func(context.Context) error { close(asleep); <-awake; return nil })
	s := sleeper{wake: sync.OnceFunc(func() { close(awake) })}
	t.Cleanup(s.wake)
	first := make(chan answer, 1)
	s.first = first
	send := func() answer { return w.create(t, name, strings.ToLower(name)) }
	go func() { first <- send() }()
	<-asleep
	c.advance(2 * time.Hour)
	return w, s
}

// line is a connection to process-customer that can be cut.
type line struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{listener: listen(t), open: map[net.Conn]bool{}}
	l.running.Go(func() {
		for {
			conn, err := l.listener.Accept()
			if err != nil {
				return
			}
			l.running.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.listener.Close()
		l.cut()
		l.running.Wait()
	})
	return l
}

// through is a configuration that leads through the line.
func (l *line) through(c *experiencemobile.Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target, c.Customer.Target = c.Customer.Target, l.listener.Addr().String()
}

func (l *line) carry(near net.Conn) {
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", target)
	if err != nil {
		_ = near.Close()
		return
	}
	l.mu.Lock()
	l.open[near], l.open[far] = true, true
	l.mu.Unlock()
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
		both.Go(func() {
			_, _ = io.Copy(to, from)
			_ = errors.Join(to.Close(), from.Close())
		})
	}
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, near)
	delete(l.open, far)
}

// cut ends every connection.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		_ = conn.Close()
	}
}
