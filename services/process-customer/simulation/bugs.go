package simulation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Bug names a mistake that can be broken into our side, to see that it is noticed. The product knows nothing of them:
// they are made at its seams, between it and a system, or between it and the database.
type Bug string

// The bugs.
const (
	// None is the product as it is.
	None Bug = ""
	// SkipInbox takes a change in again that has come in before.
	SkipInbox Bug = "skip the inbox"
	// DropMark forgets every third mark that a system has to be written.
	DropMark Bug = "drop a pending mark"
	// ArrivalOrder believes the reading that arrives last, not the newest.
	ArrivalOrder Bug = "merge by arrival order"
	// IgnoreGap goes on from the latest change when changes were lost.
	IgnoreGap Bug = "ignore a gap"
	// AckFirst stores the position of the feed before the effect of the changes.
	AckFirst Bug = "ack before commit"
	// BlindCreate repeats the creation of a record without looking whether an earlier attempt has made it.
	BlindCreate Bug = "repeat a create blindly"
	// BlindUpdate writes to a system that checks no versions without looking what the record holds.
	BlindUpdate Bug = "update blindly"
	// Resurrect believes a reading from before a deletion that comes in after it.
	Resurrect Bug = "let a late update resurrect"
	// KeepNote never takes back what was noted to be sent, although it knows that it was not.
	KeepNote Bug = "keep a note of what was not sent"
	// MergeIsEnd hears of a record that was merged away only that it is gone.
	MergeIsEnd Bug = "take a merge for a deletion"
)

// Bugs returns all of them but None.
func Bugs() []Bug {
	return []Bug{SkipInbox, DropMark, ArrivalOrder, IgnoreGap, AckFirst, BlindCreate, BlindUpdate, Resurrect, KeepNote, MergeIsEnd}
}

// bug is a mistake at one of the seams: between us and a system, between us and the database, or in a statement.
type bug struct {
	system    func(*world, source.System) source.System
	store     func(*process, engine.Store) engine.Store
	statement func(query string, args []any) (string, []any)
}

// plant returns a bug; every story has its own, for some count.
func plant(b Bug) (bug, bool) {
	switch b {
	case None:
		return bug{}, true
	case SkipInbox:
		return bug{statement: skipInbox}, true
	case DropMark:
		n := 0
		return bug{statement: func(query string, args []any) (string, []any) {
			if strings.HasPrefix(query, "INSERT INTO pending") {
				if n++; n%3 == 0 {
					return "UPDATE feed SET state = state", nil
				}
			}
			return query, args
		}}, true
	case ArrivalOrder:
		return bug{system: func(w *world, s source.System) source.System { return &arrival{System: s, w: w} }}, true
	case IgnoreGap:
		return bug{system: func(_ *world, s source.System) source.System { return &heedless{System: s} }}, true
	case BlindCreate:
		return bug{system: func(_ *world, s source.System) source.System { return &blind{System: s} }}, true
	case BlindUpdate:
		return bug{system: func(_ *world, s source.System) source.System { return &trusted{System: s} }}, true
	case Resurrect:
		return bug{system: func(_ *world, s source.System) source.System { return &timeless{System: s} }}, true
	case MergeIsEnd:
		return bug{system: func(_ *world, s source.System) source.System { return &nameless{System: s} }}, true
	case KeepNote:
		return bug{statement: func(query string, args []any) (string, []any) {
			if strings.HasPrefix(query, "UPDATE pending SET lease_until_us = 0 WHERE system = $1 AND lease_until_us = $2") {
				return "SELECT golden_id FROM pending WHERE FALSE", nil
			}
			return query, args
		}}, true
	case AckFirst:
		return bug{store: func(p *process, s engine.Store) engine.Store { return &hasty{Store: s, p: p} }}, true
	default:
		return bug{}, false
	}
}

// skipInbox has nothing been seen before, and notes nothing twice so that nobody complains.
func skipInbox(query string, args []any) (string, []any) {
	switch {
	case strings.HasPrefix(query, "SELECT change_id, golden_id FROM inbox"):
		return "SELECT change_id, golden_id FROM inbox WHERE FALSE", nil
	case strings.HasPrefix(query, "INSERT INTO inbox"):
		return query + " ON CONFLICT DO NOTHING", args
	default:
		return query, args
	}
}

