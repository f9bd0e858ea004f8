package changes

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// world is a sandbox, the adapter's feed in front of it, and another client of the org. They meet as bytes.
type world struct {
	t       testing.TB
	box     *sandbox.Server
	ahead   atomic.Int64 // of the real time, in nanoseconds
	http    *http.Client
	other   *auth.Source
	crm     *rest.Client
	watcher *Watcher
	metrics *sdkmetric.ManualReader
	calls   atomic.Int64
}

type settings struct {
	sandbox  func(*sandbox.Config)
	watcher  func(*Options)
	watchdog time.Duration
	mapping  string
	wrote    func(string, rest.Record)
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func (x *world) now() time.Time { return time.Now().Add(time.Duration(x.ahead.Load())) }

// advance puts the clock of the org forward, and shows it to the adapter, which asks for it only when it matters.
func (x *world) advance(d time.Duration) {
	x.t.Helper()
	x.ahead.Add(int64(d))
	_, err := x.crm.ReadClock(x.t.Context())
	require.NoError(x.t, err)
}

func begin(t testing.TB, s settings) *world {
	t.Helper()
	x := &world{t: t, metrics: sdkmetric.NewManualReader()}
	public, err := x509.MarshalPKIXPublicKey(&testKey().PublicKey)
	require.NoError(t, err)
	cfg := sandbox.Config{
		Apps:      []sandbox.App{{ClientID: "feed", PublicKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}},
		KeepAlive: 100 * time.Millisecond, Now: x.now, Log: slog.New(slog.DiscardHandler),
	}
	if s.sandbox != nil {
		s.sandbox(&cfg)
	}
	x.box, err = sandbox.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = x.box.Run(ctx) })
	x.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	conn, err := grpc.NewClient(x.box.PubSubAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(128<<20)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(); x.http.CloseIdleConnections(); cancel(); wg.Wait() })

	login := auth.Config{LoginURL: "http://" + x.box.HTTPAddr(), ClientID: "feed", Username: sandbox.DefaultUser, Key: func() (*rsa.PrivateKey, error) { return testKey(), nil }}
	sessions := auth.New(login, x.http, x.now)
	x.other = auth.New(login, x.http, x.now)
	counted := &http.Client{Transport: counter{x}}
	x.crm = rest.New(rest.Options{Sessions: sessions, HTTP: counted, APIVersion: "66.0", ClientName: "selfsame", Wrote: s.wrote})
	_, err = x.crm.Describe(t.Context(), "Account") // shows the server's clock, as the start of the service does
	require.NoError(t, err)
	m, err := mapping.Load([]byte(s.mapping))
	require.NoError(t, err)
	if s.watchdog == 0 {
		s.watchdog = 10 * time.Second
	}
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(x.metrics))
	feed, err := pubsub.New(pubsub.Options{Conn: conn, Sessions: sessions, Watchdog: s.watchdog, Meter: meter, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	o := Options{
		Feed: feed, Records: x.crm, Sessions: sessions, Mapping: m, ClientName: "selfsame", Meter: meter, Log: slog.New(slog.DiscardHandler),
		Schema: x.schema,
	}
	if s.watcher != nil {
		s.watcher(&o)
	}
	x.watcher, err = New(o)
	require.NoError(t, err)
	x.watcher.backoff.Min, x.watcher.backoff.Max = time.Millisecond, 20*time.Millisecond
	return x
}

// counter counts the adapter's REST calls.
type counter struct{ x *world }

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.x.calls.Add(1)
	return c.x.http.Transport.RoundTrip(r)
}

func (x *world) schema(ctx context.Context, sobject string) (*mapping.Schema, error) {
	fields, err := x.crm.Describe(ctx, sobject)
	var out []mapping.Described
	for _, f := range fields {
		out = append(out, mapping.Described{Name: f.Name, Type: f.Type, Length: f.Length})
	}
	return mapping.NewSchema(out), err
}

