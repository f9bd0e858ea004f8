package bulk

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const appID = "3MVG9.selfsame.test"

var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// org is a running sandbox, reached through a wire that can be cut.
type org struct {
	t    testing.TB
	base string
	wire *wire
	// sessions logs in without the wire, so that the numbers on it are those of the calls that matter.
	sessions *auth.Source
	direct   *http.Client
}

func setup(t testing.TB, change ...func(*sandbox.Config)) *org {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(&appKey().PublicKey)
	require.NoError(t, err)
	cfg := sandbox.Config{Apps: []sandbox.App{{ClientID: appID, PublicKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}}, Seed: 7}
	for _, c := range change {
		c(&cfg)
	}
	box, err := sandbox.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- box.Run(ctx) }()
	transport, direct := &http.Transport{}, &http.Transport{}
	o := &org{t: t, base: "http://" + box.HTTPAddr(), wire: &wire{base: transport}, direct: &http.Client{Transport: direct}}
	o.sessions = auth.New(auth.Config{LoginURL: o.base, ClientID: appID, Username: sandbox.DefaultUser, Key: func() (*rsa.PrivateKey, error) { return appKey(), nil }}, o.direct, time.Now)
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		direct.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("sandbox: %v", err)
		}
	})
	return o
}

// client returns a client of the org as a new process would have it.
func (o *org) client(dir string, change ...func(*Options)) *Client {
	o.t.Helper()
	api := rest.New(rest.Options{
		Sessions: o.sessions, HTTP: &http.Client{Transport: o.wire}, APIVersion: "66.0", ClientName: "selfsame", LimitPause: 20 * time.Millisecond,
	})
	opt := Options{API: eager{api}, Dir: dir, Poll: retry.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond}, Retry: retry.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond}}
	for _, c := range change {
		c(&opt)
	}
	c, err := New(opt)
	require.NoError(o.t, err)
	return c
}

// eager asks for shorter waits than Salesforce does.
type eager struct{ api *rest.Client }

// Exchange implements API.
func (e eager) Exchange(ctx context.Context, x rest.Exchange) (*http.Response, error) {
	resp, err := e.api.Exchange(ctx, x)
	if fe, ok := fault.As(err); ok && fe.RetryAfter > 0 {
		return nil, fe.WithRetryAfter(time.Millisecond)
	}
	return resp, err
}