// arrival is a system whose readings are numbered as they arrive.
type arrival struct {
	source.System
	w *world
}

// Watch gives every change the moment of its arrival for a version.
func (a *arrival) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	return a.System.Watch(ctx, token, func(b source.Batch) error {
		for i := range b.Changes {
			now := a.w.clock.Now()
			c := &b.Changes[i]
			c.Version, c.CommitTime = now.UnixMicro(), now
			if c.Record != nil {
				c.Record.Version, c.Record.EventTime = c.Version, now
			}
		}
		return fn(b)
	})
}

// heedless is a system that does not say when it has lost changes.
type heedless struct{ source.System }

// Watch goes on from the latest change where it should end, and keeps an overflow to itself.
func (h *heedless) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	quiet := func(b source.Batch) error {
		var told []source.Change
		for _, c := range b.Changes {
			if !c.Overflow {
				told = append(told, c)
			}
		}
		b.Changes = told
		return fn(b)
	}
	err := h.System.Watch(ctx, token, quiet)
	if fault.ReasonOf(err) == fault.ReasonResumeTokenExpired {
		return h.System.Watch(ctx, "", quiet)
	}
	return err
}

// blind is a system that finds nothing by our ids.
type blind struct{ source.System }

// Find finds nothing, without having looked.
func (*blind) Find(context.Context, golden.Object, []string) ([]source.Record, error) {
	return nil, nil
}

// trusted is a system that claims to check versions.
type trusted struct{ source.System }

// ChecksVersions claims it.
func (*trusted) ChecksVersions() bool { return true }

// timeless is a system that does not say which version a deletion was, nor to whoever asks that a record is gone.
type timeless struct{ source.System }

// Fetch keeps what is gone to itself.
func (t *timeless) Fetch(ctx context.Context, obj golden.Object, ids []string) ([]source.Record, []string, error) {
	recs, _, err := t.System.Fetch(ctx, obj, ids)
	return slices.DeleteFunc(recs, func(r source.Record) bool { return r.Deleted }), nil, err
}

// Watch tells deletions as if they had happened before everything else.
func (t *timeless) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	return t.System.Watch(ctx, token, func(b source.Batch) error {
		for i := range b.Changes {
			if b.Changes[i].Deleted {
				b.Changes[i].Version = 0
			}
		}
		return fn(b)
	})
}

// nameless is a system that does not say what a merge put in the place of a record.
type nameless struct{ source.System }

// Fetch keeps the successors to itself.
func (n *nameless) Fetch(ctx context.Context, obj golden.Object, ids []string) ([]source.Record, []string, error) {
	recs, missing, err := n.System.Fetch(ctx, obj, ids)
	for i := range recs {
		recs[i].MergedInto = ""
	}
	return recs, missing, err
}

// Watch tells merges as deletions.
func (n *nameless) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	return n.System.Watch(ctx, token, func(b source.Batch) error {
		for i := range b.Changes {
			b.Changes[i].MergedInto = ""
		}
		return fn(b)
	})
}

// hasty is a database that stores the position of a feed on its own before everything else.
type hasty struct {
	engine.Store
	p *process
}

var errRehearsed = errors.New("only rehearsed")

// Tx runs fn without effect, stores the position that it would have stored, and runs it again.
func (h *hasty) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	var position []any
	var statement string
	rehearsal := h.p.w.stage.store.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
		if strings.HasPrefix(query, "UPDATE feed SET token") {
			statement, position = query, args
		}
		return query, args, nil
	})
	err := rehearsal.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return errRehearsed
	})
	if errors.Is(err, errRehearsed) && statement != "" && !h.p.dead {
		err := h.p.w.stage.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			rows, err := tx.SQL().QueryContext(ctx, statement, position...)
			if err != nil {
				return err
			}
			defer rows.Close()
			return rows.Err()
		})
		if err != nil {
			return err
		}
		if err := h.p.point(); err != nil {
			return err
		}
	}
	return h.Store.Tx(ctx, fn)
}
