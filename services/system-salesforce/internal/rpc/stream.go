package rpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// reasonNotAnnounced is a field that the header of a stream does not name.
const reasonNotAnnounced = "FIELD_NOT_ANNOUNCED"

// outcomesInMessage is how many outcomes one message of the stream carries.
const outcomesInMessage = 500

// madeTogether is for how many outcomes memory is asked at a time.
const madeTogether = 50

type upsertStream = grpc.BidiStreamingServer[salesforcev1.UpsertRecordsRequest, salesforcev1.UpsertRecordsResponse]

// UpsertRecords writes any number of records.
func (s *records) UpsertRecords(stream upsertStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	header := first.GetHeader()
	if header == nil {
		return fault.InvalidField("header", fault.ReasonValidationFailed, "the first message of the stream is the header")
	}
	ctx, calls := rest.Counting(withPriority(stream.Context(), header.GetPriority()))
	o, schema, err := s.stored(ctx, header.GetObject())
	if err != nil {
		return err
	}
	columns, p := o.ColumnsOf(header.GetFields())
	if p != nil {
		return fault.InvalidField("header.fields", p.Reason, "%s: %s", p.Field, p.Message)
	}
	l := &load{
		ctx: ctx, server: s.Server, stream: stream, object: o, schema: schema, fields: header.GetFields(), columns: columns,
		ledger: &salesforcev1.UpsertLedger{},
	}
	transport, err := s.Writer.Stream(ctx, write.Load{Object: o, Columns: columns, Backlog: header.GetBacklog(), Name: header.GetLoadId(), Done: l.done}, l.next, l.outcome)
	if err != nil {
		// What became of some rows is known; who hears only that the load failed would send them again.
		if told := l.tell(); told != nil {
			return told
		}
		return err
	}
	l.ledger.Calls = calls()
	switch transport {
	case write.Jobs:
		l.ledger.Transport = salesforcev1.Transport_TRANSPORT_BULK
	case write.Collections:
		l.ledger.Transport = salesforcev1.Transport_TRANSPORT_COLLECTIONS
	case write.None:
	}
	return l.end()
}

// withPriority states how urgent the calls of a stream are.
func withPriority(ctx context.Context, p salesforcev1.Priority) context.Context {
	switch p {
	case salesforcev1.Priority_PRIORITY_INTERACTIVE:
		return priority.With(ctx, priority.Interactive)
	case salesforcev1.Priority_PRIORITY_SYNC:
		return priority.With(ctx, priority.Sync)
	case salesforcev1.Priority_PRIORITY_BULK:
		return priority.With(ctx, priority.Bulk)
	case salesforcev1.Priority_PRIORITY_AUDIT:
		return priority.With(ctx, priority.Audit)
	case salesforcev1.Priority_PRIORITY_UNSPECIFIED:
	}
	return ctx
}

// load is one stream: next is called by one goroutine, outcome by it and by another.
type load struct {
	ctx     context.Context //nolint:containedctx // of the stream, which the callbacks of the writer belong to
	server  *Server
	stream  upsertStream
	object  *mapping.Object
	schema  *mapping.Schema
	fields  []string
	columns []string

	waiting []*salesforcev1.RecordUpsert
	table   *table // nil until one came

	mu     sync.Mutex
	ledger *salesforcev1.UpsertLedger
	ready  []*salesforcev1.RowOutcome
	fresh  []salesforcev1.RowOutcome // made several at a time
}

// done takes back the fields of a row for those that follow.
func (l *load) done(row write.Row) {
	if l.table != nil && l.table.reader != nil {
		l.table.reader.Reuse(row.Fields)
	}
}

// next returns the next row that can be written; those that cannot get their outcome here.
func (l *load) next() (write.Row, error) {
	for {
		for len(l.waiting) > 0 {
			u := l.waiting[0]
			l.waiting = l.waiting[1:]
			it := l.server.recordItem(l.ctx, l.object, &l.schema, u)
			if p := l.check(it); p != nil {
				if err := l.report(it.externalID, problem(p)); err != nil {
					return write.Row{}, err
				}
				continue
			}
			return write.Row{ExternalID: it.externalID, Fields: it.row, Match: it.match}, nil
		}
		if row, ok, err := l.nextInTable(); ok || err != nil {
			return row, err
		}
		m, err := l.stream.Recv()
		if errors.Is(err, io.EOF) {
			return write.Row{}, io.EOF
		}
		if err != nil {
			return write.Row{}, err
		}
		switch {
		case m.GetRows() != nil:
			l.waiting = m.GetRows().GetUpserts()
		case m.GetTable() != nil:
			if err := l.begin(m.GetTable()); err != nil {
				return write.Row{}, err
			}
		default:
			return write.Row{}, fault.InvalidField("rows", fault.ReasonValidationFailed, "only the first message of the stream is a header")
		}
	}
}

// check returns why a record cannot be part of a stream.
func (l *load) check(it item) *mapping.Problem {
	switch {
	case it.problem != nil:
		return it.problem
	case it.id != "":
		return &mapping.Problem{Field: "id", Reason: fault.ReasonValidationFailed, Message: "records of a stream are named by their external id"}
	case it.externalID == "":
		return &mapping.Problem{Field: "external_id", Reason: reasonNoKey, Message: "a record of a stream needs an external id"}
	}
	announced := 0
	for _, column := range l.columns {
		if _, ok := mapping.In(it.row, column); ok {
			announced++
		}
	}
	if announced != len(it.row) {
		return &mapping.Problem{Reason: reasonNotAnnounced, Message: "the record has a field that the header of the stream does not name"}
	}
	return nil
}

// outcome takes what became of a row.
func (l *load) outcome(key string, out write.Outcome) error {
	return l.report(key, l.server.result(l.object, out))
}

// report counts an outcome and sends it with others.
func (l *load) report(key string, r *salesforcev1.WriteResult) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger.Rows++
	switch {
	case r.GetError().GetUncertain():
		l.ledger.Uncertain++
	case r.GetOutcome() == salesforcev1.Outcome_OUTCOME_CREATED:
		l.ledger.Created++
	case r.GetOutcome() == salesforcev1.Outcome_OUTCOME_UPDATED:
		l.ledger.Updated++
	default:
		l.ledger.Refused++
	}
	if len(l.fresh) == 0 {
		l.fresh = make([]salesforcev1.RowOutcome, madeTogether)
	}
	o := &l.fresh[0]
	l.fresh = l.fresh[1:]
	o.ExternalId, o.Result = key, r
	l.ready = append(l.ready, o)
	if len(l.ready) < outcomesInMessage {
		return nil
	}
	return l.send(nil)
}

func (l *load) send(ledger *salesforcev1.UpsertLedger) error {
	m := &salesforcev1.UpsertRecordsResponse{Outcomes: l.ready, Ledger: ledger}
	l.ready = nil
	return l.stream.Send(m)
}

// tell sends what is left, without a ledger: the load is not finished.
func (l *load) tell() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) == 0 || l.ctx.Err() != nil {
		return nil
	}
	return l.send(nil)
}

// end sends what is left, and the ledger.
func (l *load) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.send(l.ledger)
}
