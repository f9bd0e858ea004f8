package changes

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Why a range is read again.
const (
	causePosition = "position"
	causeOverflow = "overflow"
)

const (
	// fillRead is how many records of a range one call reads.
	fillRead = rest.MaxRetrieve
	// widest and narrowest are the windows in which a range is listed. The list of one window is held in memory: Salesforce gives
	// at most 600,000 ids, and a window with more is halved.
	widest    = 24 * time.Hour
	narrowest = 2 * time.Minute
	// settled is how long after the end of a window Salesforce surely lists it.
	settled = 5 * time.Second
)

// fill is a range that is read again, and how far that has come: first what was deleted in it, then what was changed. Times are
// Unix milliseconds by Salesforce's clock.
type fill struct {
	// ID tells this reading from every other one of the same object.
	ID     string `json:"d"`
	Object string `json:"o"`
	Cause  string `json:"c"`
	From   int64  `json:"f"`
	Until  int64  `json:"u"`
	// Live is false while deletions are read, true while live records are.
	Live bool `json:"l,omitempty"`
	// At is where the window begins that is being read; by keyset, when the last record was changed.
	At int64 `json:"a"`
	// After is the last id of it that was sent.
	After string `json:"i,omitempty"`
	// Keyset reads live records in the order of their last change, because they cannot be listed by period.
	Keyset bool  `json:"k,omitempty"`
	Sent   int64 `json:"n,omitempty"`
}

// newFill returns the fill of a range up to now, because of the position replay. Salesforce ignores seconds, so the range ends with a whole minute to come.
func newFill(s *source, cause string, replay []byte, from, now time.Time) fill {
	from, until := from.Truncate(time.Minute), now.Truncate(time.Minute).Add(2*time.Minute)
	if !from.Before(until.Add(-narrowest)) {
		from = until.Add(-narrowest)
	}
	return fill{ID: base64.RawURLEncoding.EncodeToString(replay), Object: s.name, Cause: cause, From: from.UnixMilli(), Until: until.UnixMilli(), At: from.UnixMilli()}
}

