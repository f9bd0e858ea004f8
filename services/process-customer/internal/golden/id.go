package golden

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
)

// ID names a golden record: "c_" or "p_" and 26 lower-case base32 characters (128 bits). It is lower case only because
// some systems compare external ids without case. The zero value names none.
type ID string

const (
	customerPrefix = "c_"
	contactPrefix  = "p_"
	idBytes        = 16
	idChars        = 26
	alphabet       = "abcdefghijklmnopqrstuvwxyz234567"
)

// idSeedDomain keeps derived ids apart from every other use of the same hash.
const idSeedDomain = "selfsame/golden/v1"

// NewID returns a new id with 128 bits of rand. The error is rand's.
func NewID(obj Object, rand io.Reader) (ID, error) {
	var b [idBytes]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes for an id: %w", err)
	}
	return newID(obj, b[:])
}

// DeriveID returns the id that belongs to seed: the same seed always gives the same id, so that an operation which is
// repeated after a crash makes the same record. The seed must be unguessable or unique per intended record.
func DeriveID(obj Object, seed string) (ID, error) {
	sum := sha256.Sum256([]byte(idSeedDomain + "\x00" + string(obj) + "\x00" + seed))
	return newID(obj, sum[:idBytes])
}

func newID(obj Object, b []byte) (ID, error) {
	var prefix string
	switch obj {
	case Customer:
		prefix = customerPrefix
	case Contact:
		prefix = contactPrefix
	default:
		return "", fmt.Errorf("no ids for object %q", obj)
	}
	return ID(prefix + base32.NewEncoding(alphabet).WithPadding(base32.NoPadding).EncodeToString(b)), nil
}

// ParseID returns s as an id, or false when it is not the text of one.
func ParseID(s string) (ID, bool) {
	id := ID(s)
	if id.Object() == "" {
		return "", false
	}
	body := s[len(customerPrefix):]
	if len(body) != idChars {
		return "", false
	}
	for i := range len(body) {
		if strings.IndexByte(alphabet, body[i]) < 0 {
			return "", false
		}
	}
	return id, true
}

// Object returns the kind of record that id names; empty for what is not an id.
func (id ID) Object() Object {
	switch {
	case strings.HasPrefix(string(id), customerPrefix):
		return Customer
	case strings.HasPrefix(string(id), contactPrefix):
		return Contact
	default:
		return ""
	}
}
