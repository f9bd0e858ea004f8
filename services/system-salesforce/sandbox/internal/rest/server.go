// Package rest serves the HTTP side of the local Salesforce: OAuth, the REST
// API and the control plane.
//
// Invariant: a request is either refused before it touched anything or answered
// from one committed transaction; what the fault plan does to the answer comes
// after that. The package holds no records itself.
package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/managed"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/quota"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/rules"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Options configures a server. All fields are needed.
type Options struct {
	BaseURL  string // empty means: as the client addressed it
	Schema   *schema.Schema
	Store    *store.Store
	Sessions *auth.Sessions
	Verifier *auth.Verifier
	Faults   *faults.Faults
	Bus      *event.Bus
	Managed  *managed.Registry
	Rules    *rules.Engine
	// DailyLimit is how many calls a rolling day allows.
	DailyLimit int
	// Bulk serves the bulk APIs; Quotas are what is left of the allocations.
	Bulk   *bulk.Service
	Quotas *quota.Set
	// EventDeliveries is how many events a day delivers; 0 means that the
	// vendor's number is shown and nothing is refused.
	EventDeliveries int
	// ReplicationIDs is how many ids an answer of updated or deleted may hold.
	ReplicationIDs int
	// LongRequests is how many requests may run for LongRequest or longer.
	LongRequests int
	LongRequest  time.Duration
	// CollectionsClient says whether collection calls honour the client id of
	// Sforce-Call-Options in change events.
	CollectionsClient bool
	Now               func() time.Time
	Log               *slog.Logger
}

// Server is an http.Handler.
type Server struct {
	opt     Options
	calls   *calls
	cursors *cursors
	packers packers
	running *running
	access  access
}

// New makes a server.
func New(opt Options) *Server {
	return &Server{opt: opt, calls: newCalls(opt.DailyLimit, opt.Now), cursors: newCursors(opt.Now), running: newRunning(opt.LongRequests, opt.LongRequest, opt.Now)}
}

// Limits of a request, as documented.
const (
	maxURI     = 16384
	maxHeaders = 16384
	maxBody    = 64 << 20
)

// The versions that are served.
const (
	oldestVersion = 31
	newestVersion = 67
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments, ok := split(r.URL.EscapedPath())
	if ok && len(segments) > 0 && segments[0] == "__sandbox__" {
		s.write(w, r, s.control(r, segments[1:]))
		return
	}
	leave := s.running.enter()
	if leave == nil {
		s.write(w, r, tooManyLong())
		return
	}
	defer leave()
	if !pause(r.Context(), s.opt.Faults.Latency()) {
		return
	}
	path := "/" + strings.Join(segments, "/")
	if status, code := s.opt.Faults.Error(r.Method, path); status != 0 {
		s.write(w, r, fail(status, code, "The server is temporarily unavailable. Please try again."))
		return
	}
	var a *answer
	if !ok {
		a = notFound()
	} else {
		a = s.dispatch(r, segments)
	}
	if s.opt.Faults.LoseAck(r.Method, path) && hangUp(w) {
		return
	}
	s.write(w, r, a)
}

// split cuts a path into decoded segments. Empty ones, which real clients
// produce by doubled and trailing slashes, are dropped.
func split(path string) ([]string, bool) {
	var out []string
	for s := range strings.SplitSeq(path, "/") {
		if s == "" {
			continue
		}
		plain, err := url.PathUnescape(s)
		if err != nil {
			return out, false
		}
		out = append(out, plain)
	}
	return out, true
}

func pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hangUp resets the connection under the client.
func hangUp(w http.ResponseWriter) bool {
	h, ok := w.(http.Hijacker)
	if !ok {
		return false
	}
	conn, _, err := h.Hijack()
	if err != nil {
		return false
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes the close below a reset
	}
	_ = conn.Close()
	return true
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, a *answer) {
	s.packers.pack(r.Header.Get("Accept-Encoding"), a)
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if len(a.body) > 0 && w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	}
	w.WriteHeader(a.status)
	if a.stream != nil {
		s.stream(w, a.stream)
		return
	}
	_, _ = w.Write(a.body) // the client may be gone
}

func (s *Server) dispatch(r *http.Request, seg []string) *answer {
	switch {
	case len(r.RequestURI) > maxURI:
		return fail(http.StatusRequestURITooLong, "URI_TOO_LONG", "The URI exceeds the limit of 16,384 bytes.")
	case headerSize(r) > maxHeaders:
		return fail(http.StatusRequestHeaderFieldsTooLarge, "REQUEST_HEADER_TOO_LARGE", "The URI and headers exceed the limit of 16,384 bytes.")
	case len(seg) == 0:
		return notFound()
	case seg[0] == "id":
		return s.identity(r, seg[1:])
	case len(seg) < 2 || seg[0] != "services":
		return notFound()
	case seg[1] == "oauth2" && len(seg) == 3:
		return s.oauth(r, seg[2])
	case seg[1] == "Soap":
		return s.soap(r, seg[2:])
	case seg[1] == "async":
		return s.async(r, seg[2:])
	case seg[1] == "data" && len(seg) == 2:
		return versions(r.Method)
	case seg[1] == "data":
		return s.data(r, seg[2], seg[3:])
	}
	return notFound()
}

