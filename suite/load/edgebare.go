package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

// plainCustomer is a customer as the hand-written handler reads and writes it.
type plainCustomer struct {
	ID         string        `json:"customerId"`
	Name       string        `json:"name"`
	TaxID      string        `json:"taxId"`
	Email      string        `json:"email"`
	Phone      string        `json:"phone"`
	Website    string        `json:"website"`
	Address    *plainAddress `json:"address"`
	Segment    string        `json:"segment"`
	CreateTime time.Time     `json:"createTime"`
	UpdateTime time.Time     `json:"updateTime"`
}

type plainAddress struct {
	Street     string `json:"street"`
	City       string `json:"city"`
	PostalCode string `json:"postalCode"`
	Region     string `json:"region"`
	Country    string `json:"country"`
}

// servePlain serves what one writes by hand in an hour: plain TARGET. It decodes the JSON, makes the call and encodes the
// answer; it asks nobody who they are, bounds nothing and remembers nothing.
func servePlain(ctx context.Context, lis net.Listener, args []string) (err error) {
	conn, err := dialed(args[0], lis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	customers := customerv1.NewCustomerServiceClient(conn)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/customers", func(w http.ResponseWriter, r *http.Request) {
		var in plainCustomer
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, "malformed", http.StatusBadRequest)
			return
		}
		c := &customerv1.Customer{Name: in.Name, TaxId: in.TaxID, Email: in.Email, Phone: in.Phone, Website: in.Website, Segment: in.Segment}
		if a := in.Address; a != nil {
			c.Address = &customerv1.Address{Street: a.Street, City: a.City, PostalCode: a.PostalCode, Region: a.Region, Country: a.Country}
		}
		got, err := customers.CreateCustomer(withKey(r.Context(), r), &customerv1.CreateCustomerRequest{Customer: c})
		if err != nil {
			http.Error(w, "failed", http.StatusBadGateway)
			return
		}
		c = got.GetCustomer()
		out := plainCustomer{
			ID: c.GetId(), Name: c.GetName(), TaxID: c.GetTaxId(), Email: c.GetEmail(), Phone: c.GetPhone(), Website: c.GetWebsite(), Segment: c.GetSegment(),
			CreateTime: c.GetCreateTime().AsTime(), UpdateTime: c.GetUpdateTime().AsTime(),
		}
		if a := c.GetAddress(); a != nil {
			out.Address = &plainAddress{a.GetStreet(), a.GetCity(), a.GetPostalCode(), a.GetRegion(), a.GetCountry()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		// The client may be gone; there is nobody to tell.
		_ = json.NewEncoder(w).Encode(out)
	})
	return serveHTTP(ctx, lis, mux)
}

// serveMemory reads requests and answers them at once, with the same bytes: memory BYTES.
func serveMemory(ctx context.Context, lis net.Listener, bytes string) error {
	n, err := strconv.Atoi(bytes)
	if err != nil || n < 2 {
		return errors.Join(errors.New("baseline: an answer has at least two bytes"), lis.Close())
	}
	answer := []byte("{" + strings.Repeat(" ", n-2) + "}")
	return serveHTTP(ctx, lis, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "malformed", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		// The client may be gone; there is nobody to tell.
		_, _ = w.Write(answer)
	}))
}

// stock is MobileService behind a stock gateway.
type stock struct {
	customers customerv1.CustomerServiceClient
	rules     protovalidate.Validator
}

