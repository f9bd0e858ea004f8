// Package rest is the one client of the Salesforce REST API.
//
// The problem: an HTTP status says little about what happened. The same 403 means "wait a day" or "wait a second", a 400 may
// be a lock that is gone in a moment, and a lost connection leaves open whether records were written. The invariant: every
// failure leaves this package classified as a fault, from the error code and from whether the call may have had an effect,
// and every record of a batch has an outcome of its own.
//
// It offers no create: records are made only by upsert with an external id, so every call here may be repeated.
// It does not know what the fields mean; that is package mapping.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

const (
	maxBody        = 64 << 20
	callTimeout    = 2 * time.Minute
	readRetries    = 2
	writeRetries   = 1
	retryPause     = 150 * time.Millisecond
	deadlineMargin = 300 * time.Millisecond
)

// Sessions is what the client needs of package auth.
type Sessions interface {
	Session(ctx context.Context) (auth.Session, error)
	Renew(ctx context.Context, refused auth.Session) (auth.Session, error)
	Accepted(session auth.Session)
}

// Options configure a Client. Sessions and HTTP are required.
type Options struct {
	Sessions Sessions
	// HTTP sends the requests; its transport adds spans. It must not follow redirects to other hosts.
	HTTP *http.Client
	// APIVersion is the version in the URLs, "66.0".
	APIVersion string
	// ClientName is sent as Sforce-Call-Options client and comes back in the origin of changes.
	ClientName string
	// MaxConcurrent is how many calls may run at once; 0 means 8.
	MaxConcurrent int
	// LimitPause is how long calls are held back after the daily allowance was used up; 0 means 5 minutes.
	LimitPause time.Duration
	// Budget is asked before every call; nil means one of the client's own, with MaxConcurrent slots.
	Budget Budget
	// CircuitPause is how long calls are held back after most of the last ones failed; 0 means 5 seconds.
	CircuitPause time.Duration
	// Meter gets the counters; nil discards them.
	Meter metric.MeterProvider
	// Wrote is told of every record that a collections or composite call wrote: Salesforce does not promise that their change
	// events name the client. nil tells nobody.
	Wrote func(id string, fields Record)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log gets what we coped with; nil discards it.
	Log *slog.Logger
}

// Client calls the REST API. Create it with New; it is safe for concurrent use.
type Client struct {
	o     Options
	own   atomic.Int64
	usage usage
	clock serverClock
	pace  pace
	guard *guard
}

// New returns a client. It makes no call.
func New(o Options) *Client {
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 8
	}
	if o.LimitPause <= 0 {
		o.LimitPause = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wrote == nil {
		o.Wrote = func(string, Record) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CircuitPause <= 0 {
		o.CircuitPause = 5 * time.Second
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	c := &Client{o: o, guard: newGuard(o)}
	if c.o.Budget == nil {
		c.o.Budget = &alone{c: c, slots: make(chan struct{}, o.MaxConcurrent), limit: limiter{pause: o.LimitPause}}
	}
	return c
}

// request is one call; path is relative to the versioned base unless it begins with a slash.
type request struct {
	method, path string
	query        url.Values
	body         any
	op           Op
	once         bool // must not be repeated once it may have run
	headers      map[string]string
	answer       func(http.Header) // sees the header of a successful answer; may be nil
}

// trouble is the failure of one attempt.
type trouble struct {
	err   *fault.Error
	again bool // another attempt may succeed at once
	ran   bool // the call may have had its effect
}

// call runs r until it succeeds or there is no point in another attempt.
func (c *Client) call(ctx context.Context, r request, out any) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	body, ready := r.body.(encoded)
	if !ready && r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	retries := readRetries
	if r.op.writes() {
		retries = writeRetries
	}
	c.guard.earn()
	ran := false
	for attempt := 0; ; attempt++ {
		t := c.attempt(ctx, r, body, out)
		if t == nil {
			return nil
		}
		ran = ran || t.ran
		once := ran && (r.once || r.op == OpCreate)
		if !t.again || once || attempt >= retries || !c.Repeat(ctx, attempt, t.err.Reason) {
			if r.op.writes() && ran {
				return uncertain(t.err)
			}
			return t.err
		}
		c.o.Log.LogAttrs(ctx, slog.LevelInfo, "call to salesforce repeated", slog.String("reason", t.err.Reason), slog.Int("attempt", attempt+1))
	}
}

// bound keeps enough of the caller's time to tell it the outcome.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := callTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		timeout = min(timeout, left-min(deadlineMargin, left/5))
	}
	return context.WithTimeout(ctx, timeout)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// User returns the id of the user of the session; empty when there is no session, or it does not say.
func (c *Client) User(ctx context.Context) string {
	session, err := c.o.Sessions.Session(ctx)
	if err != nil {
		return ""
	}
	return session.UserID
}

