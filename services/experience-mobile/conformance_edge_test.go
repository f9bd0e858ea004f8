package experiencemobile_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
)

// keysBelow returns the keys with which process-customer was called, in order.
func (w *world) keysBelow() []string {
	var out []string
	for _, md := range w.fake.metadata() {
		out = append(out, md.Get("idempotency-key")...)
	}
	return out
}

func propagationCases() []conformance {
	return []conformance{
		{"I-01 the hop below gets a key of its own, not the client's", func(t *testing.T, _ *world) {
			w := setup(t)
			require.Equal(t, 201, w.create(t, "I01", "i01").status)
			keys := w.keysBelow()
			require.Len(t, keys, 1)
			require.Regexp(t, "^[A-Za-z0-9_-]{43}$", keys[0])
			require.NotContains(t, keys[0], "i01")
			require.Regexp(t, "^[0-9a-f]{16}$", w.fake.metadata()[0].Get("idempotency-root")[0], "what all hops have in common")
		}},
		{"I-02 a retry has the same key below, on any replica", func(t *testing.T, _ *world) {
			w := setup(t)
			other := w.another(t)
			require.Equal(t, 201, w.create(t, "I02", "i02").status)
			require.Equal(t, "true", other.create(t, "I02", "i02").header.Get("Idempotent-Replayed"))
			keys := w.keysBelow()
			require.Len(t, keys, 2)
			require.Equal(t, keys[0], keys[1])
		}},
		{"I-08 keys of calls at the same time never cross", func(t *testing.T, _ *world) {
			w := setup(t)
			send := func(i int) answer { return w.create(t, fmt.Sprintf("I08 %d", i), fmt.Sprintf("i08-%d", i)) }
			made := make([]string, 101)
			w.together(t, 100, func(i int) { made[i] = send(i).body })
			w.together(t, 100, func(i int) {
				if a := send(i); a.body != made[i] || a.header.Get("Idempotent-Replayed") != "true" {
					t.Errorf("call %d got the answer of another: %s", i, a.body)
				}
			})
			for i := 1; i <= 100; i++ {
				require.Equal(t, 1, w.fake.ran(fmt.Sprintf("I08 %d", i)))
			}
		}},
		{"I-10 what is ours between services cannot come from outside", func(t *testing.T, _ *world) {
			w := setup(t)
			a := w.create(t, "I10", "i10", with("Idempotency-Root", "planted"), with("Idempotency-Attempt", "planted"), with("Idempotency-Status", "planted"),
				with("Grpc-Metadata-Idempotency-Root", "planted"), with("Grpc-Metadata-Idempotency-Attempt", "planted"), with("Grpc-Metadata-Idempotency-Key", "planted"))
			require.Equal(t, 201, a.status)
			for _, md := range w.fake.metadata() {
				for name, values := range md {
					require.NotContains(t, values, "planted", name)
				}
			}
		}},
		{"I-12 an id with any characters gives a key that is safe everywhere", func(t *testing.T, _ *world) {
			w := setup(t)
			w.fake.add("c_ü/% ?")
			a := w.do(t, "PATCH", "/v1/customers/c_%C3%BC%2F%25%20%3F", key("i12"), body(`{"phone":"2"}`))
			require.Equal(t, 200, a.status, a.body)
			require.Regexp(t, "^[A-Za-z0-9_-]{43}$", w.keysBelow()[0])
			require.Equal(t, "2", w.fake.get("c_ü/% ?").GetPhone())
		}},
		{"J-05 a write that has too little time left is not begun", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(func(b *below) { b.options.MinTime = time.Hour })) // no request has as much
			require.True(t, *w.create(t, "J05", "j05").problem(t, 504, "DEADLINE_TOO_SHORT").Retryable)
			require.Zero(t, w.below.begun.Load(), "no claim")
			require.Zero(t, w.fake.ran("J05"))
		}},
		{"J-13 what we sent wrong is our failure, not the client's", func(t *testing.T, w *world) {
			for reason, shown := range map[string]string{idempotent.ReasonKeyInvalid: secretText, idempotent.ReasonKeyMissing: secretText} {
				w.fake.plan("J13 "+reason, fails(fault.New(fault.Invalid, reason, "%s", shown)))
				a := w.create(t, "J13 "+reason, "j13-"+reason)
				a.problem(t, 500, "INTERNAL")
				require.NotContains(t, a.body, "password")
			}
			require.Eventually(t, func() bool { return strings.Contains(w.log.String(), idempotent.ReasonKeyInvalid) }, time.Minute, 5*time.Millisecond,
				"the cause is in the log")
		}},
		{"J-06 the hop below has less time than the request", func(t *testing.T, _ *world) {
			w := setup(t, func(c *experiencemobile.Config) { c.Budget = 5 * time.Second })
			require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known).status)
			w.fake.mu.Lock()
			defer w.fake.mu.Unlock()
			require.Less(t, w.fake.left[0], 5*time.Second-40*time.Millisecond, "a margin is kept back")
			require.Greater(t, w.fake.left[0], time.Second)
		}},
	}
}

