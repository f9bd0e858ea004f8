// Package sourcetest has a system that lives in memory and misbehaves on request, and the contract that every
// implementation of source.System passes, this one included.
//
// The fake is honest where tests need a judge: it counts what was really written, refuses a second record with one
// external id, and never loses a committed write. It is made for tests and is not a model of any vendor.
package sourcetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// Options say what kind of system the fake is. The zero value carries every field, counts versions per record, does
// not check expected versions and returns neither versions nor records from a write.
type Options struct {
	// Name is the system's name; "fake" when empty.
	Name string
	// Fields are the carried fields by object; all when nil.
	Fields map[golden.Object][]string
	// Assigned are fields that the system sets itself to the record id when it creates a record, and never takes from
	// a write.
	Assigned map[golden.Object][]string
	// Now is the system's clock; time.Now when nil.
	Now func() time.Time
	// ClockVersions makes versions milliseconds of Now, which two changes can share, instead of a counter per record.
	ClockVersions bool
	// ClockStep is how coarse the clock of versions and event times is, as that of Salesforce, which counts seconds; exact when zero.
	ClockStep time.Duration
	// ChecksVersions makes writes with another expected version conflict.
	ChecksVersions bool
	// ReturnsRecords makes results carry the version and the record as stored.
	ReturnsRecords bool
	// SkipsUnchanged makes a write that changes nothing leave version and change log alone.
	SkipsUnchanged bool
	// KeepsTombstones makes Fetch return deleted records instead of calling them missing.
	KeepsTombstones bool
	// NamesMasters makes Fetch return deleted records that were merged into others, without a version, as Salesforce tells of them.
	NamesMasters bool
	// NamesWriters makes records tell whether their last change was ours.
	NamesWriters bool
	// LateSnapshots makes a change carry the record as it is when the change is read, as the real feeds do, instead of
	// as it was when the change was made.
	LateSnapshots bool
	// PageSize is that of List; 100 when zero.
	PageSize int
	// BatchSize is the greatest number of changes in one batch of Watch; 50 when zero.
	BatchSize int
}

// Salesforce returns options that behave like the adapter over system-salesforce: coarse versions, no version check,
// bare results, every write is a change. Now may be nil.
func Salesforce(now func() time.Time) Options {
	return Options{Name: "salesforce", Now: now, ClockVersions: true, LateSnapshots: true, NamesMasters: true, NamesWriters: true}
}

// ERP returns options that behave like the adapter over system-erp: a counter per record, checked, records returned,
// no segment, and numbers of its own. Now may be nil.
func ERP(now func() time.Time) Options {
	customer := slices.DeleteFunc(golden.Fields(golden.Customer), func(f string) bool { return f == golden.Segment })
	return Options{
		Name: "erp", Now: now, ChecksVersions: true, ReturnsRecords: true, SkipsUnchanged: true, KeepsTombstones: true, LateSnapshots: true,
		Fields:   map[golden.Object][]string{golden.Customer: customer, golden.Contact: golden.Fields(golden.Contact)},
		Assigned: map[golden.Object][]string{golden.Customer: {golden.ERPNumber}},
	}
}

// Reasons with which the fake refuses.
const (
	ReasonRequired       = "FIELD_REQUIRED"
	ReasonParentUnknown  = "PARENT_UNKNOWN"
	ReasonExternalIDUsed = "EXTERNAL_ID_USED"
	ReasonRecordUnknown  = "RECORD_UNKNOWN"
)

// Fake is a system in memory. Use New. It is safe for concurrent use.
type Fake struct {
	opts Options

	mu      sync.Mutex
	records map[key]*source.Record
	order   []key          // creation order; List follows it
	holders map[key]string // record id of the live record with an external id
	feed    []source.Change
	oldest  int           // first position of feed that a token may name
	grown   chan struct{} // closed and replaced when feed or streams change
	changes int64         // makes change ids
	nextID  int
	hidden  map[key]bool // records that cannot be read
	faults  faults
	counts  counts
}

type key struct {
	object golden.Object
	id     string
}

var _ source.System = (*Fake)(nil)

