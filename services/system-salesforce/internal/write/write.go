// Package write brings records to Salesforce by the cheapest way that their number allows.
//
// The problem: an org allows so many calls a day to everybody together, and every way of writing fails in its own manner: one
// record, a collection, a composite call, a job. The invariants: every record ends with one outcome of its own, named by its place
// or key; a record is made only by an upsert with an external id, so sending it again finds it; a write that was conditional
// is never reported as a conflict with itself; an outcome is reported as uncertain only after the org was asked and did
// not show the values that were to be written.
//
// It does not translate fields, which is package mapping, and it does not run jobs, which is package bulk.
package write

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Reasons of outcomes of this package.
const (
	ReasonETagInvalid = "ETAG_INVALID"
	ReasonKeyUnsafe   = "EXTERNAL_ID_NOT_ADDRESSABLE"
	ReasonReference   = "REFERENCE_UNKNOWN"
	ReasonCondition   = "CONDITION_NOT_POSSIBLE"
	ReasonLoadDiffers = bulk.ReasonDiffers
)

// CRM makes the calls. *rest.Client is one.
type CRM interface {
	Retrieve(ctx context.Context, object string, ids, fields []string) ([]rest.Record, error)
	Query(ctx context.Context, soql string) ([]rest.Record, error)
	Row(ctx context.Context, object, id string, fields []string) (rest.Record, rest.Validators, error)
	Update(ctx context.Context, object string, records []rest.Record) ([]rest.Result, error)
	Upsert(ctx context.Context, object, externalID string, records []rest.Record) ([]rest.Result, error)
	UpdateOne(ctx context.Context, object, id string, fields rest.Record, condition rest.Condition) (rest.Result, error)
	UpsertOne(ctx context.Context, object, externalID, value string, fields rest.Record) (rest.Result, error)
	Composite(ctx context.Context, all bool, parts []rest.Part) ([]rest.PartResult, error)
	Repeat(ctx context.Context, attempt int, reason string) bool
	ServerTime() time.Time
}

// Options configure a Writer. CRM is required.
type Options struct {
	CRM CRM
	// Bulk runs jobs; nil writes any number by collections.
	Bulk Bulk
	// BulkFrom is the number of records from which a job is run; 0 means 2,000.
	BulkFrom int
	// SwiftTo is up to how many announced records collections are written instead of a job where they are faster and the allowance
	// is ample; 0 means never. Trip and Spare tell that.
	SwiftTo int
	// Trip is how long a call takes at least, as last measured; 0 when that is not known. Nil never knows.
	Trip func() time.Duration
	// Spare reports whether so many calls may be made only to be faster. Nil allows none.
	Spare func(calls int64) bool
	// Together is how many collections one load may write at once, now and at the priority of ctx; it is asked before each, holds no
	// caller up, and calls nothing of the Writer. Less than one means one, and so does nil.
	Together func(ctx context.Context) int
	// LockRounds is how often records that others hold are sent again; 0 means 3.
	LockRounds int
	// Meter counts; nil counts nothing.
	Meter metric.MeterProvider
	// Log gets what was coped with; nil discards it.
	Log *slog.Logger
}

// Writer writes. Create it with New; it is safe for concurrent use.
type Writer struct {
	o       Options
	locks   metric.Int64Counter
	loads   metric.Int64Counter
	settled metric.Int64Counter
}

