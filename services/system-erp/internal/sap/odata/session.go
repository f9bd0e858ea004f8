package odata

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// session is a token with the cookies it belongs to. Cookies of any name are sent back: their names differ between systems.
type session struct {
	mu      sync.Mutex
	token   string
	cookies map[string]string
}

// keep takes over the cookies of an answer.
func (s *session) keep(resp *http.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(s.cookies, c.Name)
			continue
		}
		s.cookies[c.Name] = c.Value
	}
}

// sign adds cookies, and the token for a write.
func (s *session) sign(req *http.Request, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range s.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // a request's cookie has no attributes
	}
	if write {
		req.Header.Set("X-Csrf-Token", s.token)
	}
}

// sessionKeeper holds the session. The zero value has none. One caller fetches a token while the others wait.
type sessionKeeper struct {
	mu   sync.Mutex // guards now
	now  *session
	once chan struct{} // held by who fetches
	init sync.Once
}

func (k *sessionKeeper) current() *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// get returns a session that is not stale, fetching one if need be.
func (k *sessionKeeper) get(ctx context.Context, c *Client, service string, stale *session) (*session, error) {
	k.init.Do(func() { k.once = make(chan struct{}, 1) })
	if s := k.current(); s != nil && s != stale {
		return s, nil
	}
	select {
	case k.once <- struct{}{}:
		defer func() { <-k.once }()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, reasonBusy, ctx.Err(), "no token of SAP came in time; nothing was sent")
	}
	if s := k.current(); s != nil && s != stale {
		return s, nil // somebody else fetched it meanwhile
	}
	s, err := c.fetch(ctx, service)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.now = s
	k.mu.Unlock()
	return s, nil
}

// fetch begins a session: HEAD first, which costs least, GET where a proxy does not like that.
func (c *Client) fetch(ctx context.Context, service string) (*session, error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		s := &session{cookies: map[string]string{}}
		r, err := c.once(ctx, call{method: method, service: service, header: map[string]string{"X-Csrf-Token": "Fetch"}, query: url.Values{}}, s)
		if err != nil {
			return nil, err
		}
		token := r.header.Get("X-Csrf-Token")
		switch {
		case r.status < 300 && token != "" && !strings.EqualFold(token, "Required"):
			s.token = token
			return s, nil
		case r.status == http.StatusMethodNotAllowed || r.status == http.StatusNotImplemented || r.status < 300:
			continue
		}
		return nil, r.refusal(false)
	}
	return nil, fault.New(fault.Unavailable, ReasonToken, "SAP hands out no token; nothing was sent")
}