// New returns an empty system.
func New(o Options) *Fake {
	if o.Name == "" {
		o.Name = "fake"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PageSize == 0 {
		o.PageSize = 100
	}
	if o.BatchSize == 0 {
		o.BatchSize = 50
	}
	return &Fake{
		opts: o, records: map[key]*source.Record{}, holders: map[key]string{}, hidden: map[key]bool{}, grown: make(chan struct{}),
		faults: newFaults(), counts: newCounts(),
	}
}

// Name returns the configured name.
func (f *Fake) Name() string { return f.opts.Name }

// ChecksVersions reports whether the system does.
func (f *Fake) ChecksVersions() bool { return f.opts.ChecksVersions }

// Fields returns the carried fields.
func (f *Fake) Fields(obj golden.Object) []string {
	if f.opts.Fields == nil {
		return golden.Fields(obj)
	}
	return slices.Clone(f.opts.Fields[obj])
}

// Watch implements source.System.
func (f *Fake) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	pos, epoch, err := f.open(token)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		batch, next, grown, err := f.read(pos, epoch)
		if err != nil {
			return err
		}
		if grown == nil { // the stream was ended in good order
			return nil
		}
		if first || len(batch.Changes) > 0 {
			if err := ctx.Err(); err != nil {
				return fault.FromStatus(err)
			}
			if err := fn(batch); err != nil {
				return err
			}
			pos = next
			continue
		}
		select {
		case <-ctx.Done():
			return fault.FromStatus(ctx.Err())
		case <-grown:
		}
	}
}

// open checks a token and returns the position it names and the generation of streams it belongs to.
func (f *Fake) open(token string) (pos, epoch int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpWatch); err != nil {
		return 0, 0, err
	}
	if token == "" {
		return len(f.feed), f.faults.epoch, nil
	}
	pos, err = strconv.Atoi(token)
	if err != nil || pos < 0 || pos > len(f.feed) {
		return 0, 0, fault.New(fault.Invalid, fault.ReasonResumeTokenInvalid, "the resume token is not one of this system")
	}
	if pos < f.oldest {
		return 0, 0, fault.New(fault.Precondition, fault.ReasonResumeTokenExpired, "changes after the resume token are no longer kept")
	}
	return pos, f.faults.epoch, nil
}

// read returns the batch at pos; a nil channel without an error means that the stream is over.
func (f *Fake) read(pos, epoch int) (source.Batch, int, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults.down != nil {
		return source.Batch{}, 0, nil, f.faults.down
	}
	if epoch != f.faults.epoch {
		return source.Batch{}, 0, nil, f.faults.streamErr
	}
	end := min(pos+f.opts.BatchSize, len(f.feed))
	batch := source.Batch{Token: strconv.Itoa(end)}
	for _, c := range f.feed[pos:end] {
		if f.hidden[key{c.Ref.Object, c.Ref.RecordID}] {
			continue
		}
		batch.Changes = append(batch.Changes, f.hand(c))
	}
	return batch, end, f.grown, nil
}

// hand returns the change as a reader gets it.
func (f *Fake) hand(c source.Change) source.Change {
	if c.Overflow {
		return c
	}
	if f.opts.LateSnapshots {
		rec := f.records[key{c.Ref.Object, c.Ref.RecordID}]
		c.Deleted, c.MergedInto, c.Version, c.Record = rec.Deleted, rec.MergedInto, rec.Version, nil
		if !rec.Deleted {
			c.Record = rec
			c.Newer = f.opts.ClockVersions && rec.EventTime.After(c.CommitTime)
		}
	}
	if c.Record != nil {
		snapshot := copyRecord(c.Record)
		c.Record = &snapshot
	}
	return c
}

// List implements source.System.
func (f *Fake) List(ctx context.Context, obj golden.Object, pageToken string) ([]source.Record, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", fault.FromStatus(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpList); err != nil {
		return nil, "", err
	}
	start := 0
	if pageToken != "" {
		var err error
		if start, err = strconv.Atoi(pageToken); err != nil || start < 0 || start > len(f.order) {
			return nil, "", fault.New(fault.Invalid, fault.ReasonPageTokenInvalid, "the page token is not one of this system")
		}
	}
	var recs []source.Record
	for i := start; i < len(f.order); i++ {
		k := f.order[i]
		if k.object != obj || f.records[k].Deleted || f.hidden[k] {
			continue
		}
		if len(recs) == f.opts.PageSize {
			return recs, strconv.Itoa(i), nil
		}
		recs = append(recs, copyRecord(f.records[k]))
	}
	return recs, "", nil
}

