package store

import (
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// publish notes a platform event, which the commit hook sees if the
// transaction commits. Ids count up even if it does not.
func (tx *Tx) publish(r *Record) string {
	t := tx.s.tables[r.Object]
	t.sent++
	r.ID, r.row = sfid.New(r.Object.Prefix, t.sent), -1
	tx.changes = append(tx.changes, Change{Kind: Publish, New: r})
	return r.ID
}

// Parents returns the ids that the record refers to, its owner excepted.
func (r *Record) Parents() []string {
	var out []string
	for _, f := range r.Object.Fields {
		if f.Type != schema.Reference || f.Sys != schema.NotSystem || f.Owner {
			continue
		}
		if id, ok := r.Get(f).(string); ok {
			out = append(out, id)
		}
	}
	return out
}

// Rename gives a row of a read-only object another id, as when an organization
// is moved. It makes no event.
func (s *Store) Rename(o *schema.Object, from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[o]
	old := t.get(from)
	if old == nil {
		return
	}
	r := old.next()
	r.ID = to
	delete(t.foreign, from)
	t.foreign[to] = r.row
	t.put(old, r)
	t.note(r)
}