func headerSize(r *http.Request) int {
	n := len(r.RequestURI)
	for k, values := range r.Header {
		for _, v := range values {
			n += len(k) + len(v) + 4
		}
	}
	return n
}

// call is one request to a versioned resource.
type call struct {
	*Server
	r       *http.Request
	method  string
	version string // such as 62.0
	number  int    // such as 62
	session auth.Session
	query   url.Values
	// plural is set for the collection resources.
	plural bool
	// tx is set while the call is a part of a larger transaction.
	tx *store.Tx
}

// data serves everything under /services/data/vNN.0.
func (s *Server) data(r *http.Request, version string, seg []string) *answer {
	n, refusal := versionNumber(version)
	if refusal != nil {
		return refusal
	}
	c := &call{Server: s, r: r, method: r.Method, version: version[1:], number: n, query: r.URL.Query()}
	if m := c.query.Get("_HttpMethod"); m != "" && r.Method == http.MethodPost {
		c.method = m
	}
	var ok bool
	if c.session, ok = s.opt.Sessions.Check(bearer(r)); !ok {
		return invalidSession()
	}
	a := s.metered(c, seg)
	used, limit := s.calls.usage()
	a.header.Set("Sforce-Limit-Info", fmt.Sprintf("api-usage=%d/%d", used, limit))
	return a
}

// versionNumber reads a version such as v62.0.
func versionNumber(version string) (int, *answer) {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(version, "v"), ".0"))
	if err != nil || !strings.HasPrefix(version, "v") || !strings.HasSuffix(version, ".0") || n > newestVersion || n < 7 {
		return 0, notFound()
	}
	if n < oldestVersion {
		return 0, fail(http.StatusGone, "UNSUPPORTED_API_VERSION", fmt.Sprintf("API version %d.0 is retired. Use a version from %d.0.", n, oldestVersion))
	}
	return n, nil
}

func (s *Server) metered(c *call, seg []string) *answer {
	if !s.calls.take(c.r.Method + " " + routeName(seg)) {
		return fail(http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
	}
	return c.route(seg)
}

// routeName is the path without what differs from call to call.
func routeName(seg []string) string {
	keep := len(seg)
	switch {
	case keep > 0 && seg[0] == "sobjects":
		keep = min(keep, 2)
		if len(seg) == 3 && (seg[2] == "describe" || seg[2] == "updated" || seg[2] == "deleted") {
			keep = 3
		}
	case keep > 0 && (seg[0] == "query" || seg[0] == "queryAll"):
		keep = 1
	case keep > 1 && seg[0] == "jobs":
		keep = 2
		if len(seg) == 4 {
			return "/jobs/" + seg[1] + "/" + seg[3]
		}
	default:
		keep = min(keep, 3)
	}
	return "/" + strings.Join(seg[:keep], "/")
}

func (c *call) route(seg []string) *answer {
	if len(seg) == 0 {
		return c.get(c.resources)
	}
	switch seg[0] {
	case "limits":
		if len(seg) == 1 {
			return c.get(c.limits)
		}
	case "jobs":
		return c.jobs(seg[1:])
	case "sobjects":
		return c.sobjects(seg[1:])
	case "query", "queryAll":
		return c.queries(seg)
	case "tooling":
		return c.tooling(seg[1:])
	case "composite":
		return c.composite(seg[1:])
	}
	return notFound()
}

func (c *call) get(fn func() *answer) *answer {
	if c.method != http.MethodGet && c.method != http.MethodHead {
		return wrongMethod(c.method)
	}
	return fn()
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "OAuth") {
		return ""
	}
	return strings.TrimSpace(token)
}

func invalidSession() *answer {
	a := fail(http.StatusUnauthorized, "INVALID_SESSION_ID", "Session expired or invalid")
	a.header.Set("WWW-Authenticate", "Token")
	return a
}

// base is the URL of this server for use in answers.
func (s *Server) base(r *http.Request) string {
	if s.opt.BaseURL != "" {
		return s.opt.BaseURL
	}
	return "http://" + r.Host
}

// look reads one consistent state: that of the running transaction, if the call
// is a part of one.
func (c *call) look(fn func(v store.View) error) error {
	if c.tx != nil {
		return fn(c.tx.View)
	}
	return c.opt.Store.Read(fn)
}

// write runs one transaction in the name of the caller, or a part of the
// running one.
func (c *call) write(fn func(tx *store.Tx) error) error {
	if c.tx != nil {
		c.tx.Wish(c.wishes())
		mark := c.tx.Mark()
		err := fn(c.tx)
		if err != nil {
			c.tx.Rollback(mark)
		}
		return err
	}
	origin := "com/salesforce/api/rest/" + c.version
	if client := c.client(); client != "" && (!c.plural || c.opt.CollectionsClient) {
		origin += ";client=" + client
	}
	return c.opt.Store.Write(store.Meta{User: c.session.User.ID, Origin: origin, Wishes: c.wishes(), Hidden: c.hidden(), Fields: c.rights(), Mute: c.mute()}, fn)
}

// client is the id that the caller gave itself.
func (c *call) client() string {
	for part := range strings.SplitSeq(c.r.Header.Get("Sforce-Call-Options"), ",") {
		if k, v, ok := strings.Cut(part, "="); ok && strings.EqualFold(strings.TrimSpace(k), "client") {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
