package edge

import (
	"context"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
)

// hub looks at orders on behalf of all streams: however many follow an order, it is read once in a while. Streams share a
// look only if their callers see the same customers, so that nobody learns through it what they could not read.
type hub struct {
	every time.Duration
	read  func(ctx context.Context, p auth.Principal, order string) (seenOrder, error)

	mu      sync.Mutex
	watches map[watched]*watch
}

// watched is what a watch is about.
type watched struct{ order, sees string }

// watch is one order that somebody follows. Its fields are the hub's to lock.
type watch struct {
	streams int
	stop    context.CancelFunc
	ended   chan struct{}
	// latest is what was read last, failed why no more is read; changed is closed when one of them changes.
	latest  seenOrder
	failed  error
	changed chan struct{}
}

func newHub(every time.Duration, read func(context.Context, auth.Principal, string) (seenOrder, error)) *hub {
	return &hub{every: every, read: read, watches: map[watched]*watch{}}
}

// follow has an order looked at until leave is called, which must be. Now is the order as the caller has just read it.
func (h *hub) follow(ctx context.Context, p auth.Principal, now seenOrder, order string) (w *watch, leave func()) {
	key := watched{order, owned(p)}
	h.mu.Lock()
	defer h.mu.Unlock()
	w, ok := h.watches[key]
	if !ok || w.failed != nil {
		// It outlives the request that begins it, as long as another stream follows the order.
		looking, stop := context.WithCancel(context.WithoutCancel(ctx))
		w = &watch{stop: stop, ended: make(chan struct{}), latest: now, changed: make(chan struct{})}
		h.watches[key] = w
		go func() {
			defer close(w.ended)
			h.look(looking, w, p, order)
		}()
	}
	w.streams++
	return w, func() {
		h.mu.Lock()
		w.streams--
		last := w.streams == 0
		if last && h.watches[key] == w {
			delete(h.watches, key)
		}
		h.mu.Unlock()
		if last {
			w.stop()
			<-w.ended
		}
	}
}

// state is what is known of the order, or why no more is read; changed is closed when there is more.
func (h *hub) state(w *watch) (latest seenOrder, changed <-chan struct{}, failed error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.latest, w.changed, w.failed
}

// look reads the order until nobody follows it, or it cannot be read any more. A failure that may pass is waited out.
func (h *hub) look(ctx context.Context, w *watch, p auth.Principal, order string) {
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := h.read(ctx, p, order)
		if ctx.Err() != nil {
			return
		}
		if !h.tell(w, now, err) {
			return
		}
	}
}

// tell notes what was read; false if nothing more will be.
func (h *hub) tell(w *watch, now seenOrder, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && now.version > w.latest.version:
		w.latest = now
	case err == nil || fault.Retryable(err):
		return true
	default:
		w.failed = err
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return w.failed == nil
}
