package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
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
	modePut
)

// change is one record that will be written.
type change[R any] struct {
	old  *R // nil for a new record
	rec  *R
	kind store.ChangeKind
}

// plan is everything known about a batch before anything is written.
type plan[R any] struct {
	t       *records[R]
	mode    mode
	now     time.Time
	asOf    time.Time // of modePut
	batch   []store.Upsert[R]
	targets []string // record meant by each write; empty for none
	twice   map[string]bool
	keys    map[erp.Ref]int
	owners  map[erp.Ref]string
	numbers map[string]string
	parents map[string]bool // customer id → deleted
	old     map[string]*R
	changes []change[R]
	results []store.Result[R]
}

// write plans and applies a batch in one transaction, again when it lost a race.
func (t *records[R]) write(ctx context.Context, m mode, batch []store.Upsert[R], seal store.Seal[R], o put[R]) ([]store.Result[R], error) {
	var p *plan[R]
	err := t.inTx(ctx, func(ctx context.Context, q txn) error {
		p = &plan[R]{t: t, mode: m, now: t.stamp(), batch: batch, asOf: o.asOf}
		if err := p.look(ctx, q); err != nil {
			return err
		}
		p.decide()
		return p.apply(ctx, q, seal, o.after)
	})
	if err != nil {
		return nil, err
	}
	if len(p.changes) > 0 {
		t.committed()
	}
	return p.results, nil
}

// look reads everything the decisions depend on and locks the records that may change.
func (p *plan[R]) look(ctx context.Context, q txn) (err error) {
	t := p.t
	var refs []erp.Ref
	var numbers, parents []string
	p.keys = make(map[erp.Ref]int)
	for i := range p.batch {
		u := &p.batch[i]
		refs = append(refs, t.table.schema.Head(&u.Record).Refs...)
		if !u.Key.Zero() {
			refs = append(refs, u.Key)
			p.keys[u.Key]++
		}
		if t.table.number != nil && t.table.number(&u.Record) != "" {
			numbers = append(numbers, t.table.number(&u.Record))
		}
		if t.table.parent != nil && t.table.parent(&u.Record) != "" {
			parents = append(parents, t.table.parent(&u.Record))
		}
	}
	// The order matters where each statement sees what was committed before it: a number or a parent that a faster writer
	// brought is seen only together with the references it brought, so that its record is found and not run into.
	if p.numbers, err = t.numberOwners(ctx, q, numbers); err != nil {
		return err
	}
	if p.parents, err = t.keptCustomers(ctx, q, parents); err != nil {
		return err
	}
	slices.SortFunc(refs, erp.Ref.Compare)
	if p.owners, err = t.owners(ctx, q, slices.Compact(refs)); err != nil {
		return err
	}
	p.old, err = t.loadAll(ctx, q, p.aim(), t.lockRows())
	return err
}

