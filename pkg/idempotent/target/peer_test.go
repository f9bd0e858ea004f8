package target_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trouble is what a peer does to one request.
type trouble uint8

const (
	none       trouble = iota
	loseAnswer         // the effect happens, the connection breaks
	refuse             // 503 with Retry-After, nothing happens
	fail               // 500 after the effect
	slow               // in flight until released
)

// peer is an HTTP server with records, a clock and a list of troubles to come, one per request that would be executed.
type peer struct {
	t     *testing.T
	clock *idempotenttest.Clock
	srv   *httptest.Server

	mu       sync.Mutex
	troubles []trouble
	records  []string // effects: one per creation
	requests int
	running  chan struct{} // a slow request is at work
	release  chan struct{} // lets it go on
}

func newPeer(t *testing.T, handler func(p *peer, w http.ResponseWriter, r *http.Request, body []byte)) *peer {
	t.Helper()
	p := &peer{t: t, clock: idempotenttest.NewClock(), running: make(chan struct{}, 1), release: make(chan struct{})}
	p.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		p.requests++
		p.mu.Unlock()
		handler(p, w, r, body)
	}))
	t.Cleanup(p.srv.Close)
	return p
}

func (p *peer) expect(troubles ...trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.troubles = append(p.troubles, troubles...)
}

func (p *peer) next() trouble {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.troubles) == 0 {
		return none
	}
	t := p.troubles[0]
	p.troubles = p.troubles[1:]
	return t
}

// create is the effect.
func (p *peer) create(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, what)
	return len(p.records)
}

func (p *peer) effects() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.records)
}

func (p *peer) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// kept is what a server with keys remembers of one.
type kept struct {
	at       time.Time
	identity string
	status   int
	header   http.Header
	body     string
	done     bool
}

// keyed is the part that servers with keys have in common: it claims the key, executes once, and keeps the answer.
type keyed struct {
	mu     sync.Mutex
	keys   map[string]*kept
	window time.Duration
	// keeps says which answers are kept.
	keeps func(status int) bool
}

// begin returns the entry of a key: fresh is true for whoever is to execute.
func (k *keyed) begin(key, identity string, now time.Time) (e *kept, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]*kept{}
	}
	if e := k.keys[key]; e != nil && now.Sub(e.at) < k.window {
		snapshot := *e
		return &snapshot, false
	}
	k.keys[key] = &kept{at: now, identity: identity}
	return k.keys[key], true
}

func (k *keyed) end(key string, status int, header http.Header, body string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeps != nil && !k.keeps(status) {
		delete(k.keys, key)
		return
	}
	e := k.keys[key]
	e.done, e.status, e.header, e.body = true, status, header, body
}

// execute has the effect with whatever trouble is next, keeps the answer, and gives it if it can.
func (p *peer) execute(w http.ResponseWriter, k *keyed, key string, body []byte, header http.Header) {
	trouble := p.next()
	if trouble == refuse {
		k.mu.Lock()
		delete(k.keys, key)
		k.mu.Unlock()
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	status, text := http.StatusCreated, fmt.Sprintf(`{"id":"rec-%d"}`, p.create(string(body)))
	if bytes.Contains(body, []byte("invalid")) {
		status, text = http.StatusBadRequest, `{"error":{"type":"invalid_request_error"}}`
	}
	if trouble == fail {
		status, text = http.StatusInternalServerError, `{"error":{"type":"api_error"}}`
	}
	if trouble == slow {
		p.running <- struct{}{}
		<-p.release
	}
	k.end(key, status, header, text)
	if trouble == loseAnswer {
		hangUp(w)
		return
	}
	write(w, status, header, text)
}

func write(w http.ResponseWriter, status int, header http.Header, text string) {
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// stripePeer: 24 hours, parameters compared, 500s are kept, replays are marked.
func stripePeer(t *testing.T) *peer {
	k := &keyed{window: 24 * time.Hour}
	return newPeer(t, func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) {
		key := r.Header.Get("Idempotency-Key")
		if len(key) == 0 || len(key) > 255 {
			write(w, http.StatusBadRequest, nil, `{"error":{"type":"invalid_request_error"}}`)
			return
		}
		e, fresh := k.begin(key, r.URL.Path+string(body), p.clock.Now())
		switch {
		case fresh:
			p.execute(w, k, key, body, nil)
		case e.identity != r.URL.Path+string(body):
			write(w, http.StatusBadRequest, nil, `{"error":{"type":"idempotency_error","message":"Keys for idempotent requests can only be used with the same parameters they were first used with."}}`)
		case !e.done:
			write(w, http.StatusConflict, nil, `{"error":{"type":"idempotency_error","code":"idempotency_key_in_use"}}`)
		default:
			write(w, e.status, http.Header{"Idempotent-Replayed": {"true"}}, e.body)
		}
	})
}

// zuoraPeer: 24 hours, less than 255 characters, tenant, URL and method compared, bodies not, replays unmarked.
func zuoraPeer(t *testing.T) *peer {
	k := &keyed{window: 24 * time.Hour}
	return newPeer(t, func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) {
		key := r.Header.Get("Idempotency-Key")
		e, fresh := k.begin(key, r.Method+r.URL.Path, p.clock.Now())
		switch {
		case len(key) == 0 || len(key) >= 255:
			write(w, http.StatusBadRequest, nil, "{}")
		case fresh:
			p.execute(w, k, key, body, nil)
		case e.identity != r.Method+r.URL.Path:
			write(w, http.StatusUnprocessableEntity, nil, "{}")
		case !e.done:
			write(w, http.StatusConflict, nil, "{}")
		default:
			write(w, e.status, nil, e.body)
		}
	})
}

