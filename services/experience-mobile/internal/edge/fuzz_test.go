package edge

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

func bodies(t testing.TB) []*route {
	t.Helper()
	routes, err := contractRoutes()
	require.NoError(t, err)
	var out []*route
	for _, r := range routes {
		if r.body != nil {
			out = append(out, r)
		}
	}
	return out
}

// FuzzBodies sends texts the way of a body: the check names only what is wrong, never panics, and what it lets through the
// decoder behind it understands, apart from the range of numbers and the format of times.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"x","address":{"city":null}}`, `{"items":[{"sku":"a"}]}`, `[]`, `{"name":"a","name":"b"}`, `{"a":{"b":[1,{"c":2}]}}`, `{"name":"\ud800"}`,
		`{"mutations":[{"key":"k","fields":["phone",null]}]}`, "\xff", `{"name":1e400}`, `{"":0}`, `{"name":"\u0000"}`, `{"name":"a"}{`, `{"items":[null]}`, `{"mutations":[null]}`,
	} {
		f.Add([]byte(seed))
	}
	routes := bodies(f)
	decoder := newCodec()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, r := range routes {
			checked, err := checkBody(body, r.body)
			if err != nil {
				require.ErrorIs(t, err, errMalformed)
				continue
			}
			found := checked.found
			require.LessOrEqual(t, len(found), maxViolations)
			for _, v := range found {
				require.NotEmpty(t, v.Code)
				require.NotNil(t, v.Pointer)
			}
			checked.missing(r.bodyField, false)
			if len(found) > 0 {
				continue
			}
			want := r.body.kind.New().Interface()
			if err := decoder.NewDecoder(bytes.NewReader(body)).Decode(want); err == nil {
				require.True(t, checked.partly || proto.Equal(want, checked.made.Interface()), "%s makes something else of %q", r.template, body)
			} else {
				text := err.Error()
				known := strings.Contains(text, "google.protobuf.Timestamp") || strings.Contains(text, "invalid value for") || strings.Contains(text, "recursion")
				require.True(t, known, "%s lets through %q: %v", r.template, body, err)
			}
		}
	})
}

// FuzzHeaders sends whole requests with a header or a parameter that anybody may send: no answer is a failure of ours, what is
// refused is a problem, and no header becomes metadata but those that are meant to, the key and the state that a change is based on.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{"", `"a"`, `W/"a", *`, "gzip;q=0", "*/*;q=0.1, application/json", "01890a5d-ac96-774b-bcce-b302099a8057", "1.2.3-beta", "name,address.city", "MS5hLjEuMQ"} {
		f.Add(seed)
	}
	routes, err := contractRoutes()
	require.NoError(f, err)
	below := &listening{}
	h, err := New(Options{Telemetry: telemetry.Discard(), Service: below, Tokens: anyone{}, Budget: time.Minute, MaxBody: 1 << 20})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		requests(t, h, below, text)
		accepts([]string{text}, "application/json")
		noneMatches([]string{text}, `"tag"`)
		Older(text, "1.0.0")
		require.False(t, Older(text, text))
		if tag, ok := ParseIfMatch([]string{text}); ok {
			require.NotContains(t, tag, "\n")
		}
		KeyProblem(text)
		if safeID(text) {
			require.Equal(t, text, http.Header{"X": {text}}.Get("X"))
			require.NotContains(t, text, "\n")
		}
		s := &feed{edge: &edge{}, order: "o"}
		s.edge.o.Streams = s.edge.o.Streams.withDefaults()
		if v, ok := s.parse(text); ok {
			require.GreaterOrEqual(t, v, int64(0))
		}
		for _, r := range routes {
			chosen, found := selectFields(r, url.Values{fieldsParameter: {text}})
			if len(found) == 0 && chosen != nil {
				chosen.apply([]byte(`{"customers":[{"name":"x"}],"name":"x","address":{"city":"y"}}`))
			}
		}
	})
}

// listening is a service that remembers what it was told beside the request.
type listening struct {
	fixed
	metadata metadata.MD
}

func (l *listening) Invoke(ctx context.Context, method string, in, out any, o ...grpc.CallOption) error {
	l.metadata, _ = metadata.FromOutgoingContext(ctx)
	return l.fixed.Invoke(ctx, method, in, out, o...)
}

// requests sends text in every place of a read and a write.
func requests(t *testing.T, h http.Handler, below *listening, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(c rune) bool { return (c < ' ' && c != '\t') || c == 0x7f }) {
		return // no server lets such a line through
	}
	const mark = "planted-"
	lines := []string{
		"Accept", "Accept-Encoding", "Accept-Language", "If-None-Match", "If-Match", "Idempotency-Key", "Prefer", "X-Request-Id", "Content-Type", "Content-Encoding",
		"X-App-Version", "User-Agent", "Origin", "Last-Event-Id", "Traceparent", "Cookie", "Grpc-Metadata-Selfsame-Principal", "Selfsame-Principal",
		"Grpc-Timeout", "X-Http-Method-Override", "X-Forwarded-Host",
	}
	for _, name := range append(lines, "") {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			target, body := "/v1/customers/c_1", ""
			if method == http.MethodPost {
				target, body = "/v1/customers", `{"name":"x"}`
			}
			value := text
			if name == "" {
				target += "?fields=" + url.QueryEscape(text)
			}
			r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
			r.Header = http.Header{"Authorization": {"Bearer x"}, "Content-Type": {"application/json"}, "Idempotency-Key": {"the-key-of-a-fuzzed-request"}}
			switch name {
			case "":
			case "User-Agent", "Cookie", "Grpc-Metadata-Selfsame-Principal", "Selfsame-Principal", "Grpc-Timeout", "X-Http-Method-Override", "X-Forwarded-Host", "Accept-Language":
				value = mark + text
				fallthrough
			default:
				r.Header[name] = []string{value}
			}
			below.metadata = nil
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Less(t, w.Code, 500, "%s: %q", name, value)
			if w.Code >= 400 {
				require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), "%s: %q", name, value)
				require.NotEmpty(t, w.Header().Get("X-Error-Code"))
			}
			for key, values := range below.metadata {
				require.NotContains(t, strings.Join(values, " "), mark, "%s became %s", name, key)
			}
		}
	}
}

