// Package replay keeps answers of completed keys close to the client, so that a retry does not travel to the ERP again.
//
// The invariants: an answer is found only by who knows everything that its slot was made of, the key among it; the store
// sees neither the key nor the caller nor the answer, because the slot's name is a digest and the answer is sealed with
// another; and what is lost costs time and nothing else, because the service below keeps every answer for days.
//
// The package does not decide what may be kept or for whom.
package replay

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Store keeps sealed answers. It is safe for concurrent use.
type Store interface {
	// Get returns what was put, which must not be changed; false when it is not there (any more).
	Get(ctx context.Context, s Slot) ([]byte, bool, error)
	// Put keeps a value, which must not be changed afterwards, for some time.
	Put(ctx context.Context, s Slot, value []byte, keep time.Duration) error
}

// Slot is where one answer is kept.
type Slot struct {
	// Name is what the store sees.
	Name [sha256.Size]byte
	// parts are what the name and the seal are digests of.
	parts []byte
}

// NewSlot returns the slot that these parts make. They are told apart by length, so none can pretend to be another.
func NewSlot(parts ...[]byte) Slot {
	size := 0
	for _, p := range parts {
		size += len(p) + binary.MaxVarintLen64
	}
	all := make([]byte, 0, size)
	for _, p := range parts {
		all = append(binary.AppendUvarint(all, uint64(len(p))), p...)
	}
	return Slot{Name: digest(forName, all), parts: all}
}

// What a digest is for.
const (
	forName = 'n'
	forSeal = 's'
)

func digest(kind byte, parts []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte{kind})
	h.Write(parts)
	h.Sum(sum[:0])
	return sum
}

var errSealed = errors.New("a kept answer is not what was put")

// close encrypts a value under a key that only this slot has.
func (s Slot) close(value []byte) ([]byte, error) {
	box, err := s.box()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize())
	// crypto/rand.Read never fails.
	_, _ = rand.Read(nonce)
	return box.Seal(nonce, nonce, value, s.Name[:]), nil
}

func (s Slot) open(sealed []byte) ([]byte, error) {
	box, err := s.box()
	if err != nil {
		return nil, err
	}
	if len(sealed) < box.NonceSize() {
		return nil, errSealed
	}
	value, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], s.Name[:])
	if err != nil {
		return nil, errSealed
	}
	return value, nil
}

// box is made of a digest that no store sees; one that keeps answers in this process needs none.
func (s Slot) box() (cipher.AEAD, error) {
	seal := digest(forSeal, s.parts)
	block, err := aes.NewCipher(seal[:])
	if err != nil {
		return nil, fmt.Errorf("seal answer: %w", err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal answer: %w", err)
	}
	return box, nil
}
