package odata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const service = "API_BUSINESS_PARTNER"

type world struct {
	*Client
	t   *testing.T
	url string
}

func setup(t *testing.T, cfg sandbox.Config) *world {
	t.Helper()
	s, err := sandbox.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL, SAPClient: "100", User: "me", Password: "secret"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &world{c, t, server.URL}
}

func (w *world) faults(rules string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.url+"/__sandbox__/faults", strings.NewReader(`{"rules":[`+rules+`]}`))
	require.NoError(w.t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	require.Equal(w.t, 204, resp.StatusCode)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

type entity map[string]any

func org(name string) entity {
	return entity{"BusinessPartnerCategory": "2", "OrganizationBPName1": name}
}

func (w *world) count() int {
	w.t.Helper()
	n, err := w.Count(w.t.Context(), service, "A_BusinessPartner", "")
	require.NoError(w.t, err)
	return n
}

func TestClient(t *testing.T) {
	t.Parallel()
	w := setup(t, sandbox.Config{User: "ME", Password: "secret"})
	ctx := t.Context()
	a, err := w.Create(ctx, service, "A_BusinessPartner", org("Acme"), nil)
	require.NoError(t, err)
	require.NotEmpty(t, a.ETag)
	var made struct{ BusinessPartner string }
	require.NoError(t, json.Unmarshal(a.Body, &made))
	at := Key("A_BusinessPartner", made.BusinessPartner)
	t.Run("a change needs the tag of what was read", func(t *testing.T) {
		b, err := w.Update(ctx, service, at, a.ETag, entity{"SearchTerm1": "X"})
		require.NoError(t, err)
		require.NotEqual(t, a.ETag, b.ETag)
		_, err = w.Update(ctx, service, at, a.ETag, entity{"SearchTerm1": "Y"})
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(err))
		read, err := w.Get(ctx, service, at, nil)
		require.NoError(t, err)
		require.Equal(t, b.ETag, read.ETag)
	})
	t.Run("a session that ended is renewed once", func(t *testing.T) {
		before := w.Requests()
		w.faults(`{"effect":"sessions","method":"POST","count":1}`)
		_, err := w.Create(ctx, service, "A_BusinessPartner", org("B"), nil)
		require.NoError(t, err)
		require.EqualValues(t, 3, w.Requests()-before, "refused, token, again")
	})
	t.Run("a session that always ends is no reason to go on for ever", func(t *testing.T) {
		w.faults(`{"effect":"sessions","method":"POST"}`)
		_, err := w.Create(ctx, service, "A_BusinessPartner", org("C"), nil)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, ReasonToken, fault.ReasonOf(err))
	})
	t.Run("a refusal names code, property and transaction", func(t *testing.T) {
		w.faults("")
		_, err := w.Create(ctx, service, "A_BusinessPartner", entity{"BusinessPartnerCategory": "2"}, nil)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		p := ProblemOf(err)
		require.NotNil(t, p)
		require.Equal(t, []string{"OrganizationBPName1"}, p.Fields())
		require.NotEmpty(t, p.Transaction)
		require.NotContains(t, p.Error(), p.Message)
	})
	t.Run("another client of the system is another world", func(t *testing.T) {
		c, err := New(Options{URL: w.url, SAPClient: "200", User: "me", Password: "secret"})
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Get(ctx, service, at, nil)
		require.Equal(t, ReasonLogon, fault.ReasonOf(err))
	})
}

