package store

import (
	"slices"
	"sort"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// binTime is how long a deleted record stays in the recycle bin, in seconds.
// Until then the deletion can be learned of, even if the bin was emptied.
const binTime = int64(15 * 24 * time.Hour / time.Second)

func notInBin(code string) *Error { return refuse(code, "entity is not in the recycle bin") }

// remove moves a live record, and those that go with it, to the bin. with is
// the id of the record whose deletion takes this one along; empty for the first.
func (tx *Tx) remove(old *Record, with string) *Error {
	if tx.locked(old) {
		return lockError(old.ID)
	}
	mark := tx.Mark()
	root := with
	if root == "" {
		root = old.ID
	}
	for _, f := range tx.Schema().Children(old.Object) {
		for _, child := range tx.Lookup(f, old.ID) {
			if err := tx.orphan(f, child, old, root); err != nil {
				tx.Rollback(mark)
				return err
			}
		}
	}
	r := old.next()
	r.Deleted, r.with = true, with
	tx.put(Delete, old, r)
	return nil
}

// Undelete brings a record back from the bin, and with it the records that its
// deletion took along; those cannot be brought back alone. References that the
// deletion took out are put back if nothing else is in their place.
func (tx *Tx) Undelete(id string) *Error {
	old := tx.Any(id)
	if old == nil || !old.Deleted || old.with != "" {
		return notInBin("UNDELETE_FAILED")
	}
	if !tx.sees(id) {
		return unseen()
	}
	mark := tx.Mark()
	if err := tx.restore(old, old.ID); err != nil {
		tx.Rollback(mark)
		return err
	}
	return nil
}

func (tx *Tx) restore(old *Record, root string) *Error {
	r := old.next()
	r.Deleted, r.with = false, ""
	if old.Object.Mergeable {
		r.set(master(old.Object), nil)
	}
	if err := tx.unique(r); err != nil {
		return err
	}
	tx.put(Undelete, old, r)
	for _, child := range tx.taken(old, root) {
		if err := tx.restore(child, root); err != nil {
			return err
		}
	}
	tx.relink(r)
	return nil
}

// link is a reference that the deletion of its target took out.
type link struct {
	field *schema.Field
	child string
}

// account keeps the bin up to date with one of the changes of a commit.
func (s *Store) account(c Change, all []Change) {
	switch c.Kind {
	case Undelete:
		delete(s.cut, c.New.ID)
	case Delete:
		s.bin = append(s.bin, c.New)
		delete(s.cut, c.New.ID)
		for _, f := range s.opt.Schema.Children(c.New.Object) {
			if f.OnDelete != "clear" {
				continue
			}
			for _, o := range all {
				if o.Kind == Update && o.New.Object == f.Object && o.Old.Get(f) == c.New.ID && o.New.Get(f) == nil {
					s.cut[c.New.ID] = append(s.cut[c.New.ID], link{f, o.New.ID})
				}
			}
		}
	}
}

// relink points the records that a deletion had unlinked at the record again,
// unless they refer to another one by now.
func (tx *Tx) relink(to *Record) {
	for _, l := range tx.s.cut[to.ID] {
		child := tx.Get(l.field.Object, l.child)
		if child == nil || child.Deleted || child.Get(l.field) != nil {
			continue
		}
		r := child.next()
		r.set(l.field, to.ID)
		tx.put(Update, child, r)
	}
}

// taken returns the deleted records that hang on a record and were taken along
// by the deletion of root.
func (v View) taken(parent *Record, root string) []*Record {
	var out []*Record
	for _, f := range v.Schema().Children(parent.Object) {
		if f.OnDelete != "cascade" {
			continue
		}
		for r := range v.All(f.Object) {
			if r.Deleted && r.with == root && r.Get(f) == parent.ID {
				out = append(out, r)
			}
		}
	}
	return out
}

// Bin returns the records that can be brought back, in the order of their
// deletion.
func (v View) Bin() []*Record {
	var out []*Record
	for _, r := range v.s.bin {
		if r.with == "" && v.s.tables[r.Object].rows[r.row] == r {
			out = append(out, r)
		}
	}
	return out
}

// Purge takes records, and those that were deleted with them, out of the bin
// for good. It returns one refusal, or nil, for each id. There is no event; the
// deletion itself can still be learned of.
func (s *Store) Purge(ids []string) []*Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Error, len(ids))
	for i, id := range ids {
		r := View{s}.Any(id)
		if r == nil || !r.Deleted || r.with != "" {
			out[i] = notInBin("DELETE_FAILED")
			continue
		}
		s.purge(r, r.ID)
	}
	return out
}

func (s *Store) purge(r *Record, root string) {
	children := View{s}.taken(r, root)
	t := s.tables[r.Object]
	t.forget(r)
	delete(s.cut, r.ID)
	at := sort.Search(len(t.buried), func(i int) bool { return t.buried[i].Modified > r.Modified })
	t.buried = slices.Insert(t.buried, at, r)
	for _, child := range children {
		s.purge(child, root)
	}
}

// forget drops the row of a deleted record.
func (t *table) forget(r *Record) {
	t.rows[r.row] = nil
	delete(t.foreign, r.ID)
}

// Buried returns the records that left the bin before their time and were
// deleted from one second to another, both included.
func (v View) Buried(o *schema.Object, from, to int64) []*Record {
	all := v.s.tables[o].buried
	start := sort.Search(len(all), func(i int) bool { return all[i].Modified >= from })
	end := sort.Search(len(all), func(i int) bool { return all[i].Modified > to })
	return all[start:max(start, end)]
}

// sweep forgets the records whose time in the bin is over.
func (s *Store) sweep(now int64) {
	if !s.due(now) {
		return
	}
	over := func(list []*Record) int {
		return sort.Search(len(list), func(i int) bool { return list[i].Modified+binTime > now })
	}
	n := over(s.bin)
	for _, r := range s.bin[:n] {
		if t := s.tables[r.Object]; t.rows[r.row] == r {
			t.forget(r)
			delete(s.cut, r.ID)
		}
	}
	clear(s.bin[:n])
	s.bin = s.bin[n:]
	for _, t := range s.tables {
		n := over(t.buried)
		clear(t.buried[:n])
		t.buried = t.buried[n:]
	}
}

// due reports whether there is something to sweep.
func (s *Store) due(now int64) bool { return len(s.bin) > 0 && s.bin[0].Modified+binTime <= now }
