package experiencemobile_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// conformance is one case of the table of idempotency, at the REST edge. The edge is real, and so is the interceptor of
// process-customer, whose handlers are faked; docs/reference/idempotency-conformance.md lists every case and its tests.
type conformance struct {
	name string // the number of the case, and what holds
	run  func(t *testing.T, w *world)
}

// TestConformance runs the cases. One runs alone by its number:
//
//	go test -run 'TestConformance/C-02' .
func TestConformance(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range slices.Concat(keyCases(), scopeCases(), fingerprintCases(), replayCases(), concurrencyCases(),
		failureCases(), ownerCases(), releaseCases(), timeCases(), clockCases(), propagationCases(), gatewayCases(), storeCases(), limitCases()) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, w)
		})
	}
}

// create sends a customer of a name under a key, as user-1 unless options say otherwise.
func (w *world) create(t *testing.T, name, k string, options ...option) answer {
	t.Helper()
	return w.do(t, "POST", "/v1/customers", append([]option{body(`{"name":"` + name + `"}`), key(k)}, options...)...)
}

func (w *world) as(t *testing.T, user string) option {
	t.Helper()
	return with("Authorization", "Bearer "+w.token(t, user, readAll))
}

// user1 is the header of user-1 with all scopes.
func (w *world) user1(t *testing.T) string {
	t.Helper()
	w.signed.Do(func() { w.bearer = "Bearer " + w.token(t, "user-1", readAll) })
	return w.bearer
}

// raw sends bytes that no HTTP client would send and returns the status of the answer; 0 when there was none.
func (w *world) raw(t *testing.T, text string) int {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}

// rawCreate is a request whose key is any bytes.
func (w *world) rawCreate(t *testing.T, name, line string) int {
	t.Helper()
	text := `{"name":"` + name + `"}`
	return w.raw(t, fmt.Sprintf("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nConnection: close\r\nIdempotency-Key: %s\r\n\r\n%s", w.user1(t), len(text), line, text))
}

