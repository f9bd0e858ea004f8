package sourcetest

import (
	"context"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// Upsert implements source.System.
func (f *Fake) Upsert(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.FromStatus(err)
	}
	if len(writes) > source.MaxWrites {
		return nil, fault.New(fault.Invalid, fault.ReasonValidationFailed, "too many writes in one call: %d", len(writes))
	}
	before, after := f.hooks()
	if before != nil {
		before(obj, writes)
	}
	results, err := f.upsertAll(obj, writes)
	if after != nil {
		after(obj, writes, results)
	}
	if err != nil {
		return nil, err
	}
	// The caller may have gone while the system was writing: it then gets no answer, but the writes stand.
	if err := ctx.Err(); err != nil {
		return nil, fault.FromStatus(err)
	}
	return results, nil
}

func (f *Fake) upsertAll(obj golden.Object, writes []source.Write) ([]source.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpUpsert); err != nil {
		return nil, err
	}
	f.counts.largest = max(f.counts.largest, len(writes))
	results := make([]source.Result, len(writes))
	for i, w := range writes {
		results[i] = f.upsert(obj, w)
	}
	if f.faults.lostAcks > 0 {
		f.faults.lostAcks--
		return nil, f.faults.lostAckErr
	}
	return results, nil
}

// upsert carries out one write.
func (f *Fake) upsert(obj golden.Object, w source.Write) source.Result {
	act := f.faults.recordFault(w)
	if act != nil && !act.after {
		f.counts.refused++
		return source.Result{Err: act.err}
	}
	res := f.apply(obj, w)
	if act != nil && res.Err == nil {
		return source.Result{Err: act.err}
	}
	if res.Err != nil {
		f.counts.refused++
	}
	return res
}

func (f *Fake) apply(obj golden.Object, w source.Write) source.Result {
	rec, err := f.target(obj, w)
	if err != nil {
		return source.Result{Err: err}
	}
	created := rec == nil
	next := source.Record{Ref: golden.Ref{System: f.opts.Name, Object: obj}, Values: f.blank(obj)}
	if !created {
		next = copyRecord(rec)
		if f.opts.ChecksVersions && w.ExpectedVersion != 0 && w.ExpectedVersion != rec.Version {
			return source.Result{RecordID: rec.Ref.RecordID, Err: fault.New(fault.Conflict, fault.ReasonETagMismatch, "the record has another version")}
		}
	}
	if err := f.merge(&next, w); err != nil {
		return source.Result{Err: err}
	}
	if created {
		next.Ref.RecordID = f.newRecordID(obj)
		for _, field := range f.opts.Assigned[obj] {
			next.Values[field] = next.Ref.RecordID
		}
		f.counts.creates[w.ExternalID]++
	}
	unchanged := !created && sameRecord(rec, &next)
	if unchanged && len(w.Values) > 0 {
		f.counts.repeated++
	}
	if !unchanged || !f.opts.SkipsUnchanged {
		f.counts.writes[next.Ref.RecordID]++
		f.counts.total++
		f.commit(&next, true)
	}
	res := source.Result{RecordID: next.Ref.RecordID, Created: created, Unchanged: unchanged && f.opts.SkipsUnchanged}
	if f.opts.ReturnsRecords {
		stored := copyRecord(&next)
		res.Version, res.Record = next.Version, &stored
	}
	return res
}

// target finds the record a write means; nil without an error means a new one.
func (f *Fake) target(obj golden.Object, w source.Write) (*source.Record, error) {
	holder := f.holder(obj, w.ExternalID)
	if w.Ref.RecordID == "" {
		if w.ExternalID == "" {
			return nil, fault.New(fault.Invalid, ReasonRequired, "a write needs a record id or an external id")
		}
		return holder, nil
	}
	rec := f.records[key{obj, w.Ref.RecordID}]
	if rec == nil || rec.Deleted || f.hidden[key{obj, w.Ref.RecordID}] {
		return nil, fault.New(fault.NotFound, ReasonRecordUnknown, "the record does not exist")
	}
	if holder != nil && holder != rec {
		return nil, fault.New(fault.AlreadyExists, ReasonExternalIDUsed, "another record has the external id")
	}
	return rec, nil
}

// holder returns the live record with the external id.
func (f *Fake) holder(obj golden.Object, externalID string) *source.Record {
	if externalID == "" {
		return nil
	}
	return f.records[key{obj, f.holders[key{obj, externalID}]}]
}

// merge puts what a write says into rec and checks the outcome.
func (f *Fake) merge(rec *source.Record, w source.Write) error {
	obj := rec.Ref.Object
	if w.ExternalID != "" {
		rec.ExternalID = w.ExternalID
	}
	of := rec.ParentID
	if _, named := w.Values[golden.Parent]; named || w.ParentID != "" {
		rec.ParentID = w.ParentID
	}
	for _, field := range f.Fields(obj) {
		value, ok := w.Values[field]
		if ok && field != golden.Parent && !slices.Contains(f.opts.Assigned[obj], field) {
			rec.Values[field] = golden.Canonical(obj, field, value)
		}
	}
	need := golden.Name
	if obj == golden.Contact {
		need = golden.LastName
		if parent := f.records[key{golden.Customer, rec.ParentID}]; rec.ParentID != "" && rec.ParentID != of && (parent == nil || parent.Deleted) {
			return fault.New(fault.Precondition, ReasonParentUnknown, "the customer of the contact does not exist")
		}
	}
	if rec.Values[need] == "" {
		return fault.InvalidField(need, ReasonRequired, "must not be empty")
	}
	return nil
}

// blank returns every carried field without a value, as a system has them in a new record.
func (f *Fake) blank(obj golden.Object) golden.Values {
	v := golden.Values{}
	for _, field := range f.Fields(obj) {
		if field != golden.Parent {
			v[field] = ""
		}
	}
	return v
}

func sameRecord(a, b *source.Record) bool {
	return a.ExternalID == b.ExternalID && a.ParentID == b.ParentID && len(a.Values.Changed(a.Ref.Object, b.Values)) == 0
}
