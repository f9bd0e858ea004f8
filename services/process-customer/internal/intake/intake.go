// Package intake is the inbound half of the convergence: it takes in what a system's feed, a scan or a reading says
// about records.
//
// The invariant: one batch is one transaction. Inbox rows, golden records, provenance, pending deliveries, ledger,
// audit trail and the feed's resume token are stored together or not at all, so a batch that is delivered again after
// a crash finds either nothing or everything of itself. A change is only a hint: what counts is the record it carries,
// by its own version, and where a hint leaves open whether a record lives, or how it came to its end, the system is asked before it is taken in. A change that cannot be taken in is parked and never stops the ones behind it.
//
// The package does not read feeds (feed does) and writes to no system (deliver does).
package intake

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Store is what intake needs of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
	Ping(ctx context.Context) error
}

// Deps are what an Intake needs. All fields are required but Marked and Ahead.
type Deps struct {
	Store     Store
	Folder    *fold.Folder
	Systems   []source.System
	Now       func() time.Time
	Telemetry *telemetry.Telemetry
	// Marked is called after a commit that may have marked deliveries.
	Marked func()
	// Ahead is after how many changes what they did is written while the next are folded in; 128 when zero.
	Ahead int
}

// Intake takes changes in. It is safe for concurrent use.
type Intake struct {
	store   Store
	folder  *fold.Folder
	systems map[string]source.System
	now     func() time.Time
	log     *slog.Logger
	tracer  trace.Tracer
	records metric.Int64Counter
	marked  func()
	ahead   int
}

// New returns an intake.
func New(d Deps) (*Intake, error) {
	records, err := d.Telemetry.Meter.Meter("intake").Int64Counter("selfsame.sync.records",
		metric.WithUnit("{record}"), metric.WithDescription("Records taken in and delivered, by outcome."))
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	in := &Intake{
		store: d.Store, folder: d.Folder, systems: map[string]source.System{}, now: d.Now, log: d.Telemetry.Log,
		tracer: d.Telemetry.Tracer.Tracer("intake"), records: records, marked: d.Marked,
		ahead: cmp.Or(d.Ahead, ahead),
	}
	for _, s := range d.Systems {
		in.systems[s.Name()] = s
	}
	if in.marked == nil {
		in.marked = func() {}
	}
	return in, nil
}

// Batch is what is taken in by one transaction.
type Batch struct {
	Changes []source.Change
	// ScanEpoch is the number of the scan that read the records; zero outside a scan.
	ScanEpoch int64
	// Feed is where the feed stands after the batch; nil when the batch does not come from it.
	Feed *store.Feed
	// Also is called in each transaction that takes changes in, after everything else, with the records that were taken in: without those
	// that were parked or had come in before. Nil for nothing. A transaction that fails may be made again.
	Also func(ctx context.Context, tx *store.Tx, taken []golden.Ref) error

	believe bool                // doubts have been asked often enough
	again   map[golden.Ref]bool // records that seemed to be back and were read again
}

// Outcome says what became of the changes of a batch.
type Outcome struct {
	// Counts are by state; "duplicate" counts changes that had come in before.
	Counts map[string]int
	// Feed is the feed as stored.
	Feed store.Feed
}

// Duplicate is the outcome of a change that had come in before.
const Duplicate = "duplicate"

// Reasons of changes that cannot be taken in.
const (
	ReasonInvalidRecord = "INVALID_RECORD"
	ReasonValueTooLong  = "VALUE_TOO_LONG"
	ReasonPanic         = fault.ReasonPanic
	ReasonStoreRefused  = "STORE_REFUSED"
)

// ahead is so many that a batch of a backlog makes few statements more, and that the database has begun long before it is folded in.
const ahead = 128

const (
	maxID    = 255
	maxValue = 8192
)

// Take takes a batch of one system in. An error means that nothing of it was stored and the batch has to come again:
// the database or the system did not answer, or the feed belongs to another process now (store.ErrFenced).
func (in *Intake) Take(ctx context.Context, system string, b Batch) (Outcome, error) {
	ctx, span := in.tracer.Start(ctx, "process "+system, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String(telemetry.KeySystem, system), attribute.Int(telemetry.KeyCount, len(b.Changes))))
	defer span.End()
	changes, err := in.confirm(ctx, system, b.Changes)
	if err != nil {
		return Outcome{}, err
	}
	b.Changes = changes
	out, err := in.certain(ctx, system, b)
	if err != nil && len(b.Changes) > 0 && in.poisoned(ctx, err) {
		out, err = in.isolate(ctx, system, b)
	}
	if err != nil {
		return Outcome{}, err
	}
	for state, n := range out.Counts {
		in.records.Add(ctx, int64(n), metric.WithAttributes(attribute.String("selfsame.direction", "intake"),
			attribute.String("selfsame.system", system), attribute.String("selfsame.outcome", state)))
	}
	in.marked()
	return out, nil
}

