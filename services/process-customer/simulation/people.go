package simulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// truth is what the judge knows because it has watched the systems, not us.
type truth struct {
	// made are the records that people made, by system and number.
	made map[place]string
	// who is the customer number of every customer record that people made.
	who map[golden.Ref]int
	// last is the last value that a person typed into a field.
	last map[golden.Ref]map[string]string
	// ever are all values that a person typed into a field of a record, or may have typed for all that can be known.
	ever map[golden.Ref]map[string][]string
	// typed are all values that were given to a field of a customer or contact anywhere.
	typed map[string][]string
	// excused are words that were overwritten before anybody could know of them.
	excused map[golden.Ref]map[string]bool
	// deleted are customers of which a record was deleted, planted those that were made unreadable or are refused.
	deleted, planted map[int]bool
	// killed are records that people have deleted and nobody has brought back, ended those that they ever deleted; removed are
	// records that we have deleted, tried those that we ever asked to be, back those that people brought back.
	killed, ended, removed, tried, back map[golden.Ref]bool
	// moved are contacts that were given to another customer.
	moved map[place]bool
}

// place names a record of people's: customer who, or its contact.
type place struct {
	system      string
	who, person int
}

func newTruth() truth {
	return truth{
		made: map[place]string{}, who: map[golden.Ref]int{}, last: map[golden.Ref]map[string]string{}, ever: map[golden.Ref]map[string][]string{}, typed: map[string][]string{},
		excused: map[golden.Ref]map[string]bool{}, deleted: map[int]bool{}, planted: map[int]bool{}, moved: map[place]bool{},
		killed: map[golden.Ref]bool{}, ended: map[golden.Ref]bool{}, removed: map[golden.Ref]bool{}, tried: map[golden.Ref]bool{},
		back: map[golden.Ref]bool{},
	}
}

func objectOf(person int) golden.Object {
	if person > 0 {
		return golden.Contact
	}
	return golden.Customer
}

func topic(who, person int, field string) string { return fmt.Sprintf("%d/%d/%s", who, person, field) }

// find returns the record that people mean, live or not: the one they made, or the one made from that of the other system.
func (w *world) find(l *line, who, person int) (source.Record, bool) {
	obj := objectOf(person)
	at := place{l.name, who, person}
	if id := cmp.Or(w.truth.made[at], w.union.known[at]); id != "" {
		return l.fake.Record(obj, id)
	}
	o := w.other(l)
	twin, ok := o.fake.Record(obj, w.truth.made[place{o.name, who, person}])
	if !ok || twin.ExternalID == "" {
		return source.Record{}, false
	}
	id, _, _ := strings.Cut(twin.ExternalID, ".")
	return l.fake.Holder(obj, id)
}

// person lets a person do something in a system.
func (w *world) person(ctx context.Context, s Step) {
	l := w.line(s.System)
	switch s.Act {
	case Create:
		w.create(ctx, l, s)
		return
	case Merge:
		w.merge(ctx, l, s)
		return
	}
	rec, ok := w.find(l, s.Who, s.Person)
	if !ok || rec.Deleted != (s.Act == Undelete) {
		return
	}
	w.stats.Edits++
	ref := rec.Ref
	switch s.Act {
	case Edit:
		w.set(ctx, l, rec, s, s.Value)
	case Retype:
		if old := w.truth.typed[topic(s.Who, s.Person, s.Field)]; len(old) > 0 {
			w.set(ctx, l, rec, s, old[s.N%len(old)])
		}
	case Spoil:
		w.truth.planted[s.Who] = true
		w.excuse(ref, s.Field) // what was typed before is gone
		l.fake.Edit(ref.Object, ref.RecordID, golden.Values{s.Field: strings.Repeat("x", endless+1)})
	case Touch:
		l.fake.Touch(ref.Object, ref.RecordID)
	case Delete:
		w.truth.deleted[s.Who] = true
		w.truth.killed[ref], w.truth.ended[ref] = true, true
		// That a record is about to be deleted is noted before the call. Whoever dies, or loses the database's answer, in between
		// cannot know whether the call was made: a deletion that is heard of then may be ours.
		if row := w.row(ctx, ref); row != nil && row.Removed {
			w.truth.tried[ref] = true
		}
		l.fake.Delete(ref.Object, ref.RecordID)
	case Undelete:
		delete(w.truth.killed, ref)
		delete(w.truth.removed, ref)
		w.truth.back[ref] = true
		w.part(rec)
		l.fake.Undelete(ref.Object, ref.RecordID)
	case Move:
		to, ok := w.find(l, s.N, 0)
		if ok && !to.Deleted {
			w.truth.moved[place{l.name, s.Who, s.Person}] = true
			l.fake.Reparent(ref.RecordID, to.Ref.RecordID)
		}
	}
}

// endless is longer than any value that we take in.
const endless = 8192