// New returns a writer.
func New(o Options) *Writer {
	if o.BulkFrom <= 0 {
		o.BulkFrom = 2000
	}
	if o.Together == nil {
		o.Together = func(context.Context) int { return 1 }
	}
	if o.LockRounds <= 0 {
		o.LockRounds = 3
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{o: o}
	meter := o.Meter.Meter("github.com/selfsame-io/selfsame/services/system-salesforce/internal/write")
	// An instrument that cannot be made is a no-op.
	w.locks, _ = meter.Int64Counter("selfsame.salesforce.lock.retries", metric.WithDescription("records sent again because others held them"))
	w.loads, _ = meter.Int64Counter("selfsame.salesforce.loads", metric.WithDescription("streams of records begun, by the way they go"))
	w.settled, _ = meter.Int64Counter("selfsame.salesforce.uncertain", metric.WithDescription("records whose write got no answer, by what reading back showed"))
	return w
}

// Row is one record to write.
type Row struct {
	// ID names the record to update; without it ExternalID names the record to upsert.
	ID, ExternalID string
	// Fields are the columns to write, without the external id; "Account.Key__c" refers to a record by its external id.
	Fields map[string]any
	// Match is the etag that the record must still have; empty writes in any case.
	Match string

	own bool // Fields are of nobody else
}

// Outcome is what became of a row: it was written, or Refused or Failed says why not.
type Outcome struct {
	// ID is the record's id, when it was written.
	ID string
	// Created is true when the write made the record.
	Created bool
	// Refused is what Salesforce, or this package, has against the record.
	Refused *rest.Refusal
	// Failed is why the call failed that carried the record; Uncertain when it may have been written all the same.
	Failed error
	// Etag is what the record has now, when it was refused because it had changed.
	Etag string
}

// Written reports whether the record is in Salesforce as it was to be.
func (o Outcome) Written() bool { return o.Refused == nil && o.Failed == nil }

// Batch writes any number of rows of one object, 200 in a call, and returns one outcome for each, in order. Rows of one batch
// must name different records.
func (w *Writer) Batch(ctx context.Context, o *mapping.Object, rows []Row) []Outcome {
	out := make([]Outcome, len(rows))
	var updates, upserts, conditional []int
	for i, r := range rows {
		switch {
		case r.Match != "":
			conditional = append(conditional, i)
		case r.ID != "":
			updates = append(updates, i)
		default:
			upserts = append(upserts, i)
		}
	}
	b := &batch{w: w, object: o, rows: rows, out: out}
	for _, group := range [][]int{updates, upserts} {
		b.send(ctx, group)
	}
	b.sendConditional(ctx, conditional)
	return out
}

// batch is one run of Batch; out[i] is the outcome of rows[i].
type batch struct {
	w      *Writer
	object *mapping.Object
	rows   []Row
	out    []Outcome
}

// send writes rows that are all updates or all upserts. Rows of one parent go side by side, so that calls at the same time, here and
// elsewhere, meet at as few parents as possible; those that others hold are sent again.
func (b *batch) send(ctx context.Context, index []int) {
	slices.SortStableFunc(index, func(i, j int) int {
		return strings.Compare(b.object.Group(b.rows[i].Fields), b.object.Group(b.rows[j].Fields))
	})
	for round := 0; ; round++ {
		for part := range slices.Chunk(index, rest.MaxWrite) {
			b.call(ctx, part)
		}
		index = slices.DeleteFunc(slices.Clone(index), func(i int) bool {
			return b.out[i].Refused == nil || b.out[i].Refused.Reason != rest.ReasonLocked
		})
		if len(index) == 0 || round >= b.w.o.LockRounds || !b.w.o.CRM.Repeat(ctx, round, rest.ReasonLocked) {
			return
		}
		b.w.locks.Add(ctx, int64(len(index)), metric.WithAttributes(attribute.String("selfsame.object", b.object.Name)))
	}
}

// call writes at most rest.MaxWrite rows in one call.
func (b *batch) call(ctx context.Context, index []int) {
	results, err := b.results(ctx, index)
	for j, i := range index {
		if err != nil {
			b.out[i] = Outcome{Failed: err}
			continue
		}
		b.out[i] = outcome(results[j])
	}
	if fault.Is(err, fault.Uncertain) {
		b.readBack(ctx, index)
	}
}

func outcome(r rest.Result) Outcome {
	return Outcome{ID: r.ID, Created: r.Created, Refused: r.Refused}
}

func (b *batch) results(ctx context.Context, index []int) ([]rest.Result, error) {
	crm, o := b.w.o.CRM, b.object
	update := b.rows[index[0]].ID != ""
	if len(index) == 1 {
		r := b.rows[index[0]]
		var one rest.Result
		var err error
		if update {
			one, err = crm.UpdateOne(ctx, o.SObject, r.ID, r.Fields, rest.Condition{})
		} else {
			one, err = crm.UpsertOne(ctx, o.SObject, o.ExternalID(), r.ExternalID, r.Fields)
		}
		return []rest.Result{one}, err
	}
	records := make([]rest.Record, len(index))
	for j, i := range index {
		records[j] = b.rows[i].record(o)
	}
	if update {
		return crm.Update(ctx, o.SObject, records)
	}
	return crm.Upsert(ctx, o.SObject, o.ExternalID(), records)
}

// record is the row with what names it.
func (r Row) record(o *mapping.Object) rest.Record {
	if r.own && r.ID == "" && r.Fields != nil {
		r.Fields[o.ExternalID()] = r.ExternalID // instead of a copy of each record of a load
		return r.Fields
	}
	out := make(rest.Record, len(r.Fields)+1)
	for k, v := range r.Fields {
		out[k] = v
	}
	if r.ID != "" {
		out["id"] = r.ID
		return out
	}
	out[o.ExternalID()] = r.ExternalID
	return out
}
