package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent takes requests and never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(r.Context()).WroteHeaders()
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// fixedSessions hands out numbered sessions.
type fixedSessions struct {
	url     string
	renewed atomic.Int64
}

func (f *fixedSessions) Session(context.Context) (auth.Session, error) {
	return auth.Session{Token: fmt.Sprint("token", f.renewed.Load()), InstanceURL: f.url, OrgID: "00D"}, nil
}

func (f *fixedSessions) Renew(ctx context.Context, _ auth.Session) (auth.Session, error) {
	f.renewed.Add(1)
	return f.Session(ctx)
}

func (f *fixedSessions) Accepted(auth.Session) {}

// step is one scripted answer.
type step struct {
	status int
	file   string // under testdata/wire; "" answers nothing, "reset" drops the connection after reading the request
	usage  string
}

type seen struct {
	method, uri, token, options string
	body                        map[string]any
}

type vendor struct {
	t        *testing.T
	mu       sync.Mutex
	steps    []step
	requests []seen
	sessions *fixedSessions
	client   *Client
	now      time.Time
}

func setup(t *testing.T, steps ...step) *vendor {
	t.Helper()
	v := &vendor{t: t, steps: steps, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	server := httptest.NewServer(http.HandlerFunc(v.serve))
	t.Cleanup(server.Close)
	v.sessions = &fixedSessions{url: server.URL}
	v.client = New(Options{Sessions: v.sessions, HTTP: server.Client(), APIVersion: "66.0", ClientName: "selfsame", Now: func() time.Time { v.mu.Lock(); defer v.mu.Unlock(); return v.now }})
	return v
}

func (v *vendor) serve(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := seen{method: r.Method, uri: r.URL.RequestURI(), token: r.Header.Get("Authorization"), options: r.Header.Get("Sforce-Call-Options")}
	_ = json.Unmarshal(raw, &s.body)
	v.requests = append(v.requests, s)
	if len(v.steps) == 0 {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	next := v.steps[0]
	v.steps = v.steps[1:]
	if next.file == "reset" {
		panic(http.ErrAbortHandler)
	}
	if next.usage != "" {
		w.Header().Set("Sforce-Limit-Info", next.usage)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(next.status)
	if next.file != "" {
		body, err := os.ReadFile(filepath.Join("testdata", "wire", next.file))
		if err != nil {
			v.t.Errorf("wire file: %v", err)
		}
		_, _ = w.Write(body)
	}
}

// got returns the requests so far.
func (v *vendor) got() []seen { v.mu.Lock(); defer v.mu.Unlock(); return slices.Clone(v.requests) }

func (v *vendor) add(d time.Duration) { v.mu.Lock(); defer v.mu.Unlock(); v.now = v.now.Add(d) }

func records(n int) []Record {
	out := make([]Record, n)
	for i := range out {
		out[i] = Record{"Selfsame_Id__c": fmt.Sprint("S-", i), "Name": "n"}
	}
	return out
}

func TestRetrieve(t *testing.T) {
	t.Parallel()
	v := setup(t, step{status: 200, file: "retrieve.json", usage: "api-usage=18/15000"})
	rows, err := v.client.Retrieve(t.Context(), "Account", []string{"001Hs00004abcdF", "001Hs00004zzzzzIAA", "001Hs00004abcdEIAQ"}, []string{"Id", "Name"})
	require.NoError(t, err)
	require.Len(t, rows, 3)
	require.Equal(t, "Bolt AG", rows[0]["Name"], "records are matched by id, also by a short one")
	require.Nil(t, rows[1])
	require.Equal(t, "Acme GmbH", rows[2]["Name"])
	require.Equal(t, Usage{Used: 18, Limit: 15000, Own: 1}, v.client.Usage())
	require.Equal(t, seen{
		method: "POST", uri: "/services/data/v66.0/composite/sobjects/Account", token: "Bearer token0", options: "client=selfsame",
		body: map[string]any{"ids": []any{"001Hs00004abcdF", "001Hs00004zzzzzIAA", "001Hs00004abcdEIAQ"}, "fields": []any{"Id", "Name"}},
	}, v.got()[0])
}

func TestQuery(t *testing.T) {
	t.Parallel()
	t.Run("pages are followed to the end", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 200, file: "query_page1.json"}, step{status: 200, file: "query_page2.json"})
		rows, err := v.client.Query(t.Context(), "SELECT Id FROM Account WHERE Name = 'A & B'")
		require.NoError(t, err)
		require.Len(t, rows, 3)
		require.Equal(t, "/services/data/v66.0/query?q=SELECT+Id+FROM+Account+WHERE+Name+%3D+%27A+%26+B%27", v.got()[0].uri)
		require.Equal(t, "/services/data/v66.0/query/01gHs0000012345-2000", v.got()[1].uri)
	})
	t.Run("a locator that died restarts the query, and no row comes twice", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 200, file: "query_page1.json"}, step{status: 400, file: "locator.json"}, step{status: 200, file: "query_page1.json"}, step{status: 200, file: "query_page2.json"})
		rows, err := v.client.Query(t.Context(), "SELECT Id FROM Account")
		require.NoError(t, err)
		require.Len(t, rows, 3)
	})
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	t.Run("every record has its own outcome, in the order sent", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 200, file: "upsert.json"})
		results, err := v.client.Upsert(t.Context(), "Account", "Selfsame_Id__c", records(4))
		require.NoError(t, err)
		require.Equal(t, Result{ID: "001Hs00004abcdEIAQ", Created: true}, results[0])
		require.Equal(t, ReasonLocked, results[1].Refused.Reason)
		require.True(t, results[1].Refused.Retryable)
		require.Equal(t, ReasonRequired, results[2].Refused.Reason)
		require.Equal(t, []string{"Name"}, results[2].Refused.Fields)
		require.False(t, results[2].Refused.Retryable)
		require.Equal(t, Result{ID: "001Hs00004abcdHIAQ"}, results[3])
		require.Equal(t, "PATCH", v.got()[0].method)
		require.Equal(t, "/services/data/v66.0/composite/sobjects/Account/Selfsame_Id__c", v.got()[0].uri)
		require.Equal(t, false, v.got()[0].body["allOrNone"])
		require.Equal(t, map[string]any{"attributes": map[string]any{"type": "Account"}, "Selfsame_Id__c": "S-0", "Name": "n"}, v.got()[0].body["records"].([]any)[0])
	})
	t.Run("a record that lost the race for its external id is sent once more, one that duplicates another field is not", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 200, file: "upsert_race.json"}, step{status: 200, file: "upsert_race_second.json"})
		results, err := v.client.Upsert(t.Context(), "Account", "Selfsame_Id__c", records(3))
		require.NoError(t, err)
		require.True(t, results[0].Created)
		require.Equal(t, Result{ID: "001Hs00004abcdFIAQ"}, results[1])
		require.Equal(t, ReasonDuplicateValue, results[2].Refused.Reason)
		require.Len(t, v.got()[1].body["records"], 1)
	})
	t.Run("a failed second attempt does not take back the first outcomes", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 200, file: "upsert_race.json"}, step{status: 403, file: "limit.json"})
		results, err := v.client.Upsert(t.Context(), "Account", "Selfsame_Id__c", records(3))
		require.NoError(t, err)
		require.True(t, results[0].Created)
		require.Equal(t, ReasonDuplicateValue, results[1].Refused.Reason)
	})
	t.Run("a lost answer is asked for once more", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{file: "reset"}, step{status: 200, file: "upsert.json"})
		_, err := v.client.Upsert(t.Context(), "Account", "Selfsame_Id__c", records(4))
		require.NoError(t, err)
		require.Len(t, v.got(), 2)
		require.Equal(t, v.got()[0].body, v.got()[1].body)
	})
	for name, steps := range map[string][]step{
		"both answers are lost":                             {{file: "reset"}, {file: "reset"}},
		"the answer is lost and then the allowance is gone": {{file: "reset"}, {status: 403, file: "limit.json"}},
		"the server breaks twice":                           {{status: 500, file: "unknown.json"}, {status: 502}},
	} {
		t.Run("the outcome is uncertain when "+name, func(t *testing.T) {
			t.Parallel()
			v := setup(t, steps...)
			_, err := v.client.Upsert(t.Context(), "Account", "Selfsame_Id__c", records(4))
			require.Equal(t, fault.Uncertain, fault.KindOf(err))
			require.Len(t, v.got(), 2)
		})
	}
	t.Run("an answer with too few outcomes leaves all of them uncertain", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 200, file: "upsert.json"})
		_, err := v.client.Update(t.Context(), "Account", records(5))
		require.Equal(t, fault.Uncertain, fault.KindOf(err))
	})
	t.Run("a server that is not available has done nothing", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 503, file: "unavailable.json"}, step{status: 503, file: "unavailable.json"})
		_, err := v.client.Upsert(t.Context(), "Account", "Selfsame_Id__c", records(1))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, ReasonUnavailable, fault.ReasonOf(err))
	})
	t.Run("a deadline that passes while the answer is awaited leaves the outcome uncertain", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := New(Options{Sessions: &fixedSessions{url: "https://salesforce.example"}, HTTP: &http.Client{Transport: silent{}}, APIVersion: "66.0"})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			_, err := c.Upsert(ctx, "Account", "Selfsame_Id__c", records(1))
			require.Equal(t, fault.Uncertain, fault.KindOf(err))
			require.Equal(t, 3*time.Second-deadlineMargin, time.Since(began), "the caller learns it before its own deadline")
		})
	})
}