// CreateCustomer is that of MobileService.
func (s *stock) CreateCustomer(ctx context.Context, req *mobilev1.CreateCustomerRequest) (*mobilev1.CreateCustomerResponse, error) {
	if err := s.rules.Validate(req); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	key := metadata.ValueFromIncomingContext(ctx, "idempotency-key")
	if len(key) != 1 {
		return nil, status.Error(codes.InvalidArgument, "no key")
	}
	in := req.GetCustomer()
	c := &customerv1.Customer{
		Name: in.GetName(), TaxId: in.GetTaxId(), Email: in.GetEmail(), Phone: in.GetPhone(), Website: in.GetWebsite(), Segment: in.GetSegment(),
	}
	if a := in.GetAddress(); a != nil {
		c.Address = &customerv1.Address{Street: a.GetStreet(), City: a.GetCity(), PostalCode: a.GetPostalCode(), Region: a.GetRegion(), Country: a.GetCountry()}
	}
	got, err := s.customers.CreateCustomer(metadata.AppendToOutgoingContext(ctx, "idempotency-key", key[0]), &customerv1.CreateCustomerRequest{Customer: c})
	if err != nil {
		return nil, err
	}
	c = got.GetCustomer()
	out := &mobilev1.Customer{
		CustomerId: c.GetId(), Name: c.GetName(), TaxId: c.GetTaxId(), Email: c.GetEmail(), Phone: c.GetPhone(), Website: c.GetWebsite(),
		Segment: c.GetSegment(), CreateTime: c.GetCreateTime(), UpdateTime: c.GetUpdateTime(),
	}
	if a := c.GetAddress(); a != nil {
		out.Address = &mobilev1.Address{Street: a.GetStreet(), City: a.GetCity(), PostalCode: a.GetPostalCode(), Region: a.GetRegion(), Country: a.GetCountry()}
	}
	return &mobilev1.CreateCustomerResponse{Customer: out}, nil
}

// Invoke implements grpc.ClientConnInterface: the gateway calls the service as a function, which is its cheapest form.
func (s *stock) Invoke(ctx context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	req, isRequest := args.(*mobilev1.CreateCustomerRequest)
	out, isAnswer := reply.(*mobilev1.CreateCustomerResponse)
	if !isRequest || !isAnswer {
		return status.Error(codes.Unimplemented, "only customers are made here")
	}
	sent, _ := metadata.FromOutgoingContext(ctx)
	got, err := s.CreateCustomer(metadata.NewOutgoingContext(metadata.NewIncomingContext(ctx, sent), metadata.MD{}), req)
	if err == nil {
		out.Customer = got.GetCustomer()
	}
	return err
}

// NewStream implements grpc.ClientConnInterface; it always fails.
func (*stock) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams")
}

// serveStock serves the generated gateway with the libraries' own middleware around it: stock TARGET RATIO ISSUER. Traces, token, validation, largest body, deadline
// and key are there, each as its library gives it.
func serveStock(ctx context.Context, lis net.Listener, args []string) (err error) {
	tel, err := traced(ctx, args[0], args[1])
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	defer func() { err = errors.Join(err, tel.Shutdown(context.WithoutCancel(ctx))) }()
	conn, err := dialed(args[0], lis, grpc.WithStatsHandler(otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(tel.Tracer), otelgrpc.WithMeterProvider(tel.Meter), otelgrpc.WithPropagators(tel.Propagator))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	rules, err := protovalidate.New()
	if err != nil {
		return errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
	}
	provider, err := oidc.NewProvider(ctx, args[2])
	if err != nil {
		return errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
	}
	tokens := provider.Verifier(&oidc.Config{ClientID: edgeAudience, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256}})
	mux := runtime.NewServeMux(runtime.WithIncomingHeaderMatcher(func(name string) (string, bool) {
		if name == "Idempotency-Key" {
			return "idempotency-key", true
		}
		return runtime.DefaultHeaderMatcher(name)
	}))
	server := &stock{customers: customerv1.NewCustomerServiceClient(conn), rules: rules}
	if err := mobilev1.RegisterMobileServiceHandlerClient(ctx, mux, mobilev1.NewMobileServiceClient(server)); err != nil {
		return errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
	}
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const scheme = "Bearer "
		header := r.Header.Get("Authorization")
		if len(header) < len(scheme) {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		if _, err := tokens.Verify(r.Context(), header[len(scheme):]); err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
	return serveHTTP(ctx, lis, otelhttp.NewHandler(http.MaxBytesHandler(guarded, 1<<20), "stock",
		otelhttp.WithTracerProvider(tel.Tracer), otelhttp.WithMeterProvider(tel.Meter), otelhttp.WithPropagators(tel.Propagator)))
}
