package experiencemobile_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	"github.com/selfsame-io/selfsame/services/experience-mobile/conform"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// insideText is what a careless service says; insideParts are what no client may see of it, nor of what libraries say, in lower case.
const insideText = `pq: password authentication failed for user erp at 10.0.0.3:5432 (db.planted.internal): SELECT * FROM planted; goroutine 17 [running]: planted.go:42`

var insideParts = []string{
	"pq:", "password", "10.0.0.3", "planted", "select *", "goroutine", ".go:", "rpc error", "desc =", "dial tcp", "127.0.0.1", "connection error", "panic", "proto:",
	"unexpected", "http2", "<html", "preface", "unmarshal",
}

// hostile is a failure with insideText in every place that a status has.
func hostile(t *testing.T, code codes.Code, info *errdetails.ErrorInfo) error {
	t.Helper()
	s, err := status.New(code, insideText).WithDetails(
		info, &errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)},
		&errdetails.DebugInfo{StackEntries: []string{insideText}, Detail: insideText}, &errdetails.LocalizedMessage{Locale: "en", Message: insideText},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: insideText, Url: "http://db.planted.internal"}}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "planted", Reason: "PLANTED", Description: insideText}}},
	)
	require.NoError(t, err)
	return s.Err()
}

// insideFaults are the ways in which a call of process-customer fails, by what it is.
func insideFaults(t *testing.T) map[string]func() error {
	t.Helper()
	ours := func(reason string) *errdetails.ErrorInfo {
		return &errdetails.ErrorInfo{Domain: fault.Domain, Reason: reason, Metadata: map[string]string{"resource": "customers/planted", "etag": "planted"}}
	}
	is := func(err error) func() error { return func() error { return err } }
	all := map[string]func() error{
		"a panic":                   func() error { panic(insideText) },
		"an error of nobody":        is(errors.New(insideText)),
		"a fault without a reason":  is(fault.New(fault.Internal, "", "%s", insideText)),
		"a conflict named a defect": is(hostile(t, codes.Aborted, ours(fault.ReasonInternal))),
		"a rule named an outage":    is(hostile(t, codes.FailedPrecondition, ours(fault.ReasonUnavailable))),
	}
	for _, code := range []codes.Code{
		codes.Unknown, codes.Internal, codes.Unavailable, codes.DataLoss, codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated, codes.DeadlineExceeded,
	} {
		all[code.String()+" of a stranger"] = is(hostile(t, code, &errdetails.ErrorInfo{Domain: "db.planted.internal", Reason: "PLANTED"}))
		all[code.String()+" of ours"] = is(hostile(t, code, ours("PLANTED")))
	}
	return all
}

// insideTargets are what stands in the place of process-customer, by what it is.
func insideTargets(t *testing.T) map[string]string {
	t.Helper()
	gone := listen(t)
	require.NoError(t, gone.Close())
	frame := func(length uint32) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, length), "\xff\xff\xff planted"...))
			w.Header().Set("Grpc-Status", "0")
		}
	}
	return map[string]string{
		"nobody":           gone.Addr().String(),
		"another protocol": stranger(t),
		"a web server": webServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>"+insideText+"</html>")
		}),
		"a frame that is no message": webServer(t, frame(11)),
		"half a frame":               webServer(t, frame(1000)),
	}
}

// stranger greets in a protocol of its own.
func stranger(t *testing.T) string {
	t.Helper()
	l := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-planted.internal\r\n")
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// grpcServer is another program that speaks gRPC: it refuses every call with what code returns.
func grpcServer(t *testing.T, code func() codes.Code) string {
	t.Helper()
	l := listen(t)
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); strings.HasSuffix(method, "/Watch") { // asked whether it is well, it knows no such question
			return status.Error(codes.Unimplemented, "")
		}
		return hostile(t, code(), &errdetails.ErrorInfo{Domain: "db.planted.internal", Reason: "PLANTED"})
	}))
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		srv.Stop()
		served.Wait()
	})
	return l.Addr().String()
}

// webServer speaks HTTP/2 without TLS, as gRPC does.
func webServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := &http.Server{Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Watch") { // asked whether it is well, it knows no such question
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "12")
			return
		}
		h(w, r)
	})
	srv.Protocols.SetUnencryptedHTTP2(true)
	l := listen(t)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		served.Wait()
	})
	return l.Addr().String()
}

// noInternals lets every call of process-customer fail in every way, for every route.
func noInternals(t *testing.T, _ *world) {
	w := setup(t)
	for name, fails := range insideFaults(t) {
		t.Run(name, func(t *testing.T) {
			w.fake.failWith(fails)
			w.everythingFails(t)
		})
	}
	w.fake.failWith(nil)
	t.Run("a stream that has begun", func(t *testing.T) {
		w.fake.newOrder(known, "inside-1")
		s := w.open(t, "inside-1")
		require.Equal(t, "order", s.next(t).name)
		w.fake.failWith(insideFaults(t)["Internal of ours"])
		e := s.next(t)
		require.Equal(t, "problem", e.name)
		fixed(t, e.data)
	})
	strangers(t)
	for name, target := range insideTargets(t) {
		t.Run("instead of it "+name, func(t *testing.T) {
			t.Parallel()
			below := target
			setup(t, func(c *experiencemobile.Config) {
				c.Customer.Target = below
				if name == "nobody" || name == "another protocol" {
					c.Patience = time.Millisecond // it will never be connected
				}
			}).everythingFails(t)
		})
	}
}

