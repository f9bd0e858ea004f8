package deliver

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// maxConflicts is how often a record may turn out to be other than known, although it was read again each time, before it
// becomes a dead letter.
const maxConflicts = 10

// verdict is what is done about an item.
type verdict uint8

const (
	delivered verdict = iota
	again             // later
	reread            // read the record, then again
	dead              // never, until a person or a change helps
)

func (b *batch) judge(it *item) verdict {
	err := it.result.Err
	if err == nil {
		return delivered
	}
	if it.whole {
		return again
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Canceled, fault.Exhausted, fault.Uncertain:
		return again
	case fault.Conflict:
		switch {
		case it.mark.Attempt+1 >= maxConflicts:
			return dead // what it holds cannot be taken in, or it never stands still
		case it.plan.Row != nil, it.found:
			return reread
		default:
			return again
		}
	case fault.NotFound:
		if it.plan.Delete {
			return delivered
		}
		if it.plan.Row == nil || b.d.isBlind(it.plan.Row.Ref) && it.mark.Attempt+1 >= b.d.cfg.MaxInternal {
			return dead
		}
		return reread // deleted since; reading it will say so, unless it is hidden from us
	case fault.Internal:
		if it.mark.Attempt+1 < b.d.cfg.MaxInternal {
			return again
		}
		return dead
	default:
		return dead
	}
}

// record stores the outcome of all items in one transaction.
func (b *batch) record(ctx context.Context) error {
	// The answer has to be stored even when the process is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.d.cfg.Lease)
	defer cancel()
	var ends ends
	err := b.d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		ends = newEnds()
		return b.outcomes(ctx, tx, &ends)
	})
	if err != nil {
		return fmt.Errorf("record deliveries to %s: %w", b.d.System(), err)
	}
	b.tell(ctx, ends)
	b.d.marked()
	return nil
}

// ends are what the items of a batch have come to. They are told when the transaction that stores them is over, for it may
// run more than once.
type ends struct {
	counts  map[string]int64
	lags    []time.Duration
	refused []*settlement
}

func newEnds() ends { return ends{counts: map[string]int64{}} }

func (b *batch) tell(ctx context.Context, e ends) {
	d := b.d
	of := []attribute.KeyValue{attribute.String("selfsame.system", d.System()), attribute.String("selfsame.object", string(b.object))}
	for outcome, n := range e.counts {
		d.records.Add(ctx, n, metric.WithAttributes(of...), metric.WithAttributes(attribute.String("selfsame.direction", "deliver"),
			attribute.String("selfsame.outcome", outcome)))
	}
	for _, lag := range e.lags {
		d.lag.Record(ctx, lag.Seconds(), metric.WithAttributes(of...))
	}
	for _, s := range e.refused {
		d.log.WarnContext(ctx, "delivery refused", slog.String(telemetry.KeySystem, d.System()), slog.String(telemetry.KeyObject, string(b.object)),
			slog.String(telemetry.KeyCustomerID, string(s.mark.GoldenID)), slog.String(telemetry.KeyReason, fault.ReasonOf(s.err)))
	}
}

func (b *batch) outcomes(ctx context.Context, tx *store.Tx, ends *ends) error {
	d := b.d
	unit, err := d.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
	if err != nil {
		return err
	}
	if err := b.load(ctx, unit); err != nil {
		return err
	}
	now := d.now()
	byMark := map[*store.Claimed]*settlement{}
	var order []*settlement
	for _, it := range b.items {
		if unit.Golden(it.plan.GoldenID) == nil {
			ends.counts["erased"]++ // while the call was under way; what it has written is deleted again
			continue
		}
		s := byMark[it.mark]
		if s == nil {
			s = &settlement{mark: it.mark}
			byMark[it.mark] = s
			order = append(order, s)
		}
		b.apply(unit, it, s)
	}
	if err := unit.Flush(ctx); err != nil {
		return err
	}
	return b.settle(ctx, tx, order, ends, now)
}

// load loads what the answers are about.
func (b *batch) load(ctx context.Context, unit *fold.Unit) error {
	var ids []golden.ID
	var records, parents []string
	for _, it := range b.items {
		ids = append(ids, it.plan.GoldenID)
		if it.result.RecordID != "" {
			records = append(records, it.result.RecordID)
		}
		if rec := it.result.Record; rec != nil && rec.ParentID != "" {
			parents = append(parents, rec.ParentID)
		}
	}
	if err := unit.LoadGoldens(ctx, ids); err != nil {
		return err
	}
	if err := unit.LoadRecords(ctx, b.d.System(), b.object, records); err != nil {
		return err
	}
	if err := unit.LoadRecords(ctx, b.d.System(), golden.Customer, parents); err != nil {
		return err
	}
	return unit.LoadIntents(ctx, b.d.System(), ids)
}

// maxEager is up to which attempt a record that was found, or read, is written without a wait: it is known now, unless it cannot
// be taken in.
const maxEager = 3

// settlement is what becomes of one mark; the worst of its items decides.
type settlement struct {
	mark   *store.Claimed
	known  bool // what the record holds is known when the mark is tried again
	worst  verdict
	err    error
	whole  bool
	record string
}

