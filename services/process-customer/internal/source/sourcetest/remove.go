package sourcetest

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// Find implements source.System.
func (f *Fake) Find(ctx context.Context, obj golden.Object, externalIDs []string) ([]source.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.FromStatus(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpFind); err != nil {
		return nil, err
	}
	var out []source.Record
	for _, id := range externalIDs {
		if rec := f.holder(obj, id); rec != nil && !f.hidden[key{obj, rec.Ref.RecordID}] {
			out = append(out, copyRecord(rec))
		}
	}
	return out, nil
}

// Remove implements source.System. Refuse, Uncertain and LoseAcks count for it as for Upsert.
func (f *Fake) Remove(ctx context.Context, obj golden.Object, ids []string) ([]source.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.FromStatus(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(OpRemove); err != nil {
		return nil, err
	}
	out := make([]source.Result, len(ids))
	for i, id := range ids {
		act := f.faults.recordFault(source.Write{Ref: golden.Ref{RecordID: id}})
		if act != nil && !act.after {
			f.counts.refused++
			out[i] = source.Result{Err: act.err}
			continue
		}
		out[i] = f.remove(key{obj, id})
		if act != nil {
			out[i] = source.Result{Err: act.err}
		}
	}
	if f.faults.lostAcks > 0 {
		f.faults.lostAcks--
		return nil, f.faults.lostAckErr
	}
	return out, nil
}

func (f *Fake) remove(k key) source.Result {
	rec := f.records[k]
	if rec == nil || rec.Deleted {
		return source.Result{RecordID: k.id, Unchanged: true}
	}
	if f.hidden[k] {
		return source.Result{Err: fault.New(fault.Forbidden, "ACCESS_DENIED", "the record may not be deleted")}
	}
	next := copyRecord(rec)
	next.Deleted = true
	f.counts.writes[k.id]++
	f.counts.total++
	f.commit(&next, true)
	res := source.Result{RecordID: k.id}
	if f.opts.ReturnsRecords {
		res.Version = next.Version
	}
	return res
}
