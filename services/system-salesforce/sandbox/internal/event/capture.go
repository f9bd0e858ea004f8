package event

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/avro"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// CaptureOptions configures a capture. Schema, Bus and Log are needed.
type CaptureOptions struct {
	Schema *schema.Schema
	Bus    *Bus
	Seed   int64
	Log    *slog.Logger
	// Split makes one event for every record, even if one transaction made the
	// same change to several.
	Split bool
	// MaxBytes is the size above which an event shrinks to a gap event; 0
	// means MaxEventBytes.
	MaxBytes int
	// OverflowAfter is how many changes of one transaction have events of
	// their own; 0 means 100,000.
	OverflowAfter int
	// Gap asks whether a change is announced by a gap event only; nil means no.
	Gap func(object, kind, id string) bool
}

// MaxEventBytes is the documented limit for one event.
const MaxEventBytes = 1 << 20

// overflowAfter is the threshold that the vendor names.
const overflowAfter = 100_000

// Capture turns commits into events on a bus.
type Capture struct {
	// Layouts are the event forms by object.
	Layouts map[*schema.Object]*Layout

	opt    CaptureOptions
	head   *avro.Schema
	seed   maphash.Seed
	number atomic.Int64
}

// firstCommit starts commit numbers above 2^53, where they cannot be kept in a
// floating point number, as in organizations of some age.
const firstCommit = 1<<53 + 1

// NewCapture prepares the layouts of every object that can change, and of
// every platform event.
func NewCapture(opt CaptureOptions) (*Capture, error) {
	if opt.MaxBytes == 0 {
		opt.MaxBytes = MaxEventBytes
	}
	if opt.OverflowAfter == 0 {
		opt.OverflowAfter = overflowAfter
	}
	c := &Capture{Layouts: map[*schema.Object]*Layout{}, opt: opt, seed: maphash.MakeSeed()}
	c.number.Store(firstCommit)
	text, err := json.Marshal(header().Type)
	if err != nil {
		return nil, fmt.Errorf("event header: %w", err)
	}
	if c.head, err = avro.Parse(string(text)); err != nil {
		return nil, fmt.Errorf("event header: %w", err)
	}
	for _, o := range opt.Schema.Objects {
		if o.ReadOnly {
			continue
		}
		l, err := NewLayout(o)
		if err != nil {
			return nil, err
		}
		c.Layouts[o] = l
	}
	return c, nil
}

// draft is an event of a transaction that may still gain records.
type draft struct {
	layout *Layout
	change store.Change // of the first record
	gap    bool         // it names records only
	kind   string
	ids    []string
	event  *Event // set for platform events, which never merge
}

// mergeLimit is how many records one event may name.
const mergeLimit = 10_000

// Commit publishes the events of one transaction. It runs while everything
// waits that writes, so it leaves to others what it can.
func (c *Capture) Commit(m store.Commit) {
	shared := c.commit(m.Time, m.User, m.Origin)
	drafts := c.drafts(m.Changes)
	events := make([]*Event, len(drafts))
	sequence := 0
	for i, d := range drafts {
		if events[i] = d.event; d.event == nil {
			sequence++
			events[i] = c.event(shared, sequence, d)
		}
	}
	c.opt.Bus.Publish(events)
}

func (c *Capture) commit(at time.Time, user, origin string) *Commit {
	number := c.number.Add(1)
	return &Commit{Time: at, User: user, Origin: origin, Number: number, Key: c.key(number)}
}

