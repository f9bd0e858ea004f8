package store

import "iter"

// Touched yields, by slot, the stored fields that differ between Old and New,
// with their new values, nil for null. Of a change without Old it yields all.
func (c Change) Touched() iter.Seq2[int, any] {
	return func(yield func(slot int, v any) bool) {
		var old []cell
		if c.Old != nil && c.Kind == Update {
			old = c.Old.cells
		}
		for _, n := range c.New.cells {
			for len(old) > 0 && old[0].slot < n.slot {
				if !yield(int(old[0].slot), nil) {
					return
				}
				old = old[1:]
			}
			if len(old) > 0 && old[0].slot == n.slot {
				same := old[0].v == n.v
				old = old[1:]
				if same {
					continue
				}
			}
			if !yield(int(n.slot), n.v) {
				return
			}
		}
		for _, o := range old {
			if !yield(int(o.slot), nil) {
				return
			}
		}
	}
}