// valid reports what is wrong with a fill that came in a token.
func (f fill) valid(l *lane) error {
	switch {
	case l.named(f.Object) == nil:
		return fmt.Errorf("a range of %q", f.Object)
	case f.Cause != causePosition && f.Cause != causeOverflow:
		return errors.New("a range without a cause")
	case f.ID == "":
		return errors.New("a range without a name")
	case f.From <= 0 || f.Until <= f.From || f.At < f.From || f.Sent < 0:
		return errors.New("a range that is none")
	case strings.Trim(f.After, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" || len(f.After) > 18:
		return errors.New("a range after no record")
	}
	return nil
}

// marker is the range as the watcher sees it.
func (f fill) marker(done bool) *salesforcev1.LostRange {
	cause := salesforcev1.LossCause_LOSS_CAUSE_POSITION
	if f.Cause == causeOverflow {
		cause = salesforcev1.LossCause_LOSS_CAUSE_OVERFLOW
	}
	return &salesforcev1.LostRange{
		ObjectName: f.Object, Cause: cause, From: timestamppb.New(time.UnixMilli(f.From)), Until: timestamppb.New(time.UnixMilli(f.Until)),
		Done: done, Sent: f.Sent,
	}
}

// errForgotten means that deletions of the range cannot be told any more.
var errForgotten = errors.New("deletions of the range are forgotten")

// fill reads the ranges of a position again and hands over what is in them, page by page, with the position after each.
func (l *lane) fill(ctx context.Context, at *position) error {
	for len(at.Fills) > 0 {
		began := l.w.o.Records.ServerTime()
		f := &at.Fills[0]
		r := &filler{lane: l, source: l.named(f.Object), at: at, fill: f, width: widest}
		err := r.run(ctx)
		done := *f
		last := piece{}
		switch {
		case err == nil:
			last.lost = []*salesforcev1.LostRange{done.marker(true)}
			l.read[done.Object] = span{from: time.UnixMilli(done.From), began: began, batch: l.batches}
		case errors.Is(err, errForgotten):
			last.changes = []*salesforcev1.Change{r.everything()}
		default:
			return err
		}
		at.Fills = at.Fills[1:]
		l.w.metrics.ended(ctx, done, err)
		l.w.o.Log.LogAttrs(ctx, slog.LevelInfo, "range read again", slog.String("object", done.Object),
			slog.Int64("count", done.Sent), slog.Bool("complete", err == nil))
		last.next = *at
		if err := l.hand(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

// filler reads one range.
type filler struct {
	lane   *lane
	source *source
	at     *position // holds fill
	fill   *fill
	width  time.Duration
}

// columns are those to read of a live record: no event says who wrote it, so the record has to.
func (r *filler) columns() []string {
	if slices.Contains(r.source.columns, mapping.ChangedBy) {
		return r.source.columns
	}
	return append(slices.Clip(r.source.columns), mapping.ChangedBy)
}

func (r *filler) run(ctx context.Context) error {
	for !r.fill.Live && r.fill.At < r.fill.Until {
		if err := r.deletions(ctx); err != nil {
			return err
		}
	}
	if !r.fill.Live {
		r.fill.Live, r.fill.At, r.width = true, r.fill.From, widest
	}
	for r.fill.At < r.fill.Until && !r.fill.Keyset {
		if err := r.updates(ctx); err != nil {
			return err
		}
	}
	for more := r.fill.Keyset; more; {
		var err error
		if more, err = r.keyset(ctx); err != nil {
			return err
		}
	}
	return nil
}

// window returns the window to read.
func (r *filler) window() (from, until time.Time) {
	from = time.UnixMilli(r.fill.At)
	until = from.Add(r.width)
	if end := time.UnixMilli(r.fill.Until); until.After(end) || end.Sub(until) < narrowest {
		until = end
	}
	return from, until
}

// list lists a window, made narrower until Salesforce lists it. ok is false when it cannot be listed.
func (r *filler) list(ctx context.Context, call func(from, until time.Time) error) (until time.Time, ok bool, err error) {
	waited := false
	for {
		from, until := r.window()
		err := r.lane.w.patiently(ctx, r.source.name, "the list of changes", func() error { return call(from, until) })
		switch {
		case err == nil:
			return until, true, nil
		case ctx.Err() != nil, fault.ReasonOf(err) == auth.ReasonLoginRefused, fault.Is(err, fault.Forbidden):
			return until, false, err
		case fault.ReasonOf(err) == rest.ReasonPeriodTooLarge && until.Sub(from) > narrowest:
			r.width = max(narrowest, until.Sub(from)/2).Truncate(time.Minute)
		case fault.ReasonOf(err) == rest.ReasonPeriodInvalid && !waited && until.After(r.lane.w.o.Records.ServerTime()):
			// Perhaps it does not list a minute that has not passed.
			waited = true
			if !pause(ctx, until.Add(settled).Sub(r.lane.w.o.Records.ServerTime())) {
				return until, false, ctx.Err()
			}
		default:
			r.lane.w.o.Log.LogAttrs(ctx, slog.LevelWarn, "a period cannot be listed", slog.String("object", r.source.name),
				slog.String("reason", fault.ReasonOf(err)))
			return until, false, nil
		}
	}
}

// deletions sends what was deleted in the next window.
func (r *filler) deletions(ctx context.Context) error {
	var gone rest.Deletions
	until, ok, err := r.list(ctx, func(from, until time.Time) (err error) {
		gone, err = r.lane.w.o.Records.Deleted(ctx, r.source.sobject, from, until)
		return err
	})
	if err != nil {
		return err
	}
	if !ok || gone.Earliest.After(time.UnixMilli(r.fill.From)) {
		return errForgotten
	}
	when := make(map[string]time.Time, len(gone.Records))
	ids := make([]string, 0, len(gone.Records))
	for _, d := range gone.Records {
		if d.ID > r.fill.After {
			when[d.ID] = d.At
			ids = append(ids, d.ID)
		}
	}
	return r.send(ctx, ids, until, func(some []string) ([]*salesforcev1.Change, error) {
		// What came back since is alive, and among the changed records.
		alive := map[string]rest.Record{}
		if err := r.lane.w.retrieve(ctx, r.source, some, fillRead, []string{"Id"}, alive); err != nil {
			return nil, err
		}
		dead := slices.DeleteFunc(slices.Clone(some), func(id string) bool { return alive[id] != nil })
		masters := map[string]string{}
		if err := r.lane.w.mastersOf(ctx, r.source, dead, masters); err != nil {
			return nil, err
		}
		out := make([]*salesforcev1.Change, 0, len(dead))
		for _, id := range dead {
			out = append(out, r.gone(id, masters[id], when[id]))
		}
		return out, nil
	})
}

// updates sends what was changed in the next window and lives.
func (r *filler) updates(ctx context.Context) error {
	var ids []string
	until, ok, err := r.list(ctx, func(from, until time.Time) (err error) {
		ids, err = r.lane.w.o.Records.Updated(ctx, r.source.sobject, from, until)
		return err
	})
	if err != nil {
		return err
	}
	if !ok {
		r.fill.Keyset, r.fill.After = true, ""
		return nil
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id <= r.fill.After })
	return r.send(ctx, ids, until, func(some []string) ([]*salesforcev1.Change, error) {
		records := newReading()
		if err := r.lane.w.read(ctx, r.source, some, fillRead, r.columns(), records); err != nil {
			return nil, err
		}
		var out []*salesforcev1.Change
		for _, id := range some {
			switch records.fate(id) {
			case deleted: // meanwhile; the event that is still to come says whether it was merged
				out = append(out, r.gone(id, "", r.lane.w.o.Records.ServerTime()))
				continue
			case unreadable:
				continue
			}
			c, err := r.changed(ctx, records.rows[id])
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		return out, nil
	})
}

// send hands over the changes of the ids of a window, so many records per call, with the place after each response. The last one
// stands at the end of the window.
func (r *filler) send(ctx context.Context, ids []string, until time.Time, read func([]string) ([]*salesforcev1.Change, error)) error {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for len(ids) > 0 {
		some := ids[:min(len(ids), fillRead)]
		ids = ids[len(some):]
		changes, err := read(some)
		if err != nil {
			return err
		}
		for len(changes) > 0 {
			part := changes[:min(len(changes), maxChanges)]
			changes = changes[len(part):]
			r.fill.After = part[len(part)-1].GetRecordId()
			if len(changes) == 0 {
				r.fill.After = some[len(some)-1]
				if len(ids) == 0 {
					r.fill.At, r.fill.After = until.UnixMilli(), ""
				}
			}
			if err := r.hand(ctx, part); err != nil {
				return err
			}
		}
	}
	r.fill.At, r.fill.After = until.UnixMilli(), ""
	return nil
}

func (r *filler) hand(ctx context.Context, changes []*salesforcev1.Change) error {
	r.fill.Sent += int64(len(changes))
	r.lane.w.metrics.filled(ctx, *r.fill, len(changes))
	return r.lane.hand(ctx, piece{changes: changes, next: *r.at})
}

// keyset sends the next records in the order of (SystemModstamp, Id); that pair makes every place a name of its own, so
// thousands of records of one second do not block the way.
func (r *filler) keyset(ctx context.Context) (more bool, err error) {
	where := "SystemModstamp >= " + soqlTime(r.fill.At)
	if r.fill.After != "" {
		where = fmt.Sprintf("(SystemModstamp > %[1]s OR (SystemModstamp = %[1]s AND Id > %[2]s))", soqlTime(r.fill.At), rest.Quote(r.fill.After))
	}
	soql := fmt.Sprintf("SELECT %s FROM %s WHERE %s AND SystemModstamp < %s ORDER BY SystemModstamp ASC, Id ASC LIMIT %d",
		strings.Join(r.columns(), ", "), r.source.sobject, where, soqlTime(r.fill.Until), fillRead)
	var rows []rest.Record
	err = r.lane.w.patiently(ctx, r.source.name, "changed records", func() (err error) {
		rows, err = r.lane.w.o.Records.Query(ctx, soql)
		return err
	})
	if err != nil {
		return false, err
	}
	for part := range slices.Chunk(rows, maxChanges) {
		var out []*salesforcev1.Change
		for _, row := range part {
			c, err := r.changed(ctx, row)
			if err != nil {
				return false, err
			}
			out = append(out, c)
		}
		last := out[len(out)-1]
		r.fill.At, r.fill.After = last.GetCommitTime().AsTime().UnixMilli(), last.GetRecordId()
		if err := r.hand(ctx, out); err != nil {
			return false, err
		}
	}
	return len(rows) == fillRead, nil
}

func soqlTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// changed is the change that stands for a live record of the range. The reading is part of its id: another one looks at the record
// again even if it has the same version, because two changes of one second have one version.
func (r *filler) changed(ctx context.Context, row rest.Record) (*salesforcev1.Change, error) {
	at, err := mapping.Time(row["SystemModstamp"])
	id, _ := row["Id"].(string)
	if err != nil || id == "" {
		return nil, fault.New(fault.Internal, rest.ReasonAnswerInvalid, "a record of the CRM has no id or no time")
	}
	c := r.change(salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, rest.FullID(id), fmt.Sprint(at.UnixMilli()), at)
	c.OwnWrite = mapping.WrittenBy(row, r.lane.user)
	return c, r.source.set(ctx, c, row, r.lane.user)
}

// gone is the change that stands for a deletion; master is what a merge put in the record's place, if one did.
func (r *filler) gone(id, master string, at time.Time) *salesforcev1.Change {
	c := r.change(salesforcev1.ChangeKind_CHANGE_KIND_DELETED, id, "gone", at)
	c.MergedInto = master
	return c
}

// everything is the change that tells the watcher to read all records of the object again.
func (r *filler) everything() *salesforcev1.Change {
	return r.change(salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW, "", "all", time.UnixMilli(r.fill.Until))
}

func (r *filler) change(kind salesforcev1.ChangeKind, id, version string, at time.Time) *salesforcev1.Change {
	return &salesforcev1.Change{
		Id:   r.source.name + ":lost:" + r.fill.ID + ":" + id + ":" + version,
		Kind: kind, Object: r.source.kind, ObjectName: r.source.name, RecordId: id, CommitTime: timestamppb.New(at),
	}
}
