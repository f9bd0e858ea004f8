package remote

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/sqlstore"
)

// records implements store.Records over one kind of record of the other system.
type records[R any] struct {
	sqlstore.Mirror[R] // List, Digest and Stamps are those of the mirror
	s                  *Store
	object             erp.Object
	schema             *erp.Schema[R]
	source             Source[R]
	fields             []string
	mask               erp.Mask
	// before is called with records that are about to be mirrored; nil for nothing to do.
	before func(ctx context.Context, list []R) error
}

func newRecords[R any](s *Store, object erp.Object, schema *erp.Schema[R], source Source[R], mirror sqlstore.Mirror[R]) *records[R] {
	r := &records[R]{Mirror: mirror, s: s, object: object, schema: schema, source: source, fields: source.Fields()}
	mask, err := schema.Mask(r.fields)
	if err != nil || len(r.fields) == 0 {
		// A defect of the System: it names fields that do not exist. Everything is then taken from the ERP.
		mask, r.fields = erp.Mask{}, nil
	}
	r.mask = mask
	return r
}

func (t *records[R]) id(r *R) string { return t.schema.Head(r).ID }

func (t *records[R]) write(snap Snapshot[R], key erp.Ref) store.Upsert[R] {
	return store.Upsert[R]{Record: snap.Record, Mask: t.mask, Key: key}
}

// put mirrors what the other system said when it was asked, and returns the records as they are here. A copy written since then
// is newer and stays. After may be nil.
func (t *records[R]) put(ctx context.Context, ups []store.Upsert[R], asOf time.Time, after sqlstore.After[R]) ([]store.Result[R], error) {
	if t.before != nil {
		list := make([]R, len(ups))
		for i := range ups {
			list[i] = ups[i].Record
		}
		if err := t.before(ctx, list); err != nil {
			return nil, err
		}
	}
	return t.Put(ctx, ups, asOf, after)
}

// Get implements store.Records: the other system is asked, so the answer is as it is there now. What it does not know any
// more but the mirror does is answered as a tombstone only after the comparison has buried it; until then it is missing.
func (t *records[R]) Get(ctx context.Context, ids []string) (map[string]R, error) {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	out := make(map[string]R, len(ids))
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(ids))), 200) {
		asked := t.s.o.Now()
		found, err := t.source.Read(ctx, chunk)
		if err != nil {
			return nil, err
		}
		ups := make([]store.Upsert[R], len(found))
		for i, f := range found {
			ups[i] = t.write(f, erp.Ref{})
		}
		if err := t.mirrored(ctx, ups, asked, out); err != nil {
			return nil, err
		}
		var missing []string
		for _, id := range chunk {
			if _, ok := out[id]; !ok {
				missing = append(missing, id)
			}
		}
		if err := t.tombstones(ctx, missing, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// mirrored mirrors records and adds them to out. A record that stands in the way of another one in the mirror is an error:
// two records of the ERP carry what may name one.
func (t *records[R]) mirrored(ctx context.Context, ups []store.Upsert[R], asOf time.Time, out map[string]R) error {
	if len(ups) == 0 {
		return nil
	}
	results, err := t.put(ctx, ups, asOf, nil)
	if err != nil {
		return err
	}
	for i, res := range results {
		if res.Err != nil {
			return t.blocked(&ups[i].Record, res.Err)
		}
		out[t.id(&ups[i].Record)] = res.Record
	}
	return nil
}

// blocked explains why a record of the ERP cannot be mirrored.
func (t *records[R]) blocked(r *R, err error) error {
	f, ok := fault.As(err)
	if !ok || f.Meta["record_id"] == "" {
		return fmt.Errorf("mirror a %s: %w", t.schema.Name(), err)
	}
	ids := []string{t.id(r), f.Meta["record_id"]}
	slices.Sort(ids)
	return t.s.duplicates(t.schema.Name(), ids)
}

// tombstones adds the deleted among ids to out.
func (t *records[R]) tombstones(ctx context.Context, ids []string, out map[string]R) error {
	if len(ids) == 0 {
		return nil
	}
	have, err := t.Mirror.Get(ctx, ids)
	if err != nil {
		return err
	}
	for id, r := range have {
		if t.schema.Head(&r).Deleted {
			out[id] = r
		}
	}
	return nil
}

// List implements store.Records. Until all records have been read once there is no list.
func (t *records[R]) List(ctx context.Context, after string, limit int) ([]R, error) {
	if err := t.s.loaded(ctx); err != nil {
		return nil, err
	}
	return t.Mirror.List(ctx, after, limit)
}

// Lookup implements store.Records: the mirror first, then the other system.
func (t *records[R]) Lookup(ctx context.Context, ref erp.Ref) (R, error) {
	r, err := t.Mirror.Lookup(ctx, ref)
	if !fault.Is(err, fault.NotFound) {
		return r, err
	}
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	asked := t.s.o.Now()
	found, ferr := t.source.Find(ctx, []Key{t.key(ref)})
	if ferr != nil {
		return r, ferr
	}
	if len(found) != 1 || len(found[0]) == 0 {
		return r, err
	}
	snap, ferr := t.single(found[0])
	if ferr != nil {
		return r, ferr
	}
	out := make(map[string]R, 1)
	if err := t.mirrored(ctx, []store.Upsert[R]{t.write(snap, ref)}, asked, out); err != nil {
		return r, err
	}
	return out[t.id(&snap.Record)], nil
}

// single is the one live record that was found; several are an error. Archived ones count only when there is no live one.
func (t *records[R]) single(found []Snapshot[R]) (Snapshot[R], error) {
	live := slices.DeleteFunc(slices.Clone(found), func(s Snapshot[R]) bool { return t.schema.Head(&s.Record).Deleted })
	if len(live) == 0 {
		live = found
	}
	ids := make([]string, len(live))
	for i := range live {
		ids[i] = t.id(&live[i].Record)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > 1 {
		return Snapshot[R]{}, t.s.duplicates(t.schema.Name(), ids)
	}
	return live[0], nil
}

// key is what finds the record of a reference.
func (t *records[R]) key(ref erp.Ref) Key { return Key{Ref: ref, Mark: markOf(t.object, refName(ref))} }

func refName(ref erp.Ref) string { return hashed("ref", ref.System, ref.Type, ref.Value) }

// Create implements store.Records.
func (t *records[R]) Create(ctx context.Context, r R, seal store.Seal[R]) (R, error) {
	res, err := t.one(ctx, modeCreate, store.Upsert[R]{Record: r}, seal)
	return res.Record, err
}

// Update implements store.Records.
func (t *records[R]) Update(ctx context.Context, u store.Upsert[R]) (store.Result[R], error) {
	return t.one(ctx, modeUpdate, u, nil)
}

// Delete implements store.Records.
func (t *records[R]) Delete(ctx context.Context, id string) (store.Result[R], error) {
	var u store.Upsert[R]
	t.schema.Head(&u.Record).ID = id
	return t.one(ctx, modeDelete, u, nil)
}

// Upsert implements store.Records. Records are written one by one there, so a batch is not one transaction: the error of the
// whole batch means only that nothing was sent.
func (t *records[R]) Upsert(ctx context.Context, batch []store.Upsert[R]) ([]store.Result[R], error) {
	return t.run(ctx, modeUpsert, batch, nil)
}

func (t *records[R]) one(ctx context.Context, m mode, u store.Upsert[R], seal store.Seal[R]) (store.Result[R], error) {
	results, err := t.run(ctx, m, []store.Upsert[R]{u}, seal)
	if err != nil {
		return store.Result[R]{}, err
	}
	return results[0], results[0].Err
}
