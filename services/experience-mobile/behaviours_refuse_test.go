package experiencemobile_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

func mediaTypes(t *testing.T, w *world) {
	post := func(options ...option) answer {
		return w.do(t, "POST", "/v1/customers", append([]option{key("media-1"), body(`{"name":"Media GmbH"}`)}, options...)...)
	}
	for _, kind := range []string{"text/xml", "application/x-www-form-urlencoded", "application/json; charset=latin1", "nonsense", "application/merge-patch+json"} {
		post(without("Content-Type"), with("Content-Type", kind)).problem(t, 415, "UNSUPPORTED_MEDIA_TYPE")
	}
	post(without("Content-Type")).problem(t, 415, "UNSUPPORTED_MEDIA_TYPE")
	post(with("Content-Encoding", "gzip")).problem(t, 415, "UNSUPPORTED_MEDIA_TYPE")
	require.Zero(t, w.fake.created("Media GmbH"))
	for _, accept := range []string{"text/csv", "application/json;q=0", "text/html, application/json;q=0, */*"} {
		w.do(t, "GET", "/v1/customers/"+known, with("Accept", accept)).problem(t, 406, "NOT_ACCEPTABLE")
	}
	for _, accept := range []string{"*/*", "application/*", "text/html, application/json;q=0.5", "application/json; charset=utf-8"} {
		require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known, with("Accept", accept)).status, accept)
	}
}

func largeBody(t *testing.T, _ *world) {
	w := setup(t)
	const limit, text = 1 << 20, `{"name":"Large GmbH"}`
	padded := func(size int) string { return text + strings.Repeat(" ", size-len(text)) }
	refused := func(path string, size int, chunked bool) {
		a, ended := w.pour(t, path, padded(size), chunked)
		require.False(t, *a.problem(t, 413, "BODY_TOO_LARGE").Retryable, path)
		require.Empty(t, a.header.Get("Retry-After"), "it is of no use to send it again")
		require.True(t, a.closed, "the rest of the body is not read")
		require.Error(t, ended, "and nothing more is answered")
		require.NotErrorIs(t, ended, os.ErrDeadlineExceeded, "the connection ends")
	}
	for _, chunked := range []bool{false, true} {
		refused("POST /v1/customers", 20<<20, chunked)
		w.each(t, func(_ *testing.T, method, path string, write bool) {
			if write {
				refused(method+" "+path, limit+1, chunked)
			}
		})
	}
	require.Equal(t, 413, w.raw(t, "POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: "+w.user1(t)+
		"\r\nContent-Type: application/json\r\nIdempotency-Key: a-key-of-a-large-body\r\nContent-Length: 20971520\r\n\r\n"), "what is announced need not come")
	require.Empty(t, w.fake.metadata(), "nothing went below")
	for want, chunked := range []bool{false, true} {
		a, _ := w.pour(t, "POST /v1/customers", padded(limit), chunked)
		require.Equal(t, 201, a.status, "the limit itself is allowed: %s", a.body)
		require.Equal(t, chunked, a.closed)
		require.Equal(t, want+1, w.fake.created("Large GmbH"))
	}
}

// pour sends a body over a connection of its own until all is sent or the connection ends. It returns the answer, and how the connection ends if the
// answer says that it does.
func (w *world) pour(t *testing.T, line, text string, chunked bool) (a answer, ended error) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	size, name := fmt.Sprintf("Content-Length: %d", len(text)), "sized"
	if chunked {
		size, name = "Transfer-Encoding: chunked", "chunked"
	}
	method, path, _ := strings.Cut(line, " ")
	_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\nIdempotency-Key: a-key-of-a-large-body-%s\r\n%s\r\n\r\n",
		line, w.user1(t), name, size)
	require.NoError(t, err)
	var sent sync.WaitGroup
	sent.Go(func() {
		for part := range slices.Chunk([]byte(text), 64<<10) {
			if chunked {
				part = slices.Concat(fmt.Appendf(nil, "%x\r\n", len(part)), part, []byte("\r\n"))
			}
			if _, err := conn.Write(part); err != nil {
				return // who is refused is not listened to
			}
		}
		if chunked {
			_, _ = io.WriteString(conn, "0\r\n\r\n") // the same
		}
	})
	defer sent.Wait()
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	a = answer{resp.StatusCode, resp.Header, string(content), resp.Proto, resp.Close}
	conforms(t, method, path, a)
	if a.closed {
		_, ended = in.ReadByte()
	}
	return a, ended
}

func everyProblem(t *testing.T, w *world) {
	w.do(t, "GET", "/nope", anonymous()).problem(t, 404, "ROUTE_NOT_FOUND")
	w.do(t, "GET", "/v1/customers", anonymous()).problem(t, 401, "TOKEN_MISSING")
	w.do(t, "GET", "/v1/customers/"+leaky).problem(t, 500, "INTERNAL")
	w.do(t, "GET", "/v1/customers/"+unavailable).problem(t, 503, "UNAVAILABLE")
	w.do(t, "GET", "/v1/customers/"+refusing).problem(t, 500, "INTERNAL")
	w.do(t, "HEAD", "/v1/customers/"+known, with("Accept", "text/csv"))
	seen := w.do(t, "GET", "/v1/customers/"+strings.Repeat("x", 65)).problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, "customer_id", seen.Errors[0].Parameter)
}

