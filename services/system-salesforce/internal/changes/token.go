package changes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	tokenVersion = 1
	maxToken     = 4096
	// retention is how long Salesforce keeps change events (72 h), less an hour for clocks and for reading them.
	retention = 71 * time.Hour
	// clockMargin is how far Salesforce's clock may be off ours when a stream begins "now".
	clockMargin = 5 * time.Minute
)

// position is where the stream of one topic stands.
type position struct {
	// Replay is the id of the last event handed over; empty until one is known.
	Replay []byte `json:"r,omitempty"`
	// Since, in Unix milliseconds, is when the stream was begun: older events are left out. Zero once the stream has passed
	// that point.
	Since int64 `json:"s,omitempty"`
}

// token is the resume token before encoding: one position per object, valid in one org.
type token struct {
	Version int                 `json:"v"`
	Org     string              `json:"o"`
	Topics  map[string]position `json:"t"`
}

func (t token) encode() (string, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encode resume token: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(raw)
	if len(text) > maxToken {
		return "", fmt.Errorf("encode resume token: %d bytes", len(text))
	}
	return text, nil
}

// parseToken reads a token made by encode that has a position for each object.
func parseToken(text string, objects []string) (token, error) {
	var t token
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return t, invalidToken(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, invalidToken(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return t, invalidToken(errors.New("trailing data"))
	}
	if t.Version != tokenVersion || t.Org == "" || len(t.Topics) != len(objects) {
		return t, invalidToken(errors.New("not a token of this version"))
	}
	for _, o := range objects {
		if p, ok := t.Topics[o]; !ok || len(p.Replay) == 0 && p.Since <= 0 {
			return t, invalidToken(fmt.Errorf("no position of %s", o))
		}
	}
	return t, nil
}

func invalidToken(cause error) error {
	return fault.Wrap(fault.Invalid, fault.ReasonResumeTokenInvalid, cause, "the resume token was not made by this service")
}

func expiredToken(why string) error {
	return fault.New(fault.Precondition, fault.ReasonResumeTokenExpired, "%s; read everything again", why)
}

// check refuses a token whose changes cannot be had any more.
func (t token) check(org string, now time.Time) error {
	if !sameOrg(t.Org, org) {
		return expiredToken("the resume token belongs to another org")
	}
	for _, p := range t.Topics {
		if len(p.Replay) == 0 && now.Sub(time.UnixMilli(p.Since)) > retention {
			return expiredToken("Salesforce no longer keeps the changes after this position")
		}
	}
	return nil
}

// sameOrg compares ids of 15 or 18 characters.
func sameOrg(a, b string) bool {
	return len(a) >= 15 && len(b) >= 15 && a[:15] == b[:15] || a == b
}
