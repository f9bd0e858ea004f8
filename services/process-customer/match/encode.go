package match

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// encoding is the form in which prepared records are stored. A record in another one has to be prepared again.
const encoding = 2

// errEncoded means that the bytes are not a record that this matcher has encoded.
var errEncoded = errors.New("not a prepared record of this model")

// Encode returns a prepared record as bytes, so that it can be stored and compared again without normalising its values.
// Equal records have equal bytes. They hold the values, normalised: they are as personal as the record.
func (x *Matcher) Encode(p *Prepared) []byte {
	b := make([]byte, 0, 256)
	b = append(b, encoding, byte(len(p.values)))
	b = appendString(appendString(b, p.Source), p.ID)
	for _, vs := range p.values {
		b = binary.AppendUvarint(b, uint64(len(vs)))
		for i := range vs {
			v := &vs[i]
			b = append(b, v.flags)
			b = appendString(appendString(appendString(b, v.text), v.alt), v.num)
			b = binary.AppendUvarint(b, uint64(len(v.words)))
			for _, w := range v.words {
				b = appendString(b, w)
			}
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decode is the inverse of Encode, for a matcher of the same model.
func (x *Matcher) Decode(b []byte) (*Prepared, error) {
	if len(b) < 2 || b[0] != encoding || int(b[1]) != len(x.layout.slots) {
		return nil, errEncoded
	}
	d := decoder{s: string(b), at: 2} // the strings of the record are parts of this one
	p := &Prepared{values: make([][]value, len(x.layout.slots))}
	p.Source, p.ID = d.text(), d.text()
	for i, s := range x.layout.slots {
		n := d.count()
		if n == 0 {
			continue
		}
		vs := make([]value, n)
		for j := range vs {
			v := &vs[j]
			v.flags = d.byte()
			v.text, v.alt, v.num = d.text(), d.text(), d.text()
			if n := d.count(); n > 0 {
				v.words = make([]string, n)
				for k := range v.words {
					v.words[k] = d.text()
				}
			}
			if s.how == howOrg || s.how == howText {
				v.weigh(x.model.Frequencies, s.name)
			}
		}
		p.values[i] = vs
	}
	if d.bad || d.at != len(d.s) {
		return nil, errEncoded
	}
	return p, nil
}

// decoder reads what appendString and the like have written. Once bad, it reads nothing more.
type decoder struct {
	s   string
	at  int
	bad bool
}

func (d *decoder) byte() byte {
	if d.at >= len(d.s) {
		d.bad = true
		return 0
	}
	d.at++
	return d.s[d.at-1]
}

func (d *decoder) count() int {
	n := uint64(0)
	for shift := 0; shift < 28; shift += 7 {
		c := d.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if n > uint64(len(d.s)) { // nothing has more parts than bytes
				break
			}
			return int(n) //nolint:gosec // at most the length
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) text() string {
	n := d.count()
	if d.bad || n > len(d.s)-d.at {
		d.bad = true
		return ""
	}
	d.at += n
	return d.s[d.at-n : d.at]
}

// Digest names a model by its content: two models with one digest give the same keys and scores.
func (m *Model) Digest() (string, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("digest of the model: %w", err)
	}
	sum := sha256.Sum256(append([]byte{encoding}, b...))
	return hex.EncodeToString(sum[:8]), nil
}

// Bits returns the score, in bits, of a probability between 0 and 1.
func Bits(probability float64) float64 { return bitsOf(probability) }