// strangers are not believed what only process-customer can know, such as that there is no such customer.
func strangers(t *testing.T) {
	t.Helper()
	var code atomic.Uint32
	below := grpcServer(t, func() codes.Code { return codes.Code(code.Load()) })
	w := setup(t, func(c *experiencemobile.Config) { c.Customer.Target = below })
	for _, c := range []codes.Code{
		codes.InvalidArgument, codes.OutOfRange, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.Aborted, codes.ResourceExhausted,
	} {
		t.Run("instead of it somebody who says "+c.String(), func(t *testing.T) {
			code.Store(uint32(c))
			require.Equal(t, http.StatusServiceUnavailable, w.failsInside(t, http.MethodGet, "/v1/customers/"+known))
			w.everythingFails(t)
		})
	}
}

// everythingFails asks on every route for what the service below does not answer.
func (w *world) everythingFails(t *testing.T) {
	t.Helper()
	texts := map[string]string{
		"POST /v1/customers": `{"name":"Inside GmbH"}`, "PATCH /v1/customers/" + known: `{"phone":"1"}`,
		"POST /v1/orders":                `{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"1"}]}`,
		"POST /v1/orders/1/cancellation": `{}`, "POST /v1/cases": `{"customerId":"` + known + `","subject":"s"}`,
		"POST /v1/sync:apply": `{"mutations":[
			{"key":"a-key-of-a-mutation-1","kind":"CREATE_CUSTOMER","customer":{"name":"Inside GmbH"}},
			{"key":"a-key-of-a-mutation-2","kind":"UPDATE_CUSTOMER","customerId":"c_1","fields":["phone"],"customer":{"phone":"1"}},
			{"key":"a-key-of-a-mutation-3","kind":"PLACE_ORDER","order":{"customerId":"c_2","items":[{"sku":"pump","quantity":"1"}]}},
			{"key":"a-key-of-a-mutation-4","kind":"CANCEL_ORDER","orderId":"1"},
			{"key":"a-key-of-a-mutation-5","kind":"OPEN_CASE","case":{"customerId":"c_3","subject":"s"}}]}`,
	}
	w.each(t, func(t *testing.T, method, path string, write bool) {
		if !write {
			require.GreaterOrEqual(t, w.failsInside(t, method, path), 500)
			return
		}
		text := texts[method+" "+path]
		require.NotEmpty(t, text, path)
		options := []option{body(text), key("inside:" + path)}
		if path == "/v1/sync:apply" {
			require.Equal(t, 207, w.failsInside(t, method, path, options...))
			require.Equal(t, 207, w.failsInside(t, method, path+"?validateOnly=true", options...))
			return
		}
		require.GreaterOrEqual(t, w.failsInside(t, method, path, options...), 500)
		require.GreaterOrEqual(t, w.failsInside(t, method, path, append(options, with("Prefer", "respond-async"))...), 500)
		if described(t, method, path, "validateOnly") {
			require.GreaterOrEqual(t, w.failsInside(t, method, path+"?validateOnly=true", options...), 500)
		}
	})
}

// failsInside sends a request, looks for what is inside, and returns the status.
func (w *world) failsInside(t *testing.T, method, path string, options ...option) int {
	t.Helper()
	a := w.do(t, method, path, options...)
	for name, values := range a.header {
		for _, part := range insideParts {
			require.NotContains(t, strings.ToLower(strings.Join(values, " ")), part, "%s %s: %s", method, path, name)
		}
	}
	if a.status != http.StatusMultiStatus {
		p := fixed(t, a.body)
		require.Equal(t, a.status, p.Status)
		return a.status
	}
	var batch struct {
		Results []struct {
			Status  int
			Problem json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &batch))
	require.Len(t, batch.Results, 5)
	for i, r := range batch.Results {
		p := fixed(t, string(r.Problem))
		if i > 0 && p.Code == problem.PredecessorFailed {
			continue // whose customer cannot be told apart from that of one before
		}
		require.GreaterOrEqual(t, r.Status, 500, a.body)
	}
	return a.status
}

// fixed checks that a problem says what the catalogue does, and nothing else.
func fixed(t *testing.T, text string) problemBody {
	t.Helper()
	for _, part := range insideParts {
		require.NotContains(t, strings.ToLower(text), part)
	}
	var p problemBody
	require.NoError(t, json.Unmarshal([]byte(text), &p), text)
	want := problem.NewTable().New(p.Code, "")
	require.Equal(t, want.Code, p.Code, text)
	require.Equal(t, want.Detail, p.Detail, text)
	require.Equal(t, want.Title, p.Title, text)
	require.Empty(t, p.Errors, text)
	if p.RequestID != "" { // one of a batch has none
		require.Equal(t, "urn:selfsame:request:"+p.RequestID, p.Instance)
	}
	return p
}

// described reports whether a route has a parameter.
func described(t *testing.T, method, path, name string) bool {
	t.Helper()
	op, err := conform.Operation(method, path)
	require.NoError(t, err)
	require.NotNil(t, op, path)
	all, _ := op["parameters"].([]any)
	for _, p := range all {
		if one, ok := p.(object); ok && one["name"] == name {
			return true
		}
	}
	return false
}
