package changes

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

const (
	// overlap is how much earlier than its last position a lost stretch is read again: records are stamped when they are
	// written and told of when their transaction has ended, and events may be published late.
	overlap = 30 * time.Minute
	// maxLosses is how often in a row a position may be refused that was handed out a moment before.
	maxLosses = 3
)

// lane is one topic with the objects whose changes are taken from it. Its goroutine runs ahead of what was sent by one piece.
type lane struct {
	w       *Watcher
	name    string
	topic   string
	sources []*source
	out     chan piece
	notify  chan<- struct{}
	org     string
	user    string // whose writes may be our own

	losses  int             // positions refused since the last message
	handed  position        // of the last piece
	batches int             // messages so far
	read    map[string]span // what was read again last, by object
}

// span is a range that was read again.
type span struct {
	from  time.Time
	began time.Time // when it began to be read, by Salesforce's clock
	batch int       // the message that was in hand then
}

// commitMargin is how much later than its event says a transaction may have ended: times are cut to seconds in places.
const commitMargin = 5 * time.Second

// covers reports whether what an event leaves unsaid was read already: it was committed before the reading began.
func (s span) covers(e pubsub.Event, batch int) bool {
	return !e.Committed.Before(s.from.Add(overlap)) && (batch == s.batch || e.Committed.Add(commitMargin).Before(s.began))
}

func newLane(w *Watcher, name, topic string, sources []*source) *lane {
	return &lane{w: w, name: name, topic: topic, sources: sources, out: make(chan piece, 1), read: map[string]span{}}
}

// source returns the source of an sObject; nil when the lane does not carry it.
func (l *lane) source(sobject string) *source {
	for _, s := range l.sources {
		if strings.EqualFold(s.sobject, sobject) {
			return s
		}
	}
	return nil
}

func (l *lane) named(object string) *source {
	for _, s := range l.sources {
		if s.name == object {
			return s
		}
	}
	return nil
}

// hand hands a piece to the merger. What waits there is lost with the stream, and the watcher's token is from before it.
func (l *lane) hand(ctx context.Context, p piece) error {
	p.next = p.next.clone()
	l.handed = p.next
	select {
	case l.out <- p:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case l.notify <- struct{}{}:
	default:
	}
	return nil
}

// run reads the lane from a position until ctx ends or something fails that neither waiting nor reading again mends.
func (l *lane) run(ctx context.Context, at position) error {
	at = at.clone()
	l.handed = at.clone()
	ctx = withPatience(ctx, func(reason string, resume time.Time) error {
		return l.hand(ctx, piece{waiting: waitingFor(reason, resume), next: l.handed})
	})
	for {
		if err := l.fill(ctx, &at); err != nil {
			return err
		}
		err := expiredToken("the events of this position are no longer kept")
		if len(at.Replay) > 0 || l.w.o.Records.ServerTime().Sub(time.UnixMilli(at.Since)) < retention-time.Hour {
			err = l.w.o.Feed.Subscribe(ctx, l.topic, pubsub.Position{Replay: at.Replay}, func(ctx context.Context, b pubsub.Batch) error {
				return l.take(ctx, &at, b)
			})
		}
		if _, final := errors.AsType[lostForGood](err); final || fault.ReasonOf(err) != fault.ReasonResumeTokenExpired {
			return err
		}
		if err := l.lose(ctx, &at); err != nil {
			return err
		}
	}
}

// take hands a batch over. An event that does not say which records changed is answered by reading again what did.
func (l *lane) take(ctx context.Context, at *position, b pubsub.Batch) error {
	if b.Org != "" && !sameOrg(l.org, b.Org) {
		return otherOrg()
	}
	l.losses = 0
	l.batches++
	if len(b.Position.Replay) == 0 {
		return nil
	}
	events, passed := after(b.Events, at.Since)
	if passed {
		at.Since = 0
	}
	begin := 0
	for i, e := range events {
		if !overflow(e) {
			continue
		}
		if i > begin {
			at.Replay, at.Time = events[i-1].ReplayID, events[i-1].Committed.UnixMilli()
			if err := l.hand(ctx, piece{events: events[begin:i], next: *at}); err != nil {
				return err
			}
		}
		at.Replay, at.Time = e.ReplayID, e.Committed.UnixMilli()
		if err := l.overflowed(ctx, at, e); err != nil {
			return err
		}
		begin = i + 1
	}
	at.Replay = b.Position.Replay
	switch {
	case len(b.Events) == 0:
		at.Time = l.w.o.Records.ServerTime().UnixMilli()
	default:
		at.Time = b.Events[len(b.Events)-1].Committed.UnixMilli()
	}
	return l.hand(ctx, piece{events: events[begin:], next: *at})
}

