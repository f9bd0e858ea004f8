package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/replay"
)

// Replay says how answers of completed keys are kept at the edge. The zero value keeps none.
type Replay struct {
	// Store keeps them; nil for none.
	Store replay.Store
	// For is how long one is kept. The answer itself is kept below for days; this is only the fast way to it.
	For time.Duration
	// Join is how long a request waits for an identical one that is under way here, before it goes on by itself.
	Join time.Duration
}

// keptHeaders are the headers that belong to the answer rather than to the request.
var keptHeaders = [...]string{"Content-Type", "Cache-Control", "Etag", "Location"}

// keptText returns what is kept of an answer, as in HTTP: a line for the status, one for each header, an empty one, and the body.
func keptText(held *heldWriter) []byte {
	text := strconv.AppendInt(make([]byte, 0, 256+held.body.Len()), int64(held.status), 10)
	for _, name := range keptHeaders {
		if value := held.header.Get(name); value != "" {
			text = append(append(append(append(text, '\n'), name...), ": "...), value...)
		}
	}
	return append(append(text, "\n\n"...), held.body.Bytes()...)
}

var errKept = errors.New("a kept answer has no status")

// keptAnswer sets the headers of a kept answer, and returns its status and body.
func keptAnswer(text []byte, set func(name, value string)) (status int, body []byte, err error) {
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	first, rest, _ := strings.Cut(string(head), "\n")
	if status, err = strconv.Atoi(first); err != nil || status < http.StatusOK {
		return 0, nil, errKept
	}
	for line := range strings.SplitSeq(rest, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			set(name, value)
		}
	}
	return status, body, nil
}

// replay answers a completed key without asking below, and lets a herd of identical requests wait for the first of them.
// Only a success is kept: what failed is decided anew. Whatever goes wrong here, the request goes on as if this were not.
func (e *edge) replay(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if e.o.Replay.Store == nil || c.key == "" || c.route.body == nil || onlyChecked(r) {
			next.ServeHTTP(w, r)
			return
		}
		slot := e.slot(c, r)
		leader, done, leave := e.herd.join(slot.Name)
		if leader {
			defer leave()
		} else if !e.await(r.Context(), done) {
			next.ServeHTTP(w, r) // below, it waits or is told that the first is still running
			return
		}
		if e.again(w, r, slot) {
			return
		}
		if !leader {
			next.ServeHTTP(w, r) // the first failed: each decides anew, and below they are one
			return
		}
		next.ServeHTTP(w, r)
		if held, ok := w.(*heldWriter); ok { // what finish holds back
			e.keep(r.Context(), slot, held)
		}
	})
}

// slot names where the answer is kept: for this caller, what they may see, this route, key and body. Another body under
// the same key is another slot, and is refused below.
func (e *edge) slot(c *call, r *http.Request) replay.Slot {
	parts := [][]byte{
		[]byte("edge/v2"), []byte(c.principal.Subject), []byte(owned(c.principal)), []byte(c.route.verb), []byte(r.URL.EscapedPath()), []byte(r.URL.RawQuery),
		[]byte(c.ifMatch), []byte(c.key), c.body,
	}
	return replay.NewSlot(parts...)
}

// again answers from what is kept.
func (e *edge) again(w http.ResponseWriter, r *http.Request, slot replay.Slot) bool {
	text, ok, err := e.o.Replay.Store.Get(r.Context(), slot)
	c, h := callOf(r.Context()), w.Header()
	var status int
	var body []byte
	if err == nil && ok {
		status, body, err = keptAnswer(text, func(name, value string) { c.lines.set(h, name, value) })
	}
	if err != nil {
		e.log.LogAttrs(r.Context(), slog.LevelWarn, "kept answers cannot be read", slog.String(telemetry.KeyError, err.Error()))
		ok = false
	}
	if !ok {
		e.replays.Add(r.Context(), 1, e.miss)
		return false
	}
	e.replays.Add(r.Context(), 1, e.hit)
	c.lines.set(h, "Idempotency-Key", c.keyLine)
	h["Idempotency-Status"], h["Idempotent-Replayed"] = isReplayed, isTrue
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return true
}

func (e *edge) keep(ctx context.Context, slot replay.Slot, held *heldWriter) {
	if held.status != http.StatusOK && held.status != http.StatusCreated {
		return
	}
	if err := e.o.Replay.Store.Put(ctx, slot, keptText(held), e.o.Replay.For); err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "an answer cannot be kept", slog.String(telemetry.KeyError, err.Error()))
	}
}

func (e *edge) await(ctx context.Context, done <-chan struct{}) bool {
	timer := time.NewTimer(e.o.Replay.Join)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// herd lets identical requests wait for the first of them. It is safe for concurrent use.
type herd struct {
	mu      sync.Mutex
	leaders map[[sha256.Size]byte]chan struct{}
}

func newHerd() *herd { return &herd{leaders: map[[sha256.Size]byte]chan struct{}{}} }

// join returns whether the caller goes first; then it must call leave. Otherwise done is closed when the first has left.
func (h *herd) join(name [sha256.Size]byte) (leader bool, done <-chan struct{}, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.leaders[name]; ok {
		return false, c, nil
	}
	c := make(chan struct{})
	h.leaders[name] = c
	return true, nil, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.leaders, name)
		close(c)
	}
}
