package sourcetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// counts are what tests judge by.
type counts struct {
	calls   map[Op]int
	writes  map[string]int
	creates map[string]int
	total   int
	// repeated are those of what the record held already
	repeated int
	refused  int
	largest  int
}

func newCounts() counts {
	return counts{calls: map[Op]int{}, writes: map[string]int{}, creates: map[string]int{}}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Create makes a record as a person in the system does, without an external id, and returns its id. It takes any
// values, also such that Upsert would refuse.
func (f *Fake) Create(obj golden.Object, parentID string, values golden.Values) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := &source.Record{
		Ref:      golden.Ref{System: f.opts.Name, Object: obj, RecordID: f.newRecordID(obj)},
		ParentID: parentID, Values: f.blank(obj),
	}
	for _, field := range f.opts.Assigned[obj] {
		rec.Values[field] = rec.Ref.RecordID
	}
	f.put(rec, values)
	f.commit(rec, false)
	return rec.Ref.RecordID
}

// Hide makes a record unreadable, as a sharing rule does: it is neither listed nor fetched nor called missing, changes of it are not
// told, and it cannot be written. Hide with false shows it again.
func (f *Fake) Hide(obj golden.Object, id string, hide bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden[key{obj, id}] = hide
}

// Edit changes the given fields as a person in the system does. It panics for a record that does not live: that is a
// mistake in the test.
func (f *Fake) Edit(obj golden.Object, id string, values golden.Values) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := copyRecord(f.live(obj, id))
	f.put(&rec, values)
	f.commit(&rec, false)
}

// Slip changes the given fields of a record without anybody's doing, as a new mapping of its service does: it keeps its version and
// time, and no change is told. It panics like Edit.
func (f *Fake) Slip(obj golden.Object, id string, values golden.Values) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := copyRecord(f.live(obj, id))
	f.put(&rec, values)
	f.records[key{obj, id}] = &rec
}

// Restore puts a record back to what it was, version and time included, as a restored backup does; no change is told. It panics like
// Edit.
func (f *Fake) Restore(rec source.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live(rec.Ref.Object, rec.Ref.RecordID)
	k, old := key{rec.Ref.Object, rec.Ref.RecordID}, copyRecord(&rec)
	f.index(k, &old)
	f.records[k] = &old
}

// Reparent moves a contact to another customer of the system, none when parentID is empty. It panics like Edit.
func (f *Fake) Reparent(id, parentID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := copyRecord(f.live(golden.Contact, id))
	rec.ParentID = parentID
	f.commit(&rec, false)
}

// Touch makes a change that changes nothing. It panics like Edit.
func (f *Fake) Touch(obj golden.Object, id string) { f.Edit(obj, id, nil) }

// Delete deletes a record as a person in the system does. It panics like Edit.
func (f *Fake) Delete(obj golden.Object, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := copyRecord(f.live(obj, id))
	rec.Deleted = true
	f.commit(&rec, false)
}

