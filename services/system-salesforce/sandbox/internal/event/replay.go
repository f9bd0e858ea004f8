package event

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// hostileMark begins the replay ids of a hostile bus; it is no valid UTF-8.
const hostileMark = "\xc3\x28\xff"

// Wire is the form of a replay id that clients see: eight bytes, or on a
// hostile bus something that only a client that treats ids as opaque survives.
func (b *Bus) Wire(n uint64) []byte {
	if !b.opt.Hostile {
		return binary.BigEndian.AppendUint64(nil, n)
	}
	out := binary.LittleEndian.AppendUint64([]byte(hostileMark), n)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

// number is the inverse of Wire.
func (b *Bus) number(id []byte) (uint64, bool) {
	if !b.opt.Hostile {
		if len(id) != 8 {
			return 0, false
		}
		return binary.BigEndian.Uint64(id), true
	}
	if len(id) != len(hostileMark)+8+4 {
		return 0, false
	}
	n := binary.LittleEndian.Uint64(id[len(hostileMark):])
	return n, bytes.Equal(id, b.Wire(n))
}