// netsuitePeer: asynchronous only; a duplicate is answered 400 with the place of the job. Without Prefer it executes at
// once and does not look at the key.
func netsuitePeer(t *testing.T) *peer {
	k := &keyed{window: 24 * time.Hour}
	return newPeer(t, func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) {
		key := r.Header.Get("X-NetSuite-Idempotency-Key")
		if r.Header.Get("Prefer") != "respond-async" || strings.Contains(r.URL.Path, "sync-only") {
			p.create(string(body))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if len(key) != 36 {
			write(w, http.StatusBadRequest, nil, `{"o:errorDetails":[{"o:errorCode":"INVALID_HEADER"}]}`)
			return
		}
		_, fresh := k.begin(key, "", p.clock.Now())
		where := http.Header{"Location": {"/services/rest/async/v1/job/" + key[:8]}, "Preference-Applied": {"respond-async"}}
		if !fresh {
			write(w, http.StatusBadRequest, where, `{"title":"Conflict","status":400,"o:errorDetails":[{"detail":"already submitted","o:errorCode":"IDEMPOTENCY_ERROR"}]}`)
			return
		}
		p.create(string(body))
		k.end(key, http.StatusAccepted, where, "")
		if p.next() == loseAnswer {
			hangUp(w)
			return
		}
		write(w, http.StatusAccepted, where, "")
	})
}

// repeatablePeer: OASIS Repeatable Requests. Outside the window it refuses; a 5xx is executed again; without support it
// ignores the headers and says nothing.
func repeatablePeer(t *testing.T, window time.Duration, supported bool) *peer {
	k := &keyed{window: window, keeps: func(status int) bool { return status < 500 }}
	return newPeer(t, func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) {
		if !supported {
			write(w, http.StatusCreated, nil, fmt.Sprintf(`{"id":"rec-%d"}`, p.create(string(body))))
			return
		}
		result := func(s string) http.Header { return http.Header{"Repeatability-Result": {s}} }
		id := r.Header.Get("Repeatability-Request-ID")
		first, err := http.ParseTime(r.Header.Get("Repeatability-First-Sent"))
		if err != nil || len(id) != 36 {
			write(w, http.StatusBadRequest, result("rejected"), "{}")
			return
		}
		if p.clock.Now().Sub(first) > window {
			write(w, http.StatusPreconditionFailed, result("rejected"), "{}")
			return
		}
		identity := r.Method + r.URL.Path + string(body)
		e, fresh := k.begin(id, identity, p.clock.Now())
		switch {
		case fresh:
			p.execute(w, k, id, body, result("accepted"))
		case e.identity != identity:
			write(w, http.StatusBadRequest, result("rejected"), "{}")
		case !e.done:
			write(w, http.StatusConflict, result("rejected"), "{}")
		default:
			write(w, e.status, e.header, e.body)
		}
	})
}

// salesforcePeer writes by external id as the REST API does: two simultaneous creations of one value are told apart by the
// unique index, and the loser gets DUPLICATE_VALUE.
func salesforcePeer(t *testing.T) *peer {
	var mu sync.Mutex
	byID := map[string]string{}
	return newPeer(t, func(p *peer, w http.ResponseWriter, r *http.Request, body []byte) {
		_, value, ok := strings.Cut(r.URL.Path, "/Ext__c/")
		if r.Method != http.MethodPatch || !ok || value == "" {
			write(w, http.StatusNotFound, nil, "[]")
			return
		}
		trouble := p.next()
		if trouble == refuse {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mu.Lock()
		_, exists := byID[value]
		mu.Unlock()
		if trouble == slow { // between looking and writing
			p.running <- struct{}{}
			<-p.release
		}
		mu.Lock()
		_, now := byID[value]
		if !exists && now {
			mu.Unlock()
			write(w, http.StatusBadRequest, nil, `[{"errorCode":"DUPLICATE_VALUE"}]`)
			return
		}
		byID[value] = string(body)
		mu.Unlock()
		status := http.StatusOK
		if !exists {
			p.create(value)
			status = http.StatusCreated
		}
		if trouble == loseAnswer {
			hangUp(w)
			return
		}
		b, _ := json.Marshal(map[string]any{"id": "001" + value, "created": !exists, "success": true})
		write(w, status, nil, string(b))
	})
}
