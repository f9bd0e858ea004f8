package remote

import (
	"context"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// resolve finds the record each job means, as it is in the other system now.
func (t *records[R]) resolve(ctx context.Context, m mode, jobs []*job[R]) error {
	var reads, finds []*job[R]
	for _, j := range open(jobs) {
		id := t.id(&j.u.Record)
		if id == "" && m == modeUpsert && !j.u.Key.Zero() {
			known, err := t.Mirror.Lookup(ctx, j.u.Key)
			switch {
			case err == nil:
				id = t.id(&known)
			case !fault.Is(err, fault.NotFound):
				return err
			}
		}
		switch {
		case id != "":
			t.schema.Head(&j.snap.Record).ID = id
			reads = append(reads, j)
		case m == modeUpsert && j.u.Key.Zero():
			// Without anything that identifies it, a repeated call would make the record twice.
			j.refuse(fault.InvalidField("key", erp.ReasonRequired, "an upsert names an id or a key"))
		default:
			finds = append(finds, j)
		}
	}
	if err := t.find(ctx, finds); err != nil {
		return err
	}
	return t.reread(ctx, reads)
}

// find looks for records by their keys.
func (t *records[R]) find(ctx context.Context, jobs []*job[R]) error {
	if len(jobs) == 0 {
		return nil
	}
	keys := make([]Key, len(jobs))
	for i, j := range jobs {
		keys[i] = j.key
	}
	asked := t.s.o.Now()
	found, err := t.source.Find(ctx, keys)
	if err != nil {
		return err
	}
	if len(found) != len(jobs) {
		return wrongCount("find", len(jobs), len(found))
	}
	for i, j := range jobs {
		if len(found[i]) == 0 {
			continue
		}
		snap, err := t.single(found[i])
		if err != nil {
			j.refuse(err)
			continue
		}
		j.snap, j.exists, j.found = snap, true, true
	}
	return t.base(ctx, jobs, asked)
}

// reread reads the records of jobs whose id is known.
func (t *records[R]) reread(ctx context.Context, jobs []*job[R]) error {
	if len(jobs) == 0 {
		return nil
	}
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = t.id(&j.snap.Record)
	}
	asked := t.s.o.Now()
	snaps, err := t.source.Read(ctx, ids)
	if err != nil {
		return err
	}
	byID := make(map[string]Snapshot[R], len(snaps))
	for _, s := range snaps {
		byID[t.id(&s.Record)] = s
	}
	for i, j := range jobs {
		snap, ok := byID[ids[i]]
		if !ok {
			gone := make(map[string]R)
			if err := t.tombstones(ctx, ids[i:i+1], gone); err != nil {
				return err
			}
			if r, dead := gone[ids[i]]; dead {
				j.snap, j.base, j.exists = Snapshot[R]{Record: r}, r, true
				continue
			}
			j.refuse(notFound(t.schema.Name()))
			continue
		}
		j.snap, j.exists = snap, true
	}
	return t.base(ctx, jobs, asked)
}

// base mirrors what was read, so that merging starts from what the other system has and what is kept beside it.
func (t *records[R]) base(ctx context.Context, jobs []*job[R], asOf time.Time) error {
	var ups []store.Upsert[R]
	var list []*job[R]
	for _, j := range open(jobs) {
		if j.exists && !t.schema.Head(&j.base).Deleted {
			ups, list = append(ups, t.write(j.snap, erp.Ref{})), append(list, j)
		}
	}
	if len(ups) == 0 {
		return nil
	}
	results, err := t.put(ctx, ups, asOf, nil)
	if err != nil {
		return err
	}
	for i, j := range list {
		if results[i].Err != nil {
			j.refuse(t.blocked(&ups[i].Record, results[i].Err))
			continue
		}
		j.base = results[i].Record
	}
	return nil
}

// insert notes that something is sent, sends it, and sorts the answers.
func (t *records[R]) insert(ctx context.Context, jobs []*job[R]) error {
	if len(jobs) == 0 {
		return nil
	}
	claims := make([]*claim, len(jobs))
	before := make(map[*job[R]]claim, len(jobs))
	for i, j := range jobs {
		claims[i], before[j] = j.claim, *j.claim
	}
	if err := t.s.claims.move(ctx, stateSent, "", nil, claims...); err != nil {
		return err
	}
	var lost []*job[R]
	t.send(ctx, jobs, t.source.Insert, func(j *job[R], r Reply[R]) {
		switch {
		case r.Err == nil:
			j.snap, j.exists, j.ready, j.outcome = r.Snapshot, true, true, erp.Created
		case isUncertain(r.Err):
			j.draft.Old = Snapshot[R]{}
			j.res.Err = asUncertain(r.Err)
			lost = append(lost, j)
		default:
			j.claim.refused(r.Err, before[j])
			j.refuse(r.Err)
		}
	})
	t.lookAgain(ctx, lost)
	return nil
}