// Fetch implements source.System.
func (f *Fake) Fetch(ctx context.Context, obj golden.Object, ids []string) (recs []source.Record, missing []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fault.FromStatus(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpFetch); err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		rec := f.records[key{obj, id}]
		if f.hidden[key{obj, id}] {
			continue // neither there nor missing
		}
		if rec != nil && rec.Deleted && rec.MergedInto != "" && f.opts.NamesMasters {
			recs = append(recs, source.Record{Ref: rec.Ref, Values: golden.Values{}, Deleted: true, MergedInto: rec.MergedInto, EventTime: f.opts.Now().UTC()})
			continue
		}
		if rec == nil || (rec.Deleted && !f.opts.KeepsTombstones) {
			missing = append(missing, id)
			continue
		}
		recs = append(recs, shown(rec))
	}
	return recs, missing, nil
}

// commit stores rec, advances its version and logs the change.
func (f *Fake) commit(rec *source.Record, own bool) {
	now := f.opts.Now().UTC()
	k := key{rec.Ref.Object, rec.Ref.RecordID}
	if _, known := f.records[k]; !known {
		f.order = append(f.order, k)
	}
	if f.opts.ClockStep > 0 {
		now = now.Truncate(f.opts.ClockStep)
	}
	rec.EventTime, rec.OwnWrite = now, own && f.opts.NamesWriters
	if f.opts.ClockVersions {
		rec.Version = max(rec.Version, now.UnixMilli())
	} else {
		rec.Version++
	}
	before := f.records[k]
	f.index(k, rec)
	f.records[k] = rec
	f.changes++
	c := source.Change{
		ID: fmt.Sprintf("%s-%d", f.opts.Name, f.changes), Ref: rec.Ref, Deleted: rec.Deleted, OwnWrite: rec.OwnWrite,
		Version: rec.Version, CommitTime: now, MergedInto: rec.MergedInto,
	}
	if !rec.Deleted {
		snapshot := copyRecord(rec)
		c.Record = &snapshot
	}
	if before != nil && f.opts.ClockVersions { // a CRM says what was changed
		c.Changed = append([]string{}, before.Values.Changed(rec.Ref.Object, rec.Values)...)
	}
	f.emit(c)
}

// index keeps track of who has which external id; rec is about to take the place of the record k.
func (f *Fake) index(k key, rec *source.Record) {
	if old := f.records[k]; old != nil && old.ExternalID != "" {
		if at := (key{k.object, old.ExternalID}); f.holders[at] == k.id {
			delete(f.holders, at)
		}
	}
	if rec.ExternalID != "" && !rec.Deleted {
		f.holders[key{k.object, rec.ExternalID}] = k.id
	}
}

// emit hands a change to the feed, unless a fault says otherwise.
func (f *Fake) emit(c source.Change) {
	switch {
	case f.faults.drop > 0:
		f.faults.drop--
		return
	case f.faults.holding:
		f.faults.held = append(f.faults.held, c)
		return
	}
	f.feed = append(f.feed, c)
	for range f.faults.repeats {
		f.feed = append(f.feed, c)
	}
	f.wake()
}

func (f *Fake) wake() {
	close(f.grown)
	f.grown = make(chan struct{})
}

// newRecordID returns a fresh id of 18 characters, as the longest real ones have.
func (f *Fake) newRecordID(obj golden.Object) string {
	f.nextID++
	prefix := "001"
	if obj == golden.Contact {
		prefix = "003"
	}
	return fmt.Sprintf("%s%015d", prefix, f.nextID)
}

// shown is the record as a reader gets it: a tombstone has no content.
func shown(r *source.Record) source.Record {
	c := copyRecord(r)
	if c.Deleted {
		c.Values, c.ParentID = golden.Values{}, ""
	}
	return c
}

func copyRecord(r *source.Record) source.Record {
	c := *r
	c.Values = r.Values.Clone()
	return c
}
