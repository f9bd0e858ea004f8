package remote

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// mode says which of the four writes is asked for.
type mode uint8

const (
	modeUpsert mode = iota
	modeCreate
	modeUpdate
	modeDelete
)

// maxRounds is how often a change that met another version is merged again.
const maxRounds = 5

// job is one write on its way.
type job[R any] struct {
	u     store.Upsert[R]
	key   Key
	claim *claim
	// snap is the record in the other system, base the same record here; exists tells whether there is one.
	snap   Snapshot[R]
	base   R
	exists bool
	// found is true when the record was not known here under its key.
	found bool
	draft Draft[R]
	kept  bool // the answer is in res
	res   store.Result[R]
	// ready is true when nothing more is to be sent; outcome is then the answer once the mirror has it.
	ready   bool
	outcome erp.Outcome
}

func (j *job[R]) refuse(err error) {
	j.res, j.kept = store.Result[R]{Outcome: erp.Refused, Err: err}, true
}

// run does a batch: rounds of writes that have no name in common, in order.
func (t *records[R]) run(ctx context.Context, m mode, batch []store.Upsert[R], seal store.Seal[R]) ([]store.Result[R], error) {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	jobs := make([]*job[R], len(batch))
	keys := make(map[string]int)
	for i, u := range batch {
		jobs[i] = &job[R]{u: u}
		keys[t.twiceName(u)]++
	}
	delete(keys, "")
	for i, u := range batch {
		if keys[t.twiceName(u)] > 1 {
			jobs[i].refuse(fault.New(fault.Invalid, store.ReasonDuplicate, "the request names the same %s twice", t.schema.Name()))
		}
	}
	for left := jobs; len(left) > 0; {
		var now, later []*job[R]
		var asks []ask
		used := make(map[string]bool)
		for _, j := range left {
			if j.kept {
				continue
			}
			names := t.names(ctx, m, j)
			clash := false
			for _, n := range names {
				clash = clash || used[n]
			}
			if clash {
				later = append(later, j)
				continue
			}
			for _, n := range names {
				used[n] = true
			}
			now, asks = append(now, j), append(asks, ask{names})
		}
		if err := t.round(ctx, m, now, asks, seal); err != nil {
			return nil, err
		}
		left = later
	}
	results := make([]store.Result[R], len(jobs))
	for i, j := range jobs {
		results[i] = j.res
	}
	return results, nil
}

// twiceName is what a batch may name once.
func (t *records[R]) twiceName(u store.Upsert[R]) string {
	if id := t.id(&u.Record); id != "" {
		return "id/" + id
	}
	if !u.Key.Zero() {
		return refName(u.Key)
	}
	return ""
}

// names are what a write claims; the first is the one the mark comes from.
func (t *records[R]) names(ctx context.Context, m mode, j *job[R]) []string {
	var names []string
	refs := t.schema.Head(&j.u.Record).Refs
	idem, keyed := idempotent.FromContext(ctx)
	switch {
	case t.id(&j.u.Record) != "":
		names = append(names, hashed("id", t.id(&j.u.Record)))
	case !j.u.Key.Zero():
		names = append(names, refName(j.u.Key))
		j.key.Ref = j.u.Key
	case m == modeCreate && keyed:
		names = append(names, hashed("key", idem))
	case len(refs) > 0:
		names = append(names, refName(refs[0]))
	default:
		names = append(names, hashed("random", randomName()))
	}
	if j.key.Ref.Zero() && len(refs) > 0 {
		j.key.Ref = refs[0]
	}
	for _, ref := range refs {
		names = append(names, refName(ref))
	}
	if c, ok := any(&j.u.Record).(*erp.Customer); ok && c.Number != "" {
		names = append(names, hashed("number", c.Number))
	}
	return names
}

// round claims the names, does the writes and gives the names back.
func (t *records[R]) round(ctx context.Context, m mode, jobs []*job[R], asks []ask, seal store.Seal[R]) error {
	if len(jobs) == 0 {
		return nil
	}
	got, unlock, err := t.s.claims.takeAll(ctx, t.object, asks)
	if err != nil {
		return err
	}
	defer unlock()
	for i, j := range jobs {
		if got[i].err != nil {
			j.refuse(got[i].err)
			continue
		}
		j.claim = got[i].claim
		j.key.Mark = j.claim.mark
	}
	defer t.release(ctx, jobs)
	if err := t.resolve(ctx, m, jobs); err != nil {
		return err
	}
	for n := 0; ; n++ {
		inserts, changes := t.decide(ctx, m, jobs)
		if len(inserts)+len(changes) == 0 {
			break
		}
		if err := t.insert(ctx, inserts); err != nil {
			return err
		}
		again := t.change(ctx, m, changes)
		if len(again) == 0 {
			break
		}
		if n == maxRounds {
			for _, j := range again {
				j.refuse(fault.New(fault.Conflict, store.ReasonContention, "the record changes too often; try again").WithRetryAfter(time.Second))
			}
			break
		}
		if err := t.reread(ctx, again); err != nil {
			return err
		}
	}
	return t.finish(ctx, jobs, seal)
}