func TestClient_WhatAFailureMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		write      fault.Kind
		read       fault.Kind
		made       int
	}{
		{"an answer that is lost", `{"effect":"lose_ack","method":"%s","path":"A_","count":1}`, fault.Uncertain, fault.Unavailable, 1},
		{"an answer that is cut", `{"effect":"truncate","method":"%s","path":"A_","count":1}`, fault.Uncertain, fault.Unavailable, 1},
		{"a connection that breaks", `{"effect":"reset","method":"%s","path":"A_","count":1}`, fault.Uncertain, fault.Unavailable, 0},
		{"a gateway that gives up", `{"effect":"error","status":504,"method":"%s","path":"A_","count":1}`, fault.Uncertain, fault.Unavailable, 0},
		{"a dump", `{"effect":"error","status":500,"method":"%s","path":"A_","count":1}`, fault.Uncertain, fault.Unavailable, 0},
		{"a door that is closed", `{"effect":"error","status":503,"method":"%s","path":"A_","count":1}`, fault.Unavailable, fault.Unavailable, 0},
		{"throttling", `{"effect":"throttle","delay":"7s","method":"%s","path":"A_","count":1}`, fault.Exhausted, fault.Exhausted, 0},
		{"a missing authorisation", `{"effect":"error","status":403,"method":"%s","path":"A_","count":1}`, fault.Precondition, fault.Precondition, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, sandbox.Config{})
			_, err := w.session.get(t.Context(), w.Client, service, nil)
			require.NoError(t, err)
			w.faults(fmt.Sprintf(c.rule, "POST"))
			_, err = w.Create(t.Context(), service, "A_BusinessPartner", org("A"), nil)
			require.Equal(t, c.write, fault.KindOf(err), "%v", err)
			if c.write == fault.Exhausted {
				require.Equal(t, 7*time.Second, fault.RetryAfter(err))
			}
			if c.write == fault.Uncertain {
				require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err))
			}
			require.Equal(t, c.made, w.count())
			w.faults(fmt.Sprintf(c.rule, "GET"))
			err = w.Pages(t.Context(), service, "A_BusinessPartner", nil, func([]json.RawMessage) error { return nil })
			if c.name == "a connection that breaks" || strings.HasPrefix(c.name, "an answer that is lost") {
				// A read on a connection that was used before is sent again by net/http; both are right.
				require.True(t, err == nil || fault.KindOf(err) == c.read, "%v", err)
				return
			}
			require.Equal(t, c.read, fault.KindOf(err), "%v", err)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		c, err := New(Options{URL: "http://127.0.0.1:0"})
		require.NoError(t, err)
		_, err = c.Create(t.Context(), service, "A_BusinessPartner", org("A"), nil)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
	t.Run("a caller that leaves after the write was sent does not know", func(t *testing.T) {
		t.Parallel()
		w := setup(t, sandbox.Config{})
		_, err := w.session.get(t.Context(), w.Client, service, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		leaving := &Client{o: w.o, root: w.root, slots: w.slots}
		leaving.session.now = w.session.now
		leaving.o.Transport = transport(func(r *http.Request) (*http.Response, error) {
			resp, err := w.o.Transport.RoundTrip(r)
			cancel()
			if err == nil {
				_ = resp.Body.Close()
			}
			return nil, errors.Join(r.Context().Err(), err)
		})
		_, err = leaving.Create(ctx, service, "A_BusinessPartner", org("A"), nil)
		require.Equal(t, fault.Uncertain, fault.KindOf(err), "%v", err)
		require.Equal(t, 1, w.count())
	})
	t.Run("a lock is a conflict and nothing was written", func(t *testing.T) {
		t.Parallel()
		w := setup(t, sandbox.Config{})
		w.faults(`{"effect":"lock","count":1}`)
		_, err := w.Create(t.Context(), service, "A_BusinessPartner", org("A"), nil)
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.Equal(t, ReasonLocked, fault.ReasonOf(err))
		require.Zero(t, w.count())
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestBatch(t *testing.T) {
	t.Parallel()
	w := setup(t, sandbox.Config{})
	post := func(e entity) Op { return Op{Method: http.MethodPost, Path: "A_BusinessPartner", Body: e} }
	count := Op{Method: http.MethodGet, Path: "A_BusinessPartner", Query: url.Values{"$inlinecount": {"allpages"}, "$filter": {"OrganizationBPName1 ne 'ü & %'"}}}
	got, err := w.Batch(t.Context(), service, []Part{
		{post(org("A")), post(org("B"))}, {post(org("C")), post(entity{"BusinessPartnerCategory": "2"})}, {count}, {post(org("D"))},
	})
	require.NoError(t, err)
	require.Len(t, got, 4)
	require.NoError(t, got[0].Err)
	require.Len(t, got[0].Answers, 2)
	require.NotEmpty(t, got[0].Answers[0].ETag)
	require.Equal(t, fault.Invalid, fault.KindOf(got[1].Err))
	require.NoError(t, got[2].Err)
	rows, _, err := ParsePage(got[2].Answers[0].Body)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.NoError(t, got[3].Err)
	t.Run("a batch without an answer is uncertain", func(t *testing.T) {
		w.faults(`{"effect":"lose_ack","method":"POST","path":"$batch","count":2}`)
		_, err := w.Batch(t.Context(), service, []Part{{post(org("E"))}})
		require.Equal(t, fault.Uncertain, fault.KindOf(err))
		require.Equal(t, 4, w.count())
		_, err = w.Batch(t.Context(), service, []Part{{count}})
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "a batch of reads writes nothing")
	})
	t.Run("parts that are missing are uncertain one by one", func(t *testing.T) {
		const whole = "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n{}\r\n--b"
		for _, cut := range []string{"", "\r\nContent-Type: appl", "\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 201 Created\r\n\r\n{\"d\":{\"BusinessPa"} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Csrf-Token", "t")
				w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
				_, _ = fmt.Fprint(w, whole+cut)
			}))
			defer server.Close()
			c, err := New(Options{URL: server.URL})
			require.NoError(t, err)
			defer c.Close()
			got, err := c.Batch(t.Context(), service, []Part{{post(org("A"))}, {post(org("B"))}})
			require.NoError(t, err)
			require.Equal(t, fault.Invalid, fault.KindOf(got[0].Err))
			require.Equal(t, fault.Uncertain, fault.KindOf(got[1].Err), "%q", cut)
		}
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := setup(t, sandbox.Config{PageSize: 7})
	parts := make([]Part, 50)
	for i := range parts {
		parts[i] = Part{{Method: http.MethodPost, Path: "A_BusinessPartner", Body: org(fmt.Sprint(i))}}
	}
	_, err := w.Batch(t.Context(), service, parts)
	require.NoError(t, err)
	seen, pages := map[string]bool{}, 0
	require.NoError(t, w.Pages(t.Context(), service, "A_BusinessPartner", url.Values{"$select": {"BusinessPartner"}}, func(rows []json.RawMessage) error {
		pages++
		for _, r := range rows {
			seen[string(r)] = true
		}
		return nil
	}))
	require.Len(t, seen, 50)
	require.Equal(t, 8, pages)
	stop := errors.New("enough")
	require.ErrorIs(t, w.Pages(t.Context(), service, "A_BusinessPartner", nil, func([]json.RawMessage) error { return stop }), stop)
}