// poisoned reports whether an error is about the content of the batch: the database itself is well.
func (in *Intake) poisoned(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, store.ErrFenced) || fault.Retryable(err) {
		return false
	}
	if _, ok := errors.AsType[unanswered](err); ok {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Uncertain, fault.Canceled, fault.Timeout:
		return false
	}
	return in.store.Ping(ctx) == nil
}

// isolate takes the changes in one by one and parks the one that the database refuses, so that it stops nobody else.
// The feed's position is stored last: a crash in between repeats changes that are then duplicates.
func (in *Intake) isolate(ctx context.Context, system string, b Batch) (Outcome, error) {
	total := Outcome{Counts: map[string]int{}}
	add := func(o Outcome) {
		for state, n := range o.Counts {
			total.Counts[state] += n
		}
	}
	for _, c := range b.Changes {
		one := Batch{Changes: []source.Change{c}, ScanEpoch: b.ScanEpoch, Also: b.Also}
		out, err := in.certain(ctx, system, one)
		if err != nil && in.poisoned(ctx, err) {
			in.log.ErrorContext(ctx, "change refused by the store", slog.String(telemetry.KeySystem, system),
				slog.String(telemetry.KeyChangeID, c.ID), slog.String(telemetry.KeyReason, ReasonStoreRefused))
			out, err = in.step(ctx, system, one, &poison{ReasonStoreRefused, "", "the change could not be stored"})
		}
		if err != nil {
			return Outcome{}, err
		}
		add(out)
	}
	out, err := in.step(ctx, system, Batch{Feed: b.Feed}, nil)
	if err != nil {
		return Outcome{}, err
	}
	total.Feed = out.Feed
	return total, nil
}

// confirm asks the system about records of which the changes leave open whether they live: an event and its record can
// arrive out of order where versions are coarse or missing. It also reads the customers of contacts that are not known
// yet, so that a contact is never compared without its customer.
func (in *Intake) confirm(ctx context.Context, system string, changes []source.Change) ([]source.Change, error) {
	sys := in.systems[system]
	if sys == nil || len(changes) == 0 {
		return changes, nil
	}
	doubtful, parents, err := in.doubts(ctx, system, changes)
	if err != nil {
		return nil, err
	}
	read := map[golden.Ref]*source.Record{}
	gone := map[golden.Ref]source.Record{}
	for _, obj := range golden.Objects() {
		if err := fetch(ctx, sys, obj, doubtful[obj], read, gone); err != nil {
			return nil, err
		}
	}
	out := allAsRead(changes, read, gone)
	if len(parents) == 0 {
		return out, nil
	}
	read, gone = map[golden.Ref]*source.Record{}, map[golden.Ref]source.Record{}
	if err := fetch(ctx, sys, golden.Customer, parents, read, gone); err != nil {
		return nil, err
	}
	var front []source.Change
	for _, id := range parents {
		ref := golden.Ref{System: system, Object: golden.Customer, RecordID: id}
		if rec := read[ref]; rec != nil {
			front = append(front, Reading("parent", *rec))
		} else if rec, ok := gone[ref]; ok {
			c := Gone("parent", ref, rec.Version, in.now())
			c.MergedInto = rec.MergedInto
			front = append(front, c)
		}
	}
	return append(front, out...), nil
}

// doubts returns the records to be read again of which a change says that they are gone, and the unknown customers of contacts.
func (in *Intake) doubts(ctx context.Context, system string, changes []source.Change) (map[golden.Object][]string, []string, error) {
	ids := map[golden.Object][]string{}
	inBatch := map[string]bool{}
	var parents []string
	for i := range changes {
		c := &changes[i]
		if invalid(system, c) != nil || c.Overflow {
			continue
		}
		if c.Ref.Object == golden.Customer {
			inBatch[c.Ref.RecordID] = true
		} else if c.Record != nil && c.Record.ParentID != "" {
			parents = append(parents, c.Record.ParentID)
		}
		if c.Deleted { // whether one has come back shows when it is taken in: see returned
			ids[c.Ref.Object] = append(ids[c.Ref.Object], c.Ref.RecordID)
		}
	}
	known := map[golden.Ref]store.Known{}
	read := in.store.Read()
	load := func(obj golden.Object, ids []string) error {
		found, err := read.Known(ctx, system, obj, ids)
		for id, k := range found {
			known[golden.Ref{System: system, Object: obj, RecordID: id}] = k
		}
		return err
	}
	for obj, list := range ids {
		if err := load(obj, list); err != nil {
			return nil, nil, err
		}
	}
	if err := load(golden.Customer, parents); err != nil {
		return nil, nil, err
	}
	doubtful := map[golden.Object][]string{}
	seen := map[golden.Ref]bool{}
	for i := range changes {
		c := &changes[i]
		row, found := known[c.Ref]
		if !found || seen[c.Ref] || c.Overflow {
			continue
		}
		if c.Deleted && !row.Deleted && (c.Version == 0 || c.Version == row.Version) {
			seen[c.Ref] = true
			doubtful[c.Ref.Object] = append(doubtful[c.Ref.Object], c.Ref.RecordID)
		}
	}
	var unknown []string
	for _, id := range parents {
		ref := golden.Ref{System: system, Object: golden.Customer, RecordID: id}
		if _, found := known[ref]; !found && !inBatch[id] && !seen[ref] {
			seen[ref] = true
			unknown = append(unknown, id)
		}
	}
	return doubtful, unknown, nil
}