func requestID(t *testing.T, w *world) {
	a := w.do(t, "GET", "/v1/customers/c_none", with("X-Request-Id", "abc-1_2.3"))
	require.Equal(t, "abc-1_2.3", a.problem(t, 404, "CUSTOMER_UNKNOWN").RequestID)
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "abc-1_2.3") }, time.Minute, 5*time.Millisecond)
	spans := tracetest.NewInMemoryExporter()
	traced := w.another(t, func(c *experiencemobile.Config) {
		c.TelemetryOptions = append(c.TelemetryOptions, telemetry.WithSpanExporter(spans))
	})
	traced.do(t, "GET", "/v1/customers/"+known, with("X-Request-Id", "abc-span-1"))
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(spans.GetSpans(), func(s tracetest.SpanStub) bool {
			return slices.Contains(s.Attributes, attribute.String("request_id", "abc-span-1"))
		})
	}, time.Minute, 5*time.Millisecond, "the request's span carries its id")
	for _, bad := range []string{"", "with space", strings.Repeat("x", 65), "a<b", "a\tb"} {
		got := w.do(t, "GET", "/v1/customers/"+known, with("X-Request-Id", bad)).header.Get("X-Request-Id")
		require.Regexp(t, "^[0-9a-f]{32}$", got)
	}
	require.Regexp(t, "^[0-9a-f]{32}$", w.do(t, "GET", "/v1/customers/"+known, with("X-Request-Id", "a"), with("X-Request-Id", "b")).header.Get("X-Request-Id"))
}

func budget(t *testing.T, w *world) {
	// process-customer answers this one when the caller gives up, so only the route's own budget can end the wait: a caller's
	// 30 minutes are not listened to, and the minute of the others is not waited for.
	hurried := setup(t, func(c *experiencemobile.Config) {
		c.Budget, c.Budgets = time.Minute, map[string]string{"GET /v1/customers/{customer_id}": "1s", "GET /v1/customers/{customer_id}/contacts": "40s", "GET /v1/customers": "0"}
	})
	a := hurried.do(t, "GET", "/v1/customers/"+slow, with("Grpc-Timeout", "30M"))
	require.True(t, *a.problem(t, 504, "TIMEOUT").Retryable)
	require.NotContains(t, a.body, "127.0.0.1")
	for path, bounds := range map[string][2]time.Duration{
		"/v1/customers/" + known + "/contacts": {0, 40 * time.Second}, "/v1/customers": {40 * time.Second, time.Minute},
		"/v1/customers/" + known + "/orders": {40 * time.Second, time.Minute},
	} {
		require.Equal(t, 200, hurried.do(t, "GET", path).status, path)
		left := hurried.fake.lastLeft()
		require.Greater(t, left, bounds[0], path)
		require.Less(t, left, bounds[1], path)
	}
	a = w.do(t, "GET", "/v1/customers/"+unavailable+"/orders")
	require.True(t, *a.problem(t, 503, "UNAVAILABLE").Retryable)
	require.Equal(t, "7", a.header.Get("Retry-After"))
}

func headers(t *testing.T, w *world) {
	a := w.do(t, "GET", "/v1/customers?namePrefix=headers",
		with("Grpc-Metadata-X-Tenant", "planted"), with("Grpc-Metadata-Selfsame-Principal", "planted"), with("Selfsame-Principal", "planted"),
		with("Grpc-Timeout", "1n"), with("Cookie", "session=planted"), with("X-HTTP-Method-Override", "DELETE"), with("TE", "trailers"))
	require.Equal(t, 200, a.status, a.body)
	for name := range a.header {
		require.NotContains(t, strings.ToLower(name), "grpc")
		require.NotContains(t, strings.ToLower(name), "selfsame")
	}
	named := false
	for _, md := range w.fake.metadata() {
		for name, values := range md {
			require.NotContains(t, values, "planted", name)
			require.NotContains(t, strings.Join(values, " "), "session=", name)
			require.NotContains(t, strings.Join(values, " "), "Bearer", name)
		}
		named = named || len(md.Get("selfsame-principal")) == 1
	}
	require.True(t, named)
	w.do(t, "POST", "/v1/customers", with("X-HTTP-Method-Override", "GET"), with("Content-Type", "application/x-www-form-urlencoded")).
		problem(t, 415, "UNSUPPORTED_MEDIA_TYPE")
}

