package changes

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	tokenVersion = 2
	maxToken     = 4096
	maxUnpacked  = 64 << 10
	// retention is how long Salesforce keeps change events.
	retention = 72 * time.Hour
	// clockMargin is how far Salesforce's clock may be off what its answers show when a stream begins "now".
	clockMargin = 5 * time.Minute
)

// position is where the stream of one lane stands.
type position struct {
	// Replay is the id of the last event handed over; empty until one is known.
	Replay []byte `json:"r,omitempty"`
	// Since, in Unix milliseconds, is when the stream was begun: older events are left out. Zero once the stream has passed
	// that point.
	Since int64 `json:"s,omitempty"`
	// Time, in Unix milliseconds by Salesforce's clock, is when what was handed over last was committed: a lost position
	// leaves off there. Zero in tokens of version 1, which do not know.
	Time int64 `json:"m,omitempty"`
	// Fills are the ranges still to be read again. They end before Replay.
	Fills []fill `json:"f,omitempty"`
}

// clone returns a position whose fills can be changed.
func (p position) clone() position {
	p.Fills = slices.Clone(p.Fills)
	return p
}

// token is the resume token before encoding: one position per lane, valid in one org.
type token struct {
	Version int                 `json:"v"`
	Org     string              `json:"o"`
	Topics  map[string]position `json:"t"`
}

// time returns the time up to which everything was sent, of the lane that is furthest behind; nil when a lane does not know.
func (t token) time() *timestamppb.Timestamp {
	oldest := int64(math.MaxInt64)
	for _, p := range t.Topics {
		oldest = min(oldest, p.Time)
	}
	if oldest <= 0 || oldest == math.MaxInt64 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(oldest))
}

func (t token) encode() (string, error) { return encodeToken(t) }

// packed is the first byte of a token that is compressed: many objects with long names would not fit otherwise. Tokens of version
// 1 are plain JSON.
const packed = 2

func encodeToken(t any) (string, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encode resume token: %w", err)
	}
	var out bytes.Buffer
	out.WriteByte(packed)
	z, err := flate.NewWriter(&out, flate.BestSpeed)
	if err == nil {
		_, err = z.Write(raw)
		err = errors.Join(err, z.Close())
	}
	if err != nil {
		return "", fmt.Errorf("encode resume token: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(out.Bytes())
	if len(text) > maxToken {
		return "", fmt.Errorf("encode resume token: %d bytes", len(text))
	}
	return text, nil
}

// decodeToken reads a token made by encodeToken.
func decodeToken(text string, into any) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return invalidToken(err)
	}
	var in io.Reader = bytes.NewReader(raw)
	if len(raw) > 0 && raw[0] == packed {
		in = io.LimitReader(flate.NewReader(bytes.NewReader(raw[1:])), maxUnpacked)
	}
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return invalidToken(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalidToken(errors.New("trailing data"))
	}
	return nil
}

// parseToken reads a token that has a position for each lane. Version 1, without times, is read too.
func parseToken(text string, lanes []*lane) (token, error) {
	var t token
	if err := decodeToken(text, &t); err != nil {
		return t, err
	}
	if t.Version != 1 && t.Version != tokenVersion || t.Org == "" || len(t.Topics) != len(lanes) {
		return t, invalidToken(errors.New("not a token of this version and these objects"))
	}
	t.Version = tokenVersion
	for _, l := range lanes {
		p, ok := t.Topics[l.name]
		if !ok || len(p.Replay) == 0 && p.Since <= 0 || p.Time < 0 {
			return t, invalidToken(fmt.Errorf("no position of %s", l.name))
		}
		for _, f := range p.Fills {
			if err := f.valid(l); err != nil {
				return t, invalidToken(err)
			}
		}
	}
	return t, nil
}

func invalidToken(cause error) error {
	return fault.Wrap(fault.Invalid, fault.ReasonResumeTokenInvalid, cause, "the resume token was not made by this service for these objects")
}

func expiredToken(why string) error {
	return fault.New(fault.Precondition, fault.ReasonResumeTokenExpired, "%s; read everything again", why)
}

// lostForGood is an expired token that reading a range again does not mend.
type lostForGood struct{ error }

func (e lostForGood) Unwrap() error { return e.error }

func otherOrg() error { return lostForGood{expiredToken("the resume token belongs to another org")} }

// sameOrg compares ids of 15 or 18 characters.
func sameOrg(a, b string) bool {
	return len(a) >= 15 && len(b) >= 15 && a[:15] == b[:15] || a == b
}
