package store

import (
	"slices"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// maxVictims is how many records one merge may put into another one.
const maxVictims = 2

func master(o *schema.Object) *schema.Field { return o.Field("MasterRecordId") }

// Merge makes one record of several: what refers to a victim refers to the
// master afterwards, the victims go to the bin with the master's id in them, and
// the master gets the values of in. It returns the ids of the records that
// referred to a victim. Victims go first, so that the master may take over a
// value of theirs that is unique.
func (tx *Tx) Merge(id string, in map[string]any, victims []string) (related []string, refusal *Error) {
	first := tx.Any(id)
	if first == nil {
		return nil, refuse("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
	}
	o := first.Object
	switch {
	case !tx.sees(id):
		return nil, unseen()
	case first.Deleted:
		return nil, refuse("ENTITY_IS_DELETED", "entity is deleted")
	case !o.Mergeable:
		return nil, refuse("MERGE_FAILED", "records of "+o.Name+" cannot be merged")
	case len(victims) == 0 || len(victims) > maxVictims:
		return nil, refuse("MERGE_FAILED", "one or two records can be merged into another one")
	case slices.Contains(victims, id) || len(victims) == 2 && victims[0] == victims[1]:
		return nil, refuse("MERGE_FAILED", "a record cannot be merged twice, or into itself")
	}
	mark := tx.Mark()
	defer func() {
		if refusal != nil {
			tx.Rollback(mark)
		}
	}()
	for _, victim := range victims {
		old, err := tx.live(o, victim)
		if err != nil {
			return nil, err
		}
		moved, err := tx.adopt(o, old.ID, id, victims)
		if err != nil {
			return nil, err
		}
		related = append(related, moved...)
		if err := tx.consume(old.ID, id); err != nil {
			return nil, err
		}
	}
	return related, tx.Update(o, id, in)
}

// adopt points what refers to a victim at the master. What is merged itself
// refers to nothing afterwards.
func (tx *Tx) adopt(o *schema.Object, victim, id string, victims []string) (moved []string, refusal *Error) {
	for _, f := range tx.Schema().Children(o) {
		for _, child := range slices.Clone(tx.Lookup(f, victim)) {
			switch {
			case child.ID == id:
				return nil, refuse("CIRCULAR_DEPENDENCY", "the merged record would refer to itself")
			case slices.Contains(victims, child.ID):
				continue
			case tx.locked(child):
				return nil, lockError(child.ID)
			}
			r := child.next()
			r.set(f, id)
			tx.put(Update, child, r)
			moved = append(moved, r.ID)
		}
	}
	return moved, nil
}

// consume moves a victim to the bin. Nothing refers to it any more, unless it
// is another victim, which goes as well.
func (tx *Tx) consume(victim, id string) *Error {
	old := tx.Any(victim)
	if tx.locked(old) {
		return lockError(old.ID)
	}
	r := old.next()
	r.Deleted = true
	r.set(master(old.Object), id)
	tx.put(Delete, old, r)
	return nil
}