func TestSession(t *testing.T) {
	t.Parallel()
	t.Run("a session that ended is renewed once", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 401, file: "session.json"}, step{status: 200, file: "describe.json"})
		fields, err := v.client.Describe(t.Context(), "Account")
		require.NoError(t, err)
		require.Len(t, fields, 2)
		require.True(t, fields[1].ExternalID)
		require.Equal(t, "Bearer token1", v.got()[1].token)
	})
	t.Run("a renewed session that is refused too ends the call", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 401, file: "session.json"}, step{status: 401, file: "session.json"})
		_, err := v.client.Describe(t.Context(), "Account")
		require.Equal(t, auth.ReasonSessionRefused, fault.ReasonOf(err))
		require.Len(t, v.got(), 2)
	})
	t.Run("a refusal that a new session cannot mend does not cause a login", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 401, file: "session_permanent.json"})
		_, err := v.client.Describe(t.Context(), "Account")
		require.Equal(t, auth.ReasonLoginRefused, fault.ReasonOf(err))
		require.Zero(t, v.sessions.renewed.Load())
	})
}

func TestLimit(t *testing.T) {
	t.Parallel()
	v := setup(t, step{status: 403, file: "limit.json", usage: "api-usage=15000/15000"}, step{status: 403, file: "limit.json"}, step{status: 200, file: "describe.json", usage: "api-usage=14000/15000"})
	_, err := v.client.Describe(t.Context(), "Account")
	require.Equal(t, fault.Exhausted, fault.KindOf(err))
	require.Equal(t, 5*time.Minute, fault.RetryAfter(err))
	v.add(4 * time.Minute)
	_, err = v.client.Describe(t.Context(), "Account")
	require.Equal(t, time.Minute, fault.RetryAfter(err))
	require.Len(t, v.got(), 1, "the circuit is open")
	v.add(time.Minute)
	_, err = v.client.Describe(t.Context(), "Account")
	require.Equal(t, 5*time.Minute, fault.RetryAfter(err), "the probe failed")
	require.Len(t, v.got(), 2)
	v.add(5 * time.Minute)
	_, err = v.client.Describe(t.Context(), "Account")
	require.NoError(t, err, "the probe succeeded")
	end, err := v.client.o.Budget.Begin(t.Context())
	require.NoError(t, err, "the circuit is closed again")
	end(CallOutcome{})
	require.Equal(t, Usage{Used: 14000, Limit: 15000, Own: 3}, v.client.Usage())
}