// attempt sends the request once, or twice when the session had ended: a refused session proves that nothing happened.
func (c *Client) attempt(ctx context.Context, r request, body []byte, out any) (t *trouble) {
	end, settle, err := c.begin(ctx)
	if err != nil {
		return &trouble{err: asFault(err)}
	}
	defer func() { settle(t) }()
	var told CallOutcome
	defer func() { end(told) }()
	session, err := c.o.Sessions.Session(ctx)
	if err != nil {
		return &trouble{err: asFault(err)}
	}
	t = c.send(ctx, session, r, body, out, &told)
	if t == nil || t.err.Reason != reasonSessionEnded {
		return t
	}
	if session, err = c.o.Sessions.Renew(ctx, session); err != nil {
		return &trouble{err: asFault(err)}
	}
	if t = c.send(ctx, session, r, body, out, &told); t != nil && t.err.Reason == reasonSessionEnded {
		t.err = fault.New(fault.Unavailable, auth.ReasonSessionRefused, "Salesforce refuses the session it has just issued").WithRetryAfter(time.Second)
	}
	return t
}

// begin asks for leave to make a call. The circuit is asked last: a call that the budget refuses tells it nothing. Both functions
// must be called: end when the slot of the call is free, settle when it is known how the call went.
func (c *Client) begin(ctx context.Context) (end func(CallOutcome), settle func(*trouble), err error) {
	if held := c.guard.held(); held != nil {
		return nil, nil, held // at once, without waiting for a slot
	}
	if end, err = c.o.Budget.Begin(ctx); err != nil {
		return nil, nil, err
	}
	if refused := c.guard.admit(); refused != nil {
		end(CallOutcome{})
		return nil, nil, refused
	}
	start := time.Now()
	return end, func(t *trouble) {
		took := time.Since(start)
		c.guard.settle(t, took)
		if t == nil {
			c.pace.observe(took)
		}
	}, nil
}

func asFault(err error) *fault.Error {
	if fe, ok := fault.As(err); ok {
		return fe
	}
	return fault.Wrap(fault.Internal, fault.ReasonInternal, err, "the call could not be made")
}

func (c *Client) send(ctx context.Context, session auth.Session, r request, body []byte, out any, told *CallOutcome) (t *trouble) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := c.build(ctx, session, r, body)
	if err != nil {
		return &trouble{err: asFault(err)}
	}
	c.sent(ctx)
	told.Sends++
	defer func() { told.failed(t) }()
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		if !sent.Load() {
			told.Sends--
		}
		return lost(ctx, err, sent.Load())
	}
	defer resp.Body.Close()
	told.note(resp.Header)
	c.usage.observe(resp.Header)
	c.clock.observe(resp.Header, c.o.Now())
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return lost(ctx, err, true)
	case len(data) > maxBody:
		return &trouble{err: fault.New(fault.Internal, ReasonAnswerInvalid, "the answer of Salesforce is larger than %d MiB", maxBody>>20), ran: true}
	}
	if resp.StatusCode >= 300 {
		t := classify(resp.StatusCode, data, r.op)
		if t.err.Reason == ReasonLimit {
			t.err = t.err.WithRetryAfter(c.o.LimitPause)
		}
		return t
	}
	told.Served = true
	c.o.Sessions.Accepted(session)
	if r.answer != nil {
		r.answer(resp.Header)
	}
	if out == nil {
		return nil
	}
	if err := decode(data, out); err != nil {
		return &trouble{err: fault.Wrap(fault.Internal, ReasonAnswerInvalid, shape(err), "the answer of Salesforce cannot be read"), ran: true}
	}
	return nil
}

// decode reads an answer. Numbers whose type the target leaves open stay as they were written.
func decode(data []byte, out any) error {
	if s, ok := out.(*saved); ok && s.quick(data) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// shape keeps the place of a decoding error and drops the text, which may quote the answer.
func shape(err error) error {
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("invalid JSON at byte %d", se.Offset)
	}
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("unexpected JSON type at byte %d, field %q", te.Offset, te.Field)
	}
	return errors.New("invalid JSON")
}

func (c *Client) build(ctx context.Context, session auth.Session, r request, body []byte) (*http.Request, error) {
	path := r.path
	if !strings.HasPrefix(path, "/") {
		path = "/services/data/v" + c.o.APIVersion + "/" + path
	}
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, session.InstanceURL+path, reader)
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+session.Token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Sforce-Call-Options", "client="+c.o.ClientName)
	if r.op.writes() {
		// Both default to what suits people at a screen: handing records on to others, and remembering what was looked at.
		req.Header.Set("Sforce-Auto-Assign", "FALSE")
		req.Header.Set("Sforce-Mru", "updateMru=false")
	}
	for name, value := range r.headers {
		req.Header.Set(name, value)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	}
	return req, nil
}

// lost classifies the failure of a request that got no complete answer.
func lost(ctx context.Context, err error, sent bool) *trouble {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // the URL may hold a query
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return &trouble{err: fault.Wrap(fault.Canceled, fault.ReasonCanceled, err, "the call was cancelled"), ran: sent}
	case ctx.Err() != nil:
		return &trouble{err: fault.Wrap(fault.Timeout, fault.ReasonTimeout, err, "Salesforce did not answer in time"), ran: sent}
	}
	return &trouble{
		err:   fault.Wrap(fault.Unavailable, auth.ReasonUnreachable, err, "the connection to Salesforce was lost").WithRetryAfter(2 * time.Second),
		again: true, ran: sent,
	}
}

func uncertain(cause *fault.Error) error {
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, cause, "it is not known whether Salesforce took the records")
}