func gatewayCases() []conformance {
	return []conformance{
		{"K-01 of two spellings of the header only the published one arrives", func(t *testing.T, _ *world) {
			w := setup(t)
			a := w.create(t, "K01", "k01", with("Grpc-Metadata-Idempotency-Key", "a-planted-key-of-the-client"))
			require.Equal(t, 201, a.status)
			require.Equal(t, "true", w.create(t, "K01", "k01").header.Get("Idempotent-Replayed"))
			require.Len(t, w.keysBelow(), 2)
			require.Equal(t, w.keysBelow()[0], w.keysBelow()[1])
			w.do(t, "POST", "/v1/customers", body(`{"name":"K01"}`), with("Grpc-Metadata-Idempotency-Key", "a-planted-key-of-the-client")).
				problem(t, 400, "IDEMPOTENCY_KEY_MISSING")
			require.Regexp(t, `selfsame_edge_stripped_headers_total\{[^}]*selfsame_kind="grpc"[^}]*\} 2`, w.metrics(t))
		}},
		{"K-02 a deadline of the client's is not listened to", func(t *testing.T, _ *world) {
			w := setup(t)
			for i, deadline := range []string{"1n", "0S", "99999999999999999H", "-1S", "abc"} {
				require.Equal(t, 201, w.create(t, "K02", fmt.Sprintf("k02-%d", i), with("Grpc-Timeout", deadline)).status, deadline)
			}
			w.fake.mu.Lock()
			defer w.fake.mu.Unlock()
			for _, left := range w.fake.left {
				require.True(t, left > time.Second && left < 21*time.Second, left)
			}
		}},
		{"K-03 every refusal is a problem with an absolute type and nothing of the inside", func(t *testing.T, w *world) {
			w.fake.plan("K03", fails(fault.New(fault.Internal, "", "%s", secretText)))
			for _, a := range []answer{
				w.create(t, "K03", "k03"), w.create(t, "K03", "k03", anonymous()), w.do(t, "POST", "/v1/customers", body(`{"name":"K03"}`)),
				w.do(t, "GET", "/v1/customers/"+unavailable), w.do(t, "POST", "/v1/customers", key("k03-b"), body("{")),
			} {
				p := a.problem(t, a.status, a.header.Get("X-Error-Code"))
				require.Equal(t, publicURL+"/docs#"+p.Code, p.Type)
				for _, inside := range []string{"10.0.0.3", "password", "rpc error", "grpc", "goroutine", ".go:", "desc ="} {
					require.NotContains(t, a.body, inside)
				}
			}
		}},
		{"K-04 every reason has its status, and says when to come back where that helps", func(t *testing.T, w *world) {
			for reason, c := range map[string]struct {
				kind   fault.Kind
				status int
				after  string
			}{
				idempotent.ReasonKeyReused:        {fault.Precondition, 422, ""},
				idempotent.ReasonInProgress:       {fault.Conflict, 409, "7"},
				fault.ReasonOutcomeUncertain:      {fault.Uncertain, 409, "7"},
				idempotent.ReasonKeyExpired:       {fault.Precondition, 412, ""},
				idempotent.ReasonResultGone:       {fault.Precondition, 410, ""},
				idempotent.ReasonStoreUnavailable: {fault.Unavailable, 503, "7"},
				fault.ReasonDeadlineTooShort:      {fault.Timeout, 504, ""},
				idempotent.ReasonQuotaExceeded:    {fault.Exhausted, 429, "7"},
				idempotent.ReasonUnreadable:       {fault.Internal, 500, ""},
			} {
				e := fault.New(c.kind, reason, "planned")
				if c.after != "" {
					e = e.WithRetryAfter(7 * time.Second)
				}
				w.fake.plan("K04 "+reason, fails(e))
				a := w.create(t, "K04 "+reason, "k04-"+reason)
				a.problem(t, c.status, reason)
				require.Equal(t, c.after, a.header.Get("Retry-After"), reason)
			}
		}},
		{"K-05 a replay carries its marks and no metadata of ours", func(t *testing.T, w *world) {
			w.create(t, "K05", "k05")
			a := w.create(t, "K05", "k05")
			require.Equal(t, "a-key-for-the-test:k05", a.header.Get("Idempotency-Key"))
			require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
			require.Equal(t, "replayed", a.header.Get("Idempotency-Status"))
			for name := range a.header {
				require.False(t, strings.HasPrefix(name, "Grpc-"), name)
			}
		}},
		{"K-06 a client that takes no trailers still learns what became of its key", func(t *testing.T, w *world) {
			w.fake.plan("K06", fails(fault.New(fault.Precondition, "CUSTOMER_BLOCKED", "blocked")))
			require.Equal(t, "executed", w.create(t, "K06", "k06").header.Get("Idempotency-Status"))
			a := w.create(t, "K06", "k06")
			a.problem(t, 409, "CUSTOMER_BLOCKED")
			require.Equal(t, "replayed", a.header.Get("Idempotency-Status"))
		}},
		{"K-07 a form cannot become another method", func(t *testing.T, w *world) {
			form := []option{with("Content-Type", "application/x-www-form-urlencoded"), key("k07"), body("name=K07")}
			w.do(t, "POST", "/v1/customers", append(form, with("X-HTTP-Method-Override", "DELETE"))...).problem(t, 415, "UNSUPPORTED_MEDIA_TYPE")
			w.do(t, "POST", "/v1/customers/"+known, append(form, with("X-HTTP-Method-Override", "PATCH"))...).problem(t, 405, "METHOD_NOT_ALLOWED")
			require.Zero(t, w.fake.ran("K07"))
		}},
		{"K-08 an unknown field of a write is refused with its place", func(t *testing.T, w *world) {
			p := w.do(t, "POST", "/v1/customers", key("k08"), body(`{"name":"K08","address":{"zip":"1"}}`)).problem(t, 400, "VALIDATION_FAILED")
			require.Equal(t, []string{"/address/zip"}, p.pointers())
			require.Zero(t, w.fake.ran("K08"))
		}},
		{"K-09 a body that is too large is refused before its key is looked at", func(t *testing.T, _ *world) {
			w := setup(t)
			w.do(t, "POST", "/v1/customers", key("k09"), body(strings.Repeat(" ", 1<<20)+"{")).problem(t, 413, "BODY_TOO_LARGE")
			require.Zero(t, w.below.begun.Load())
		}},
		{"K-10 a body that does not arrive begins nothing", slowBody},
		{"K-11 a PATCH with null, nothing and part of an address is replayed as it was", func(t *testing.T, w *world) {
			for i, text := range []string{`{"phone":null}`, `{"address":{"city":"Bonn"}}`, `{"address":null,"email":null}`} {
				id := fmt.Sprintf("c_k11_%d", i)
				w.fake.add(id)
				send := func() answer {
					return w.do(t, "PATCH", "/v1/customers/"+id, key(fmt.Sprintf("k11-%d", i)), body(text))
				}
				first, again := send(), send()
				require.Equal(t, 200, first.status, first.body)
				require.Equal(t, first.body, again.body)
				require.Equal(t, "true", again.header.Get("Idempotent-Replayed"), text)
			}
			w.do(t, "PATCH", "/v1/customers/"+known, key("k11-none"), body(`{}`)).problem(t, 400, "VALIDATION_FAILED")
		}},
		{"K-12 the description demands the key and names every answer", describedKeys},
		{"K-13 no spelling of a path executes a key twice", func(t *testing.T, w *world) {
			w.fake.add("c_k13/x")
			send := func(path string) answer { return w.do(t, "PATCH", path, key("k13"), body(`{"phone":"13"}`)) }
			require.Equal(t, 200, send("/v1/customers/c_k13%2Fx").status)
			require.Equal(t, "true", send("/v1/customers/c_k13%2fx").header.Get("Idempotent-Replayed"), "the same resource, the same request")
			require.Equal(t, "true", send("/v1/customers/c%5Fk13%2Fx").header.Get("Idempotent-Replayed"))
			send("/v1/customers/c_k13%2Fx/").problem(t, 404, "ROUTE_NOT_FOUND")
			send("/v1/customers/c_k13/x").problem(t, 404, "ROUTE_NOT_FOUND")
			send("//v1/customers/c_k13%2Fx").problem(t, 404, "ROUTE_NOT_FOUND")
		}},
		{"K-14 empty lists are there, and numbers keep their digits", func(t *testing.T, w *world) {
			w.fake.add("c_k14")
			v := w.do(t, "GET", "/v1/customers/c_k14?summary=true").json(t, 200)
			require.Equal(t, []any{}, v["orders"])
			order := `{"customerId":"c_k14","items":[{"sku":"a","quantity":"9007199254740993"}]}`
			w.do(t, "POST", "/v1/orders", key("k14"), body(order)).problem(t, 400, "VALIDATION_FAILED")
			require.Equal(t, 201, w.do(t, "POST", "/v1/orders", key("k14-b"), body(strings.Replace(order, "9007199254740993", "900719925474.000003", 1))).status)
			w.fake.mu.Lock()
			defer w.fake.mu.Unlock()
			found := false
			for _, o := range w.fake.orders {
				found = found || (o.GetCustomerId() == "c_k14" && o.GetItems()[0].GetQuantity() == "900719925474.000003")
			}
			require.True(t, found, "a quantity is text: no digit is lost")
		}},
		{"K-15 no route goes around the interceptors", noShortcut},
		{"K-16 a web page may send a key and read what became of it", func(t *testing.T, w *world) {
			a := w.do(t, "OPTIONS", "/v1/orders", anonymous(), with("Origin", origin), with("Access-Control-Request-Method", "POST"),
				with("Access-Control-Request-Headers", "idempotency-key"))
			require.Equal(t, "idempotency-key", strings.ToLower(a.header.Get("Access-Control-Allow-Headers")))
			a = w.create(t, "K16", "k16", with("Origin", origin))
			for _, name := range []string{"Idempotency-Key", "Idempotency-Status", "Idempotent-Replayed", "Retry-After", "Location"} {
				require.Contains(t, a.header.Get("Access-Control-Expose-Headers"), name)
			}
		}},
		{"K-17 an app that stored its key before it sent survives its own death", func(t *testing.T, w *world) {
			file := filepath.Join(t.TempDir(), "pending.json")
			app := &phone{file: file, send: func(p pending) answer {
				return w.do(t, "POST", p.Path, rawKey(p.Key), body(p.Body))
			}}
			app.tap(t, "/v1/customers", `{"name":"K17"}`)
			app.try(t) // the answer arrives, and the app is killed before it can note it
			again := &phone{file: file, send: app.send}
			a := again.try(t)
			require.Equal(t, 201, a.status)
			require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
			require.Equal(t, 1, w.fake.ran("K17"))
			again.done(t)
			require.NoFileExists(t, file)
		}},
	}
}

