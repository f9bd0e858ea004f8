package idempotent

import (
	"encoding/binary"
	"sync/atomic"
)

// met remembers which keys a store has met since it was opened, roughly: it forgets some, and never takes one for met that
// it has not met, but for two digests that agree in their first 64 bits. Nothing that is correct depends on it. The zero
// value is ready.
type met struct{ slots [1 << 15]atomic.Uint64 }

// before reports whether the key was met before, and notes that it is now.
func (m *met) before(d Digest) bool {
	sum := binary.BigEndian.Uint64(d[:])
	slot := &m.slots[binary.BigEndian.Uint16(d[8:])%uint16(len(m.slots))]
	return slot.Swap(sum) == sum
}