func keyCases() []conformance {
	refused := func(name string, lines ...string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, line := range lines {
				w.do(t, "POST", "/v1/customers", body(`{"name":"`+name+`"}`), rawKey(line)).problem(t, 400, "IDEMPOTENCY_KEY_INVALID")
			}
			require.Zero(t, w.fake.ran(name))
		}
	}
	sent := func(t *testing.T, w *world, name, line string) answer {
		t.Helper()
		return w.do(t, "POST", "/v1/customers", body(`{"name":"`+name+`"}`), rawKey(line))
	}
	return []conformance{
		{"A-01 a write without a key is refused and told where keys are explained", func(t *testing.T, w *world) {
			a := w.do(t, "POST", "/v1/customers", body(`{"name":"A01"}`))
			a.problem(t, 400, "IDEMPOTENCY_KEY_MISSING")
			require.Equal(t, "<"+publicURL+`/docs#IDEMPOTENCY_KEY_MISSING>; rel="describedby"`, a.header.Get("Link"))
			w.do(t, "PATCH", "/v1/customers/"+known, body(`{"phone":"1"}`)).problem(t, 400, "IDEMPOTENCY_KEY_MISSING")
			w.do(t, "POST", "/v1/orders", body(`{"customerId":"`+known+`","items":[{"sku":"a","quantity":"1"}]}`)).problem(t, 400, "IDEMPOTENCY_KEY_MISSING")
			require.Zero(t, w.fake.ran("A01"))
		}},
		{"A-02 a key in quotes is accepted", func(t *testing.T, w *world) {
			require.Equal(t, 201, sent(t, w, "A02", `"8e03978e-40d5-43e8-bc93-6894a57f9324"`).status)
			require.Equal(t, 1, w.fake.ran("A02"))
		}},
		{"A-03 the same key without quotes is the same key", func(t *testing.T, w *world) {
			require.Equal(t, 201, sent(t, w, "A03", `"8e03978e-40d5-43e8-bc93-6894a57f9325"`).status)
			require.Equal(t, "true", sent(t, w, "A03", "8e03978e-40d5-43e8-bc93-6894a57f9325").header.Get("Idempotent-Replayed"))
			require.Equal(t, 1, w.fake.ran("A03"))
		}},
		{"A-04 escapes are read, unknown ones refused", func(t *testing.T, w *world) {
			require.Equal(t, 201, sent(t, w, "A04", `"a\"b\\c-0123456789abcdef"`).status)
			require.Equal(t, "true", sent(t, w, "A04", `"a\"b\\c-0123456789abcdef"`).header.Get("Idempotent-Replayed"))
			refused("A04-bad", `"a\nb-0123456789abcdef"`, `"0123456789abcdef\`)(t, w)
		}},
		{"A-05 an empty key is refused", refused("A05", "", `""`, "   ", `"                    "`)},
		{"A-06 a key has 16 to 255 characters", func(t *testing.T, w *world) {
			refused("A06-bad", strings.Repeat("k", 15), `"`+strings.Repeat("k", 15)+`"`, strings.Repeat("k", 256), `"`+strings.Repeat("k", 256)+`"`)(t, w)
			for _, n := range []int{16, 255} {
				name := fmt.Sprintf("A06-%d", n)
				require.Equal(t, 201, sent(t, w, name, strings.Repeat("k", n)).status)
				require.Equal(t, "true", sent(t, w, name, `"`+strings.Repeat("k", n)+`"`).header.Get("Idempotent-Replayed"))
			}
		}},
		{"A-07 control characters never reach a log", func(t *testing.T, w *world) {
			for _, c := range []string{"\x00", "\x01", "\x7f", "\r\n not a header", "\x1b[31m"} {
				require.Equal(t, 400, w.rawCreate(t, "A07", "key-with-"+c+"-in-the-middle"))
			}
			require.Zero(t, w.fake.ran("A07"))
			require.NotContains(t, w.log.String(), "in-the-middle")
		}},
		{"A-08 a key that is not ASCII is refused, never ignored", refused("A08", "schlüssel-0123456789", `"schlüssel-0123456789"`, "\xff\xfe0123456789abcdef")},
		{"A-09 two keys are refused", func(t *testing.T, w *world) {
			w.do(t, "POST", "/v1/customers", body(`{"name":"A09"}`), rawKey("the-first-of-two-keys"), rawKey("the-second-of-two-keys")).
				problem(t, 400, "IDEMPOTENCY_KEY_INVALID")
			refused("A09", `"the-first-of-two-keys", "the-second-of-two-keys"`, "the-first-of-two-keys, the-second-of-two-keys")(t, w)
		}},
		{"A-10 parameters after the key are ignored", func(t *testing.T, w *world) {
			require.Equal(t, 201, sent(t, w, "A10", `"a-key-with-a-parameter";v=1`).status)
			require.Equal(t, "true", sent(t, w, "A10", `a-key-with-a-parameter`).header.Get("Idempotent-Replayed"))
		}},
		{"A-11 what is neither a string nor the bare format is refused", refused("A11", `"0123456789abcdef`, "token", "12345", "?1", "0123456789{abcdef}", "0123456789abcdef!", ":MDEyMzQ1Njc4OWFiY2RlZg==;:")},
		{"A-12 a key on a read is ignored, and the answer says so", func(t *testing.T, _ *world) {
			own := setup(t)
			for _, verb := range []string{"GET", "HEAD"} {
				a := own.do(t, verb, "/v1/customers/"+known, key("a12"))
				require.Equal(t, 200, a.status)
				require.Equal(t, "ignored", a.header.Get("Idempotency-Status"))
			}
			require.Zero(t, own.below.begun.Load(), "no record")
			require.Empty(t, own.fake.metadata()[0].Get("idempotency-key"))
		}},
		{"A-13 every route either demands a key or flags it as ignored", func(t *testing.T, w *world) {
			for _, path := range []string{"/v1/customers", "/v1/customers/" + known + "/orders", "/v1/customers/" + known + "/contacts"} {
				require.Equal(t, "ignored", w.do(t, "GET", path, key("a13")).header.Get("Idempotency-Status"), path)
			}
		}},
		{"A-15 a key is data, whatever it looks like", func(t *testing.T, w *world) {
			for i, k := range []string{`';DROP/**/TABLE/**/idempotency;--`, `{tag}..{tag}`, `../../../../etc/passwd`, `.*(a+)+$^[[[[[[`, `redis.call('FLUSHALL')`, `%s%n%x%x%x%x%x%x`} {
				name := fmt.Sprintf("A15-%d", i)
				line := `"` + k + "-0123456789abcdef" + `"`
				require.Equal(t, 201, sent(t, w, name, line).status, k)
				require.Equal(t, "true", sent(t, w, name, line).header.Get("Idempotent-Replayed"), k)
				require.Equal(t, 1, w.fake.ran(name))
			}
		}},
		{"A-16 random bytes are refused or accepted, never a failure", randomKeys},
	}
}

// randomKeys sends random bytes as keys. What HTTP itself does not allow ends at the server library, with 400 as well.
func randomKeys(t *testing.T, w *world) {
	rounds := 1500
	if testing.Short() {
		rounds = 200
	}
	random := rand.New(rand.NewPCG(1, uint64(rounds)))
	alphabet := []byte(`"\;,=?: abcdefghijklmnop0123456789` + "\t\x00\x7f\xc3\xa9")
	accepted := 0
	for i := range rounds {
		line := make([]byte, random.IntN(300))
		for j := range line {
			if line[j] = alphabet[random.IntN(len(alphabet))]; i%2 == 0 {
				line[j] = byte(random.IntN(256))
			}
		}
		if i%3 == 0 {
			line = []byte(`"` + strings.Trim(string(line), `"\`) + `"`)
		}
		if i%50 == 0 {
			line = fmt.Appendf(nil, "a-good-key-for-round-%d", i)
		}
		// A line break ends the header and begins another, which is another request than this test means.
		line = regexp.MustCompile(`[\r\n]`).ReplaceAll(line, []byte("x"))
		switch status := w.rawCreate(t, "A16", string(line)); status {
		case 201:
			accepted++
		case 400:
		default:
			require.Failf(t, "neither refused nor accepted", "%d for %q", status, line)
		}
	}
	require.GreaterOrEqual(t, accepted, rounds/50, "good keys among them are accepted")
}

func scopeCases() []conformance {
	return []conformance{
		{"B-01 another tenant's caller with the same key and request is executed for itself", func(t *testing.T, w *world) {
			first := w.create(t, "B01", "b01", w.as(t, "tenant-a|app"))
			second := w.create(t, "B01", "b01", w.as(t, "tenant-b|app"))
			require.Equal(t, []int{201, 201}, []int{first.status, second.status})
			require.Empty(t, second.header.Get("Idempotent-Replayed"))
			require.NotEqual(t, first.body, second.body)
			require.Equal(t, 2, w.fake.ran("B01"))
		}},
		{"B-02 another user with the same key and request is executed for itself", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "B02", "b02").status)
			require.Empty(t, w.create(t, "B02", "b02", w.as(t, "user-2")).header.Get("Idempotent-Replayed"))
			require.Equal(t, 2, w.fake.ran("B02"))
		}},
		{"B-03 the same key on another method is another effect", func(t *testing.T, w *world) {
			w.fake.add("c_b03")
			require.Equal(t, 201, w.create(t, "B03", "b03").status)
			order := w.do(t, "POST", "/v1/orders", key("b03"), body(`{"customerId":"c_b03","items":[{"sku":"a","quantity":"1"}]}`))
			require.Equal(t, 201, order.status, order.body)
			require.Empty(t, order.header.Get("Idempotent-Replayed"))
			require.Equal(t, []int{1, 1}, []int{w.fake.ran("B03"), w.fake.placed("c_b03")})
		}},
		{"B-04 a new token of the same caller finds the old answer", func(t *testing.T, w *world) {
			first := w.create(t, "B04", "b04")
			token, err := w.idp.Token("user-1", "customers.write openid", 2*time.Hour)
			require.NoError(t, err)
			again := w.create(t, "B04", "b04", with("Authorization", "Bearer "+token), with("User-Agent", "another device"))
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			require.Equal(t, first.body, again.body)
		}},
		{"B-05 who lost the permission does not get the old answer", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "B05", "b05").status)
			a := w.create(t, "B05", "b05", with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read")))
			a.problem(t, 403, "INSUFFICIENT_SCOPE")
			require.NotContains(t, a.body, "B05")
			require.Empty(t, a.header.Get("Idempotent-Replayed"))
		}},
		{"B-06 without good credentials a known key looks like an unknown one", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "B06", "b06").status)
			for _, credentials := range []option{anonymous(), with("Authorization", "Bearer x.y.z")} {
				same := with("X-Request-Id", "b06")
				before := w.do(t, "POST", "/v1/customers", credentials, same, key("b06"), body(`{"name":"B06"}`))
				unknown := w.do(t, "POST", "/v1/customers", credentials, same, key("b06-unknown"), body(`{"name":"B06"}`))
				require.Equal(t, 401, before.status)
				require.Equal(t, unknown.body, before.body)
				before.header.Del("Date")
				unknown.header.Del("Date")
				require.Equal(t, unknown.header, before.header)
			}
		}},
		{"B-07 who calls is in the token, whatever headers say, and the attempt is counted", func(t *testing.T, _ *world) {
			w := setup(t)
			require.Equal(t, 201, w.create(t, "B07", "b07", w.as(t, "victim")).status)
			a := w.create(t, "B07", "b07", w.as(t, "thief"), with("Grpc-Metadata-Selfsame-Principal", "victim"),
				with("Selfsame-Principal", "victim"), with("Grpc-Metadata-X-Tenant-Id", "victim"))
			require.Empty(t, a.header.Get("Idempotent-Replayed"))
			require.Equal(t, 2, w.fake.ran("B07"))
			metrics := w.metrics(t)
			require.Regexp(t, `selfsame_edge_stripped_headers_total\{[^}]*selfsame_kind="grpc"[^}]*\} 2`, metrics)
			require.Regexp(t, `selfsame_edge_stripped_headers_total\{[^}]*selfsame_kind="internal"[^}]*\} 1`, metrics)
		}},
		{"B-08 guessing keys finds nobody's answers", func(t *testing.T, w *world) {
			victims, guesses := 20, many(400)
			for i := range victims {
				require.Equal(t, 201, w.create(t, "B08", fmt.Sprintf("b08-%d", i), w.as(t, "victim-8")).status)
			}
			thief := w.as(t, "thief-8")
			var guessing sync.WaitGroup
			for g := range 4 {
				guessing.Go(func() {
					for i := g; i < guesses; i += 4 { // the victims' own keys are among them
						a := w.create(t, "B08-guess", fmt.Sprintf("b08-%d", i), thief)
						if a.status != 201 || a.header.Get("Idempotent-Replayed") != "" {
							t.Errorf("guess %d: %d %s", i, a.status, a.header.Get("Idempotency-Status"))
						}
					}
				})
			}
			guessing.Wait()
		}},
		{"B-09 after the erasure of a person a retry learns that it was done, and nothing more", erasedAnswer},
	}
}

