package sourcetest

import (
	"math/rand/v2"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// Op is an operation of a system.
type Op string

// The operations.
const (
	OpWatch  Op = "watch"
	OpList   Op = "list"
	OpFetch  Op = "fetch"
	OpUpsert Op = "upsert"
	OpFind   Op = "find"
	OpRemove Op = "remove"
)

type faults struct {
	down      error
	epoch     int   // grows when all open streams have to end
	streamErr error // how the streams of older epochs end
	fail      map[Op][]error

	lostAcks   int
	lostAckErr error
	records    map[string]*recordFault

	drop    int
	repeats int
	holding bool
	held    []source.Change

	before func(golden.Object, []source.Write)
	after  func(golden.Object, []source.Write, []source.Result)
}

type recordFault struct {
	err   error
	left  int // negative: for ever
	after bool
}

func newFaults() faults {
	return faults{fail: map[Op][]error{}, records: map[string]*recordFault{}}
}

// recordFault returns what shall go wrong with a write, found by its record id, external id or golden id.
func (fs *faults) recordFault(w source.Write) *recordFault {
	for _, k := range []string{w.Ref.RecordID, w.ExternalID, string(source.GoldenIDOf(w.ExternalID))} {
		act := fs.records[k]
		if k == "" || act == nil || act.left == 0 {
			continue
		}
		if act.left > 0 {
			act.left--
		}
		return act
	}
	return nil
}

// enter counts a call and returns the error it shall end with, if any. The caller holds the lock.
func (f *Fake) enter(op Op) error {
	f.counts.calls[op]++
	if f.faults.down != nil {
		return f.faults.down
	}
	if queue := f.faults.fail[op]; len(queue) > 0 {
		f.faults.fail[op] = queue[1:]
		return queue[0]
	}
	return nil
}

func (f *Fake) hooks() (before func(golden.Object, []source.Write), after func(golden.Object, []source.Write, []source.Result)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults.before, f.faults.after
}

// SetDown makes every call fail with err and ends open streams with it, until it is called with nil.
func (f *Fake) SetDown(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.down = err
	f.wake()
}

// Unreachable is the error to pass to SetDown for a system that does not answer.
func Unreachable() error {
	return fault.New(fault.Unavailable, fault.ReasonUnavailable, "the system does not answer")
}

// Fail makes the next calls of op fail with errs, one each, before they do anything.
func (f *Fake) Fail(op Op, errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.fail[op] = append(f.faults.fail[op], errs...)
}

// ClearFailures takes back what Fail has planned and did not happen yet.
func (f *Fake) ClearFailures() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.fail = map[Op][]error{}
}

// EndStreams ends all open streams with err, or in good order when err is nil.
func (f *Fake) EndStreams(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.epoch++
	f.faults.streamErr = err
	f.wake()
}

// LoseAcks makes the next n calls of Upsert write everything and then fail with err; nil means a lost connection.
func (f *Fake) LoseAcks(n int, err error) {
	if err == nil {
		err = fault.New(fault.Unavailable, fault.ReasonUnavailable, "the connection was lost")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.lostAcks, f.faults.lostAckErr = n, err
}

// Refuse makes the next n writes of one record fail with err without being made, for ever when n is negative, never
// again when it is zero. The name is a record id, an external id or a golden id.
func (f *Fake) Refuse(name string, n int, err error) { f.setRecordFault(name, n, err, false) }

// Uncertain makes the next n writes of one record be made and then answered as Uncertain.
func (f *Fake) Uncertain(name string, n int) {
	f.setRecordFault(name, n, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "nobody knows whether the record was written"), true)
}

// Conflict makes the next n writes of one record be answered as if the record had another version.
func (f *Fake) Conflict(name string, n int) {
	f.setRecordFault(name, n, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the record has another version"), false)
}

// Permanent returns an error with which Refuse makes a write fail for good.
func Permanent() error {
	return fault.New(fault.Precondition, "RECORD_REFUSED", "the system does not take the record")
}

// Transient returns an error with which Refuse makes a write fail for now.
func Transient() error {
	return fault.New(fault.Unavailable, "RECORD_LOCKED", "the record is locked")
}

func (f *Fake) setRecordFault(name string, n int, err error, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.records[name] = &recordFault{err: err, left: n, after: after}
}

// BeforeUpsert has fn called before each write is carried out, without a lock: it may edit records. Nil ends it.
func (f *Fake) BeforeUpsert(fn func(golden.Object, []source.Write)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.before = fn
}

// AfterUpsert has fn called after each write was carried out and before it is answered. Nil ends it.
func (f *Fake) AfterUpsert(fn func(golden.Object, []source.Write, []source.Result)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.after = fn
}

// Drop makes the feed lose the next n changes. The records change all the same.
func (f *Fake) Drop(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.drop = n
}

// Repeat makes the feed deliver every later change another n times.
func (f *Fake) Repeat(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.repeats = n
}

// Hold keeps later changes back until Release.
func (f *Fake) Hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.holding = true
}

// Release delivers the changes kept back, after order has put them in another order; nil keeps it. See Reversed and
// Shuffled.
func (f *Fake) Release(order func([]source.Change)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.faults.held
	f.faults.holding, f.faults.held = false, nil
	if order != nil {
		order(held)
	}
	for _, c := range held {
		f.emit(c)
	}
}

// Reversed is an order for Release: the last change comes first.
func Reversed(changes []source.Change) { slices.Reverse(changes) }

// Shuffled returns an order for Release that depends on seed only.
func Shuffled(seed uint64) func([]source.Change) {
	return func(changes []source.Change) {
		r := rand.New(rand.NewPCG(seed, seed))
		r.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	}
}

// Replay delivers the last n changes of the feed again, with the ids they had.
func (f *Fake) Replay(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feed = append(f.feed, slices.Clone(f.feed[max(f.oldest, len(f.feed)-n):])...)
	f.wake()
}

// ExpireTokens makes every token handed out so far name changes that are no longer kept, and ends open streams in
// good order so that they are opened again.
func (f *Fake) ExpireTokens() {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A position of its own, so that a token for the end of the feed is expired too.
	f.changes++
	f.feed = append(f.feed, source.Change{})
	f.oldest = len(f.feed)
	f.faults.epoch++
	f.faults.streamErr = nil
	f.wake()
}

// Overflow makes the feed say that it lost count of obj, of every object when obj is empty.
func (f *Fake) Overflow(obj golden.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	f.emit(source.Change{
		ID: f.opts.Name + "-overflow-" + itoa(f.changes), Ref: golden.Ref{System: f.opts.Name, Object: obj},
		Overflow: true, CommitTime: f.opts.Now().UTC(),
	})
}
