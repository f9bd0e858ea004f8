package load

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// asking asks the systems for the sections of a screen.
type asking struct {
	orders   erpv1.OrderServiceClient
	products erpv1.ProductServiceClient
	cases    salesforcev1.CaseServiceClient
}

// sections are what came back.
type sections struct {
	ID         string                          `json:"customerId"`
	Orders     *erpv1.ListOrdersResponse       `json:"orders"`
	Warranties *erpv1.ListWarrantiesResponse   `json:"warranties"`
	Cases      *salesforcev1.ListCasesResponse `json:"cases"`
}

func newAsking(conn *grpc.ClientConn) asking {
	return asking{erpv1.NewOrderServiceClient(conn), erpv1.NewProductServiceClient(conn), salesforcev1.NewCaseServiceClient(conn)}
}

// all asks three times at once and waits for all.
func (a asking) all(ctx context.Context, id string) (out sections, err error) {
	out.ID = id
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		out.Orders, err = a.orders.ListOrders(ctx, &erpv1.ListOrdersRequest{CustomerIds: []string{id}, PageSize: 20})
		return err
	})
	g.Go(func() (err error) {
		out.Warranties, err = a.products.ListWarranties(ctx, &erpv1.ListWarrantiesRequest{CustomerId: id, PageSize: 20})
		return err
	})
	g.Go(func() (err error) {
		out.Cases, err = a.cases.ListCases(ctx, &salesforcev1.ListCasesRequest{AccountIds: []string{id}, OpenOnly: true, PageSize: 20})
		return err
	})
	err = g.Wait()
	return out, err
}

// serveFanout serves a screen made by hand: fanout TARGET. It asks the systems itself.
func serveFanout(ctx context.Context, lis net.Listener, args []string) (err error) {
	conn, err := dialed(args[0], lis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ask := newAsking(conn)
	return serveScreen(ctx, lis, func(ctx context.Context, id string) (any, error) { return ask.all(ctx, id) })
}

// serveScreen serves what ask returns as JSON.
func serveScreen(ctx context.Context, lis net.Listener, ask func(ctx context.Context, id string) (any, error)) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/customers/{id}", func(w http.ResponseWriter, r *http.Request) {
		out, err := ask(r.Context(), r.PathValue("id"))
		if err != nil {
			http.Error(w, "failed", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// The client may be gone; there is nobody to tell.
		_ = json.NewEncoder(w).Encode(out)
	})
	return serveHTTP(ctx, lis, mux)
}

// serveUpper serves a screen made by hand over a service of its own: upper TARGET.
func serveUpper(ctx context.Context, lis net.Listener, args []string) (err error) {
	conn, err := dialed(args[0], lis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	customers := customerv1.NewCustomerServiceClient(conn)
	return serveScreen(ctx, lis, func(ctx context.Context, id string) (any, error) {
		return customers.GetCustomerView(ctx, &customerv1.GetCustomerViewRequest{Id: id})
	})
}

// lower is the service below it, which asks the systems.
type lower struct {
	customerv1.UnimplementedCustomerServiceServer
	asking
}

// GetCustomerView asks the systems; they have nothing to say about the customer.
func (l *lower) GetCustomerView(ctx context.Context, req *customerv1.GetCustomerViewRequest) (*customerv1.GetCustomerViewResponse, error) {
	if _, err := l.all(ctx, req.GetId()); err != nil {
		return nil, err
	}
	return &customerv1.GetCustomerViewResponse{Customer: &customerv1.Customer{Id: req.GetId()}}, nil
}

// serveLower serves it: lower TARGET.
func serveLower(ctx context.Context, lis net.Listener, args []string) (err error) {
	conn, err := dialed(args[0], lis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	customerv1.RegisterCustomerServiceServer(srv, &lower{asking: newAsking(conn)})
	defer context.AfterFunc(ctx, srv.Stop)()
	return srv.Serve(lis)
}
