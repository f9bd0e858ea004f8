package event

import (
	"hash/maphash"
	"log/slog"
	"math"
	"sync"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// payload is an event in Avro, made once when it is asked for. Record versions
// never change, so it is the same whenever that is.
type payload struct {
	once   sync.Once
	encode func() ([]byte, error)
	log    *slog.Logger
	data   []byte
}

func made(data []byte) *payload {
	if data == nil {
		data = []byte{}
	}
	return &payload{data: data, encode: func() ([]byte, error) { return data, nil }}
}

// bytes returns nil if the event cannot be encoded.
func (p *payload) bytes() []byte {
	p.once.Do(func() {
		var err error
		if p.data, err = p.encode(); err != nil {
			p.data = nil
			p.log.Error("event could not be encoded", "error", err)
		}
		p.encode = nil
	})
	return p.data
}

// overhead is more than what a value without text, a null or what precedes a
// text takes in Avro.
const overhead = 16

// fingerprint is the same for changes whose events say the same, and hardly
// ever the same for others. most bounds the bytes of what the event says.
func (l *Layout) fingerprint(seed maphash.Seed, ch store.Change) (mark uint64, most int) {
	const prime = 1099511628211
	most = overhead * (len(l.shown) + len(l.fields)) // system fields are short
	mark = uint64(ch.Kind)
	if ch.Kind == store.Delete {
		return mark, most
	}
	for slot, v := range ch.Touched() {
		if !l.shown[slot] {
			continue
		}
		mark = (mark ^ uint64(slot)) * prime
		switch v := v.(type) {
		case string:
			mark ^= maphash.String(seed, v)
			most += 2 * len(v) // a text may be shown twice, in a compound and by itself
		case float64:
			mark ^= math.Float64bits(v + 0) // both zeros are one
		case int64:
			mark ^= uint64(v)
		case bool:
			if v {
				mark ^= 1
			}
		}
	}
	return mark, most
}

// same reports whether the events of two changes of one kind say the same.
func (l *Layout) same(a, b store.Change) bool {
	if a.Kind != b.Kind {
		return false
	}
	if a.Kind == store.Delete {
		return true
	}
	for i := range l.fields {
		f := &l.fields[i]
		if f.parts == nil {
			if !sameField(f.Field, a, b) {
				return false
			}
			continue
		}
		for _, p := range f.parts {
			if p.Field != nil && !sameField(p.Field, a, b) {
				return false
			}
		}
	}
	return true
}

func sameField(f *schema.Field, a, b store.Change) bool {
	va, vb := a.New.Get(f), b.New.Get(f)
	if a.Kind != store.Update {
		return va == vb
	}
	if f.Sys == schema.SysModified {
		return va == vb // every update shows it, also one within the second of the update before
	}
	oa, ob := a.Old.Get(f), b.Old.Get(f)
	switch changedA, changedB := oa != va, ob != vb; {
	case changedA != changedB:
		return false
	case !changedA:
		return true
	case va != vb:
		return false
	}
	da, okA := textDiff(f, oa, va)
	db, okB := textDiff(f, ob, vb)
	return okA == okB && da == db
}
