package experiencemobile_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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
		"Tracestate",
	}
	texts := map[string]string{
		"POST /v1/customers": `{"name":"Smuggled GmbH"}`, "PATCH /v1/customers/" + known: `{"phone":"1"}`,
		"POST /v1/orders":                `{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"1"}]}`,
		"POST /v1/orders/1/cancellation": `{}`, "POST /v1/cases": `{"customerId":"` + known + `","subject":"s"}`,
		"POST /v1/sync:apply": `{"mutations":[{"key":"a-key-of-a-mutation","kind":"CREATE_CUSTOMER","customer":{"name":"Smuggled GmbH 2"}}]}`,
	}
	w.each(t, func(t *testing.T, method, path string, write bool) {
		options := []option{key("smuggled-" + path), with("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}
		for _, name := range names {
			value := "planted"
			if name == "Tracestate" {
				value = "canary=planted" // one that is well-formed would go on
			}
			options = append(options, with(name, value))
		}
		if strings.HasSuffix(path, "/events") {
			s := w.open(t, strings.TrimSuffix(strings.TrimPrefix(path, "/v1/orders/"), "/events"), options...)
			require.Equal(t, 200, s.resp.StatusCode)
			require.NotEmpty(t, s.next(t).data)
			for name, values := range s.resp.Header {
				require.NotContains(t, strings.Join(values, " "), "planted", name)
			}
			s.close()
			return
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
		if method != "GET" {
			return
		}
		if strings.HasSuffix(path, "/events") {
			s := w.open(t, strings.TrimSuffix(strings.TrimPrefix(path, "/v1/orders/"), "/events"), with("X-HTTP-Method-Override", "DELETE"))
			require.Equal(t, 200, s.resp.StatusCode)
			s.close()
			return
		}
		require.NotEqual(t, 405, w.do(t, method, path, with("X-HTTP-Method-Override", "DELETE")).status)
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

// TestChunksWithALength sends a length and chunks: the chunks count, and the connection ends with the answer, so that what whoever believes
// the length takes for the next request is none.
func TestChunksWithALength(t *testing.T) {
	t.Parallel()
	w := setup(t)
	text := `{"name":"Chunks GmbH"}`
	request := fmt.Sprintf("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\nIdempotency-Key: a-key-of-chunks-%%d\r\n"+
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", w.user1(t), len(text), text)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = fmt.Fprintf(conn, request+request, 1, 2)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	require.True(t, resp.Close)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_, err = in.ReadByte()
	require.Error(t, err, "nothing more is answered")
	require.Equal(t, 1, w.fake.ran("Chunks GmbH"))
}
