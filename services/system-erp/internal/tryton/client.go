// Package tryton speaks to a Tryton 6.0 server by JSON-RPC and makes it a remote.System: parties with addresses, contact
// mechanisms and identifiers, products, stock, and sales that are quoted, confirmed and processed.
//
// The invariant: an error tells whether something may have been executed. A call that changes something and was sent is
// Uncertain unless the server itself answered; a server that answers with an error has rolled back. Nothing is repeated here
// but a call that was refused at the door for its session.
//
// It keeps no records; package remote does. What Tryton has no place for (kind, language, currency, payment terms, order
// block, extensions of a customer; the payer of an order) is either kept beside it by package remote or refused by name.
package tryton

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
)

// Kind is the name of this back end in the configuration.
const Kind = "tryton"

// Config says which Tryton, and as whom.
type Config struct {
	// URL is the address of the server with the database: "https://erp.example.com/company".
	URL string `conf:"url" help:"address of the Tryton server with the database, https://erp.example.com/company"`
	// User and Password are those of the integration's own user.
	User     string      `conf:"user" help:"the integration's own user in Tryton"`
	Password conf.Secret `conf:"password" help:"its password"`
	// Company is the name of the company whose sales these are; empty for the user's own.
	Company string `conf:"company" help:"company of the sales; empty for that of the user"`
	// Confirm brings new sales through quotation and confirmation to processing. Without it they stay drafts for a person.
	Confirm bool `conf:"confirm" help:"quote, confirm and process new sales; without it they stay drafts"`
	// Timeout bounds one call; 30 s when zero.
	Timeout time.Duration `conf:"timeout" help:"longest time of one call"`
	// Concurrency is how many calls may run at once; 4 when zero.
	Concurrency int `conf:"concurrency" help:"calls at once"`
}

// DefaultConfig returns a configuration without an address.
func DefaultConfig() Config { return Config{Confirm: true, Timeout: 30 * time.Second, Concurrency: 4} }

// Validate returns the problems of a configuration that is used.
func (c Config) Validate() error {
	var errs []error
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") == "" {
		errs = append(errs, errors.New("url: want https://HOST/DATABASE"))
	} else if u.Scheme == "http" && !backend.Loopback(u.Hostname()) {
		errs = append(errs, errors.New("url: http sends the password in the clear; want https unless the server is on this machine"))
	}
	if c.User == "" || c.Password == "" {
		errs = append(errs, errors.New("user, password: both are required"))
	}
	if c.Concurrency < 0 || c.Concurrency > 64 {
		errs = append(errs, errors.New("concurrency: want 1 to 64"))
	}
	if c.Timeout < 0 || c.Timeout > time.Minute {
		errs = append(errs, errors.New("timeout: want at most 1m"))
	}
	return errors.Join(errs...)
}

// client calls methods of the server.
type client struct {
	cfg   Config
	http  *http.Client
	slots chan struct{}

	mu      sync.Mutex
	session string // value of the Authorization header; empty before the first login
	login   chan struct{}
}

func newClient(cfg Config, transport http.RoundTripper) *client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 4
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/") + "/"
	return &client{
		cfg: cfg, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		slots: make(chan struct{}, cfg.Concurrency), login: make(chan struct{}, 1),
	}
}

// errSession means that the server does not know our session (any more); nothing was executed.
var errSession = errors.New("no session")

// call calls a method and decodes its result into out, which may be nil. Writes says whether the method changes anything.
func (c *client) call(ctx context.Context, writes bool, out any, method string, params ...any) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "", ctx.Err(), "too many calls of the ERP are under way")
	}
	for try := 0; ; try++ {
		session, err := c.authorized(ctx)
		if err != nil {
			return err
		}
		err = c.post(ctx, writes, out, session, method, params)
		if !errors.Is(err, errSession) {
			return err
		}
		c.forget(session)
		if try > 0 {
			return fault.New(fault.Unavailable, "BACKEND_LOGIN_FAILED", "the ERP does not accept the session it gave")
		}
	}
}

// authorized returns a session, logging in when there is none. One caller logs in, the others wait for him.
func (c *client) authorized(ctx context.Context) (string, error) {
	select {
	case c.login <- struct{}{}:
		defer func() { <-c.login }()
	case <-ctx.Done():
		return "", fault.Wrap(fault.Unavailable, "", ctx.Err(), "the ERP does not let us log in")
	}
	c.mu.Lock()
	session := c.session
	c.mu.Unlock()
	if session != "" {
		return session, nil
	}
	var got []any
	err := c.post(ctx, false, &got, "", "common.db.login", []any{c.cfg.User, map[string]string{"password": c.cfg.Password.Reveal()}})
	if errors.Is(err, errSession) || err == nil && len(got) < 2 {
		return "", fault.New(fault.Unavailable, "BACKEND_LOGIN_FAILED", "the ERP refuses user or password")
	}
	if err != nil {
		return "", err
	}
	session = "Session " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s:%v:%v", c.cfg.User, text(got[0]), got[1]))
	c.mu.Lock()
	c.session = session
	c.mu.Unlock()
	return session, nil
}