// TestPages_StaysWithItsHost: a next page on another host would get our password.
func TestPages_StaysWithItsHost(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1); r.URL.Query().Get("$skiptoken") == "" {
			_, _ = fmt.Fprint(w, `{"d":{"results":[{}],"__next":"http://elsewhere.invalid/x?$skiptoken=1"}}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"d":{"results":[{}]}}`)
	}))
	defer server.Close()
	c, err := New(Options{URL: server.URL})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Pages(t.Context(), service, "A_X", nil, func([]json.RawMessage) error { return nil }))
	require.EqualValues(t, 2, calls.Load())
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		now.Add(-1)
		_, _ = fmt.Fprint(w, `{"d":{}}`)
	}))
	defer server.Close()
	c, err := New(Options{URL: server.URL, Concurrency: 3})
	require.NoError(t, err)
	defer c.Close()
	var g errgroup.Group
	for range 12 {
		g.Go(func() error { _, err := c.Get(t.Context(), service, "A_X", nil); return err })
	}
	require.Eventually(t, func() bool { return now.Load() == 3 }, 30*time.Second, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Create(ctx, service, "A_X", entity{}, nil)
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "nothing was sent")
	close(release)
	require.NoError(t, g.Wait())
	require.LessOrEqual(t, most.Load(), int32(3))
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	w := setup(t, sandbox.Config{})
	m, err := w.Metadata(t.Context(), service)
	require.NoError(t, err)
	require.Equal(t, 40, m.Field("A_BusinessPartner", "OrganizationBPName1").MaxLength)
	require.False(t, m.Field("A_BusinessPartner", "BusinessPartnerFullName").Creatable)
	require.False(t, m.Sets["A_Customer"].Creatable)
	require.True(t, m.Has("A_BusinessPartner", "to_Customer", "SearchTerm1"))
	require.Equal(t, []string{"A_BusinessPartner.Nothing"}, m.Lacks("A_BusinessPartner", "Nothing", "ETag"))
	_, err = w.Metadata(t.Context(), "API_NOTHING")
	require.Error(t, err)
}