// Merge puts one record in the place of another as a person in the system does: the loser is deleted and names the
// winner, and the winner may get values. It panics like Edit.
func (f *Fake) Merge(obj golden.Object, winner, loser string, values golden.Values) {
	if len(values) > 0 {
		f.Edit(obj, winner, values)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live(obj, winner)
	rec := copyRecord(f.live(obj, loser))
	rec.Deleted, rec.MergedInto = true, winner
	f.commit(&rec, false)
}

// Undelete brings a deleted record back with the values it had. It panics for a record that is not deleted.
func (f *Fake) Undelete(obj golden.Object, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.records[key{obj, id}]
	if old == nil || !old.Deleted {
		panic(fmt.Sprintf("sourcetest: %s %s is not deleted", obj, id))
	}
	rec := copyRecord(old)
	rec.Deleted, rec.MergedInto = false, ""
	f.commit(&rec, false)
}

// Keep returns what sets the system back to what it is now, with what is to go wrong. Nobody may watch it meanwhile.
func (f *Fake) Keep() (back func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.copied()
	return func() {
		again := kept.copied()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.records, f.order, f.holders, f.feed, f.oldest = again.records, again.order, again.holders, again.feed, again.oldest
		f.changes, f.nextID, f.hidden, f.faults, f.counts = again.changes, again.nextID, again.hidden, again.faults, again.counts
	}
}

// copied returns a system that holds the same. Records are replaced, never changed, so they are the same ones.
func (f *Fake) copied() *Fake {
	out := &Fake{
		records: maps.Clone(f.records), order: slices.Clone(f.order), holders: maps.Clone(f.holders), feed: slices.Clone(f.feed), oldest: f.oldest,
		changes: f.changes, nextID: f.nextID, hidden: maps.Clone(f.hidden), faults: f.faults, counts: f.counts,
	}
	out.faults.fail, out.faults.held = maps.Clone(f.faults.fail), slices.Clone(f.faults.held)
	out.faults.records = make(map[string]*recordFault, len(f.faults.records))
	for name, act := range f.faults.records {
		again := *act
		out.faults.records[name] = &again
	}
	out.counts.calls, out.counts.writes, out.counts.creates = maps.Clone(f.counts.calls), maps.Clone(f.counts.writes), maps.Clone(f.counts.creates)
	return out
}

func (f *Fake) live(obj golden.Object, id string) *source.Record {
	rec := f.records[key{obj, id}]
	if rec == nil || rec.Deleted {
		panic(fmt.Sprintf("sourcetest: no live %s %s", obj, id))
	}
	return rec
}

func (f *Fake) put(rec *source.Record, values golden.Values) {
	for field, value := range values {
		if _, carried := rec.Values[field]; !carried {
			panic(fmt.Sprintf("sourcetest: %s does not carry %s of a %s", f.opts.Name, field, rec.Ref.Object))
		}
		rec.Values[field] = golden.Canonical(rec.Ref.Object, field, value)
	}
}

// Records returns the live records of obj in the order of their creation.
func (f *Fake) Records(obj golden.Object) []source.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []source.Record
	for _, k := range f.order {
		if rec := f.records[k]; k.object == obj && !rec.Deleted {
			out = append(out, copyRecord(rec))
		}
	}
	return out
}

// Record returns one record, tombstones included, and whether it was ever there.
func (f *Fake) Record(obj golden.Object, id string) (source.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := f.records[key{obj, id}]
	if rec == nil {
		return source.Record{}, false
	}
	return shown(rec), true
}

// Holder returns the live record with an external id, and whether there is one.
func (f *Fake) Holder(obj golden.Object, externalID string) (source.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := f.holder(obj, externalID)
	if rec == nil {
		return source.Record{}, false
	}
	return copyRecord(rec), true
}

// Changes returns the changes in the feed so far, in the order in which they are delivered.
func (f *Fake) Changes() []source.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []source.Change
	for _, c := range f.feed {
		if c.ID != "" {
			out = append(out, f.hand(c))
		}
	}
	return out
}

// Told returns how many changes are in the feed so far.
func (f *Fake) Told() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.feed {
		if c.ID != "" {
			n++
		}
	}
	return n
}

// Calls returns how often op was called, failed calls included.
func (f *Fake) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.calls[op]
}

// Writes returns how often Upsert wrote the record; writes that a system of this kind skips do not count.
func (f *Fake) Writes(recordID string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.writes[recordID]
}

// TotalWrites returns how often Upsert wrote any record.
func (f *Fake) TotalWrites() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.total
}

// Repeated returns how often Upsert was to write values that the record held already. An external id alone overwrites nothing, and does
// not count.
func (f *Fake) Repeated() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.repeated
}

// Creates returns how many records Upsert created, by external id.
func (f *Fake) Creates() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts.creates)
}

// Refused returns how many writes were refused, one record at a time.
func (f *Fake) Refused() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.refused
}

// LargestBatch returns the greatest number of writes that came in one call.
func (f *Fake) LargestBatch() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts.largest
}

// Duplicates returns the external ids that more than one record was created with, sorted: always none, unless a test
// deleted a record in between.
func (f *Fake) Duplicates() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for id, n := range f.counts.creates {
		if n > 1 {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