func TestPartial(t *testing.T) {
	t.Parallel()
	var list *route
	for _, r := range mustRoutes(t) {
		if r.template == "/v1/customers" && r.verb == "GET" {
			list = r
		}
	}
	pick := func(fields string) selection {
		s, found := selectFields(list, url.Values{fieldsParameter: {fields}})
		require.Empty(t, found, fields)
		return s
	}
	const text = `{"customers":[{"name":"<x>","address":{"city":"y","street":"z"}},{"name":"b"}],"nextPageToken":"t"}`
	require.JSONEq(t, `{"customers":[{"name":"<x>"},{"name":"b"}]}`, string(pick("customers.name").apply([]byte(text))))
	require.JSONEq(t, text, string(pick("customers,customers.name,nextPageToken").apply([]byte(text))))
	require.JSONEq(t, `{"customers":[{"address":{"city":"y"}},{}]}`, string(pick("customers.address.city").apply([]byte(text))))
	require.Nil(t, pick("*"))
	require.Nil(t, pick("nextPageToken,*"))
	require.Equal(t, "no json", string(pick("customers").apply([]byte("no json"))))
}

func mustRoutes(t *testing.T) []*route {
	t.Helper()
	routes, err := contractRoutes()
	require.NoError(t, err)
	return routes
}

// Half of a character that needs two escapes (RFC 8259 section 8.2) is no text: every reader makes something else of it.
func TestHalfPairs(t *testing.T) {
	t.Parallel()
	rules := newBodyRules((&mobilev1.Customer{}).ProtoReflect().Descriptor())
	for _, bad := range []string{`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud800x\udc00"`, `"\\\ud800"`, `"\uD83D"`, `"\ude"`, "\"\xff\""} {
		_, err := checkBody([]byte(`{"name":`+bad+`}`), rules)
		require.ErrorIs(t, err, errMalformed, bad)
	}
	for _, good := range []string{`"\ud83d\ude00"`, `"\\ud800"`, `"\u0041"`, `"\"\u00e4"`, `""`} {
		checked, err := checkBody([]byte(`{"name":`+good+`}`), rules)
		require.NoError(t, err, good)
		require.Empty(t, checked.found)
	}
}

func TestTagForgetsWhenItWasRead(t *testing.T) {
	t.Parallel()
	screen := func(text string) string {
		var message protoreflect.MessageDescriptor
		for _, r := range mustRoutes(t) {
			if r.template == "/v1/cases/{case_id}" {
				message = r.answer
			}
		}
		m := dynamicpb.NewMessage(message)
		require.NoError(t, protojson.Unmarshal([]byte(text), m))
		return tagOf(m)
	}
	one := screen(`{"caseId":"1","sources":[{"section":"orders","state":"OK","asOf":"2026-01-01T00:00:00Z"}]}`)
	require.Equal(t, one, screen(`{"caseId":"1","sources":[{"section":"orders","state":"OK","asOf":"2026-02-02T00:00:00Z"}]}`))
	require.NotEqual(t, one, screen(`{"caseId":"1","sources":[{"section":"orders","state":"STALE","asOf":"2026-01-01T00:00:00Z"}]}`))
	require.NotEqual(t, one, screen(`{"caseId":"2","sources":[{"section":"orders","state":"OK","asOf":"2026-01-01T00:00:00Z"}]}`))
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"1.9.0", "1.10.0"}, {"1", "1.0.1"}, {"", "0.0.1"}, {"x", "0"}, {"1.2.3.4", "0.1"}, {"1.0.0-rc", "1.0.1"}, {"-1.0", "0.1"}} {
		require.True(t, Older(pair[0], pair[1]), pair)
		require.False(t, Older(pair[1], pair[0]), pair)
	}
	require.False(t, Older("1.0", "1.0.0"))
	require.False(t, Older("1.0.0-rc", "1.0.0"), "what follows a dash does not count")
}

func TestHerd(t *testing.T) {
	t.Parallel()
	h := newHerd()
	name := [32]byte{1}
	first, _, leave := h.join(name)
	require.True(t, first)
	second, done, _ := h.join(name)
	require.False(t, second)
	other, _, leaveOther := h.join([32]byte{2})
	require.True(t, other)
	leaveOther()
	select {
	case <-done:
		t.Fatal("the first has not left")
	default:
	}
	leave()
	<-done
	again, _, leave := h.join(name)
	require.True(t, again, "who comes later is a first again")
	leave()
	require.Empty(t, h.leaders)
}
