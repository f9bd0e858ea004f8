package event

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	c := &Capture{Layouts: map[*schema.Object]*Layout{}, opt: opt}
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
	what   content
	ids    []string
	event  *Event // set for platform events, which never merge
}

// mergeLimit is how many records one event may name.
const mergeLimit = 10_000

// Commit publishes the events of one transaction.
func (c *Capture) Commit(m store.Commit) {
	shared := c.commit(m.Time, m.User, m.Origin)
	drafts := c.drafts(m.Changes)
	events := make([]*Event, 0, len(drafts))
	sequence := 0
	for _, d := range drafts {
		if d.event != nil {
			events = append(events, d.event)
			continue
		}
		sequence++
		if e := c.event(shared, sequence, d); e != nil {
			events = append(events, e)
		}
	}
	c.opt.Bus.Publish(events)
}

func (c *Capture) commit(at time.Time, user, origin string) Commit {
	number := c.number.Add(1)
	return Commit{Time: at, User: user, Origin: origin, Number: number, Key: c.key(number)}
}

// drafts encodes what changed. Changes that are alike share a draft, unless
// that would let an event overtake another one of the same record.
func (c *Capture) drafts(changes []store.Change) []*draft {
	var out []*draft
	alike := map[string]int{} // index into out
	last := map[string]int{}  // the newest draft of each record
	for i, ch := range changes {
		l := c.Layouts[ch.New.Object]
		if l == nil {
			continue
		}
		if i >= c.opt.OverflowAfter {
			return append(out, c.overflow(changes[i:])...)
		}
		d := c.draft(l, ch)
		if d == nil {
			continue
		}
		id := ch.New.ID
		if d.event == nil && !c.opt.Split && len(changes) > 1 {
			key := strings.Join(slices.Concat([]string{l.Name, d.what.kind, string(d.what.body)}, d.what.nulled, []string{"|"}, d.what.diffs, []string{"|"}, d.what.changed), "\x00")
			newest, seen := last[id]
			if at, ok := alike[key]; ok && len(out[at].ids) < mergeLimit && (!seen || newest < at) {
				out[at].ids = append(out[at].ids, id)
				last[id] = at
				continue
			}
			alike[key] = len(out)
		}
		last[id] = len(out)
		out = append(out, d)
	}
	return out
}

// draft encodes one change; nil if that is impossible.
func (c *Capture) draft(l *Layout, ch store.Change) *draft {
	id, kind := ch.New.ID, kindName(ch.Kind)
	var err error
	if ch.Kind == store.Publish {
		e := &Event{ID: md5.Sum([]byte(id)), Layout: l, Kind: kind, RecordID: id}
		if e.Payload, err = l.encodePlatform(ch.New); err == nil {
			return &draft{layout: l, event: e}
		}
	} else {
		d := &draft{layout: l, ids: []string{id}, what: gap(kind)}
		if c.opt.Gap != nil && c.opt.Gap(l.Object.Name, kind, id) {
			return d
		}
		var what content
		if what, err = l.content(ch); err == nil {
			if len(what.body) <= c.opt.MaxBytes {
				d.what = what
			}
			return d
		}
	}
	c.opt.Log.Error("change event could not be encoded", "object", l.Object.Name, "record_id", id, "error", err)
	return nil
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
			out = append(out, &draft{layout: l, ids: []string{emptyID}, what: gap("OVERFLOW")})
		}
	}
	return out
}

func (c *Capture) event(shared Commit, sequence int, d *draft) *Event {
	payload, err := d.layout.encode(c.head, shared, sequence, d.ids, d.what)
	if err != nil {
		c.opt.Log.Error("change event could not be encoded", "object", d.layout.Object.Name, "record_id", d.ids[0], "error", err)
		return nil
	}
	id := md5.Sum(binary.BigEndian.AppendUint32([]byte(shared.Key), uint32(sequence)))
	return &Event{ID: id, Layout: d.layout, Kind: d.what.kind, RecordID: d.ids[0], Records: d.ids, Tx: shared.Key, Payload: payload}
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
	e := c.event(c.commit(at, user, ""), 1, &draft{layout: l, ids: ids, what: gap(strings.TrimPrefix(kind, "GAP_"))})
	if e == nil {
		return fmt.Errorf("%s could not be encoded", kind)
	}
	c.opt.Bus.Publish([]*Event{e})
	return nil
}

// key is a transaction key: unlike each other, the same in a repeated run.
func (c *Capture) key(number int64) string {
	sum := md5.Sum(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(c.opt.Seed)), uint64(number)))
	return uuid(sum)
}