// after leaves out events committed before the stream was begun; passed is true when the stream has reached that point: at the
// first newer event, or at an empty batch, which comes only when there is nothing more to read.
func after(events []pubsub.Event, since int64) (kept []pubsub.Event, passed bool) {
	if since == 0 {
		return events, true
	}
	begin := time.UnixMilli(since).Add(-clockMargin)
	for _, e := range events {
		if !e.Committed.Before(begin) {
			kept = append(kept, e)
		}
	}
	return kept, len(kept) > 0 || len(events) == 0
}

// overflow reports whether an event does not say which records changed.
func overflow(e pubsub.Event) bool {
	if e.ChangeType == "GAP_OVERFLOW" || len(e.RecordIDs) == 0 {
		return true
	}
	for _, id := range e.RecordIDs {
		if len(id) != 15 && len(id) != 18 || strings.Contains(id, "*") {
			return true
		}
	}
	return false
}

// overflowed reads again what changed around an event that does not say it.
func (l *lane) overflowed(ctx context.Context, at *position, e pubsub.Event) error {
	s := l.source(e.Entity)
	if s == nil {
		return nil
	}
	l.w.metrics.event(ctx, s.name, e)
	if done, ok := l.read[s.name]; ok && done.covers(e, l.batches) {
		return nil // such events come in numbers
	}
	now, err := l.clock(ctx)
	if err != nil {
		return err
	}
	at.Fills = append(at.Fills, newFill(s, causeOverflow, e.ReplayID, e.Committed.Add(-overlap), now))
	if err := l.begin(ctx, at); err != nil {
		return err
	}
	return l.fill(ctx, at)
}

// lose gives up a position that Salesforce refuses: the lane goes on at the tip, after everything since the position was read
// again.
func (l *lane) lose(ctx context.Context, at *position) error {
	if at.Time == 0 {
		return lostForGood{expiredToken("Salesforce no longer keeps the changes after this position")}
	}
	if l.losses++; l.losses > maxLosses {
		return fault.New(fault.Unavailable, pubsub.ReasonFeedUnavailable, "Salesforce refuses positions that it has just handed out").WithRetryAfter(time.Minute)
	}
	tip, err := l.w.o.Feed.Tip(ctx, l.topic)
	if err != nil {
		return err
	}
	if !sameOrg(l.org, tip.Org) {
		return otherOrg()
	}
	// The tip is known, so what happens from now on comes as events.
	now, err := l.clock(ctx)
	if err != nil {
		return err
	}
	var fills []fill
	for _, s := range l.sources {
		fills = append(fills, newFill(s, causePosition, tip.Position.Replay, time.UnixMilli(at.Time).Add(-overlap), now))
	}
	*at = position{Replay: tip.Position.Replay, Time: now.UnixMilli(), Fills: fills}
	return l.begin(ctx, at)
}

// clock returns the time that a range ends with.
func (l *lane) clock(ctx context.Context) (now time.Time, err error) {
	err = l.w.patiently(ctx, l.name, "the time", func() error {
		now, err = l.w.o.Records.ReadClock(ctx)
		return err
	})
	return now, err
}

// begin tells the watcher which ranges are read again, and puts them into its position.
func (l *lane) begin(ctx context.Context, at *position) error {
	var lost []*salesforcev1.LostRange
	for _, f := range at.Fills {
		lost = append(lost, f.marker(false))
		l.w.metrics.begun(ctx, f)
		l.w.o.Log.LogAttrs(ctx, slog.LevelWarn, "changes were lost, the range is read again", slog.String("object", f.Object),
			slog.String("cause", f.Cause), slog.Time("from", time.UnixMilli(f.From).UTC()), slog.Time("until", time.UnixMilli(f.Until).UTC()))
	}
	return l.hand(ctx, piece{lost: lost, next: *at})
}

// retrieve reads records by id into out, so many at a time.
func (w *Watcher) retrieve(ctx context.Context, s *source, ids []string, size int, columns []string, out map[string]rest.Record) error {
	for len(ids) > 0 {
		some := ids[:min(len(ids), size)]
		ids = ids[len(some):]
		var rows []rest.Record
		err := w.patiently(ctx, s.name, "changed records", func() (err error) {
			rows, err = w.o.Records.Retrieve(ctx, s.sobject, some, columns)
			return err
		})
		if err != nil {
			return err
		}
		for i, row := range rows {
			if row != nil {
				out[some[i]] = row
			}
		}
	}
	return nil
}