// do makes a call as another client of the org and decodes the answer.
func (x *world) do(method, path string, body, out any) {
	x.t.Helper()
	session, err := x.other.Session(context.Background())
	require.NoError(x.t, err)
	raw, err := json.Marshal(body)
	require.NoError(x.t, err)
	for attempt := 0; ; attempt++ {
		req, err := http.NewRequest(method, "http://"+x.box.HTTPAddr()+path, bytes.NewReader(raw))
		require.NoError(x.t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+session.Token)
		resp, err := x.http.Do(req)
		require.NoError(x.t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(x.t, err)
		require.NoError(x.t, resp.Body.Close())
		if resp.StatusCode == http.StatusUnauthorized && attempt == 0 {
			session, err = x.other.Renew(context.Background(), session)
			require.NoError(x.t, err)
			continue
		}
		require.Less(x.t, resp.StatusCode, 300, "%s %s: %s", method, path, text)
		if out != nil {
			require.NoError(x.t, json.Unmarshal(text, out), string(text))
		}
		return
	}
}

func (x *world) faults(plan map[string]any) {
	x.t.Helper()
	x.do("PUT", "/__sandbox__/faults", plan, nil)
}

func rule(effect string, more map[string]any) map[string]any {
	r := map[string]any{"effect": effect}
	for k, v := range more {
		r[k] = v
	}
	return map[string]any{"rules": []any{r}}
}

// create makes n records, 200 per transaction, and returns their ids.
func (x *world) create(object string, n int, fields func(i int) map[string]any) []string {
	x.t.Helper()
	var ids []string
	for len(ids) < n {
		var records []map[string]any
		for i := len(ids); i < min(n, len(ids)+200); i++ {
			r := fields(i)
			r["attributes"] = map[string]string{"type": object}
			records = append(records, r)
		}
		ids = append(ids, x.collection("POST", "/services/data/v66.0/composite/sobjects", records)...)
	}
	return ids
}

func (x *world) accounts(n int, prefix string) []string {
	x.t.Helper()
	return x.create("Account", n, func(i int) map[string]any { return map[string]any{"Name": fmt.Sprint(prefix, i)} })
}

func (x *world) rename(name string, ids ...string) {
	x.t.Helper()
	for part := range slices.Chunk(ids, 200) {
		var records []map[string]any
		for _, id := range part {
			records = append(records, map[string]any{"attributes": map[string]string{"type": "Account"}, "Id": id, "Name": name})
		}
		x.collection("PATCH", "/services/data/v66.0/composite/sobjects", records)
	}
}

func (x *world) collection(method, path string, records []map[string]any) (ids []string) {
	x.t.Helper()
	var answer []struct {
		ID      string `json:"id"`
		Success bool   `json:"success"`
	}
	x.do(method, path, map[string]any{"allOrNone": true, "records": records}, &answer)
	for _, a := range answer {
		require.True(x.t, a.Success)
		ids = append(ids, a.ID)
	}
	return ids
}

func (x *world) remove(object string, ids ...string) {
	x.t.Helper()
	for _, id := range ids {
		x.do("DELETE", "/services/data/v66.0/sobjects/"+object+"/"+id, nil, nil)
	}
}

// merge makes one account of two, as SOAP clients can.
func (x *world) merge(master, victim string) {
	x.t.Helper()
	session, err := x.other.Session(context.Background())
	require.NoError(x.t, err)
	resp, err := x.http.Post("http://"+x.box.HTTPAddr()+"/services/Soap/u/66.0", "text/xml", strings.NewReader(
		`<E:Envelope xmlns:E="http://schemas.xmlsoap.org/soap/envelope/"><E:Header><SessionHeader><sessionId>`+session.Token+`</sessionId></SessionHeader></E:Header>`+
			`<E:Body><merge><request><masterRecord><Id>`+master+`</Id></masterRecord><recordToMergeIds>`+victim+`</recordToMergeIds></request></merge></E:Body></E:Envelope>`))
	require.NoError(x.t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(x.t, err)
	require.NoError(x.t, resp.Body.Close())
	require.Contains(x.t, string(text), "<success>true</success>")
}

func (x *world) undelete(ids ...string) {
	x.t.Helper()
	x.do("POST", "/__sandbox__/undelete", map[string]any{"ids": ids}, nil)
}

// truth is the org as it is: names by id.
func (x *world) truth(object, column string) map[string]string {
	x.t.Helper()
	rows, err := x.crm.Query(x.t.Context(), "SELECT Id, "+column+" FROM "+object)
	require.NoError(x.t, err)
	out := map[string]string{}
	for _, r := range rows {
		out[r["Id"].(string)] = r[column].(string)
	}
	return out
}

// soon bounds what waits for something that may not come.
func (x *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(x.t.Context(), 3*time.Minute)
	x.t.Cleanup(cancel)
	return ctx
}

// consumer is a watcher with a memory: it stores the effect of a response and its token together, or neither, and a change whose
// id it knows has no second effect.
type consumer struct {
	token    string
	records  map[string]string // names by id; live ones
	ids      map[string]string // of changes: the record and kind they were about
	lost     []*salesforcev1.LostRange
	repeated int
	rescan   []string // objects to be read again as a whole
	received int      // responses stored
}

func newConsumer() *consumer {
	return &consumer{records: map[string]string{}, ids: map[string]string{}}
}

func (c *consumer) store(t testing.TB, r *salesforcev1.WatchChangesResponse) {
	t.Helper()
	for _, ch := range r.GetChanges() {
		about := ch.GetRecordId() + " " + ch.GetObjectName()
		if have, ok := c.ids[ch.GetId()]; ok {
			c.repeated++
			require.Equal(t, have, about, "one change, one record")
			continue
		}
		c.ids[ch.GetId()] = about
		switch ch.GetKind() {
		case salesforcev1.ChangeKind_CHANGE_KIND_DELETED:
			delete(c.records, ch.GetRecordId())
		case salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW:
			c.rescan = append(c.rescan, ch.GetObjectName())
		default:
			switch {
			case ch.GetAccount() != nil:
				c.records[ch.GetRecordId()] = ch.GetAccount().GetName()
			case ch.GetContact() != nil:
				c.records[ch.GetRecordId()] = ch.GetContact().GetLastName()
			default:
				require.NotNil(t, ch.GetRecord(), "a live record comes with its change")
				c.records[ch.GetRecordId()] = ch.GetRecord().GetFields()["name"].GetText()
			}
		}
	}
	c.lost = append(c.lost, r.GetLost()...)
	c.token = r.GetResumeToken()
	c.received++
}

// done counts the ranges that were read to their end.
func (c *consumer) done() (n int) {
	for _, r := range c.lost {
		if r.GetDone() {
			n++
		}
	}
	return n
}

// follow stores responses until enough says so, and returns why the stream ended.
func (x *world) follow(c *consumer, enough func() bool, objects ...string) error {
	x.t.Helper()
	return x.watcher.Watch(x.soon(), c.token, objects, func(r *salesforcev1.WatchChangesResponse) error {
		c.store(x.t, r)
		if enough() {
			return errStop
		}
		return nil
	})
}

// agree follows until the consumer knows what the org holds.
func (x *world) agree(c *consumer, objects ...string) {
	x.t.Helper()
	want := x.truth("Account", "Name")
	err := x.follow(c, func() bool { return equal(want, c.records) }, objects...)
	require.Empty(x.t, difference(want, c.records))
	require.ErrorIs(x.t, err, errStop)
}

// difference describes some of what differs.
func difference(want, have map[string]string) (out []string) {
	for id, name := range want {
		if got, ok := have[id]; (!ok || got != name) && len(out) < 5 {
			out = append(out, fmt.Sprintf("%s is %q, known as %q", id, name, got))
		}
	}
	for id, name := range have {
		if _, ok := want[id]; !ok && len(out) < 5 {
			out = append(out, fmt.Sprintf("%s is gone, known as %q", id, name))
		}
	}
	return out
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func schemaFile(t testing.TB, text string) func(*sandbox.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return func(c *sandbox.Config) { c.SchemaFiles = []string{file} }
}