// phone is the sample of docs/idempotency.md: it stores what it means to send, with its key, before it sends.
type phone struct {
	file string
	send func(p pending) answer
}

type pending struct{ Key, Path, Body string }

func (p *phone) tap(t *testing.T, path, text string) {
	t.Helper()
	b, err := json.Marshal(pending{Key: uuidV7(time.Now()), Path: path, Body: text})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file, b, 0o600))
}

func (p *phone) try(t *testing.T) answer {
	t.Helper()
	b, err := os.ReadFile(p.file)
	require.NoError(t, err)
	var meant pending
	require.NoError(t, json.Unmarshal(b, &meant))
	return p.send(meant)
}

func (p *phone) done(t *testing.T) {
	t.Helper()
	require.NoError(t, os.Remove(p.file))
}

// slowBody sends half a body and waits to be cut off.
func slowBody(t *testing.T, _ *world) {
	w := setup(t, func(c *experiencemobile.Config) { c.Budget = time.Second })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: 100\r\nIdempotency-Key: a-key-of-a-slow-client\r\n\r\n{\"name\":", w.user1(t))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	text, err := io.ReadAll(bufio.NewReader(conn))
	require.NoError(t, err, "the connection is ended by the server")
	require.Contains(t, string(text), "400 Bad Request")
	require.Contains(t, string(text), "BODY_INCOMPLETE")
	require.Zero(t, w.below.begun.Load(), "half a request begins nothing")
}