func text(v any) string {
	if f, ok := v.(json.Number); ok {
		return f.String()
	}
	return fmt.Sprint(v)
}

func (c *client) forget(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == session {
		c.session = ""
	}
}

// reply is what the server answers.
type reply struct {
	Result json.RawMessage   `json:"result"`
	Error  []json.RawMessage `json:"error"`
}

// maxReply bounds an answer.
const maxReply = 64 << 20

func (c *client) post(ctx context.Context, writes bool, out any, session, method string, params []any) error {
	body, err := json.Marshal(map[string]any{"id": 1, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("write a call of %s: %w", method, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a call of %s: %w", method, err)
	}
	req.GetBody = nil // the transport must not send a write again by itself
	req.Header.Set("Content-Type", "application/json")
	if session != "" {
		req.Header.Set("Authorization", session)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return lost(writes && !notSent(err), err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return errSession
	case resp.StatusCode == http.StatusForbidden:
		return fault.New(fault.Unavailable, "BACKEND_FORBIDDEN", "the ERP does not let this user do that")
	case resp.StatusCode == http.StatusTooManyRequests:
		return fault.New(fault.Exhausted, fault.ReasonExhausted, "the ERP refuses more calls for now").WithRetryAfter(retryAfter(resp))
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fault.New(fault.Unavailable, fault.ReasonUnavailable, "the ERP is not available").WithRetryAfter(retryAfter(resp))
	case resp.StatusCode != http.StatusOK:
		return lost(writes, fmt.Errorf("status %d", resp.StatusCode))
	case err != nil:
		return lost(writes, err)
	}
	var r reply
	if err := json.Unmarshal(raw, &r); err != nil {
		return lost(writes, err)
	}
	if len(r.Error) > 0 {
		return refusal(r.Error)
	}
	if out == nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(r.Result))
	dec.UseNumber()
	if err := dec.Decode(out); err != nil {
		return lost(writes, fmt.Errorf("read the answer of %s: %w", method, err))
	}
	return nil
}

func retryAfter(resp *http.Response) time.Duration {
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 && n < 3600 {
		return time.Duration(n) * time.Second
	}
	return 5 * time.Second
}

// lost makes the error of an answer that did not come.
func lost(writes bool, cause error) error {
	if writes {
		return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, cause, "the ERP did not answer a write")
	}
	return fault.Wrap(fault.Unavailable, fault.ReasonUnavailable, cause, "the ERP does not answer")
}

// notSent tells whether an error means that nothing can have reached the server: no connection was made.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// refusal classifies an error the server answered: it has rolled back.
func refusal(parts []json.RawMessage) error {
	var name string
	_ = json.Unmarshal(parts[0], &name) // another shape is an unknown error
	var detail []any
	if len(parts) > 1 {
		_ = json.Unmarshal(parts[1], &detail)
	}
	message := name
	if len(detail) > 0 {
		message = fmt.Sprint(detail[0])
	}
	// Messages of Tryton quote what was sent, which may be personal: they stay in this process, as the cause.
	cause := errors.New(message)
	low := strings.ToLower(message)
	switch {
	case name == "ConcurrencyException":
		return backend.Native(fault.Wrap(fault.Conflict, fault.ReasonETagMismatch, cause, "the record has another version in the ERP"), Kind, name, "", "")
	case name == "UserError" || name == "UserWarning":
		return backend.Native(fault.Wrap(fault.Precondition, backend.ReasonRejected, cause, "a rule of the ERP refuses this"), Kind, name, "", "")
	case name == "LoginException":
		return fault.New(fault.Unavailable, "BACKEND_LOGIN_FAILED", "the ERP refuses user or password")
	case name == "RateLimitException":
		return fault.New(fault.Exhausted, fault.ReasonExhausted, "the ERP refuses more calls for now").WithRetryAfter(5 * time.Second)
	case strings.Contains(low, "lock") || strings.Contains(low, "serialize") || strings.Contains(low, "timeout"):
		return backend.Native(fault.Wrap(fault.Conflict, backend.ReasonLocked, cause, "somebody works on the record in the ERP; try again").
			WithRetryAfter(time.Second), Kind, "OperationalError", "", "")
	}
	return backend.Native(fault.Wrap(fault.Precondition, backend.ReasonRejected, cause, "the ERP failed and wrote nothing"), Kind, "Exception", "", "")
}
