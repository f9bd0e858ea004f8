package idempotent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// Keyring encrypts what stores keep: answers and the results of steps. Each is encrypted with AES-256-GCM under a key
// of its own, which is kept beside it encrypted under the first key of the ring; the record and the attempt are part of
// what is authenticated, so that an answer moved to another record cannot be read. Whoever erases an answer erases its
// key. It is safe for concurrent use.
type Keyring struct {
	first string
	wraps map[string]cipher.AEAD
}

// MasterKey is a key of a Keyring.
type MasterKey struct {
	// ID names the key in what it encrypted: 1 to 32 bytes, never used for another key.
	ID string
	// Secret is 32 random bytes.
	Secret []byte
}

// NewKeyring returns a ring that encrypts with the first key and reads what any of them encrypted. To replace a key,
// put the new one second on every replica, then first; leave the old one out after the longest retention.
func NewKeyring(keys ...MasterKey) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("keyring: no key")
	}
	k := &Keyring{first: keys[0].ID, wraps: map[string]cipher.AEAD{}}
	for i, key := range keys {
		if len(key.ID) == 0 || len(key.ID) > 32 || k.wraps[key.ID] != nil {
			return nil, fmt.Errorf("keyring: key %d needs an id of its own with 1 to 32 bytes", i+1)
		}
		if len(key.Secret) != dataKey {
			return nil, fmt.Errorf("keyring: key %q has %d bytes, want %d", key.ID, len(key.Secret), dataKey)
		}
		gcm, err := newGCM(key.Secret)
		if err != nil {
			return nil, fmt.Errorf("keyring: key %q: %w", key.ID, err)
		}
		k.wraps[key.ID] = gcm
	}
	return k, nil
}

const (
	dataKey    = 32
	gcmNonce   = 12
	gcmTag     = 16
	wrappedKey = gcmNonce + dataKey + gcmTag
)

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// aad binds what is encrypted to its place.
func aad(d Digest, fence int64, what string) []byte {
	b := make([]byte, 0, len(d)+8+len(what))
	b = append(b, d[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(fence)) //nolint:gosec // the bits
	return append(b, what...)
}

// seal returns: length of the key's id, id, wrapped data key, nonce, ciphertext.
func (k *Keyring) seal(plain, place []byte) ([]byte, error) {
	secret := make([]byte, dataKey)
	_, _ = rand.Read(secret) // never fails
	body, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 1+len(k.first)+wrappedKey+gcmNonce+len(plain)+gcmTag)
	out = append(out, byte(len(k.first)))
	out = append(out, k.first...)
	nonce := make([]byte, 2*gcmNonce)
	_, _ = rand.Read(nonce)
	out = append(out, nonce[:gcmNonce]...)
	out = k.wraps[k.first].Seal(out, nonce[:gcmNonce], secret, place)
	out = append(out, nonce[gcmNonce:]...)
	return body.Seal(out, nonce[gcmNonce:], plain, place), nil
}

var errUnreadable = errors.New("what is stored cannot be read")

// open is the inverse of seal.
func (k *Keyring) open(sealed, place []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed) < 1+int(sealed[0])+wrappedKey+gcmNonce+gcmTag {
		return nil, fmt.Errorf("%w: too short", errUnreadable)
	}
	n := int(sealed[0])
	wrap := k.wraps[string(sealed[1:1+n])]
	if wrap == nil {
		return nil, fmt.Errorf("%w: its key is not in the ring", errUnreadable)
	}
	sealed = sealed[1+n:]
	secret, err := wrap.Open(nil, sealed[:gcmNonce], sealed[gcmNonce:wrappedKey], place)
	if err != nil {
		return nil, fmt.Errorf("%w: its key: %w", errUnreadable, err)
	}
	body, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	sealed = sealed[wrappedKey:]
	plain, err := body.Open(nil, sealed[:gcmNonce], sealed[gcmNonce:], place)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return plain, nil
}