// lookAgain looks once for what was sent and not answered. What is not found may still come: nothing is sent again.
func (t *records[R]) lookAgain(ctx context.Context, lost []*job[R]) {
	if len(lost) == 0 {
		return
	}
	ctx, cancel := t.s.noting(ctx)
	defer cancel()
	keys := make([]Key, len(lost))
	for i, j := range lost {
		keys[i] = j.key
	}
	found, err := t.source.Find(ctx, keys)
	for i, j := range lost {
		if err == nil && i < len(found) && len(found[i]) > 0 {
			snap, serr := t.single(found[i])
			if serr == nil {
				j.snap, j.exists, j.ready, j.outcome, j.res.Err = snap, true, true, erp.Created, nil
				continue
			}
			j.res.Err = serr
		}
		j.claim.closed = true
		if merr := t.s.claims.move(ctx, stateUncertain, "", nil, j.claim); merr != nil {
			t.s.o.Log.WarnContext(ctx, "a lost answer could not be noted", "object", t.schema.Name(), "error", merr)
		}
		t.s.counters.lost(ctx, t.schema.Name())
		j.refuse(j.res.Err)
	}
}

// change sends changes and returns the jobs whose record has another version by now.
func (t *records[R]) change(ctx context.Context, m mode, jobs []*job[R]) (again []*job[R]) {
	if len(jobs) == 0 {
		return nil
	}
	call := t.source.Change
	if m == modeDelete {
		call = func(ctx context.Context, drafts []Draft[R]) ([]Reply[R], error) { return t.retire(ctx, drafts), nil }
	}
	t.send(ctx, jobs, call, func(j *job[R], r Reply[R]) {
		switch {
		case r.Err == nil:
			j.snap, j.ready, j.outcome = r.Snapshot, true, erp.Updated
			if m == modeDelete {
				j.draft.Record = r.Snapshot.Record
			}
		case fault.ReasonOf(r.Err) == fault.ReasonETagMismatch:
			again = append(again, j)
		case isUncertain(r.Err) && t.arrived(ctx, m, j):
			j.ready, j.outcome = true, erp.Updated
		case isUncertain(r.Err):
			t.s.counters.lost(ctx, t.schema.Name())
			j.refuse(asUncertain(r.Err))
		default:
			j.refuse(r.Err)
		}
	})
	return again
}

func (t *records[R]) retire(ctx context.Context, drafts []Draft[R]) []Reply[R] {
	out := make([]Reply[R], len(drafts))
	for i, d := range drafts {
		out[i].Snapshot, out[i].Err = t.source.Retire(ctx, d.Old)
		if out[i].Err == nil {
			t.schema.Head(&out[i].Snapshot.Record).Deleted = true
		}
	}
	return out
}

// arrived reads a record whose change was not answered and tells whether it is as it was to be.
func (t *records[R]) arrived(ctx context.Context, m mode, j *job[R]) bool {
	ctx, cancel := t.s.noting(ctx)
	defer cancel()
	snaps, err := t.source.Read(ctx, []string{t.id(&j.snap.Record)})
	if err != nil {
		return false
	}
	if m == modeDelete {
		if len(snaps) == 0 {
			t.schema.Head(&j.snap.Record).Deleted = true
			return true
		}
		if t.schema.Head(&snaps[0].Record).Deleted {
			j.snap = snaps[0]
			return true
		}
		return false
	}
	if len(snaps) == 1 && !t.schema.Differs(snaps[0].Record, j.draft.Record, t.fields) {
		j.snap = snaps[0]
		return true
	}
	return false
}

// send calls the other system with the drafts of jobs, again for records that somebody works on there.
func (t *records[R]) send(ctx context.Context, jobs []*job[R], call func(context.Context, []Draft[R]) ([]Reply[R], error), sort func(*job[R], Reply[R])) {
	for try := 1; len(jobs) > 0; try++ {
		if jobs = t.held(jobs, sort); len(jobs) == 0 {
			return
		}
		drafts := make([]Draft[R], len(jobs))
		for i, j := range jobs {
			drafts[i] = j.draft
			if j.exists {
				drafts[i].Old = j.snap
			}
		}
		replies, err := call(ctx, drafts)
		if err == nil && len(replies) != len(jobs) {
			err = fmt.Errorf("write: %w", wrongCount("write", len(jobs), len(replies)))
		}
		var locked []*job[R]
		for i, j := range jobs {
			r := Reply[R]{Err: err}
			if err == nil {
				r = replies[i]
			}
			if fault.ReasonOf(r.Err) == backend.ReasonLocked && r.Err != nil && try < t.s.o.LockedTries {
				locked = append(locked, j)
				continue
			}
			sort(j, r)
		}
		if len(locked) > 0 && !sleep(ctx, t.s.o.Locked.Next(try)) {
			for _, j := range locked {
				sort(j, Reply[R]{Err: fault.New(fault.Conflict, backend.ReasonLocked, "somebody works on the record in the ERP; try again").
					WithRetryAfter(time.Second)})
			}
			return
		}
		jobs = locked
	}
}

// held returns the jobs that may still be sent. Who was away for longer than its lease has lost its names: somebody else may
// have written under them meanwhile.
func (t *records[R]) held(jobs []*job[R], sort func(*job[R], Reply[R])) []*job[R] {
	var out []*job[R]
	for _, j := range jobs {
		if t.s.claims.over(j.claim) {
			sort(j, Reply[R]{Err: errFenced})
			continue
		}
		out = append(out, j)
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