func TestReadRetries(t *testing.T) {
	t.Parallel()
	v := setup(t, step{status: 503}, step{file: "reset"}, step{status: 200, file: "describe.json"})
	_, err := v.client.Describe(t.Context(), "Account")
	require.NoError(t, err)
	require.Len(t, v.got(), 3)
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	c := New(Options{Sessions: &fixedSessions{url: url}, HTTP: http.DefaultClient, APIVersion: "66.0"})
	_, err := c.Update(t.Context(), "Account", records(1))
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "what was never sent is not uncertain")
	require.Equal(t, auth.ReasonUnreachable, fault.ReasonOf(err))
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		fmt.Fprint(w, `{"fields":[]}`)
	}))
	t.Cleanup(server.Close)
	c := New(Options{Sessions: &fixedSessions{url: server.URL}, HTTP: server.Client(), APIVersion: "66.0", MaxConcurrent: 3})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := c.Describe(t.Context(), "Account"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(3))
}

func TestRefusal_HidesWhatSalesforceWrote(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"INVALID_EMAIL_ADDRESS", "DUPLICATE_VALUE", "SOMETHING_NEW", "jane@example.test", "NOT_FOUND", "INVALID_FIELD"} {
		tr := classify(400, []byte(`[{"message":"invalid: jane@example.test","errorCode":"`+code+`"}]`), OpUpsert)
		require.NotContains(t, tr.err.Error(), "jane", code)
		require.NotContains(t, fault.ToStatus(tr.err).Message(), "jane", code)
	}
}