// aim finds the record each write means and returns their ids.
func (p *plan[R]) aim() []string {
	p.targets = make([]string, len(p.batch))
	p.twice = make(map[string]bool)
	var ids []string
	for i := range p.batch {
		u := &p.batch[i]
		id := p.t.id(&u.Record)
		if id == "" && p.mode == modeUpsert {
			id = p.owners[u.Key]
		}
		p.targets[i] = id
		if id == "" {
			continue
		}
		if slices.Contains(ids, id) {
			p.twice[id] = true
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// decide settles each write in order. Later writes see what earlier ones of the batch took.
func (p *plan[R]) decide() {
	p.results = make([]store.Result[R], len(p.batch))
	for i := range p.batch {
		rec, kind, err := p.decideOne(i)
		if err != nil {
			p.results[i] = store.Result[R]{Outcome: erp.Refused, Err: err}
			continue
		}
		res := store.Result[R]{Record: *rec, Outcome: erp.Unchanged}
		if kind != 0 {
			p.changes = append(p.changes, change[R]{old: p.old[p.targets[i]], rec: rec, kind: kind})
			res.Outcome = erp.Updated
			if kind == store.ChangeCreated {
				res.Outcome = erp.Created
			}
			p.take(rec)
		}
		p.results[i] = res
	}
}

// decideOne returns the record as it will be and what happens to it; kind zero means nothing.
func (p *plan[R]) decideOne(i int) (*R, store.ChangeKind, error) {
	u, s := &p.batch[i], p.t.table.schema
	if p.twice[p.targets[i]] || p.keys[u.Key] > 1 {
		return nil, 0, fault.New(fault.Invalid, store.ReasonDuplicate, "the request names the same %s twice", s.Name())
	}
	old := p.old[p.targets[i]]
	if p.mode == modePut {
		return p.put(i, old)
	}
	switch {
	case old == nil && (p.mode == modeUpdate || p.mode == modeDelete || p.targets[i] != ""):
		return nil, 0, fault.New(fault.NotFound, fault.ReasonNotFound, "no %s has this id", s.Name())
	case old != nil && p.mode == modeDelete && s.Head(old).Deleted:
		return old, 0, nil
	case old != nil && s.Head(old).Deleted:
		return nil, 0, fault.New(fault.Precondition, erp.ReasonDeleted, "the %s was deleted", s.Name())
	case old != nil && p.mode == modeDelete:
		rec := s.Bury(*old, p.now)
		return &rec, store.ChangeDeleted, nil
	case old == nil && u.Expected != 0:
		return nil, 0, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the %s does not exist any more", s.Name())
	case old == nil && p.mode == modeUpsert && u.Key.Zero():
		// Without anything that identifies it, a repeated call would make the record twice.
		return nil, 0, fault.InvalidField("key", erp.ReasonRequired, "an upsert names an id or a key")
	case old == nil:
		rec, err := s.New(u.Record, u.Key, newID(p.now), p.now)
		if err == nil {
			err = p.conflict(nil, &rec, u.Key)
		}
		return &rec, store.ChangeCreated, err
	}
	rec, differs, err := s.Merge(*old, u.Record, u.Mask, u.Key, p.now)
	if err != nil || !differs {
		return old, 0, err
	}
	if u.Expected != 0 && u.Expected != s.Head(old).Version {
		return nil, 0, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the %s has another version", s.Name())
	}
	return &rec, store.ChangeUpdated, p.conflict(old, &rec, u.Key)
}

// conflict tells which other record stands in the way of rec.
func (p *plan[R]) conflict(old, rec *R, key erp.Ref) error {
	t, id := p.t, p.t.id(rec)
	for _, ref := range t.table.schema.Head(rec).Refs {
		if owner, ok := p.owners[ref]; ok && owner != id {
			path := t.table.schema.Name() + ".refs"
			if ref == key {
				path = "key"
			}
			return taken(path, store.ReasonReferenceTaken, "another record carries this reference", owner)
		}
	}
	if t.table.number != nil {
		if owner, ok := p.numbers[t.table.number(rec)]; ok && owner != id {
			return taken(t.table.schema.Name()+".number", store.ReasonNumberTaken, "another record has this number", owner)
		}
	}
	if t.table.parent == nil {
		return nil
	}
	parent := t.table.parent(rec)
	if parent == "" || old != nil && t.table.parent(old) == parent {
		return nil
	}
	path := t.table.schema.Name() + ".customer_id"
	switch deleted, known := p.parents[parent]; {
	case !known:
		return fault.InvalidField(path, erp.ReasonUnknownRecord, "no customer has this id")
	case deleted:
		return fault.InvalidField(path, erp.ReasonDeleted, "the customer was deleted")
	}
	return nil
}

func taken(path, reason, text, owner string) error {
	e := fault.New(fault.AlreadyExists, reason, "%s: %s", path, text).WithMeta("record_id", owner)
	e.Fields = []fault.Field{{Path: path, Reason: reason, Description: text}}
	return e
}

// take notes what rec owns from now on.
func (p *plan[R]) take(rec *R) {
	for _, ref := range p.t.table.schema.Head(rec).Refs {
		p.owners[ref] = p.t.id(rec)
	}
	if p.t.table.number != nil {
		p.numbers[p.t.table.number(rec)] = p.t.id(rec)
	}
}

// apply writes the changes. References go in sorted order, so that concurrent writers of the same ones queue instead of
// waiting for each other in a circle; positions in the feed are taken last, because that lock is held until the commit.
func (p *plan[R]) apply(ctx context.Context, q txn, seal store.Seal[R], after After[R]) error {
	if len(p.changes) == 0 {
		if after != nil {
			return after(ctx, q.raw, p.results)
		}
		return nil
	}
	t := p.t
	main := make([][]any, 0, len(p.changes))
	for _, c := range p.changes {
		main = append(main, t.table.values(c.rec))
	}
	n, err := insert(ctx, q, t.table.name, t.table.columns, t.saveClause(), main)
	if err != nil {
		return err
	}
	if n != len(main) {
		return errRace
	}
	refs := p.newRefs()
	n, err = insert(ctx, q, t.refTable(), []string{"system", "type", "value", "record_id"},
		" ON CONFLICT (system, type, value) DO NOTHING", refs)
	if err != nil {
		return err
	}
	if n != len(refs) {
		return errRace
	}
	if t.table.save != nil {
		if err := t.table.save(ctx, q, p.changes); err != nil {
			return err
		}
	}
	for _, c := range p.changes {
		if seal == nil {
			break
		}
		if err := seal(ctx, q.raw, *c.rec); err != nil {
			return err
		}
	}
	if after != nil {
		if err := after(ctx, q.raw, p.results); err != nil {
			return err
		}
	}
	entries := make([]entry, len(p.changes))
	var buried []string
	for i, c := range p.changes {
		entries[i] = entry{object: t.table.object, id: t.id(c.rec), kind: c.kind}
		if t.table.schema.Head(c.rec).Deleted {
			buried = append(buried, entries[i].id)
		}
	}
	if len(buried) > 0 {
		if err := t.gone(ctx, q.raw, buried); err != nil {
			return err
		}
	}
	return t.publish(ctx, q, p.now, entries)
}

// saveClause turns the insert of main rows into "insert, or replace the version before".
func (t *records[R]) saveClause() string {
	sets := make([]string, 0, len(t.table.columns)-1)
	for _, c := range t.table.columns[1:] {
		sets = append(sets, c+" = excluded."+c)
	}
	return " ON CONFLICT (id) DO UPDATE SET " + strings.Join(sets, ", ") +
		" WHERE " + t.table.name + ".version = excluded.version - 1"
}

func (p *plan[R]) newRefs() [][]any {
	type owned struct {
		ref erp.Ref
		id  string
	}
	var list []owned
	for _, c := range p.changes {
		var before []erp.Ref
		if c.old != nil {
			before = p.t.table.schema.Head(c.old).Refs
		}
		for _, ref := range p.t.table.schema.Head(c.rec).Refs {
			if !slices.Contains(before, ref) {
				list = append(list, owned{ref, p.t.id(c.rec)})
			}
		}
	}
	slices.SortFunc(list, func(a, b owned) int { return a.ref.Compare(b.ref) })
	rows := make([][]any, len(list))
	for i, o := range list {
		rows[i] = []any{o.ref.System, o.ref.Type, o.ref.Value, o.id}
	}
	return rows
}

func (t *records[R]) numberOwners(ctx context.Context, q querier, numbers []string) (map[string]string, error) {
	owners := make(map[string]string)
	if len(numbers) == 0 {
		return owners, nil
	}
	list, args := in(numbers)
	err := each(ctx, q, func(scan func(...any) error) error {
		var number, id string
		err := scan(&number, &id)
		owners[number] = id
		return err
	}, "SELECT number, id FROM "+t.table.name+" WHERE number IN "+list, args...)
	if err != nil {
		return nil, fmt.Errorf("look up numbers of %s: %w", t.table.name, err)
	}
	return owners, nil
}
