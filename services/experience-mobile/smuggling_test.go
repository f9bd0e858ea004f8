package experiencemobile_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newTrap is a server that nobody is to call.
func newTrap(t *testing.T, asked chan<- string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestSmuggledHeaders sends headers that other gateways take for metadata, a deadline, a method or a session, on every
// route, and looks at what reaches the process layer.
func TestSmuggledHeaders(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fake.newOrder(known, "1")
	names := []string{
		"Grpc-Metadata-Selfsame-Principal", "Grpc-Metadata-Authorization", "Grpc-Metadata-Idempotency-Key", "Grpc-Metadata-X-Tenant", "Grpc-Timeout",
		"Selfsame-Principal", "Selfsame-Customers", "Selfsame-Caller", "X-Http-Method-Override", "X-Method-Override", "X-Http-Method", "Cookie", "Forwarded",
		"X-Forwarded-For", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url", "Grpc-Encoding", "Grpc-Accept-Encoding", "Grpc-Trace-Bin", "Baggage", "Priority-Level",
	}
	texts := map[string]string{
		"POST /v1/customers": `{"name":"Smuggled GmbH"}`, "PATCH /v1/customers/" + known: `{"phone":"1"}`,
		"POST /v1/orders":                `{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"1"}]}`,
		"POST /v1/orders/1/cancellation": `{}`, "POST /v1/cases": `{"customerId":"` + known + `","subject":"s"}`,
		"POST /v1/sync:apply": `{"mutations":[{"key":"a-key-of-a-mutation","kind":"CREATE_CUSTOMER","customer":{"name":"Smuggled GmbH 2"}}]}`,
	}
	w.each(t, func(t *testing.T, method, path string, write bool) {
		if strings.HasSuffix(path, "/events") {
			return
		}
		options := []option{key("smuggled-" + path)}
		for _, name := range names {
			options = append(options, with(name, "planted"))
		}
		if text := texts[method+" "+path]; write {
			require.NotEmpty(t, text, path)
			options = append(options, body(text))
		}
		a := w.do(t, method, path, options...)
		require.Less(t, a.status, 500, a.body)
		for name, values := range a.header {
			require.NotContains(t, strings.ToLower(name), "grpc")
			require.NotContains(t, strings.ToLower(name), "selfsame")
			require.NotContains(t, strings.Join(values, " "), "planted", name)
		}
	})
	w.each(t, func(t *testing.T, method, path string, _ bool) {
		if method == "GET" && !strings.HasSuffix(path, "/events") {
			require.NotEqual(t, 405, w.do(t, method, path, with("X-HTTP-Method-Override", "DELETE")).status)
		}
	})
	require.NotEmpty(t, w.fake.metadata())
	for _, md := range w.fake.metadata() {
		for name, values := range md {
			require.NotContains(t, strings.Join(values, " "), "planted", name)
			require.NotContains(t, strings.Join(values, " "), "Bearer", name)
		}
		require.Equal(t, []string{"user-1"}, md.Get("selfsame-principal"))
	}
}

// TestSmuggledRequests sends what two servers in a row would take for different requests. None is carried out twice or
// half.
func TestSmuggledRequests(t *testing.T) {
	t.Parallel()
	w := setup(t)
	text := `{"name":"Desync GmbH"}`
	head := "POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: " + w.user1(t) + "\r\nContent-Type: application/json\r\nConnection: close\r\nIdempotency-Key: a-key-of-smuggling-%s\r\n"
	for name, rest := range map[string]string{
		"two lengths":              "Content-Length: 22\r\nContent-Length: 0\r\n\r\n" + text,
		"a length that is signed":  "Content-Length: +22\r\n\r\n" + text,
		"a length and chunks":      "Transfer-Encoding: chunked, identity\r\nContent-Length: 22\r\n\r\n" + text,
		"an encoding nobody knows": "Transfer-Encoding: xchunked\r\n\r\n" + text,
		"chunks in disguise":       "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + text,
		"a folded header":          "X-Folded: a\r\n Content-Length: 22\r\n\r\n" + text,
		"a bare carriage return":   "X-Bare: a\rContent-Length: 22\r\n\r\n" + text,
		"no host":                  "\r\n",
	} {
		request := fmt.Sprintf(head, strings.ReplaceAll(name, " ", "-")) + rest
		if name == "no host" {
			request = strings.Replace(request, "Host: x\r\n", "", 1)
		}
		status := w.raw(t, request)
		require.True(t, status == 0 || status >= 400 && status < 600, "%s: %d", name, status)
	}
	require.Zero(t, w.fake.ran("Desync GmbH"))
}