func TestRefusal_AnIDThatIsNone(t *testing.T) {
	t.Parallel()
	for body, kind := range map[string]fault.Kind{
		`[{"errorCode":"MALFORMED_ID","message":"m"}]`:                                                     fault.Invalid,
		`[{"errorCode":"INVALID_QUERY_FILTER_OPERATOR","message":"invalid ID field: 500000000000009999"}]`: fault.Invalid,
		`[{"errorCode":"INVALID_QUERY_FILTER_OPERATOR","message":"invalid operator on id field"}]`:         fault.Precondition,
	} {
		require.Equal(t, kind, fault.KindOf(classify(400, []byte(body), OpRead).err), body)
	}
}

func TestParseUsage(t *testing.T) {
	t.Parallel()
	for header, want := range map[string][2]int64{
		"api-usage=18/15000": {18, 15000},
		"api-usage=25/5000, per-app-api-usage=17/250(appName=sample)": {25, 5000},
		"per-app-api-usage=17/250(appName=sample); api-usage=1/2":     {1, 2},
		"": {}, "api-usage=x/1": {}, "api-usage=5": {}, "api-usage=-1/5": {},
	} {
		used, limit, ok := parseUsage(header)
		if ok {
			require.Equal(t, want, [2]int64{used, limit}, header)
		} else {
			require.Equal(t, [2]int64{}, want, header)
		}
	}
}

func TestFullID(t *testing.T) {
	t.Parallel()
	require.Equal(t, "001Hs00004abcdEIAQ", FullID("001Hs00004abcdE"))
	require.Equal(t, "00D000000000062EAA", FullID("00D000000000062"))
	require.Equal(t, "001Hs00004abcdEIAQ", FullID("001Hs00004abcdEIAQ"))
	require.Empty(t, FullID(""))
}

func TestQuote(t *testing.T) {
	t.Parallel()
	require.Equal(t, `'O\'Hara \\ \n'`, Quote("O'Hara \\ \n"))
}
