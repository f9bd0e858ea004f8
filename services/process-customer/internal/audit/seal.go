package audit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
)

// Field is what happened to one field.
type Field struct {
	Name string `json:"f"`
	// Before and After are the values; personal data.
	Before string `json:"b,omitempty"`
	After  string `json:"a,omitempty"`
	// Rule is what decided; empty when nothing had to be decided.
	Rule string `json:"r,omitempty"`
}

// Detail is what only those may read who may read the subject's data.
type Detail struct {
	Fields []Field `json:"fields,omitempty"`
	// Note is what a person wrote.
	Note string `json:"note,omitempty"`
}

// Empty reports whether there is nothing to keep.
func (d Detail) Empty() bool { return len(d.Fields) == 0 && d.Note == "" }

// KeySize is the size of a subject's key in bytes.
const KeySize = 32

// NewKey returns a key for a subject.
func NewKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// ErrSealed is returned when a detail cannot be opened with the key: it is of another subject or was changed.
var ErrSealed = errors.New("the detail cannot be opened")

// Seal encrypts a detail under its subject's key (AES-256-GCM). The subject is bound to it.
func Seal(key []byte, subject string, d Detail) ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, text, []byte(subject)), nil
}

// Open decrypts what Seal has made.
func Open(key []byte, subject string, sealed []byte) (Detail, error) {
	var d Detail
	a, err := aead(key)
	if err != nil {
		return d, err
	}
	text, err := a.Open(nil, nil, sealed, []byte(subject))
	if err != nil {
		return d, ErrSealed
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, ErrSealed
	}
	return d, nil
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return a, nil
}
