// Package console is the part of the control plane that shows and disturbs the
// organization: a page for people, the records, the event log, the fault plan,
// the clock.
//
// Everything lies below /__sandbox__/, which no real Salesforce has, and needs
// no session. The package changes records only through what a fault plan says;
// what it does not know it leaves to the handler behind it.
package console

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/managed"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

//go:embed page.html
var page []byte

// Options configures a console. All fields are needed.
type Options struct {
	Schema   *schema.Schema
	Store    *store.Store
	Sessions *auth.Sessions
	Bus      *event.Bus
	Capture  *event.Capture
	Managed  *managed.Registry
	Faults   *faults.Faults
	// Limits are the allocations as the REST API answers them.
	Limits func() any
	// Clients is the number of open subscriptions.
	Clients func() int
	// PubSub tells the addresses in plain text and with TLS; they are known
	// only after the start.
	PubSub func() (plain, secure string)
	// Now is the clock of the organization, Advance puts it forward.
	Now     func() time.Time
	Advance func(time.Duration)
	// Certificate is the PEM of the TLS certificate.
	Certificate []byte
	// User is the id in whose name gap events are announced.
	User string
	// Next serves everything else.
	Next http.Handler
}

// Console is an http.Handler.
type Console struct{ opt Options }

// New makes a console.
func New(opt Options) *Console { return &Console{opt} }

// prefix is where the console lives.
const prefix = "__sandbox__"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seg := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
	if len(seg) == 0 || seg[0] != prefix {
		c.opt.Next.ServeHTTP(w, r)
		return
	}
	switch r.Method + " " + strings.Join(seg[1:], "/") {
	case "GET ":
		c.page(w, r)
	case "GET org":
		reply(w, http.StatusOK, c.org())
	case "GET records":
		c.records(w, r)
	case "GET events":
		c.events(w, r)
	case "POST events":
		c.announce(w, r)
	case "GET faults":
		reply(w, http.StatusOK, c.opt.Faults.Plan())
	case "PUT faults":
		c.setFaults(w, r)
	case "DELETE faults":
		_ = c.opt.Faults.Set(faults.Plan{}) // an empty plan is always valid
		w.WriteHeader(http.StatusNoContent)
	case "GET faults/log":
		reply(w, http.StatusOK, append([]faults.Firing{}, c.opt.Faults.Log()...))
	case "GET clock":
		c.clock(w)
	case "POST clock":
		c.advance(w, r)
	case "GET certificate":
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(c.opt.Certificate) // the client may be gone
	default:
		c.opt.Next.ServeHTTP(w, r)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone
}

func refuse(w http.ResponseWriter, err error) {
	reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

// maxBody bounds what the control plane reads.
const maxBody = 4 << 20

// decode reads a JSON body that holds nothing unknown.
func decode(r *http.Request, into any) error {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("the body could not be read: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the body is not what was expected: %w", err)
	}
	return nil
}

func (c *Console) page(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/") {
		// The page asks for its data by relative addresses.
		http.Redirect(w, r, "/"+prefix+"/", http.StatusFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'")
	_, _ = w.Write(page) // the client may be gone
}

// Apply sets a fault plan and does what it asks for at once.
func (c *Console) Apply(p faults.Plan) error {
	if err := c.opt.Faults.Set(p); err != nil {
		return err
	}
	if p.ExpireSessions {
		c.opt.Sessions.ExpireAll()
	}
	if p.MigrateOrg {
		c.migrate()
	}
	if p.ExpireReplayIDs || p.MigrateOrg {
		c.opt.Bus.Expire()
	}
	if p.ResetStreams || p.Down || p.ExpireSessions {
		c.opt.Bus.Reset()
	}
	return nil
}

// migrate gives the organization another id.
func (c *Console) migrate() {
	from := c.opt.Sessions.Org()
	n, _ := sfid.Number(from) // 0 for an id of another make
	to := sfid.New("00D", n+1)
	c.opt.Sessions.MoveTo(to)
	c.opt.Store.Rename(c.opt.Schema.Object("Organization"), from, to)
}

func (c *Console) setFaults(w http.ResponseWriter, r *http.Request) {
	var p faults.Plan
	err := decode(r, &p)
	if err == nil {
		err = c.Apply(p)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, http.StatusOK, c.opt.Faults.Plan())
}

func (c *Console) clock(w http.ResponseWriter) {
	reply(w, http.StatusOK, map[string]string{"now": c.opt.Now().UTC().Format(time.RFC3339Nano)})
}

func (c *Console) advance(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Advance string `json:"advance"`
	}
	err := decode(r, &in)
	var d time.Duration
	if err == nil {
		d, err = time.ParseDuration(in.Advance)
	}
	if err == nil && d < 0 {
		err = fmt.Errorf("the clock cannot go back by %v", -d)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	c.opt.Advance(d)
	c.opt.Bus.Wake() // sessions may have ended
	c.clock(w)
}

// shown is how many rows a list has unless asked otherwise.
const shown = 100

func limit(r *http.Request) (int, error) {
	given := r.URL.Query().Get("limit")
	if given == "" {
		return shown, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("limit %q is not a number", given)
	}
	return n, nil
}

func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	n, err := limit(r)
	if err != nil {
		refuse(w, err)
		return
	}
	type entry struct {
		Replay  string   `json:"replay_id"`
		ID      string   `json:"id"`
		Event   string   `json:"event"`
		Topic   string   `json:"topic"`
		Kind    string   `json:"change_type"`
		Record  string   `json:"record_id"`
		Records []string `json:"record_ids"`
		Tx      string   `json:"transaction_key"`
		At      string   `json:"published"`
	}
	out := []entry{}
	for _, e := range c.opt.Bus.Recent(n) {
		out = append(out, entry{
			strconv.FormatUint(e.Replay, 10), e.Text(), e.Layout.Name, e.Layout.Topic(), e.Kind, e.RecordID, append([]string{}, e.Records...), e.Tx,
			time.UnixMilli(e.Issued).UTC().Format(time.RFC3339Nano),
		})
	}
	reply(w, http.StatusOK, out)
}

// announce publishes a gap event that no write caused.
func (c *Console) announce(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Object  string   `json:"object"`
		Kind    string   `json:"change_type"`
		Records []string `json:"record_ids"`
	}
	err := decode(r, &in)
	if err == nil {
		o := c.opt.Schema.Object(in.Object)
		if o == nil {
			err = fmt.Errorf("the object %q is unknown", in.Object)
		} else {
			err = c.opt.Capture.Announce(o, in.Kind, slices.Clone(in.Records), c.opt.Now(), c.opt.User)
		}
	}
	if err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
