package intake

import (
	"context"
	"log/slog"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// erased refuses the changes about what was erased and takes them out of the batch. Nothing of them is kept: the inbox has
// them under a name that stands for theirs, so that they are still counted once. A record that lives, in spite of its
// erasure, is deleted again; so is one that carries the id of an erased golden record: a write of ours was late.
func (r *run) erased(ctx context.Context) error {
	keys := make([]string, 0, len(r.batch.Changes))
	for i := range r.batch.Changes {
		keys = append(keys, keysOf(&r.batch.Changes[i])...)
	}
	tombs, err := r.tx.Tombs(ctx, keys)
	if err != nil || len(tombs.Erasure) == 0 {
		return err
	}
	var rest, void []source.Change
	var names, of []string
	for _, c := range r.batch.Changes {
		id := ""
		for _, k := range keysOf(&c) {
			if id == "" {
				id = tombs.Erasure[k]
			}
		}
		if id == "" {
			rest = append(rest, c)
			continue
		}
		void, names, of = append(void, c), append(names, tombs.Name(c.ID)), append(of, id)
	}
	r.batch.Changes = rest
	seen, err := r.tx.Seen(ctx, r.system, names)
	if err != nil {
		return err
	}
	refused := map[string]int64{}
	again := map[string]bool{}
	for i, c := range void {
		if _, known := seen[names[i]]; known || again[names[i]] {
			r.counts[Duplicate]++
			continue
		}
		again[names[i]] = true
		refused[of[i]]++
		r.inbox = append(r.inbox, store.Inbox{System: r.system, ChangeID: names[i], Object: c.Ref.Object, State: store.Refused, Received: r.unit.Now()})
		r.effects = append(r.effects, fold.Effect{State: store.Refused})
		if c.Record == nil || c.Deleted {
			continue
		}
		if err := r.again(ctx, of[i], c); err != nil {
			return err
		}
	}
	return r.tx.CountRefused(ctx, refused)
}

// again has a record deleted that lives in spite of its erasure.
func (r *run) again(ctx context.Context, erasure string, c source.Change) error {
	if err := r.tx.Bury(ctx, erasure, []string{store.RecordKey(c.Ref)}, r.unit.Now()); err != nil {
		return err
	}
	reopened, err := r.tx.Reopen(ctx, erasure, c.Ref, r.unit.Now())
	if err != nil || !reopened {
		return err
	}
	r.say(slog.LevelWarn, "an erased record is back", slog.String("erasure_id", erasure))
	r.unit.Note(store.Event{Kind: "erasure_reopened", System: r.system, ChangeID: erasure})
	return nil
}

// keysOf returns what a change may be refused for.
func keysOf(c *source.Change) []string {
	if c.Overflow || bad(c.ID) || bad(c.Ref.RecordID) {
		return nil
	}
	keys := []string{store.RecordKey(c.Ref)}
	if c.Record != nil {
		if id := source.GoldenIDOf(c.Record.ExternalID); id != "" {
			keys = append(keys, store.GoldenKey(id))
		}
	}
	return keys
}