// allAsRead returns changes that say what their records were when they were read again.
func allAsRead(changes []source.Change, read map[golden.Ref]*source.Record, gone map[golden.Ref]source.Record) []source.Change {
	if len(read)+len(gone) == 0 {
		return changes
	}
	out := slices.Clone(changes)
	for i := range out {
		asRead(&out[i], read, gone)
	}
	return out
}

// asRead has a change say what its record was when it was read again, and reports whether the record lives. A system that keeps
// nothing of what was deleted does not say what a merge put in its place: then the word of the change counts.
func asRead(c *source.Change, read map[golden.Ref]*source.Record, gone map[golden.Ref]source.Record) bool {
	if rec := read[c.Ref]; rec != nil {
		c.Deleted, c.MergedInto, c.Record, c.Version = false, "", rec, rec.Version
		return true
	}
	if rec, ok := gone[c.Ref]; ok {
		c.Deleted, c.MergedInto, c.Record, c.Version = true, cmp.Or(rec.MergedInto, c.MergedInto), nil, max(rec.Version, c.Version)
	}
	return false
}

// fetch reads records; what the system does not have any more goes to gone, with what it tells of the deletion.
func fetch(ctx context.Context, sys source.System, obj golden.Object, ids []string, read map[golden.Ref]*source.Record, gone map[golden.Ref]source.Record) error {
	for len(ids) > 0 {
		n := min(len(ids), source.MaxWrites)
		recs, missing, err := sys.Fetch(ctx, obj, ids[:n])
		if err != nil {
			return fmt.Errorf("read records again: %w", err)
		}
		for i := range recs {
			if recs[i].Deleted {
				gone[recs[i].Ref] = recs[i]
			} else {
				read[recs[i].Ref] = &recs[i]
			}
		}
		for _, id := range missing {
			ref := golden.Ref{System: sys.Name(), Object: obj, RecordID: id}
			gone[ref] = source.Record{Ref: ref}
		}
		ids = ids[n:]
	}
	return nil
}

// Reading returns the change that stands for a record which was read for its own sake. The same record read twice in
// one version is one change.
func Reading(why string, rec source.Record) source.Change {
	c := source.Change{
		ID:  fmt.Sprintf("%s/%s/%s/%d", why, rec.Ref.Object, rec.Ref.RecordID, cmp.Or(rec.Version, rec.EventTime.UnixMicro())),
		Ref: rec.Ref, Deleted: rec.Deleted, MergedInto: rec.MergedInto, Version: rec.Version, CommitTime: rec.EventTime,
	}
	if !rec.Deleted {
		c.Record = &rec
	}
	return c
}

// Gone returns the change that stands for a record which was read for its own sake and is not there any more.
func Gone(why string, ref golden.Ref, version int64, at time.Time) source.Change {
	return source.Change{
		ID: fmt.Sprintf("%s/%s/%s/gone/%d", why, ref.Object, ref.RecordID, at.UnixMicro()), Ref: ref, Deleted: true, Version: version, CommitTime: at,
	}
}

// poison is why a change cannot be taken in.
type poison struct{ reason, field, message string }

// invalid returns what is wrong with a change; nil when nothing is.
func invalid(system string, c *source.Change) *poison {
	if c.ID == "" || bad(c.ID) || bad(c.Ref.RecordID) {
		return &poison{ReasonInvalidRecord, "", "the change or the record has no usable id"}
	}
	if c.Overflow {
		return nil
	}
	if c.Ref.System != system || !c.Ref.Object.Valid() || c.Ref.RecordID == "" {
		return &poison{ReasonInvalidRecord, "", "the change names no record of this system"}
	}
	if c.Record == nil {
		return nil
	}
	if c.Record.Ref != c.Ref || bad(c.Record.ExternalID) || bad(c.Record.ParentID) {
		return &poison{ReasonInvalidRecord, "", "the record is not the one the change names"}
	}
	for field, value := range c.Record.Values {
		switch {
		case !golden.HasField(c.Ref.Object, field) || field == golden.Parent:
			return &poison{ReasonInvalidRecord, field, "the record has a field that its kind does not have"}
		case len(value) > maxValue:
			return &poison{ReasonValueTooLong, field, fmt.Sprintf("a value is longer than %d bytes", maxValue)}
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return &poison{ReasonInvalidRecord, field, "a value is not text"}
		}
	}
	return nil
}

func bad(id string) bool {
	return len(id) > maxID || !utf8.ValidString(id) || strings.ContainsRune(id, 0)
}

func newDeadID() string { return "d_" + strings.ToLower(rand.Text()) }
