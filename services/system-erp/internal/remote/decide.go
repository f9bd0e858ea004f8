package remote

import (
	"context"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// decide settles what is to be done for each job, and what needs no call.
func (t *records[R]) decide(ctx context.Context, m mode, jobs []*job[R]) (inserts, changes []*job[R]) {
	for _, j := range open(jobs) {
		if j.ready {
			continue
		}
		if t.s.claims.over(j.claim) { // what it would be decided by may be another's work of meanwhile
			j.refuse(errFenced)
			continue
		}
		var err error
		switch {
		case !j.exists:
			if err = t.decideNew(ctx, j); err == nil {
				inserts = append(inserts, j)
			}
		case t.schema.Head(&j.base).Deleted && m == modeDelete:
			j.ready, j.outcome = true, erp.Unchanged
		case t.schema.Head(&j.base).Deleted:
			err = t.tombstone()
		case m == modeCreate:
			err = t.decideFound(j)
		case m == modeDelete:
			if err = t.missing(ctx, m); err == nil {
				changes = append(changes, j)
			}
		default:
			var send bool
			if send, err = t.decideOld(ctx, j); err == nil && send {
				changes = append(changes, j)
			}
		}
		if err != nil {
			j.refuse(err)
		}
	}
	return inserts, changes
}

// decideNew makes the draft of a new record.
func (t *records[R]) decideNew(ctx context.Context, j *job[R]) error {
	if j.u.Expected != 0 {
		return fault.New(fault.Conflict, fault.ReasonETagMismatch, "the %s does not exist any more", t.schema.Name())
	}
	if j.claim.pending {
		if left := t.s.o.Settle - t.s.o.Now().Sub(j.claim.sent); left > 0 {
			return fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain,
				"an earlier write of this record is not settled; the same call later finds out").WithRetryAfter(min(left, 30*time.Second))
		}
	}
	rec, err := t.schema.New(j.u.Record, j.u.Key, "", t.s.o.Now())
	if err != nil {
		return err
	}
	if err := t.free(ctx, j, rec, ""); err != nil {
		return err
	}
	if err := t.parent(ctx, rec, ""); err != nil {
		return err
	}
	if err := t.source.Check(ctx, rec); err != nil {
		return err
	}
	j.draft = Draft[R]{Record: rec, Key: j.key}
	return nil
}

// decideFound answers a create whose record is there already: our own, made by an attempt whose answer was lost, or not.
func (t *records[R]) decideFound(j *job[R]) error {
	if !j.claim.pending {
		return taken(t.schema.Name()+".refs", t.id(&j.base))
	}
	rec, err := t.schema.New(j.u.Record, erp.Ref{}, t.id(&j.base), t.s.o.Now())
	if err != nil {
		return err
	}
	j.draft, j.ready, j.outcome = Draft[R]{Record: rec, Key: j.key}, true, erp.Created
	return nil
}

// decideOld makes the draft of a change and tells whether it must be sent.
func (t *records[R]) decideOld(ctx context.Context, j *job[R]) (send bool, err error) {
	rec, differs, err := t.schema.Merge(j.base, j.u.Record, j.u.Mask, j.u.Key, t.s.o.Now())
	if err != nil {
		return false, err
	}
	if !differs {
		j.ready, j.outcome = true, erp.Unchanged
		if j.found {
			j.outcome = erp.Matched
		}
		return false, nil
	}
	if j.u.Expected != 0 && j.u.Expected != t.schema.Head(&j.base).Version {
		return false, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the %s has another version", t.schema.Name())
	}
	if err := t.free(ctx, j, rec, t.id(&j.base)); err != nil {
		return false, err
	}
	if err := t.parent(ctx, rec, t.parentOf(&j.base)); err != nil {
		return false, err
	}
	if err := t.source.Check(ctx, rec); err != nil {
		return false, err
	}
	j.draft = Draft[R]{Record: rec, Key: j.key, Old: j.snap}
	if !t.schema.Differs(j.snap.Record, rec, t.fields) {
		j.ready, j.outcome = true, erp.Updated
		return false, nil
	}
	return true, nil
}

// free refuses references that another record carries.
func (t *records[R]) free(ctx context.Context, j *job[R], rec R, id string) error {
	have := t.schema.Head(&j.base).Refs
	for _, ref := range t.schema.Head(&rec).Refs {
		known := false
		for _, h := range have {
			known = known || h == ref
		}
		if known {
			continue
		}
		owner, err := t.Mirror.Lookup(ctx, ref)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if t.id(&owner) != id {
			path := t.schema.Name() + ".refs"
			if ref == j.u.Key {
				path = "key"
			}
			return taken(path, t.id(&owner))
		}
	}
	return nil
}

func (t *records[R]) parentOf(r *R) string {
	if c, ok := any(r).(*erp.Contact); ok {
		return c.CustomerID
	}
	return ""
}

// parent refuses a customer that is not there.
func (t *records[R]) parent(ctx context.Context, rec R, before string) error {
	id := t.parentOf(&rec)
	if id == "" || id == before {
		return nil
	}
	found, err := t.s.customers.Get(ctx, []string{id})
	if err != nil {
		return err
	}
	c, ok := found[id]
	switch path := t.schema.Name() + ".customer_id"; {
	case !ok:
		return fault.InvalidField(path, erp.ReasonUnknownRecord, "no customer has this id")
	case c.Deleted:
		return fault.InvalidField(path, erp.ReasonDeleted, "the customer was deleted")
	}
	return nil
}
