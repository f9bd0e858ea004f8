package evaluate

import "github.com/selfsame-io/selfsame/services/process-customer/match"

// blocks say which records share keys, in few bytes: keys that one record has alone, and those that too many have, are left
// out.
type blocks struct {
	starts, list []uint32 // the records of each block
	from, keys   []uint32 // the blocks of each record
}

// build reads sorted keys twice: once to count, once to fill.
func (b *blocks) build(keys *spill, records int) error {
	count, total := make([]uint32, records+1), 0
	shared := func(fn func(records []uint32)) func([]uint32) {
		return func(r []uint32) {
			if len(r) > 1 && len(r) <= match.KeyCap {
				fn(r)
			}
		}
	}
	n := 0
	err := keys.each(match.KeyCap+1, shared(func(r []uint32) {
		n++
		total += len(r)
		for _, record := range r {
			count[record]++
		}
	}))
	if err != nil {
		return err
	}
	b.starts, b.list = make([]uint32, 1, n+1), make([]uint32, 0, total)
	b.keys, b.from = make([]uint32, total), count
	sum := uint32(0)
	for i, c := range b.from { // from counts to places
		b.from[i] = sum
		sum += c
	}
	next := make([]uint32, records)
	copy(next, b.from)
	return keys.each(match.KeyCap+1, shared(func(r []uint32) {
		block := uint32(len(b.starts) - 1) //nolint:gosec // as many as keys
		b.list = append(b.list, r...)
		b.starts = append(b.starts, uint32(len(b.list))) //nolint:gosec // as many as postings
		for _, record := range r {
			b.keys[next[record]] = block
			next[record]++
		}
	}))
}

// of returns the blocks of a record.
func (b *blocks) of(n int32) []uint32 { return b.keys[b.from[n]:b.from[n+1]] }

// members returns the records of a block.
func (b *blocks) members(block uint32) []uint32 { return b.list[b.starts[block]:b.starts[block+1]] }
