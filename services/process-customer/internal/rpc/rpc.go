// Package rpc serves selfsame.customer.v1: it turns messages into calls of the packages that know, and their answers
// into messages. It decides nothing.
package rpc

import (
	"context"
	"database/sql"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Store is what is read here.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
	Brief() store.Reader
}

// Writer changes golden customers.
type Writer interface {
	Create(ctx context.Context, id golden.ID, values golden.Values, answer intake.Answer) error
	Update(ctx context.Context, id golden.ID, changeID string, version int64, values golden.Values, answer intake.Answer) error
}

// Orders reads and places the orders of customers in the system that has them.
type Orders interface {
	Name() string
	Orders(ctx context.Context, customers []string, size int, pageToken string) ([]source.Order, string, error)
	Order(ctx context.Context, id string) (o source.Order, customer string, err error)
	Place(ctx context.Context, o source.NewOrder) (source.Order, error)
	Cancel(ctx context.Context, id string) (source.Order, error)
	CheckCancel(ctx context.Context, id string) (source.Order, error)
	Stock(ctx context.Context, sku string) (source.Stock, error)
}

// Cases reads and opens the cases of customers in the system that has them.
type Cases interface {
	Name() string
	CasePage(ctx context.Context, accounts []string, openOnly bool, size int, pageToken string) ([]source.Case, string, error)
	Case(ctx context.Context, id string) (c source.CaseDetail, account string, err error)
	OpenCase(ctx context.Context, c source.NewCase) (source.CaseDetail, error)
}

// Queue tells of work that is done later.
type Queue interface {
	Get(ctx context.Context, id string) (later.Operation, error)
	List(ctx context.Context, done bool, after later.Mark, limit int) ([]later.Operation, error)
}

// Desk settles dead letters.
type Desk interface {
	Retry(ctx context.Context, ids []string, system string, mode deadletter.Mode) (int, error)
	Discard(ctx context.Context, id, reason string) (store.DeadLetter, error)
	Preview(ctx context.Context, f store.LetterFilter) (deadletter.Selection, error)
	RedriveSelection(ctx context.Context, token string, mode deadletter.Mode) (deadletter.Progress, error)
	DiscardSelection(ctx context.Context, token, reason string) (deadletter.Progress, error)
}

// Target tells what happened to deliveries to one system.
type Target interface {
	System() string
	Status() deliver.Status
}

// Deps are what the services need. All are required.
type Deps struct {
	Store  Store
	Writer Writer
	// Rules are those in force.
	Rules   func() *survive.Rules
	Book    Book
	Steward Steward
	// Matching is nil when matching is off.
	Matching Matching
	Orders   Orders
	Cases    Cases
	// Later keeps orders that are placed later.
	Later Queue
	View  Viewer
	Desk  Desk
	// Reconciler compares the systems with what is known of them.
	Reconciler Reconciler
	Eraser     Eraser
	Targets    []Target
	// Poke tells the feed of a system that a scan was asked for.
	Poke func(system string)
	// Answer stores the answer of a call in the transaction of its effect.
	Answer func(ctx context.Context, tx *sql.Tx, resp proto.Message) error
	Now    func() time.Time
}

// API implements both services.
type API struct {
	customers  *customers
	screens    *screens
	operations *operations
}

// New returns the services.
func New(d Deps) *API {
	c := &customers{d: d}
	return &API{customers: c, screens: &screens{d: d, customers: c}, operations: &operations{d: d}}
}

// OperationsName is the full name of the service that only operators may call: it pauses flows, settles dead letters, merges and pins.
func OperationsName() string { return customerv1.OperationsService_ServiceDesc.ServiceName }

// Register adds the services to a server.
func (a *API) Register(r grpc.ServiceRegistrar) {
	customerv1.RegisterCustomerServiceServer(r, a.customers)
	customerv1.RegisterScreenServiceServer(r, a.screens)
	customerv1.RegisterOperationsServiceServer(r, a.operations)
}
