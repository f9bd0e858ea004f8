// Package odata is a thin client of SAP Gateway's OData V2: sessions with their tokens, conditional writes, deep inserts,
// batches of change sets, server paging, metadata, and what went wrong.
//
// The problem: after a write whose answer did not come nobody knows whether it happened, and SAP says many things with one
// status. The invariant: an error is Unavailable or Exhausted only if nothing was executed, certainly; a write that was
// sent and not answered is Uncertain. No write is sent twice, except after SAP said that its token was not valid, which
// means that it executed nothing.
//
// It knows no business object (package sap), repeats nothing else, and caches nothing but the session.
package odata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Options say which system and how to speak to it.
type Options struct {
	// URL is scheme and host, with a path when a proxy adds one; services are below it.
	URL string
	// SAPClient is the three digits of the client; empty sends none.
	SAPClient string
	// User and Password log on by Basic authentication; empty sends none.
	User, Password string
	// OAuth logs on by access tokens instead; nil does not.
	OAuth *Credentials
	// Language is the logon language, always the same one: units and partner functions depend on it. Empty means "en".
	Language string
	// Concurrency is how many requests may be under way; zero means 4.
	Concurrency int
	// Timeout bounds one request; zero means a minute.
	Timeout time.Duration
	// Transport carries requests; nil means a transport of its own.
	Transport http.RoundTripper
	// Now is the clock by which access tokens age; time.Now when nil.
	Now func() time.Time
	// Meter counts requests; nil counts nothing.
	Meter metric.Meter
	// Noted hears what SAP says beside its successes, by service; nil hears nothing. Their texts may name people.
	Noted func(ctx context.Context, service string, said []Message)
}

// Client speaks to one system as one user. Make it with New; it is safe for concurrent use.
type Client struct {
	o        Options
	root     string
	slots    chan struct{}
	session  sessionKeeper
	tokens   *tokens // nil without OAuth
	requests metric.Int64Counter
	sent     atomic.Int64
	clock    atomic.Pointer[time.Time]
}

// New checks the options and returns a client. It sends nothing.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("the address of the system is http or https, a host, perhaps a path, and nothing else")
	}
	if o.Language == "" {
		o.Language = "en"
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: o.Concurrency, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: o.Timeout}
	}
	c := &Client{o: o, root: strings.TrimSuffix(o.URL, "/") + "/sap/opu/odata/sap/", slots: make(chan struct{}, o.Concurrency)}
	if o.OAuth != nil {
		c.tokens = newTokens(*o.OAuth, o.Transport, o.Now)
	}
	if o.Meter != nil {
		if c.requests, err = o.Meter.Int64Counter("selfsame.erp.sap.requests", metric.WithDescription("Requests to SAP, by method and what came of them.")); err != nil {
			return nil, fmt.Errorf("sap metrics: %w", err)
		}
	}
	return c, nil
}

// Requests is how many HTTP requests were sent.
func (c *Client) Requests() int64 { return c.sent.Load() }

