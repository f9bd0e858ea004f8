package changes

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// One response stays well under the 4 MiB a client takes.
const (
	maxChanges = 500
	maxBytes   = 3 << 20
)

// Salesforce hands out at most 100 events at a time, and reading the records they are about costs a call of the org's
// daily allowance for up to hydrateMax of them. When so many events come at once that more may follow, they are waited for.
const (
	many   = 10                     // events of one lane that are worth waiting for more
	linger = 500 * time.Millisecond // how long; a single edit never waits
)

// piece is what a lane hands over, and the position after it.
type piece struct {
	// events are still to be translated; their records are read together with those of other pieces.
	events []pubsub.Event
	// changes are ready, and follow the events.
	changes []*salesforcev1.Change
	lost    []*salesforcev1.LostRange
	// waiting is what the lane waits for.
	waiting *salesforcev1.Waiting
	next    position
}

// merger sends what the lanes have, one response after another. It owns the token.
type merger struct {
	seen  *watching
	token token
	lanes []*lane
	send  func(*salesforcev1.WatchChangesResponse) error
	ready chan struct{} // something may be waiting
}

// run sends until ctx ends. What the lanes have at the same moment goes into one response, in the order of the lanes: a contact
// usually comes with its account.
func (m *merger) run(ctx context.Context) error {
	for {
		waiting, err := m.collect(ctx)
		if err != nil {
			return err
		}
		if err := m.step(ctx, waiting); err != nil {
			return err
		}
	}
}

// collect returns the pieces that wait, by lane: one of each, or as many as fill a read when they come in large numbers.
func (m *merger) collect(ctx context.Context) ([][]piece, error) {
	waiting := make([][]piece, len(m.lanes))
	for !m.drain(waiting) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-m.ready:
		}
	}
	var enough <-chan time.Time
	for {
		busy := false
		for _, pieces := range waiting {
			busy = busy || wantsMore(pieces)
		}
		if !busy {
			return waiting, nil
		}
		if enough == nil {
			timer := time.NewTimer(linger)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-enough:
			return waiting, nil
		case <-m.ready:
			m.drain(waiting)
		}
	}
}

// drain takes what is there and reports whether there is anything to send.
func (m *merger) drain(waiting [][]piece) (some bool) {
	for i, l := range m.lanes {
		for len(waiting[i]) == 0 || wantsMore(waiting[i]) {
			select {
			case p := <-l.out:
				waiting[i] = append(waiting[i], p)
				continue
			default:
			}
			break
		}
		some = some || len(waiting[i]) > 0
	}
	return some
}

// wantsMore reports whether so many events came at once that more may follow, and one read holds more.
func wantsMore(pieces []piece) bool {
	n := 0
	for _, p := range pieces {
		n += len(p.events)
		if len(p.changes)+len(p.lost) > 0 {
			return false
		}
	}
	return n >= many && n < hydrateMax
}

// step sends what is waiting and moves the token behind it.
func (m *merger) step(ctx context.Context, waiting [][]piece) error {
	next := m.token
	next.Topics = maps.Clone(m.token.Topics)
	var changes []*salesforcev1.Change
	var lost []*salesforcev1.LostRange
	var waits *salesforcev1.Waiting
	// While a call of this response has to wait, the watcher is told.
	ctx = withPatience(ctx, m.wait)
	for i, l := range m.lanes {
		records, err := l.hydrate(ctx, waiting[i])
		if err != nil {
			return err
		}
		for _, p := range waiting[i] {
			some, err := l.changes(ctx, p.events, records)
			if err != nil {
				return err
			}
			changes = append(append(changes, some...), p.changes...)
			lost = append(lost, p.lost...)
			if p.waiting != nil {
				waits = p.waiting
			}
			next.Topics[l.name] = p.next
		}
	}
	size := 0
	for i := 0; i < len(changes); i++ {
		if size += proto.Size(changes[i]); i > 0 && (i == maxChanges || size > maxBytes) {
			// The token moves only with the last part: the position in between has no name.
			if err := m.emit(changes[:i], nil, nil); err != nil {
				return err
			}
			changes, i, size = changes[i:], -1, 0
		}
	}
	m.token = next
	if err := m.emit(changes, lost, waits); err != nil {
		return err
	}
	m.seen.sent(next)
	return nil
}

func (m *merger) emit(changes []*salesforcev1.Change, lost []*salesforcev1.LostRange, waits *salesforcev1.Waiting) error {
	text, err := m.token.encode()
	if err != nil {
		return err
	}
	return m.send(&salesforcev1.WatchChangesResponse{Changes: changes, ResumeToken: text, Lost: lost, PositionTime: m.token.time(), Waiting: waits})
}

// wait tells the watcher what the response under way waits for. The position stays where it is.
func (m *merger) wait(reason string, resume time.Time) error {
	return m.emit(nil, nil, waitingFor(reason, resume))
}

func waitingFor(reason string, resume time.Time) *salesforcev1.Waiting {
	return &salesforcev1.Waiting{Reason: reason, ResumeTime: timestamppb.New(resume)}
}

// hydrate reads the records that the events of a lane are about, as they are now. A record whose last event here is its deletion
// needs no other witness.
func (l *lane) hydrate(ctx context.Context, pieces []piece) (*reading, error) {
	ids, all := map[*source][]string{}, map[*source][]string{}
	seen := map[string]bool{}
	out := newReading()
	for _, p := range pieces {
		for _, e := range p.events {
			s := l.source(e.Entity)
			if s == nil {
				continue
			}
			for _, id := range e.RecordIDs {
				id = rest.FullID(id)
				if _, met := out.gone[id]; !met {
					all[s] = append(all[s], id)
				}
				out.gone[id] = e.ChangeType == "DELETE" || e.ChangeType == "GAP_DELETE"
				if e.ChangeType != "DELETE" && !seen[id] {
					seen[id] = true
					ids[s] = append(ids[s], id)
				}
			}
		}
	}
	for s, list := range all {
		if err := l.w.read(ctx, s, ids[s], hydrateMax, s.columns, out); err != nil {
			return nil, err
		}
		dead := slices.DeleteFunc(list, func(id string) bool { return out.fate(id) != deleted })
		if err := l.w.mastersOf(ctx, s, dead, out.masters); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// changes translates events with the records they are about.
func (l *lane) changes(ctx context.Context, events []pubsub.Event, records *reading) ([]*salesforcev1.Change, error) {
	var out []*salesforcev1.Change
	for _, e := range events {
		s := l.source(e.Entity)
		if s == nil {
			continue // an object of the channel that nobody watches here
		}
		l.w.metrics.event(ctx, s.name, e)
		for _, id := range e.RecordIDs {
			c, err := l.recordChange(ctx, s, e, rest.FullID(id), records)
			if err != nil {
				return nil, err
			}
			if c != nil {
				out = append(out, c)
			}
		}
	}
	return out, nil
}