// do makes a call beside the wire and returns the answer.
func (o *org) do(method, path, body string) string {
	o.t.Helper()
	session, err := o.sessions.Session(context.Background())
	require.NoError(o.t, err)
	req, err := http.NewRequest(method, o.base+path, strings.NewReader(body))
	require.NoError(o.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+session.Token)
	resp, err := o.direct.Do(req)
	require.NoError(o.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(o.t, err)
	require.Less(o.t, resp.StatusCode, 300, "%s %s: %s", method, path, text)
	return string(text)
}

func (o *org) faults(plan string) { o.t.Helper(); o.do("PUT", "/__sandbox__/faults", plan) }
func (o *org) bulk(plan string)   { o.t.Helper(); o.do("PUT", "/__sandbox__/bulk", plan) }

// soql returns the rows of a query.
func (o *org) soql(q string) []map[string]any {
	o.t.Helper()
	var out struct {
		Records []map[string]any `json:"records"`
	}
	require.NoError(o.t, json.Unmarshal([]byte(o.do("GET", "/services/data/v66.0/query?q="+url.QueryEscape(q), "")), &out))
	return out.Records
}

func (o *org) live(object string) int {
	o.t.Helper()
	var out struct {
		Records map[string]int `json:"records"`
	}
	require.NoError(o.t, json.Unmarshal([]byte(o.do("GET", "/__sandbox__/stats", "")), &out))
	return out.Records[object]
}

// jobs returns all ingest jobs, in no order.
func (o *org) jobs() []map[string]any {
	o.t.Helper()
	var list struct {
		Records []struct {
			ID string `json:"id"`
		} `json:"records"`
	}
	require.NoError(o.t, json.Unmarshal([]byte(o.do("GET", "/services/data/v66.0/jobs/ingest", "")), &list))
	var out []map[string]any
	for _, j := range list.Records {
		var whole map[string]any
		require.NoError(o.t, json.Unmarshal([]byte(o.do("GET", "/services/data/v66.0/jobs/ingest/"+j.ID, "")), &whole))
		out = append(out, whole)
	}
	return out
}

// processed is how many rows all jobs together have processed.
func (o *org) processed() int {
	o.t.Helper()
	sum := 0.0
	for _, j := range o.jobs() {
		sum += j["numberRecordsProcessed"].(float64)
	}
	return int(sum)
}

// wire carries the calls. What is to go wrong is said with numbers: the first call is 1.
type wire struct {
	base http.RoundTripper

	mu    sync.Mutex
	calls []string
	// before and after may fail a call before it is sent, and after it was answered.
	before func(n int, r *http.Request) error
	after  func(n int, r *http.Request, resp *http.Response) error
}

var errCut = errors.New("the wire is cut")

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.calls = append(w.calls, r.Method+" "+r.URL.Path)
	n, before, after := len(w.calls), w.before, w.after
	w.mu.Unlock()
	if before != nil {
		if err := before(n, r); err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, err
		}
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil || after == nil {
		return resp, err
	}
	if err := after(n, r, resp); err != nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (w *wire) set(before func(n int, r *http.Request) error, after func(n int, r *http.Request, resp *http.Response) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.after, w.calls = before, after, nil
}

func (w *wire) count(part string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if strings.Contains(c, part) {
			n++
		}
	}
	return n
}

// edit changes the text of an answer.
func edit(resp *http.Response, change func(string) string) error {
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader([]byte(change(string(text)))))
	resp.ContentLength = -1
	return nil
}

// results collects outcomes by key.
type outcomes struct {
	mu    sync.Mutex
	by    map[string][]Outcome
	total int
}

func (o *outcomes) sink(out Outcome) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[string][]Outcome{}
	}
	o.by[out.Key] = append(o.by[out.Key], out)
	o.total++
	return nil
}

// one returns the only outcome of a key.
func (o *outcomes) one(t *testing.T, key string) Outcome {
	t.Helper()
	require.Len(t, o.by[key], 1, key)
	return o.by[key][0]
}

func rowsOf(rows ...Row) func() (Row, error) {
	return func() (Row, error) {
		if len(rows) == 0 {
			return Row{}, io.EOF
		}
		r := rows[0]
		rows = rows[1:]
		return r, nil
	}
}

var leadColumns = []string{"LastName", "Company", "Selfsame_Id__c"}

// leads makes n leads, with keys L-000000 and on.
func leads(n int) func() (Row, error) {
	i := 0
	values := make([]any, len(leadColumns))
	return func() (Row, error) {
		if i == n {
			return Row{}, io.EOF
		}
		values[0], values[1], values[2] = fmt.Sprintf("Name, %d", i), fmt.Sprintf("Company %d", i%10), leadKey(i)
		i++
		return Row{Values: values}, nil
	}
}

func leadKey(i int) string { return fmt.Sprintf("L-%06d", i) }

func leadSpec(load string) Spec {
	return Spec{Load: load, Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: leadColumns}
}

// each requires that every lead has at least one outcome, that all of one key agree, and returns how many have more than one.
func (o *outcomes) each(t *testing.T, n int, state State) (repeated int) {
	t.Helper()
	for i := range n {
		got := o.by[leadKey(i)]
		require.NotEmpty(t, got, "no outcome of %s", leadKey(i))
		for _, g := range got {
			require.Equal(t, state, g.State, "%+v", g)
		}
		if len(got) > 1 {
			repeated++
		}
	}
	require.Len(t, o.by, n)
	return repeated
}