// Clock is the time of SAP's clock at its last answer, in whole seconds; zero before the first.
func (c *Client) Clock() time.Time {
	if at := c.clock.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Close drops idle connections.
func (c *Client) Close() {
	if t, ok := c.o.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// maxAnswer is the largest answer that is read.
const maxAnswer = 64 << 20

// reply is a whole HTTP answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call is one HTTP request.
type call struct {
	method, service, path string
	query                 url.Values
	header                map[string]string
	body                  []byte
}

func (q call) writes() bool { return q.method != http.MethodGet && q.method != http.MethodHead }

// send sends a request and reads the answer; a token that is no longer valid is renewed once.
func (c *Client) send(ctx context.Context, q call) (reply, error) {
	if !q.writes() {
		return c.once(ctx, q, c.session.current())
	}
	s, err := c.session.get(ctx, c, q.service, nil)
	if err != nil {
		return reply{}, err
	}
	r, err := c.once(ctx, q, s)
	if err != nil || r.status != http.StatusForbidden || !strings.EqualFold(r.header.Get("X-Csrf-Token"), "Required") {
		return r, err
	}
	if s, err = c.session.get(ctx, c, q.service, s); err != nil {
		return reply{}, err
	}
	return c.once(ctx, q, s)
}

// once sends a request as it is, with a new access token when SAP takes the old one no more: it executed nothing then.
func (c *Client) once(ctx context.Context, q call, s *session) (reply, error) {
	if c.tokens == nil {
		return c.transfer(ctx, q, s, "")
	}
	token, err := c.tokens.get(ctx, "")
	if err != nil {
		return reply{}, err
	}
	r, err := c.transfer(ctx, q, s, token)
	if err != nil || r.status != http.StatusUnauthorized {
		return r, err
	}
	if token, err = c.tokens.get(ctx, token); err != nil {
		return reply{}, err
	}
	return c.transfer(ctx, q, s, token)
}

// transfer sends one HTTP request and reads its answer.
func (c *Client) transfer(ctx context.Context, q call, s *session, token string) (reply, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return reply{}, fault.Wrap(fault.Unavailable, reasonBusy, ctx.Err(), "no request to SAP was free in time; nothing was sent")
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	var written atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }}
	req, err := c.request(httptrace.WithClientTrace(ctx, trace), q, s)
	if err != nil {
		return reply{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if late(ctx) {
		return reply{}, fault.Wrap(fault.Unavailable, reasonBusy, context.DeadlineExceeded, "the time of the call was over; nothing was sent to SAP")
	}
	c.sent.Add(1)
	resp, err := c.o.Transport.RoundTrip(req)
	if err != nil {
		return reply{}, c.failed(ctx, q, err, written.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is too large")
	}
	if err != nil {
		return reply{}, c.failed(ctx, q, err, true)
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.clock.Store(&at)
	}
	if s != nil {
		s.keep(resp)
	}
	c.count(ctx, q.method, fmt.Sprintf("%dxx", resp.StatusCode/100))
	return reply{resp.StatusCode, resp.Header, body}, nil
}

func (c *Client) request(ctx context.Context, q call, s *session) (*http.Request, error) {
	target := c.root + q.service + "/" + q.path
	query := url.Values{}
	for k, v := range q.query {
		query[k] = v
	}
	if c.o.SAPClient != "" {
		query.Set("sap-client", c.o.SAPClient)
	}
	if text := encode(query); text != "" {
		target += "?" + text
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, bytes.NewReader(q.body))
	if err != nil {
		return nil, fmt.Errorf("make a request to SAP: %w", err)
	}
	if len(q.body) == 0 {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Language", c.o.Language)
	req.Header.Set("User-Agent", "selfsame")
	if len(q.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	if c.o.User != "" {
		req.SetBasicAuth(c.o.User, c.o.Password)
	}
	if s != nil {
		s.sign(req, q.writes())
	}
	return req, nil
}

// late tells whether the time of a call is over, by the clock: after a pause of the whole process its timer may not have gone
// off yet, and somebody else may have taken its write over.
func late(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	now := time.Now()
	return ok && (!now.Before(end) || !now.Round(0).Before(end.Round(0)))
}

// encode is url.Values.Encode with %20 for spaces, which every gateway and proxy reads alike.
func encode(v url.Values) string { return strings.ReplaceAll(v.Encode(), "+", "%20") }

func (c *Client) count(ctx context.Context, method, outcome string) {
	if c.requests != nil {
		c.requests.Add(context.WithoutCancel(ctx), 1, metric.WithAttributes(attribute.String("method", method), attribute.String("outcome", outcome)))
	}
}

// failed says what a request without an answer means.
func (c *Client) failed(ctx context.Context, q call, err error, written bool) error {
	switch {
	case q.writes() && written:
		c.count(ctx, q.method, "uncertain")
		return lost(err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.count(ctx, q.method, "timeout")
		return fault.Wrap(fault.Unavailable, fault.ReasonTimeout, err, "SAP did not answer in time")
	case ctx.Err() != nil:
		return fault.Wrap(fault.Canceled, fault.ReasonCanceled, err, "the call was given up")
	}
	c.count(ctx, q.method, "unreachable")
	return fault.Wrap(fault.Unavailable, ReasonUnreachable, err, "SAP cannot be reached")
}

func lost(err error) error {
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "SAP did not answer a write that was sent; it may have happened")
}

// Get reads one entity, or what a function returns; path is escaped ("A_SalesOrder('1')").
func (c *Client) Get(ctx context.Context, service, path string, query url.Values) (Answer, error) {
	r, err := c.send(ctx, call{method: http.MethodGet, service: service, path: path, query: query})
	if err != nil {
		return Answer{}, err
	}
	return c.answer(ctx, service, r, false)
}

// Create makes an entity with what is nested in it. The answer holds it as it is stored.
func (c *Client) Create(ctx context.Context, service, set string, body any, header map[string]string) (Answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return Answer{}, fmt.Errorf("write an entity of %s: %w", set, err)
	}
	r, err := c.send(ctx, call{method: http.MethodPost, service: service, path: set, body: text, header: header})
	if err != nil {
		return Answer{}, err
	}
	a, err := c.answer(ctx, service, r, true)
	if err == nil && (a.Status != http.StatusCreated || len(a.Body) == 0) {
		return a, lost(fmt.Errorf("status %d without an entity", a.Status))
	}
	return a, err
}

// Update changes fields of an entity on the condition of its tag; an empty tag sets no condition.
func (c *Client) Update(ctx context.Context, service, path, etag string, fields any) (Answer, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return Answer{}, fmt.Errorf("write changed fields: %w", err)
	}
	r, err := c.send(ctx, call{method: http.MethodPatch, service: service, path: path, body: text, header: condition(etag)})
	if err != nil {
		return Answer{}, err
	}
	return c.answer(ctx, service, r, true)
}

// Delete removes an entity on the condition of its tag; an empty tag sets no condition.
func (c *Client) Delete(ctx context.Context, service, path, etag string) error {
	r, err := c.send(ctx, call{method: http.MethodDelete, service: service, path: path, header: condition(etag)})
	if err != nil {
		return err
	}
	_, err = c.answer(ctx, service, r, true)
	return err
}

func condition(etag string) map[string]string {
	if etag == "" {
		return nil
	}
	return map[string]string{"If-Match": etag}
}