func describedKeys(t *testing.T, _ *world) {
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []map[string]any `json:"parameters"`
			Responses  map[string]any   `json:"responses"`
			Policy     map[string]any   `json:"x-idempotency"`
		} `json:"paths"`
		Components struct {
			Parameters map[string]struct {
				Name     string `json:"name"`
				Required bool   `json:"required"`
				Schema   struct {
					Pattern string `json:"pattern"`
				} `json:"schema"`
			} `json:"parameters"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(openapi.Document(), &doc))
	declared := doc.Components.Parameters["IdempotencyKey"]
	require.Equal(t, "Idempotency-Key", declared.Name)
	require.True(t, declared.Required)
	pattern := regexp.MustCompile(declared.Schema.Pattern)
	for _, good := range []string{"8e03978e-40d5-43e8-bc93-6894a57f9324", `"8e03978e-40d5-43e8-bc93-6894a57f9324"`, `"a\"b\\c-0123456789abcdef"`, `"0123456789abcdef";v=1`} {
		require.Regexp(t, pattern, good)
	}
	for _, bad := range []string{"", "0123456789abcde", `"0123456789abcdef`, "0123456789abcdef!", `"0123456789 abcdef"`, `"0123456789\abcdef"`} {
		require.NotRegexp(t, pattern, bad)
	}
	writes := 0
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			if verb == "get" {
				require.Nil(t, op.Policy, path)
				continue
			}
			if path == "/v1/sync:apply" { // every change in it has a key of its own
				require.Equal(t, "natural", op.Policy["key"])
				continue
			}
			writes++
			require.Contains(t, op.Parameters, map[string]any{"$ref": "#/components/parameters/IdempotencyKey"})
			for _, status := range []string{"400", "401", "403", "409", "410", "412", "413", "415", "422", "429", "431", "500", "503", "504"} {
				require.Contains(t, op.Responses, status, verb+" "+path)
			}
			require.Equal(t, "required", op.Policy["key"], path)
		}
	}
	require.Equal(t, 5, writes)
}

// noShortcut looks for the registration that calls handlers past every interceptor.
func noShortcut(t *testing.T, _ *world) {
	shortcut, mentions := regexp.MustCompile(`^Register\w+HandlerServer$`), regexp.MustCompile(`HandlerServer\b`)
	files := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "gen" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && path != "../..") {
			if d != nil && d.IsDir() {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil || !mentions.Match(text) {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.SelectorExpr); ok && shortcut.MatchString(id.Sel.Name) {
				t.Errorf("%s uses %s", path, id.Sel.Name)
			}
			return true
		})
		return nil
	}))
	require.Greater(t, files, 100)
}