// set changes one field and remembers that a person said so.
func (w *world) set(ctx context.Context, l *line, rec source.Record, s Step, value string) {
	if have, carried := rec.Values[s.Field]; !carried || have == value {
		return
	}
	w.said(rec.Ref, s.Field, value)
	if w.expected(ctx, rec.Ref, s.Field, value) {
		w.excuse(rec.Ref, s.Field)
	}
	key := topic(s.Who, s.Person, s.Field)
	w.truth.typed[key] = append(w.truth.typed[key], value)
	w.note("   %s %s: %s=%q", l.name, rec.Ref.RecordID, s.Field, value)
	l.fake.Edit(rec.Ref.Object, rec.Ref.RecordID, golden.Values{s.Field: value})
}

// expected reports whether a value is what we believe the record to hold, or are writing: nobody can know then that a
// person typed it.
func (w *world) expected(ctx context.Context, ref golden.Ref, field, value string) bool {
	row := w.row(ctx, ref)
	if row == nil {
		return false
	}
	intents, err := w.stage.store.Read().Intents(ctx, ref.System, []golden.ID{row.GoldenID})
	if err != nil {
		breach("the simulation is sound", "read intents: %v", err)
	}
	for _, in := range intents {
		if slices.ContainsFunc(in.Sent[field], func(s store.Sent) bool { return s.Value == value }) {
			return true
		}
	}
	return row.Shadow[field] == value
}

func (w *world) said(ref golden.Ref, field, value string) {
	if w.truth.last[ref] == nil {
		w.truth.last[ref] = map[string]string{}
	}
	w.everSaid(ref, field, value)
	for _, member := range w.rules.Unit(ref.Object, field) {
		delete(w.truth.last[ref], member) // the whole address is what a person says who edits a part of it
	}
	w.truth.last[ref][field] = value
	delete(w.truth.excused[ref], field)
}

// everSaid notes a value that may be taken for a person's word.
func (w *world) everSaid(ref golden.Ref, field, value string) {
	if w.truth.ever[ref] == nil {
		w.truth.ever[ref] = map[string][]string{}
	}
	w.truth.ever[ref][field] = append(w.truth.ever[ref][field], value)
}

// create makes a record, unless people have made it before or there is one already.
func (w *world) create(ctx context.Context, l *line, s Step) {
	at := place{l.name, s.Who, s.Person}
	if w.truth.made[at] != "" {
		return
	}
	if _, ok := w.find(l, s.Who, s.Person); ok {
		return
	}
	obj := objectOf(s.Person)
	v := golden.Values{golden.Phone: s.Value}
	parent := ""
	if obj == golden.Customer {
		v[golden.Name], v[golden.TaxID] = fmt.Sprintf("Customer %d", s.Who), taxIDOf(s.Who)
	} else {
		p, ok := w.find(l, s.Who, 0)
		if !ok || p.Deleted {
			return
		}
		parent = p.Ref.RecordID
		v[golden.FirstName], v[golden.LastName] = fmt.Sprintf("First%d", s.Person), fmt.Sprintf("Last%d of %d", s.Person, s.Who)
	}
	w.stats.Edits++
	id := l.fake.Create(obj, parent, v)
	ref := golden.Ref{System: l.name, Object: obj, RecordID: id}
	w.note("   %s %s %s", l.name, obj, id)
	w.truth.made[at] = id
	if obj == golden.Customer {
		w.truth.who[ref] = s.Who
		w.unheard(ctx, s.Who)
	}
	w.said(ref, golden.Phone, s.Value)
	key := topic(s.Who, s.Person, golden.Phone)
	w.truth.typed[key] = append(w.truth.typed[key], s.Value)
}

// attempted looks at a write of ours before it is made: who types the very value that we are writing is not credited.
func (w *world) attempted(l *line, obj golden.Object, x source.Write) {
	rec, ok := l.fake.Record(obj, x.Ref.RecordID)
	if !ok {
		rec, _ = l.fake.Holder(obj, x.ExternalID)
	}
	for field, value := range x.Values {
		if typed, ok := w.truth.last[rec.Ref][field]; ok && typed == value && rec.Values[field] == value {
			w.excuse(rec.Ref, field)
		}
	}
}

// noted looks at what was noted to be written by a process that has just died: nobody knows whether it was written, or whether a person
// has typed the same who was not heard of before. A process that lives knows what it has not sent, and is not excused.
func (w *world) noted(ctx context.Context) {
	for ref, said := range w.truth.last {
		row := w.row(ctx, ref)
		if row == nil {
			continue
		}
		rec, _ := w.line(ref.System).fake.Record(ref.Object, ref.RecordID)
		for field, value := range said {
			if rec.Values[field] == value && row.Shadow[field] != value && w.expected(ctx, ref, field, value) {
				w.excuse(ref, field)
			}
		}
	}
}