func TestSapMessage(t *testing.T) {
	t.Parallel()
	r := reply{status: 201, header: http.Header{"Sap-Message": {`{"code":"A/1","message":"m","severity":"error","details":[]}`}}, body: []byte(`{"d":{}}`)}
	_, err := r.answer(true)
	require.Equal(t, fault.Uncertain, fault.KindOf(err))
	r.header.Set("Sap-Message", `{"code":"A/1","message":"m","severity":"warning"}`)
	a, err := r.answer(true)
	require.NoError(t, err)
	require.Equal(t, "warning", a.Note.Severity)
}

// TestParseProblem holds that a part of an error in another form takes nothing from the rest of it.
func TestParseProblem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body    string
		details []Message
	}{
		"as the gateway writes it": {
			`{"error":{"code":"R1/402","message":{"lang":"en","value":"No"},"innererror":{"errordetails":[{"code":"A/1","message":"Why","target":"/A/B","severity":"error"}]}}}`,
			[]Message{{Code: "A/1", Message: "Why", Target: "/A/B", Severity: "error"}},
		},
		"as the adapter of CAP writes it": {
			`{"error":{"message":{"lang":"en","value":"No"},"code":"R1/402","severity":"error","target":"/#TRANSIENT#","innererror":{"errordetails":[{"message":{"lang":"en","value":"Why"},"code":"400","severity":"error","target":"/#TRANSIENT#"}]}}}`,
			[]Message{{Code: "400", Message: "Why", Target: "/#TRANSIENT#", Severity: "error"}},
		},
		"a text without its language":    {`{"error":{"code":"R1/402","message":"No"}}`, nil},
		"details of a form of their own": {`{"error":{"code":"R1/402","message":{"value":"No"},"innererror":"a dump"}}`, nil},
		"one detail that is no detail":   {`{"error":{"code":"R1/402","message":{"value":"No"},"innererror":{"errordetails":["x"]}}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := ParseProblem(http.StatusBadRequest, []byte(c.body))
			require.Equal(t, []string{"R1/402", "No"}, []string{p.Code, p.Message})
			require.Equal(t, c.details, p.Details)
		})
	}
	p := ParseProblem(http.StatusBadRequest, []byte(`{"error":{"code":"x","innererror":{"errordetails":["x"],"transactionid":"T1"}}}`))
	require.Equal(t, "T1", p.Transaction, "what an operator looks for")
	lock := ParseProblem(http.StatusBadRequest, []byte(`{"error":{"code":"x","message":{"value":"No"},"innererror":{"errordetails":[{"severity":"error","message":{"value":"Partner 1 is currently being processed by user X"}}]}}}`))
	require.True(t, lock.Locked())
}
