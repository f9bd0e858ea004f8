package feed

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// The phases of a scan. First everything the system has, customers before their contacts; then the records we know
// which that did not meet: each is asked for by id, and is gone if the system says so. What cannot be read is kept.
const (
	phaseCustomers     = "customer"
	phaseContacts      = "contact"
	phaseGoneCustomers = "gone/customer"
	phaseGoneContacts  = "gone/contact"
)

func after(phase string) string {
	switch phase {
	case phaseCustomers:
		return phaseContacts
	case phaseContacts:
		return phaseGoneCustomers
	case phaseGoneCustomers:
		return phaseGoneContacts
	default:
		return ""
	}
}

// Step does the next piece of work that comes before watching: learning the position, beginning a scan, or one page of
// it. It returns false when there is none and Watch is next.
func (f *Feed) Step(ctx context.Context) (bool, error) {
	switch {
	case f.feed.Token == "":
		return true, f.open(ctx)
	case f.feed.Scan == store.ScanNeeded:
		next := f.feed
		next.Scan, next.State, next.Reason, next.Resume = store.ScanRunning, store.FeedScanning, "", time.Time{}
		next.Phase, next.Cursor, next.Scanned = phaseCustomers, "", 0
		next.Epoch++
		f.log.InfoContext(ctx, "scan begins", slog.Int64("epoch", next.Epoch))
		return true, f.save(ctx, next)
	case f.feed.Scan == store.ScanRunning:
		return true, f.page(ctx)
	default:
		return false, nil
	}
}

// page does one page of the phase under way.
func (f *Feed) page(ctx context.Context) error {
	next := f.feed
	next.State, next.Reason, next.LastMessage, next.Resume = store.FeedScanning, "", f.now(), time.Time{}
	var changes []source.Change
	var end bool
	var err error
	switch f.feed.Phase {
	case phaseCustomers, phaseContacts:
		changes, end, err = f.list(ctx, &next)
	default:
		changes, end, err = f.sweep(ctx, &next)
	}
	if err != nil {
		return err
	}
	if end {
		next.Phase, next.Cursor = after(f.feed.Phase), ""
		if next.Phase == "" {
			next.Scan, next.Complete, next.State = store.ScanDone, true, store.FeedConnecting
			f.log.InfoContext(ctx, "scan done", slog.Int64("epoch", next.Epoch), slog.Int64(telemetry.KeyCount, next.Scanned))
		}
	}
	return f.takeAll(priority.With(ctx, scanLevel), changes, f.feed.Epoch, next)
}

// list reads one page of what the system has.
func (f *Feed) list(ctx context.Context, next *store.Feed) ([]source.Change, bool, error) {
	call, cancel := context.WithTimeout(priority.With(ctx, scanLevel), f.cfg.CallTimeout)
	defer cancel()
	recs, token, err := f.system.List(call, objectOf(f.feed.Phase), f.feed.Cursor)
	if fault.ReasonOf(err) == fault.ReasonPageTokenInvalid && f.feed.Cursor != "" {
		// The system has forgotten the page: this phase begins again, in the same scan.
		next.Cursor = ""
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	changes := make([]source.Change, 0, len(recs))
	for i := range recs {
		changes = append(changes, f.met(recs[i]))
	}
	next.Scanned += int64(len(recs))
	next.Cursor = token
	return changes, token == "", nil
}

// scanLevel is how urgent the calls of a scan are, and what it finds to be written: large work that leaves the allowance of a system, and
// the first turn, to what keeps records agreeing.
const scanLevel = priority.Bulk

// sweepSize is how many records are asked for at once.
const sweepSize = 200

// sweep asks for records that the scan did not meet.
func (f *Feed) sweep(ctx context.Context, next *store.Feed) ([]source.Change, bool, error) {
	obj := objectOf(f.feed.Phase)
	unmet, err := f.store.Read().Unmet(ctx, f.System(), obj, f.feed.Epoch, f.feed.Cursor, sweepSize)
	if err != nil || len(unmet) == 0 {
		return nil, err == nil, err
	}
	ids := make([]string, len(unmet))
	for i, r := range unmet {
		ids[i] = r.Ref.RecordID
	}
	call, cancel := context.WithTimeout(priority.With(ctx, scanLevel), f.cfg.CallTimeout)
	defer cancel()
	recs, missing, err := f.system.Fetch(call, obj, ids)
	if err != nil {
		return nil, false, err
	}
	changes := make([]source.Change, 0, len(ids))
	for i := range recs {
		changes = append(changes, f.met(recs[i]))
	}
	for _, id := range missing {
		changes = append(changes, source.Change{
			ID:  fmt.Sprintf("scan/%d/%s/%s/gone", f.feed.Epoch, obj, id),
			Ref: golden.Ref{System: f.System(), Object: obj, RecordID: id}, Deleted: true, CommitTime: f.now(),
		})
	}
	if kept := len(ids) - len(changes); kept > 0 {
		f.log.WarnContext(ctx, "records cannot be read, they are kept as they are known", slog.String(telemetry.KeyObject, string(obj)), slog.Int(telemetry.KeyCount, kept))
	}
	next.Cursor = ids[len(ids)-1]
	return changes, len(unmet) < sweepSize, nil
}

// met returns the change that stands for a record which a scan has read. The scan is part of its id: another scan looks
// at the record again even if it has the same version, because systems with coarse clocks give two changes one version.
func (f *Feed) met(rec source.Record) source.Change {
	c := source.Change{
		ID:  fmt.Sprintf("scan/%d/%s/%s/%d", f.feed.Epoch, rec.Ref.Object, rec.Ref.RecordID, rec.Version),
		Ref: rec.Ref, Deleted: rec.Deleted, MergedInto: rec.MergedInto, Version: rec.Version, CommitTime: rec.EventTime,
	}
	if !rec.Deleted {
		c.Record = &rec
	}
	return c
}