// overwritten looks at a write of ours: has it taken away a word that nobody had heard of? Unseen is nil for a write that arrives
// late.
func (w *world) overwritten(ctx context.Context, l *line, x source.Write, before, after source.Record, unseen func(golden.Ref, string, string) bool) {
	said := w.truth.last[before.Ref]
	for _, field := range golden.Fields(before.Ref.Object) {
		value, typed := said[field]
		if !typed || before.Values[field] != value || after.Values[field] == value {
			continue
		}
		rows, err := w.stage.store.Read().Sources(ctx, l.name, before.Ref.Object, []string{before.Ref.RecordID})
		if err != nil {
			breach("the simulation is sound", "read a record: %v", err)
		}
		if len(rows) == 1 && knows(rows[0], field, value) {
			continue
		}
		// A system checks the version, or we look first; who repeats a create looks whether it was made. Only what lands between the
		// look and the write is written over.
		excused := unseen == nil
		switch {
		case excused:
		case x.Ref.RecordID == "":
			excused = l.absent[x.ExternalID]
		case !l.checks:
			excused = unseen(before.Ref, field, value) || w.truth.excused[before.Ref][field]
		}
		if !excused {
			breach("no write takes away what was never read", "%s of %s %s: %q became %q", field, l.name, before.Ref.RecordID, value, after.Values[field])
		}
		w.excuse(before.Ref, field)
		w.note("   %s of %s %s was overwritten unseen", field, l.name, before.Ref.RecordID)
	}
}

// unattributed looks at a write of ours that has arrived late at a system which does not say who has changed a record: nobody can tell
// what it has changed from what a person types.
func (w *world) unattributed(before, after source.Record) {
	for _, field := range golden.Fields(before.Ref.Object) {
		if value := after.Values[field]; before.Values[field] != value {
			w.everSaid(before.Ref, field, value)
		}
	}
}

func (w *world) excuse(ref golden.Ref, field string) {
	if w.truth.excused[ref] == nil {
		w.truth.excused[ref] = map[string]bool{}
	}
	w.truth.excused[ref][field] = true
}

func knows(row *store.Source, field, value string) bool {
	return row.Shadow[field] == value || slices.ContainsFunc(row.Claims[field], func(c golden.Claim) bool { return c.Value == value })
}

// call is a request to our API; whoever made it repeats it with the same key until it is answered.
type call struct {
	w            *world
	step         Step
	key          string
	id           golden.ID
	answered, ok bool
}

// request makes a call.
func (w *world) request(ctx context.Context, p *process, s Step) {
	c := &call{w: w, step: s, key: fmt.Sprintf("call-%d", len(w.calls)+1)}
	if s.Act == Say {
		c.id = w.goldenOf(ctx, s.Who)
		if c.id == "" {
			return
		}
	}
	w.calls = append(w.calls, c)
	c.make(ctx, p)
}

func (c *call) again(ctx context.Context) {
	for range 3 {
		if c.answered {
			return
		}
		c.make(ctx, c.w.processes[0])
	}
}

func (c *call) make(ctx context.Context, p *process) {
	ack := func(_ context.Context, _ *store.Tx, id golden.ID, _ bool) error { c.id = id; return nil }
	var err error
	if c.step.Act == Order {
		if len(c.w.union.joined[c.step.Who]) > 0 {
			c.w.loosen(c.step.Who) // it may go by the tax id of another, and is not found
		}
		id, derived := golden.DeriveID(golden.Customer, c.key)
		if derived != nil {
			breach("the simulation is sound", "derive an id: %v", derived)
		}
		err = p.engine.Intake.Create(ctx, id, golden.Values{
			golden.Name: fmt.Sprintf("Customer %d", c.step.Who), golden.TaxID: taxIDOf(c.step.Who), golden.Phone: c.step.Value,
		}, ack)
	} else {
		err = p.engine.Intake.Update(ctx, c.id, c.key, 0, golden.Values{c.step.Field: c.step.Value}, ack)
	}
	c.w.note("   %s is answered %q", c.key, fault.ReasonOf(err))
	if errors.Is(err, errKilled) {
		return
	}
	switch fault.KindOf(err) {
	case fault.Precondition, fault.NotFound, fault.Conflict:
		c.answered = true
	}
	if err == nil {
		c.answered, c.ok = true, true
	}
}

// goldenOf returns the golden record of a customer, if we have one.
func (w *world) goldenOf(ctx context.Context, who int) golden.ID {
	for _, l := range w.lines {
		id := w.truth.made[place{l.name, who, 0}]
		rows, err := w.stage.store.Read().Sources(ctx, l.name, golden.Customer, []string{id})
		if err != nil {
			breach("the simulation is sound", "read a record: %v", err)
		}
		if len(rows) == 1 && rows[0].GoldenID != "" {
			return rows[0].GoldenID
		}
	}
	return ""
}
