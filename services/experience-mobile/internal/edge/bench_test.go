package edge

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/replay"
)

// fixed answers every call with the same customer.
type fixed struct{ grpc.ClientConnInterface }

func (fixed) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	c := &mobilev1.Customer{
		CustomerId: "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", Name: "Schröder Immobile 1 GmbH", TaxId: "DE100000001", Phone: "+493000000001",
		Website: "https://www.customer-1.example", ErpNumber: "10001", Etag: "3~0123456789ab",
		Address:    &mobilev1.Address{Street: "Hauptstraße 2", City: "Leipzig", PostalCode: "10001", Country: "DE"},
		CreateTime: timestamppb.New(time.Unix(1, 0)), UpdateTime: timestamppb.New(time.Unix(2, 0)),
	}
	switch reply := reply.(type) {
	case *mobilev1.GetCustomerResponse:
		reply.Customer = c
	case *mobilev1.CreateCustomerResponse:
		reply.Customer = c
	}
	return nil
}

// anyone is a Verifier that lets everyone in.
type anyone struct{}

func (anyone) Verify(context.Context, string) (auth.Principal, error) {
	return auth.Principal{Subject: "s", Scopes: []string{auth.ScopeRead, auth.ScopeWrite}}, nil
}

// nowhereWriter throws the answer away.
type nowhereWriter struct{ header http.Header }

func (w *nowhereWriter) Header() http.Header             { return w.header }
func (w *nowhereWriter) Write(b []byte) (int, error)     { return len(b), nil }
func (w *nowhereWriter) WriteHeader(int)                 {}
func (w *nowhereWriter) SetReadDeadline(time.Time) error { return nil }

// BenchmarkRead compares a read through the edge with the same through the generated gateway alone; what is below the
// two, and HTTP itself, is left out.
func BenchmarkRead(b *testing.B) {
	tel, err := telemetry.Start(b.Context(), "bench", telemetry.Config{LogLevel: "error"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, tel.Shutdown(context.Background())) })
	whole, err := New(Options{Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: 5 * time.Second, MaxBody: 1 << 20})
	require.NoError(b, err)
	gateway := runtime.NewServeMux()
	require.NoError(b, mobilev1.RegisterMobileServiceHandlerClient(b.Context(), gateway, mobilev1.NewMobileServiceClient(fixed{})))
	for name, h := range map[string]http.Handler{"edge": whole, "gateway alone": gateway} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := &nowhereWriter{http.Header{}}
				h.ServeHTTP(w, &http.Request{
					Method: http.MethodGet, URL: &url.URL{Path: "/v1/customers/c_aaaaaaaaaaaaaaaaaaaaaaaaaa", RawQuery: "summary=true"},
					Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "127.0.0.1:8080", RemoteAddr: "127.0.0.1:1234", Body: http.NoBody,
					Header: http.Header{"Authorization": {"Bearer x.y.z"}, "Accept": {"application/json"}, "User-Agent": {"bench"}},
				})
			}
		})
	}
}

// BenchmarkReplay repeats a completed key, which is answered from memory.
func BenchmarkReplay(b *testing.B) {
	tel, err := telemetry.Start(b.Context(), "bench", telemetry.Config{LogLevel: "error"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, tel.Shutdown(context.Background())) })
	whole, err := New(Options{
		Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: 5 * time.Second, MaxBody: 1 << 20, Load: Load{Shed: true},
		Replay: Replay{Store: replay.NewMemory(32<<20, nil), For: time.Hour, Join: time.Second},
	})
	require.NoError(b, err)
	const body = `{"name":"Schröder Immobile 1 GmbH"}`
	b.ReportAllocs()
	for b.Loop() {
		w := &nowhereWriter{http.Header{}}
		whole.ServeHTTP(w, &http.Request{
			Method: http.MethodPost, URL: &url.URL{Path: "/v1/customers"}, ContentLength: int64(len(body)),
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "127.0.0.1:8080", RemoteAddr: "127.0.0.1:1234", Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{
				"Authorization": {"Bearer x.y.z"}, "Accept": {"application/json"}, "User-Agent": {"bench"}, "Content-Type": {"application/json"},
				"Idempotency-Key": {"bench-key-0123456789"},
			},
		})
	}
}

// BenchmarkWrite is what BenchmarkRead is, for making a customer, with the key and the check of the body that only the edge has.
func BenchmarkWrite(b *testing.B) {
	tel, err := telemetry.Start(b.Context(), "bench", telemetry.Config{LogLevel: "error"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, tel.Shutdown(context.Background())) })
	whole, err := New(Options{
		Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: 5 * time.Second, MaxBody: 1 << 20, Load: Load{Shed: true},
		Replay: Replay{Store: replay.NewMemory(32<<20, nil), For: time.Minute, Join: time.Second},
	})
	require.NoError(b, err)
	gateway := runtime.NewServeMux()
	require.NoError(b, mobilev1.RegisterMobileServiceHandlerClient(b.Context(), gateway, mobilev1.NewMobileServiceClient(fixed{})))
	const body = `{"name":"Schröder Immobile 1 GmbH","taxId":"DE100000001","email":"office@customer-1.example","phone":"+49 30 00000001",` +
		`"website":"https://www.customer-1.example","segment":"A","address":{"street":"Hauptstraße 2","city":"Leipzig","postalCode":"10001","region":"SN","country":"DE"}}`
	for name, h := range map[string]http.Handler{"edge": whole, "gateway alone": gateway} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w := &nowhereWriter{http.Header{}}
				h.ServeHTTP(w, &http.Request{
					Method: http.MethodPost, URL: &url.URL{Path: "/v1/customers"}, ContentLength: int64(len(body)),
					Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "127.0.0.1:8080", RemoteAddr: "127.0.0.1:1234", Body: io.NopCloser(strings.NewReader(body)),
					Header: http.Header{
						"Authorization": {"Bearer x.y.z"}, "Accept": {"application/json"}, "User-Agent": {"bench"}, "Content-Type": {"application/json"},
						"Idempotency-Key": {"bench-key-" + strconv.Itoa(i) + "-0123456789"},
					},
				})
			}
		})
	}
}