// erasedAnswer erases one of two people, each of whom an answer is about.
func erasedAnswer(t *testing.T, _ *world) {
	w := setupOver(t, newBelow(func(b *below) {
		b.options.Subject = func(_ string, _, resp proto.Message) string {
			return "customers/" + resp.(interface{ GetCustomer() *customerv1.Customer }).GetCustomer().GetId()
		}
	}))
	first, others := w.create(t, "B09 canary", "b09"), w.create(t, "B09 other", "b09-other")
	require.Equal(t, []int{201, 201}, []int{first.status, others.status})
	n, err := w.below.Erase(t.Context(), strings.TrimPrefix(first.header.Get("Location"), "/v1/"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	a := w.create(t, "B09 canary", "b09")
	require.False(t, *a.problem(t, 410, "IDEMPOTENCY_RESULT_GONE").Retryable)
	require.NotContains(t, a.body, "canary")
	require.Equal(t, 1, w.fake.ran("B09 canary"))
	require.Equal(t, others.body, w.create(t, "B09 other", "b09-other").body, "who was not erased is answered as before")
}

func (w *world) metrics(t *testing.T) string {
	t.Helper()
	resp, err := w.client.Get("http://" + w.addrs.Ops + "/metrics")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

func fingerprintCases() []conformance {
	return []conformance{
		{"C-01 the same key with another request is refused and shows nothing of the first", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "C01 secret", "c01").status)
			a := w.create(t, "C01 other", "c01")
			require.False(t, *a.problem(t, 422, "IDEMPOTENCY_KEY_REUSED").Retryable)
			require.NotContains(t, a.body, "secret")
			require.Zero(t, w.fake.ran("C01 other"))
		}},
		{"C-02 it is refused as another request also while the first runs", func(t *testing.T, w *world) {
			release := w.fake.hold("C02")
			defer release()
			first := w.begin(t, "C02", "c02")
			w.create(t, "C02 other", "c02").problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			release()
			require.Equal(t, 201, (<-first).status)
			require.Equal(t, 1, w.fake.ran("C02"))
		}},
		{"C-03 it is refused also after the first attempt crashed", func(t *testing.T, w *world) {
			w.fake.plan("C03", panics)
			w.create(t, "C03", "c03").problem(t, 500, "INTERNAL")
			w.create(t, "C03 other", "c03").problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			require.Zero(t, w.fake.ran("C03 other"))
			require.Equal(t, 201, w.create(t, "C03", "c03").status)
		}},
		{"C-04 it is refused also after the first attempt was released", func(t *testing.T, w *world) {
			w.fake.plan("C04", fails(conflict()))
			w.create(t, "C04", "c04").problem(t, 409, "CONFLICT")
			w.create(t, "C04 other", "c04").problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			require.Equal(t, 201, w.create(t, "C04", "c04").status)
		}},
		{"C-05 JSON that means the same is the same request", func(t *testing.T, w *world) {
			send := func(text string) answer { return w.do(t, "POST", "/v1/customers", body(text), key("c05")) }
			require.Equal(t, 201, send(`{"name":"C05 Ärger","address":{"city":"Bonn","country":"DE"}}`).status)
			for _, text := range []string{
				"{ \"address\" : {\"country\":\"DE\",\n\"city\":\"Bonn\"}, \"name\":\"C05 Ärger\" }",
				`{"name":"C05 \u00c4rger","address":{"city":"Bon\u006e","country":"DE"}}`,
				`{"name":"C05 Ärger","phone":"","email":null,"address":{"city":"Bonn","country":"DE","street":""}}`,
			} {
				require.Equal(t, "true", send(text).header.Get("Idempotent-Replayed"), text)
			}
			require.Equal(t, 1, w.fake.ran("C05 Ärger"))
		}},
		{"C-07 an unknown field is refused before the key is looked at", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "C07", "c07").status)
			p := w.do(t, "POST", "/v1/customers", key("c07"), body(`{"name":"C07","colour":"blue"}`)).problem(t, 400, "VALIDATION_FAILED")
			require.Equal(t, []string{"/colour"}, p.pointers())
			require.Equal(t, "true", w.create(t, "C07", "c07").header.Get("Idempotent-Replayed"))
		}},
		{"C-10 another path parameter under the same body is another request", func(t *testing.T, w *world) {
			w.fake.add("c_c10a")
			w.fake.add("c_c10b")
			require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_c10a", key("c10"), body(`{"phone":"10"}`)).status)
			w.do(t, "PATCH", "/v1/customers/c_c10b", key("c10"), body(`{"phone":"10"}`)).problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			require.Equal(t, "1", w.fake.get("c_c10b").GetPhone())
		}},
		{"C-11 headers that say nothing about the effect may differ", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "C11", "c11").status)
			again := w.create(t, "C11", "c11", with("Accept", "*/*"), with("User-Agent", "app/2"), with("X-Request-Id", "other"),
				with("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		}},
		{"C-12 a field that is left out and one that is emptied are different changes", func(t *testing.T, w *world) {
			w.fake.add("c_c12")
			require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_c12", key("c12"), body(`{"email":"a@b.example"}`)).status)
			w.do(t, "PATCH", "/v1/customers/c_c12", key("c12"), body(`{"email":"a@b.example","phone":""}`)).problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			require.Equal(t, "1", w.fake.get("c_c12").GetPhone())
		}},
	}
}