func sections(t *testing.T, w *world) {
	v := w.do(t, "GET", "/v1/customers/"+partial).json(t, 200)
	text, err := json.Marshal(v["sources"])
	require.NoError(t, err)
	states := map[string]string{}
	for _, s := range v["sources"].([]any) {
		m, ok := s.(map[string]any)
		require.True(t, ok)
		if m["state"] == "STALE" {
			require.Equal(t, "2026-03-04T05:06:07Z", m["asOf"], "what is old says how old")
		} else {
			require.Equal(t, m["state"] == "OK", m["asOf"] != nil, "what was read says when")
		}
		states[m["section"].(string)] = m["name"].(string) + " " + m["state"].(string) + " " + m["reason"].(string)
	}
	require.Equal(t, map[string]string{"orders": "erp UNAVAILABLE TIMEOUT", "cases": "salesforce OK ", "warranties": "erp STALE CIRCUIT_OPEN"}, states, string(text))
	summary := w.do(t, "GET", "/v1/customers/"+partial+"?summary=true").json(t, 200)
	require.Empty(t, summary["sources"])
}

func challenge(t *testing.T, w *world) {
	expired, err := w.idp.Token("user-1", readAll, -time.Minute)
	require.NoError(t, err)
	for _, header := range []string{"Bearer " + expired, "Bearer x.y.z", "Bearer " + strings.Repeat("x", 9000)} {
		a := w.do(t, "GET", "/v1/customers", with("Authorization", header))
		a.problem(t, 401, "TOKEN_INVALID")
		require.Contains(t, a.header.Get("WWW-Authenticate"), `Bearer realm="selfsame", error="invalid_token"`)
	}
	a := w.do(t, "GET", "/v1/customers", with("Authorization", "Basic dXNlcjpwYXNz"))
	a.problem(t, 401, "TOKEN_MISSING")
	require.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_token"`)
	good := "Bearer " + w.token(t, "user-1", readAll)
	w.do(t, "GET", "/v1/customers", with("Authorization", good), with("Authorization", good)).problem(t, 401, "TOKEN_MISSING")
	w.do(t, "GET", "/v1/customers?access_token="+w.token(t, "user-1", readAll), anonymous()).problem(t, 401, "TOKEN_MISSING")
}

func scopes(t *testing.T, w *world) {
	read := with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known, read).status)
	a := w.do(t, "POST", "/v1/customers", read, body(`{"name":"Scopeless GmbH"}`), key("scopes-1"))
	require.Contains(t, a.problem(t, 403, "INSUFFICIENT_SCOPE").Detail, "customers.write")
	require.Contains(t, a.header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="customers.write"`)
	w.do(t, "GET", "/v1/customers", with("Authorization", "Bearer "+w.token(t, "user-1", "customers.reader openid"))).problem(t, 403, "INSUFFICIENT_SCOPE")
	require.Zero(t, w.fake.created("Scopeless GmbH"))
}

func crossOrigin(t *testing.T, w *world) {
	const sent = "app-version,authorization,content-type,idempotency-key,if-match,if-none-match,last-event-id" // as browsers write it
	preflight := func(from string) answer {
		return w.do(t, "OPTIONS", "/v1/customers/"+known, anonymous(), with("Origin", from), with("Access-Control-Request-Method", "PATCH"),
			with("Access-Control-Request-Headers", sent))
	}
	a := preflight(origin)
	require.Equal(t, 204, a.status)
	require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, sent, a.header.Get("Access-Control-Allow-Headers"))
	require.Contains(t, a.header.Get("Access-Control-Allow-Methods"), "PATCH")
	for _, from := range []string{"https://evil.example.com", "null", origin + ".evil.com", "http://app.example.com"} {
		require.Empty(t, preflight(from).header.Get("Access-Control-Allow-Origin"), from)
	}
	a = w.do(t, "GET", "/v1/customers/"+known, with("Origin", origin))
	require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
	for _, name := range []string{"ETag", "Location", "Retry-After", "RateLimit", "X-Request-Id", "Idempotent-Replayed", "Deprecation", "Sunset"} {
		require.Contains(t, strings.ToLower(a.header.Get("Access-Control-Expose-Headers")), strings.ToLower(name))
	}
	require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"))
	require.Contains(t, a.header.Get("Vary"), "Origin")
	require.Equal(t, origin, w.do(t, "GET", "/nope", anonymous(), with("Origin", origin)).header.Get("Access-Control-Allow-Origin"), "a page can read refusals")
}

func description(t *testing.T, w *world) {
	a := w.do(t, "GET", "/openapi.json", anonymous())
	require.Equal(t, "3.1.0", a.json(t, 200)["openapi"])
	require.Equal(t, 304, w.do(t, "GET", "/openapi.json", anonymous(), with("If-None-Match", a.header.Get("ETag"))).status)
	page := w.do(t, "GET", "/docs", anonymous())
	require.Equal(t, 200, page.status)
	require.Contains(t, page.header.Get("Content-Type"), "text/html")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, page.body, `id="IDEMPOTENCY_KEY_MISSING"`)
	for _, foreign := range []string{"http://", "https://", "//cdn"} {
		require.NotContains(t, page.body, foreign, "nothing is loaded from elsewhere")
	}
}

func noOperations(t *testing.T, w *world) {
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/healthz", "/debug/pprof/"} {
		w.do(t, "GET", path, anonymous()).problem(t, 404, "ROUTE_NOT_FOUND")
	}
	resp, err := w.client.Get("http://" + w.addrs.Ops + "/livez")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}
