// Package gateway is the HTTP surface of the sandbox: OData V2 in JSON as SAP Gateway speaks it, with its cookies, tokens,
// tags, batches and errors.
//
// Invariant: a modifying request without a valid token of its own session changes nothing, and a change set is answered as
// a whole. It does not know what a business partner is (package business) nor what goes wrong on purpose (package faults).
package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Root is where services begin.
const Root = "/sap/opu/odata/sap/"

// Options are what a gateway works with.
type Options struct {
	Model *edm.Model
	Store *store.Store
	Laws  *business.Laws
	// Client is the only client there is; User and Password are who may log on, anybody when User is empty.
	Client, User, Password string
	// PageSize is the most rows without $top, PageSizeTop with it.
	PageSize, PageSizeTop int
	SessionTTL            time.Duration
	// Locked tells whether an object is being processed by somebody else: "A_SalesOrder", "17", the method, and the rows.
	Locked func(method, set, key string) bool
	// Repeatability says that idempotent services are configured.
	Repeatability bool
	// Language, if any, is the only one that requests may ask for, and must.
	Language string
	Now      func() time.Time
	Log      *slog.Logger
}

// Server answers requests. Make it with New; it is safe for concurrent use.
type Server struct {
	Options
	sessions *sessions
	calls    *calls
	repeats  repeats
}

// New returns a server.
func New(o Options) *Server {
	return &Server{Options: o, sessions: newSessions(o.SessionTTL, o.Now), calls: &calls{}}
}

// request is one operation, of its own or inside a batch.
type request struct {
	method  string
	path    string // below the service, still escaped
	query   url.Values
	header  http.Header
	body    []byte
	service *edm.Service
	base    string // address of the service
	lang    edm.Language
}

// answer is what an operation returns.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// maxBody is the largest body that is read.
const maxBody = 64 << 20

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "selfsame-s4-sandbox")
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), Root)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !s.logon(w, r) {
		return
	}
	name, path, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(name)
	service := s.Model.Service(name)
	if err != nil || service == nil {
		s.send(w, refusal(message.New(http.StatusForbidden, "/IWFND/MED/170", "No service found for namespace , name %s, version 0001", strings.ToUpper(name)), edm.English))
		return
	}
	session := s.sessions.of(w, r, s.Client)
	if !s.token(w, r, session) {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.send(w, refusal(message.New(http.StatusRequestEntityTooLarge, "/IWFND/CM_MGW/001", "The body is too large or was cut"), edm.English))
		return
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	q := request{
		method: effective(r), path: path, query: r.URL.Query(), header: r.Header, body: body, service: service,
		base: scheme + r.Host + Root + name + "/", lang: edm.ParseLanguage(r.URL.Query().Get("sap-language"), r.Header.Get("Accept-Language")),
	}
	if err := s.foreign(q, r.Header, false); err != nil {
		s.send(w, s.failed(err, q.lang))
		return
	}
	s.send(w, s.repeatable(q, func() answer { return s.do(q) }))
}

// effective is the method behind a tunnel.
func effective(r *http.Request) string {
	if m := r.Header.Get("X-Http-Method"); m != "" && r.Method == http.MethodPost {
		return strings.ToUpper(m)
	}
	return r.Method
}

func (s *Server) do(q request) answer {
	if q.path == "$batch" {
		if q.method != http.MethodPost {
			return refusal(message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/046", "$batch takes POST only"), q.lang)
		}
		s.calls.add(q.service.Bare(), "$batch", q.method)
		return s.batch(q)
	}
	var a answer
	var err error
	if reads(q.method) {
		err = s.Store.View(func(tx *store.Tx) error {
			a, err = s.operate(q, &business.Call{Tx: tx, Language: q.lang})
			return err
		})
	} else {
		err = s.Store.Update(func(tx *store.Tx) error {
			a, err = s.operate(q, &business.Call{Tx: tx, Language: q.lang})
			return err
		})
	}
	if err != nil {
		return s.failed(err, q.lang)
	}
	return a
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func (s *Server) failed(err error, lang edm.Language) answer {
	m, ok := errors.AsType[*message.Error](err)
	if !ok {
		s.Log.Error("request failed", "error", err.Error())
		m = message.New(http.StatusInternalServerError, "/IWFND/CM_MGW/000", "An exception was raised")
	}
	return refusal(m, lang)
}

func (s *Server) send(w http.ResponseWriter, a answer) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.Header().Set("DataServiceVersion", "2.0")
	w.WriteHeader(a.status)
	if a.status != http.StatusNoContent {
		_, _ = io.Copy(w, bytes.NewReader(a.body)) // the client may be gone
	}
}

// json is an answer with a body.
func json(status int, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {"application/json;charset=utf-8"}}, body: body}
}

func (s *Server) logon(w http.ResponseWriter, r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	refused := s.User != "" && (!strings.EqualFold(user, s.User) || password != s.Password)
	if c := r.URL.Query().Get("sap-client"); c != "" && c != s.Client {
		refused = true
	}
	if !refused {
		return true
	}
	w.Header().Set("Www-Authenticate", `Basic realm="SAP NetWeaver Application Server [S4H/`+s.Client+`]"`)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, "<html><head><title>Logon Error Message</title></head><body>Anmeldung fehlgeschlagen</body></html>")
	return false
}
