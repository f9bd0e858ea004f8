package changes

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// tokenVersion is the first byte of every token.
const tokenVersion = 1

// token is a place in a feed. It proves itself: epoch and stamp must match the feed it is shown to, so that a token from
// another database, or from one that was restored to an earlier state and has gone another way since, is recognised.
type token struct {
	epoch    string // hexadecimal
	position int64
	stamp    int64 // commit time of the change at position in microseconds; zero at position 0
}

// encode writes version, position, stamp, epoch and a checksum, in base64url.
func (t token) encode() string {
	b := []byte{tokenVersion}
	b = binary.AppendUvarint(b, uint64(t.position)) //nolint:gosec // positions are not negative
	b = binary.AppendVarint(b, t.stamp)
	epoch, err := hex.DecodeString(t.epoch)
	if err != nil {
		epoch = []byte(t.epoch) // a foreign epoch still makes a token, which no feed will accept
	}
	b = append(b, epoch...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

var errToken = errors.New("not a resume token")

// decode reads what encode wrote and refuses everything else with RESUME_TOKEN_INVALID.
func decode(text string) (token, error) {
	t, err := parse(text)
	if err != nil {
		e := fault.Wrap(fault.Invalid, fault.ReasonResumeTokenInvalid, err, "the resume token was not made by this service")
		e.Fields = []fault.Field{{Path: "resume_token", Reason: fault.ReasonResumeTokenInvalid, Description: "not a resume token"}}
		return token{}, e
	}
	return t, nil
}

func parse(text string) (token, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 1+1+1+4 || b[0] != tokenVersion {
		return token{}, errToken
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return token{}, errToken
	}
	body = body[1:]
	position, n := binary.Uvarint(body)
	if n <= 0 || position > 1<<62 {
		return token{}, errToken
	}
	body = body[n:]
	stamp, n := binary.Varint(body)
	if n <= 0 {
		return token{}, errToken
	}
	return token{epoch: hex.EncodeToString(body[n:]), position: int64(position), stamp: stamp}, nil
}
