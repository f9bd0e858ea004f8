package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// table maps one kind of record to its tables.
type table[R any] struct {
	object  erp.Object
	schema  *erp.Schema[R]
	name    string
	columns []string // id first
	values  func(*R) []any
	targets func(*R) []any
	// load reads what is kept beside the main row; nil for nothing.
	load func(ctx context.Context, q querier, byID map[string]*R, ids []string) error
	// save writes what is kept beside the main row; nil for nothing.
	save func(ctx context.Context, q txn, changed []change[R]) error
	// number returns the field that is unique beside the id; nil for none.
	number func(*R) string
	// parent returns the customer the record belongs to; nil when it belongs to nobody.
	parent func(*R) string
}

// records implements store.Records.
type records[R any] struct {
	*Store
	table table[R]
}

func (t *records[R]) refTable() string { return t.table.name + "_ref" }

func (t *records[R]) id(r *R) string { return t.table.schema.Head(r).ID }

// Get implements store.Records.
func (t *records[R]) Get(ctx context.Context, ids []string) (map[string]R, error) {
	found, err := t.read(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make(map[string]R, len(found))
	for id, r := range found {
		out[id] = *r
	}
	return out, nil
}

// read loads records whole. Main rows and their side rows are read by several statements; a record that changed in between
// is read again, so that no caller sees the addresses of one version with the number of another.
func (t *records[R]) read(ctx context.Context, ids []string) (map[string]*R, error) {
	out := make(map[string]*R, len(ids))
	for range maxRaces {
		if len(ids) == 0 {
			return out, nil
		}
		found, err := t.loadAll(ctx, t.db.Read(), ids, "")
		if err != nil {
			return nil, err
		}
		versions, err := t.versions(ctx, found)
		if err != nil {
			return nil, err
		}
		ids = ids[:0:0]
		for id, r := range found {
			if t.table.schema.Head(r).Version == versions[id] {
				out[id] = r
			} else {
				ids = append(ids, id)
			}
		}
	}
	return nil, fault.New(fault.Unavailable, store.ReasonContention, "the record changes too often to be read")
}

func (t *records[R]) versions(ctx context.Context, found map[string]*R) (map[string]int64, error) {
	versions := make(map[string]int64, len(found))
	if len(found) == 0 {
		return versions, nil
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	list, args := in(ids)
	err := each(ctx, t.db.Read(), func(scan func(...any) error) error {
		var id string
		var v int64
		err := scan(&id, &v)
		versions[id] = v
		return err
	}, "SELECT id, version FROM "+t.table.name+" WHERE id IN "+list, args...)
	if err != nil {
		return nil, fmt.Errorf("read versions of %s: %w", t.table.name, err)
	}
	return versions, nil
}

// loadAll reads main and side rows; lock is appended to the query of the main rows.
func (t *records[R]) loadAll(ctx context.Context, q querier, ids []string, lock string) (map[string]*R, error) {
	byID := make(map[string]*R, len(ids))
	if len(ids) == 0 {
		return byID, nil
	}
	list, args := in(ids)
	// The order by id makes concurrent writers lock rows in one order.
	err := each(ctx, q, func(scan func(...any) error) error {
		r := new(R)
		if err := scan(t.table.targets(r)...); err != nil {
			return err
		}
		byID[t.id(r)] = r
		return nil
	}, "SELECT "+strings.Join(t.table.columns, ", ")+" FROM "+t.table.name+" WHERE id IN "+list+" ORDER BY id"+lock, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.table.name, err)
	}
	if len(byID) == 0 {
		return byID, nil
	}
	known := ids[:0:0]
	for id := range byID {
		known = append(known, id)
	}
	if err := t.loadRefs(ctx, q, byID, known); err != nil {
		return nil, err
	}
	if t.table.load != nil {
		if err := t.table.load(ctx, q, byID, known); err != nil {
			return nil, err
		}
	}
	return byID, nil
}

func (t *records[R]) loadRefs(ctx context.Context, q querier, byID map[string]*R, ids []string) error {
	list, args := in(ids)
	err := each(ctx, q, func(scan func(...any) error) error {
		var id string
		var ref erp.Ref
		if err := scan(&id, &ref.System, &ref.Type, &ref.Value); err != nil {
			return err
		}
		h := t.table.schema.Head(byID[id])
		h.Refs = append(h.Refs, ref)
		return nil
	}, "SELECT record_id, system, type, value FROM "+t.refTable()+" WHERE record_id IN "+list, args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.refTable(), err)
	}
	// Sorted here, because the databases collate differently.
	for _, r := range byID {
		slices.SortFunc(t.table.schema.Head(r).Refs, erp.Ref.Compare)
	}
	return nil
}

// List implements store.Records.
func (t *records[R]) List(ctx context.Context, after string, limit int) ([]R, error) {
	var ids []string
	err := each(ctx, t.db.Read(), func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM "+t.table.name+" WHERE id > $1 AND NOT deleted ORDER BY id LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", t.table.name, err)
	}
	found, err := t.read(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]R, 0, len(ids))
	for _, id := range ids {
		if r := found[id]; r != nil {
			out = append(out, *r)
		}
	}
	return out, nil
}

// Lookup implements store.Records.
func (t *records[R]) Lookup(ctx context.Context, ref erp.Ref) (R, error) {
	var none R
	owners, err := t.owners(ctx, t.db.Read(), []erp.Ref{ref})
	if err != nil {
		return none, err
	}
	id, ok := owners[ref]
	if !ok {
		return none, fault.New(fault.NotFound, fault.ReasonNotFound, "no %s carries this reference", t.table.name)
	}
	found, err := t.read(ctx, []string{id})
	if err != nil {
		return none, err
	}
	if r := found[id]; r != nil {
		return *r, nil
	}
	return none, fmt.Errorf("%s of a reference is missing", t.table.name)
}

// owners returns who carries which of the references. On PostgreSQL it is one statement, because two would see two states:
// the key of a record still missing, another of its references already there.
func (t *records[R]) owners(ctx context.Context, q querier, refs []erp.Ref) (map[erp.Ref]string, error) {
	owners := make(map[erp.Ref]string, len(refs))
	size := max(1, len(refs))
	if t.db.Engine() == db.SQLite {
		size = t.params() / 3
	}
	for chunk := range slices.Chunk(refs, size) {
		args := make([]any, 0, 3*len(chunk))
		for _, r := range chunk {
			args = append(args, r.System, r.Type, r.Value)
		}
		err := each(ctx, q, func(scan func(...any) error) error {
			var ref erp.Ref
			var id string
			err := scan(&ref.System, &ref.Type, &ref.Value, &id)
			owners[ref] = id
			return err
		}, "SELECT system, type, value, record_id FROM "+t.refTable()+" WHERE (system, type, value) IN (VALUES "+
			tuples(len(chunk), 3)+")", args...)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", t.refTable(), err)
		}
	}
	return owners, nil
}

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
	t.table.schema.Head(&u.Record).ID = id
	return t.one(ctx, modeDelete, u, nil)
}

// Upsert implements store.Records.
func (t *records[R]) Upsert(ctx context.Context, batch []store.Upsert[R]) ([]store.Result[R], error) {
	return t.write(ctx, modeUpsert, batch, nil, put[R]{})
}

// one writes a single record and turns a refusal into the call's error.
func (t *records[R]) one(ctx context.Context, m mode, u store.Upsert[R], seal store.Seal[R]) (store.Result[R], error) {
	results, err := t.write(ctx, m, []store.Upsert[R]{u}, seal, put[R]{})
	if err != nil {
		return store.Result[R]{}, err
	}
	return results[0], results[0].Err
}