// drafts says what changed. Changes that are alike share a draft, unless that
// would let an event overtake another one of the same record.
func (c *Capture) drafts(changes []store.Change) []*draft {
	out := make([]*draft, 0, len(changes))
	merge := !c.opt.Split && len(changes) > 1
	var alike map[uint64]int // index into out
	var last map[string]int  // the newest draft of each record
	if merge {
		alike, last = make(map[uint64]int, len(changes)), make(map[string]int, len(changes))
	}
	for i, ch := range changes {
		l := c.Layouts[ch.New.Object]
		if l == nil {
			continue
		}
		if i >= c.opt.OverflowAfter {
			return append(out, c.overflow(changes[i:])...)
		}
		id, mark, most := ch.New.ID, uint64(0), 0
		if ch.Kind != store.Publish {
			mark, most = l.fingerprint(c.seed, ch)
		}
		d := c.draft(l, ch, most)
		if d.event == nil && merge {
			if d.gap {
				mark = ^mark
			}
			newest, seen := last[id]
			if at, ok := alike[mark]; ok && len(out[at].ids) < mergeLimit && (!seen || newest < at) && out[at].alike(d) {
				out[at].ids = append(out[at].ids, id)
				last[id] = at
				continue
			}
			alike[mark] = len(out)
			last[id] = len(out)
		}
		out = append(out, d)
	}
	return out
}

// draft describes one change. most bounds the size of what it says.
func (c *Capture) draft(l *Layout, ch store.Change, most int) *draft {
	id, kind := ch.New.ID, kindName(ch.Kind)
	if ch.Kind == store.Publish {
		return &draft{layout: l, event: &Event{Layout: l, Kind: kind, RecordID: id, payload: &payload{encode: func() ([]byte, error) { return l.encodePlatform(ch.New) }, log: c.opt.Log}}}
	}
	d := &draft{layout: l, change: ch, kind: kind, ids: []string{id}}
	d.gap = c.opt.Gap != nil && c.opt.Gap(l.Object.Name, kind, id)
	if !d.gap && most > c.opt.MaxBytes {
		what, err := l.content(ch)
		d.gap = err == nil && len(what.body) > c.opt.MaxBytes
	}
	if d.gap {
		d.kind = "GAP_" + kind
	}
	return d
}

// alike reports whether the events of two drafts say the same.
func (d *draft) alike(o *draft) bool {
	if d.layout != o.layout || d.kind != o.kind || d.event != nil {
		return false
	}
	return d.gap || d.layout.same(d.change, o.change)
}

// emptyID stands for the records of an overflow event.
const emptyID = "000000000000000AAA"

// overflow makes one event for each object among changes that are too many.
func (c *Capture) overflow(changes []store.Change) []*draft {
	var out []*draft
	seen := map[*schema.Object]bool{}
	for _, ch := range changes {
		o := ch.New.Object
		if l := c.Layouts[o]; l != nil && !seen[o] && ch.Kind != store.Publish {
			seen[o] = true
			out = append(out, &draft{layout: l, ids: []string{emptyID}, gap: true, kind: "GAP_OVERFLOW"})
		}
	}
	return out
}

func (c *Capture) event(shared *Commit, sequence int, d *draft) *Event {
	e := &Event{Layout: d.layout, Kind: d.kind, RecordID: d.ids[0], Records: d.ids, Tx: shared.Key, sequence: uint32(sequence)}
	e.payload = &payload{log: c.opt.Log, encode: func() ([]byte, error) {
		what := gap(d.kind)
		if !d.gap {
			var err error
			if what, err = d.layout.content(d.change); err != nil {
				return nil, err
			}
		}
		return d.layout.encode(c.head, *shared, sequence, d.ids, what)
	}}
	return e
}

// Announce publishes a gap event that no transaction caused, as the vendor does
// after changes outside the application. Ids may be wildcards such as 001*.
func (c *Capture) Announce(o *schema.Object, kind string, ids []string, at time.Time, user string) error {
	l := c.Layouts[o]
	if l == nil || o.Event() {
		return fmt.Errorf("%s has no change events", o.Name)
	}
	switch kind {
	case "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE":
		if len(ids) == 0 {
			return fmt.Errorf("%s needs record ids", kind)
		}
	case "GAP_OVERFLOW":
		ids = []string{emptyID}
	default:
		return fmt.Errorf("%q is not the type of a gap event", kind)
	}
	e := c.event(c.commit(at, user, ""), 1, &draft{layout: l, ids: ids, gap: true, kind: kind})
	c.opt.Bus.Publish([]*Event{e})
	return nil
}

// key is a transaction key: unlike each other, the same in a repeated run.
func (c *Capture) key(number int64) string {
	sum := md5.Sum(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(c.opt.Seed)), uint64(number)))
	return uuid(sum)
}
