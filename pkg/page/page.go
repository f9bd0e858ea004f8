// Package page makes opaque page tokens for keyset paging.
//
// A token holds the cursor (the last key that was returned) and a hash of the filter it belongs to. The
// invariant: a token that was made for one query is refused by another one, instead of returning a page from
// the wrong place. Tokens are not secret and not signed: a cursor must not hold personal data, and the query
// must apply the caller's rights again on every page.
package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// MaxToken is the longest token that Decode looks at, in bytes.
const MaxToken = 4096

const version = 1

type envelope struct {
	Version int             `json:"v"`
	Filter  string          `json:"f"`
	Cursor  json.RawMessage `json:"c"`
}

// Encode returns the token for the page after cursor, a value that encoding/json can write. It fails only if
// the cursor cannot be written or makes the token longer than MaxToken.
func Encode(filterHash string, cursor any) (string, error) {
	raw, err := json.Marshal(cursor)
	if err != nil {
		return "", fmt.Errorf("encode page cursor: %w", err)
	}
	body, err := json.Marshal(envelope{Version: version, Filter: filterHash, Cursor: raw})
	if err != nil {
		return "", fmt.Errorf("encode page token: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(body)
	if len(token) > MaxToken {
		return "", fmt.Errorf("encode page token: %d bytes, more than %d", len(token), MaxToken)
	}
	return token, nil
}

// Decode reads a token into cursor, a pointer. An empty token is the first page: cursor is left as it is.
// Any other token that Encode did not make for the same filter is refused with an Invalid error,
// PAGE_TOKEN_INVALID; cursor may then be partly written and must not be used.
func Decode(token, filterHash string, cursor any) error {
	if token == "" {
		return nil
	}
	if len(token) > MaxToken {
		return invalid(errors.New("too long"))
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return invalid(err)
	}
	var e envelope
	if err := strict(body, &e); err != nil {
		return invalid(err)
	}
	switch {
	case e.Version != version:
		return invalid(fmt.Errorf("version %d", e.Version))
	case e.Filter != filterHash:
		return invalid(errors.New("made for another query"))
	case len(e.Cursor) == 0:
		return invalid(errors.New("no cursor"))
	}
	if err := strict(e.Cursor, cursor); err != nil {
		return invalid(err)
	}
	return nil
}

func strict(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing data")
	}
	return nil
}

func invalid(cause error) error {
	e := fault.Wrap(fault.Invalid, fault.ReasonPageTokenInvalid, cause,
		"the page token is not valid for this query; start again without one")
	e.Fields = []fault.Field{{Path: "page_token", Reason: fault.ReasonPageTokenInvalid, Description: "not a token of this query"}}
	return e
}

// Hash returns a short hash of everything a page depends on but the cursor: filter, order, parent.
func Hash(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// Size returns the page size to use: def when nothing was requested, at most max. A negative request is
// refused with an Invalid error.
func Size(requested, def, limit int32) (int, error) {
	switch {
	case requested < 0:
		return 0, fault.InvalidField("page_size", "", "must not be negative")
	case requested == 0:
		return int(min(def, limit)), nil
	default:
		return int(min(requested, limit)), nil
	}
}