// apply folds the answer of one item in.
func (b *batch) apply(unit *fold.Unit, it *item, s *settlement) {
	system := b.d.System()
	v := b.judge(it)
	if v > s.worst || (v == s.worst && s.err == nil) {
		s.worst, s.err, s.whole, s.record, s.known = v, it.result.Err, it.whole, it.plan.Write.Ref.RecordID, it.found || it.reading != nil
	}
	if v == delivered && it.plan.Delete {
		changeID := fmt.Sprintf("ack/%s/%d", it.plan.GoldenID, it.mark.Gen)
		unit.AckDelete(&it.plan, it.result.Version, changeID)
		unit.Note(store.Event{GoldenID: it.plan.GoldenID, Kind: "deleted_there", System: system, RecordID: it.plan.Write.Ref.RecordID, ChangeID: changeID})
		return
	}
	if v == delivered {
		changeID := fmt.Sprintf("ack/%s/%d", it.plan.GoldenID, it.mark.Gen)
		created := unit.Ack(&it.plan, it.result, changeID)
		kind := "delivered"
		if created && it.plan.Row == nil {
			kind = "delivered_new"
		}
		fields := make([]string, 0, len(it.plan.Sent))
		changes := make([]audit.Field, 0, len(it.plan.Sent))
		for _, f := range golden.Fields(b.object) {
			if value, ok := it.plan.Sent[f]; ok {
				change := audit.Field{Name: f, After: value}
				if it.plan.Row != nil {
					change.Before = it.plan.Row.Shadow[f]
				}
				fields, changes = append(fields, f), append(changes, change)
			}
		}
		unit.Note(store.Event{GoldenID: it.plan.GoldenID, Kind: kind, System: system, RecordID: it.result.RecordID, ChangeID: changeID, Fields: fields, Changes: changes})
		return
	}
	if !it.called || source.OutcomeKnown(it.result.Err) {
		unit.Unsend(&it.plan)
	}
	if !it.whole {
		kind := "failed"
		switch {
		case v == dead:
			kind = "parked"
		case it.found:
			kind = "found"
		}
		unit.Note(store.Event{
			GoldenID: it.plan.GoldenID, Kind: kind, System: system, RecordID: it.plan.Write.Ref.RecordID, Reason: fault.ReasonOf(it.result.Err),
		})
	}
}

// settle decides about the marks.
func (b *batch) settle(ctx context.Context, tx *store.Tx, order []*settlement, ends *ends, now time.Time) error {
	d := b.d
	var done, parked []store.Claimed
	var retries []store.Retry
	var letters []store.DeadLetter
	for _, s := range order {
		switch s.worst {
		case delivered:
			ends.counts["applied"]++
			done = append(done, *s.mark)
			ends.lags = append(ends.lags, now.Sub(s.mark.First))
		case again, reread:
			ends.counts["retrying"]++
			retries = append(retries, b.retry(s, now))
		case dead:
			ends.counts["dead_lettered"]++
			parked = append(parked, *s.mark)
			letters = append(letters, b.letter(s, now))
			ends.refused = append(ends.refused, s)
		}
	}
	if err := b.finish(ctx, tx, done, store.Delivered, now); err != nil {
		return err
	}
	if err := tx.Again(ctx, d.System(), retries); err != nil {
		return err
	}
	if err := tx.Park(ctx, letters); err != nil {
		return err
	}
	if _, err := tx.Done(ctx, d.System(), parked, store.LetterWritten); err != nil {
		return err
	}
	ids := make([]golden.ID, len(parked))
	for i := range parked {
		ids[i] = parked[i].GoldenID
	}
	return tx.Settle(ctx, ids)
}

// retry says when a mark is tried again. What is not the record's fault is not counted as an attempt.
func (b *batch) retry(s *settlement, now time.Time) store.Retry {
	d := b.d
	r := store.Retry{Claimed: *s.mark, Reason: fault.ReasonOf(s.err)}
	if s.whole {
		r.Due = b.until
		return r
	}
	r.Attempt++
	wait := d.backoff.Next(r.Attempt)
	if s.worst == reread && (r.Attempt == 1 || (s.known && r.Attempt <= maxEager)) {
		wait = 0
	}
	r.Due = now.Add(max(wait, fault.RetryAfter(s.err)))
	return r
}

func (b *batch) letter(s *settlement, now time.Time) store.DeadLetter {
	l := store.DeadLetter{
		ID: "d_" + strings.ToLower(rand.Text()), Direction: store.DirectionDeliver,
		Ref:      golden.Ref{System: b.d.System(), Object: b.object, RecordID: s.record},
		GoldenID: s.mark.GoldenID, Reason: fault.ReasonOf(s.err), Attempts: s.mark.Attempt + 1, Parked: now,
	}
	if fe, ok := fault.As(s.err); ok {
		l.Message = fe.Message
		if len(fe.Fields) > 0 {
			l.Field = fe.Fields[0].Path
		}
	}
	return l
}

// readAgain reads the records that turned out to be other than known and takes them in; their marks are due already.
func (b *batch) readAgain(ctx context.Context) error {
	var ids []string
	var known []source.Change
	for _, it := range b.items {
		switch {
		case it.reading != nil:
			known = append(known, *it.reading)
		case it.plan.Row != nil && b.judge(it) == reread:
			ids = append(ids, it.plan.Row.Ref.RecordID)
		}
	}
	if len(known) > 0 {
		if err := b.d.takeIn(ctx, known); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.d.cfg.Timeout)
	defer cancel()
	changes, unreadable, err := b.d.readings(ctx, b.object, ids)
	b.d.noteBlind(b.object, ids, unreadable)
	if err != nil {
		// The next attempt meets the same conflict and reads again.
		b.d.log.WarnContext(ctx, "records not read again", slog.String(telemetry.KeySystem, b.d.System()), slog.String(telemetry.KeyReason, fault.ReasonOf(err)))
		return nil
	}
	return b.d.takeIn(ctx, changes)
}