// open are the jobs without an answer.
func open[R any](jobs []*job[R]) []*job[R] {
	var out []*job[R]
	for _, j := range jobs {
		if !j.kept {
			out = append(out, j)
		}
	}
	return out
}

// release gives back the names of jobs that were refused.
func (t *records[R]) release(ctx context.Context, jobs []*job[R]) {
	ctx, cancel := t.s.noting(ctx)
	defer cancel()
	for _, j := range jobs {
		if j.claim == nil || j.claim.closed {
			continue
		}
		// A name that cannot be given back is free when its lease ends.
		if err := t.s.claims.drop(ctx, j.claim); err != nil {
			t.s.o.Log.WarnContext(ctx, "a claim could not be given back", "object", t.schema.Name(), "error", err)
		}
	}
}

// finish mirrors what the other system answered and lets go of the names, in one transaction.
func (t *records[R]) finish(ctx context.Context, jobs []*job[R], seal store.Seal[R]) error {
	list := open(jobs)
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := t.s.noting(ctx)
	defer cancel()
	ups := make([]store.Upsert[R], len(list))
	for i, j := range list {
		ups[i] = j.put(t)
	}
	results, err := t.put(ctx, ups, time.Time{}, func(ctx context.Context, tx *sql.Tx, results []store.Result[R]) error {
		for i, j := range list {
			if results[i].Err != nil {
				continue
			}
			if err := t.note(ctx, tx, j, results[i].Record, seal); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		// What was made exists and its names are noted as sent: the next call finds it. If even this cannot be noted, that
		// call waits for the lease.
		for _, j := range list {
			j.claim.closed = true
			to := stateFree
			if j.outcome == erp.Created {
				to = stateUncertain
			}
			if merr := t.s.claims.move(ctx, to, "", nil, j.claim); merr != nil {
				t.s.o.Log.WarnContext(ctx, "a write could not be noted", "object", t.schema.Name(), "error", merr)
			}
			j.refuse(asUncertain(err))
		}
		return nil //nolint:nilerr // each job has its answer
	}
	for i, j := range list {
		if results[i].Err != nil {
			j.refuse(t.blocked(&ups[i].Record, results[i].Err))
			continue
		}
		j.claim.closed, j.kept = true, true
		j.res = store.Result[R]{Outcome: j.outcome, Record: results[i].Record}
		t.s.counters.written(ctx, t.schema.Name(), j.outcome)
	}
	return nil
}

// put is what is mirrored of a job: what the other system has, and of the fields it has no place for, what was asked.
func (j *job[R]) put(t *records[R]) store.Upsert[R] {
	rec := j.snap.Record
	h := t.schema.Head(&rec)
	if h.Deleted {
		return store.Upsert[R]{Record: rec, Mask: t.mask}
	}
	if j.outcome == erp.Created || j.outcome == erp.Updated {
		whole := j.draft.Record
		merged, _, err := t.schema.Merge(whole, rec, t.mask, erp.Ref{}, time.Time{})
		if err == nil {
			head := *h
			rec = merged
			h = t.schema.Head(&rec)
			h.ID, h.Deleted, h.Created, h.Updated = head.ID, head.Deleted, head.Created, head.Updated
		}
		all, _ := t.schema.Mask([]string{"*"})
		h.Refs = append(h.Refs, t.schema.Head(&whole).Refs...)
		return store.Upsert[R]{Record: rec, Mask: all, Key: j.u.Key}
	}
	return store.Upsert[R]{Record: rec, Mask: t.mask, Key: j.u.Key}
}

// note is what is written beside the mirrored record.
func (t *records[R]) note(ctx context.Context, tx *sql.Tx, j *job[R], rec R, seal store.Seal[R]) error {
	if err := t.s.claims.set(ctx, tx, stateFree, "", nil, j.claim); err != nil {
		return err
	}
	// What was found under a name that something had been sent under is what was sent: it counts now that it is known.
	if j.outcome == erp.Created || j.found && j.claim.pending {
		if err := t.s.document(ctx, tx, t.object, t.id(&rec), 1); err != nil {
			return err
		}
	}
	if j.outcome == erp.Created && seal != nil {
		return seal(ctx, tx, rec)
	}
	return nil
}

// missing refuses a write the back end does not do.
func (t *records[R]) missing(ctx context.Context, m mode) error {
	c, err := t.s.Capabilities(ctx)
	if err != nil {
		return err
	}
	if m == modeDelete && t.object == erp.ObjectCustomer && !c.DeleteCustomers {
		return backend.Missing(t.s.sys.Kind(), "delete customers")
	}
	return nil
}

func (t *records[R]) tombstone() error {
	return fault.New(fault.Precondition, erp.ReasonDeleted, "the %s was deleted", t.schema.Name())
}

func taken(path, owner string) error {
	text := "another record carries this reference"
	e := fault.New(fault.AlreadyExists, store.ReasonReferenceTaken, "%s: %s", path, text).WithMeta("record_id", owner)
	e.Fields = []fault.Field{{Path: path, Reason: store.ReasonReferenceTaken, Description: text}}
	return e
}

func notFound(what string) error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "no %s has this id", what)
}

func wrongCount(what string, want, have int) error {
	return fmt.Errorf("%s: %d answers to %d records", what, have, want)
}
