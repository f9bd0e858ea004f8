// Package rpc serves the ERP's gRPC contract: proto messages in and out, everything else is done by packages store, changes
// and erp.
//
// The invariant: a batch answers every record in order, and a record that cannot even be read (too long a name, a reference
// without a value) is refused alone. The package decides nothing about records and keeps nothing.
package rpc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"buf.build/go/protovalidate"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/changes"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// Deps are what the methods work with; all but Answer, Forget and Now are required.
type Deps struct {
	Store backend.Backend
	Feed  *changes.Feed
	Meter metric.Meter
	// Answer stores the answer of a call with an idempotency key in the transaction of its effect
	// (idempotent.SQLStore.CompleteTx); nil stores nothing.
	Answer func(ctx context.Context, tx *sql.Tx, resp proto.Message) error
	// Forget erases the kept answers about a record that is gone (idempotent.SQLStore.Erase), by its id, and says how many; nil
	// erases nothing.
	Forget func(ctx context.Context, subject string) (int, error)
	// Now derives the state of a warranty; time.Now when nil.
	Now func() time.Time
}

// Server serves all services of the contract. Make it with New; it is safe for concurrent use.
type Server struct {
	store     backend.Backend
	feed      *changes.Feed
	now       func() time.Time
	answer    func(ctx context.Context, tx *sql.Tx, resp proto.Message) error
	forget    func(ctx context.Context, subject string) (int, error)
	records   metric.Int64Counter
	customers *erp.Schema[erp.Customer]
	contacts  *erp.Schema[erp.Contact]
}

// New returns a server.
func New(d Deps) (*Server, error) {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Answer == nil {
		d.Answer = func(context.Context, *sql.Tx, proto.Message) error { return nil }
	}
	if d.Forget == nil {
		d.Forget = func(context.Context, string) (int, error) { return 0, nil }
	}
	records, err := d.Meter.Int64Counter("selfsame.erp.records",
		metric.WithDescription("Records written, by kind of record and outcome."))
	if err != nil {
		return nil, fmt.Errorf("record metrics: %w", err)
	}
	return &Server{
		store: d.Store, feed: d.Feed, now: d.Now, answer: d.Answer, forget: d.Forget, records: records,
		customers: erp.Customers(), contacts: erp.Contacts(),
	}, nil
}

// Register adds the services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	erpv1.RegisterCustomerServiceServer(r, &customerServer{Server: s})
	erpv1.RegisterContactServiceServer(r, &contactServer{Server: s})
	erpv1.RegisterProductServiceServer(r, &productServer{Server: s})
	erpv1.RegisterOrderServiceServer(r, &orderServer{Server: s})
	erpv1.RegisterChangeServiceServer(r, &changeServer{Server: s})
	erpv1.RegisterBackendServiceServer(r, &backendServer{Server: s})
}

// count adds one written record to the metrics.
func (s *Server) count(ctx context.Context, object string, o erp.Outcome) {
	s.records.Add(ctx, 1, metric.WithAttributes(
		attribute.String(telemetry.KeyObject, object), attribute.String(telemetry.KeyOutcome, o.String())))
}

// forgotten erases what answers still hold of a record that is gone. Those that are kept beside the record go in the transaction
// that buries it; what was stored later, or buried by a release that did not know them, goes when the deletion comes again, which
// changes nothing in the record. Otherwise it ends with its retention at the latest.
func (s *Server) forgotten(ctx context.Context, id string) error {
	if _, err := s.forget(ctx, id); err != nil {
		return fmt.Errorf("erase the answers about a record that is gone: %w", err)
	}
	return nil
}

// counted notes the outcome of a single write; an error that is no refusal is not an outcome.
func (s *Server) counted(ctx context.Context, object string, o erp.Outcome, err error) {
	if err == nil || refusal(err) {
		s.count(ctx, object, o)
	}
}

// refusal tells the answers of the store from its failures.
func refusal(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.AlreadyExists, fault.Precondition, fault.Conflict:
		return true
	default:
		return false
	}
}

// ordered returns the found records in the order asked and the ids that name none.
func ordered[R any](ctx context.Context, records store.Records[R], ids []string) ([]R, []string, error) {
	found, err := records.Get(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	var have []R
	var missing []string
	for _, id := range ids {
		if r, ok := found[id]; ok {
			have = append(have, r)
		} else {
			missing = append(missing, id)
		}
	}
	return have, missing, nil
}

// byID returns one record or NOT_FOUND.
func byID[R any](ctx context.Context, records store.Records[R], id, object string) (R, error) {
	found, err := records.Get(ctx, []string{id})
	if err != nil {
		var none R
		return none, err
	}
	r, ok := found[id]
	if !ok {
		return r, fault.New(fault.NotFound, fault.ReasonNotFound, "no %s has this id", object)
	}
	return r, nil
}

// paged returns one page of anything: list gets the cursor of the last page (nil for the first) and one record more than
// wanted, last makes the cursor of a record.
func paged[R, C any](token, filter string, size int, list func(after *C, limit int) ([]R, error), last func(R) C) ([]R, string, error) {
	var after *C
	if token != "" {
		after = new(C)
		if err := page.Decode(token, filter, after); err != nil {
			return nil, "", err
		}
	}
	records, err := list(after, size+1)
	if err != nil || len(records) <= size {
		return records, "", err
	}
	records = records[:size]
	next, err := page.Encode(filter, last(records[size-1]))
	if err != nil {
		return nil, "", fmt.Errorf("make the page token: %w", err)
	}
	return records, next, nil
}

// recordError is what a batch says about a refused record.
func recordError(err error) *erpv1.RecordError {
	f, ok := fault.As(err)
	if !ok {
		return &erpv1.RecordError{Reason: fault.ReasonInternal, Message: "internal error"}
	}
	e := &erpv1.RecordError{Reason: fault.ReasonOf(err), Message: f.Message}
	if len(f.Fields) > 0 {
		e.Field = f.Fields[0].Path
		if f.Fields[0].Reason != "" {
			e.Reason = f.Fields[0].Reason
		}
	}
	e.Metadata = f.Meta
	// A batch names its records by id or key, so the same write later finds out what became of this one and is safe.
	e.Uncertain = f.Kind == fault.Uncertain
	// Another version stays another version until the caller has read it.
	e.Retryable = (fault.Retryable(err) || e.GetUncertain()) && e.GetReason() != fault.ReasonETagMismatch
	return e
}

// valid checks one record of a batch by the rules of the contract, so that a bad one is refused alone.
func (s *Server) valid(m proto.Message) error {
	if path := badText(m.ProtoReflect(), ""); path != "" {
		return textFault(path)
	}
	err := protovalidate.Validate(m) // the rules are compiled once for a process
	if broken, ok := errors.AsType[*protovalidate.ValidationError](err); ok && len(broken.Violations) > 0 {
		first := broken.Violations[0].Proto
		return fault.InvalidField(protovalidate.FieldPathString(first.GetField()), "", "%s", first.GetMessage())
	}
	if err != nil {
		return fmt.Errorf("validate a record: %w", err)
	}
	return nil
}
