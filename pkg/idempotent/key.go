package idempotent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Metadata names the metadata with the key of a call.
const Metadata = "idempotency-key"

// MaxKey is the longest key, in bytes.
const MaxKey = 255

// Key is a valid key: 1 to 255 visible ASCII characters.
type Key string

// ParseKey checks a key. The error is Invalid, IDEMPOTENCY_KEY_INVALID, and does not repeat the key.
func ParseKey(s string) (Key, error) {
	if s == "" || len(s) > MaxKey {
		return "", invalidKey("must have 1 to 255 characters")
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return "", invalidKey("must consist of visible ASCII characters")
		}
	}
	return Key(s), nil
}

// ParseHeader reads the lines of an HTTP Idempotency-Key header, for the REST edge: one line, either a structured-field
// string ("…" with \" and \\ escapes; parameters after it are ignored) or the bare key. Both spell the same key. No
// line is no key: "" without an error.
func ParseHeader(lines []string) (Key, error) {
	switch len(lines) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", invalidKey("must be given once")
	}
	s := strings.Trim(lines[0], " \t")
	if !strings.HasPrefix(s, `"`) {
		if strings.ContainsAny(s, `",;\`) {
			return "", invalidKey("must be quoted to hold such characters")
		}
		return ParseKey(s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			i++
			if i == len(s) || (s[i] != '"' && s[i] != '\\') {
				return "", invalidKey("holds an unknown escape")
			}
			b.WriteByte(s[i])
		case '"':
			if rest := strings.TrimLeft(s[i+1:], " "); rest != "" && rest[0] != ';' {
				return "", invalidKey("must be one string")
			}
			return ParseKey(b.String())
		default:
			b.WriteByte(c)
		}
	}
	return "", invalidKey("has no closing quote")
}

func invalidKey(why string) error {
	e := fault.New(fault.Invalid, ReasonKeyInvalid, "the idempotency key %s", why)
	e.Fields = []fault.Field{{Path: Metadata, Reason: ReasonKeyInvalid, Description: why}}
	return e
}

// MadeAt returns the time inside a UUIDv7 key; false for a key of any other form. Only a caller's own key has one:
// derived keys carry no time, so whoever takes keys from outside decides about their age.
func (k Key) MadeAt() (time.Time, bool) { return k.madeAt() }

// madeAt returns the time inside a UUIDv7 key.
func (k Key) madeAt() (time.Time, bool) {
	s := string(k)
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[14] != '7' || s[18] != '-' || s[23] != '-' {
		return time.Time{}, false
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || b[8]>>6 != 2 {
		return time.Time{}, false
	}
	ms := binary.BigEndian.Uint64(append([]byte{0, 0}, b[:6]...))
	return time.UnixMilli(int64(ms)), true //nolint:gosec // 48 bits
}

// call is what the context of a protected call holds.
type call struct {
	key       string
	principal string // who called, as part of child keys
	method    string
	root      string   // what all calls for one intended effect have in common; "" if this is the first
	attempt   *attempt // nil if the call is not claimed
}

type callKey struct{}

func callFrom(ctx context.Context) (call, bool) {
	c, ok := ctx.Value(callKey{}).(call)
	return c, ok && c.key != ""
}

// WithKey returns ctx as that of a call with this key, so that Child derives from it. The server interceptor does this;
// background work does it with the key it stored.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, callKey{}, call{key: key})
}

// FromContext returns the key of the current call.
func FromContext(ctx context.Context) (string, bool) {
	c, ok := callFrom(ctx)
	return c.key, ok
}

// Child returns ctx with the key for one effect of the current call, as outgoing metadata. The key is the same in every
// attempt of the call, on every replica and after every deployment: step is a constant in the code
// ("salesforce.account.upsert"), item a business id inside a loop ("" otherwise); never a counter, a time or an attempt.
// Without a current key ctx is returned as it is.
func Child(ctx context.Context, step, item string) context.Context {
	c, ok := callFrom(ctx)
	if !ok {
		return ctx
	}
	if c.root == "" {
		c.root = rootOf(c)
	}
	pairs := []string{Metadata, derive(c.principal, c.key, c.method, step, item), RootMetadata, c.root}
	if c.attempt != nil {
		pairs = append(pairs, AttemptMetadata, strconv.FormatInt(c.attempt.grant.Fence, 10))
	}
	return outgoing(ctx, pairs...)
}

// RootMetadata and AttemptMetadata accompany the key of a child: what all calls for one intended effect have in common,
// and the number of the attempt that makes the call. They serve correlation only; nothing is looked up by them.
const (
	RootMetadata    = "idempotency-root"
	AttemptMetadata = "idempotency-attempt"
)

// root returns what the caller says the root is; "" if it does not, or is not believed.
func (s *server) root(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, RootMetadata); len(v) == 1 && !s.Boundary && len(v[0]) == 16 {
		if _, err := hex.DecodeString(v[0]); err == nil {
			return v[0]
		}
	}
	return ""
}

func rootOf(c call) string {
	sum := sha256.Sum256([]byte("idem-root/v1\x00" + c.principal + "\x00" + c.key))
	return hex.EncodeToString(sum[:8])
}

// ChildOf derives a child key for background work that kept the key it works for.
func ChildOf(parentKey, step, item string) string { return derive("", parentKey, "", step, item) }

// derive hashes the parts with a separator that no key and no name holds. A change of the derivation is a new version:
// old children would not be found again.
func derive(principal, parent, method, step, item string) string {
	const tenant = "" // one tenant per installation
	h := sha256.New()
	for i, part := range []string{"idem/v1", tenant, principal, parent, method, step, item} {
		if i > 0 {
			h.Write([]byte{0})
		}
		h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Outgoing returns ctx with key as the key of outgoing calls, instead of any other.
func Outgoing(ctx context.Context, key string) context.Context {
	return outgoing(ctx, Metadata, key)
}

// outgoing puts pairs of name and value in the place of what is sent under these names. To add is cheap; only to replace takes a copy of everything.
func outgoing(ctx context.Context, pairs ...string) context.Context {
	taken := false
	for i := 0; i < len(pairs); i += 2 {
		taken = taken || len(metadata.ValueFromOutgoingContext(ctx, pairs[i])) > 0
	}
	if !taken {
		return metadata.AppendToOutgoingContext(ctx, pairs...)
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	for i := 0; i < len(pairs); i += 2 {
		md.Set(pairs[i], pairs[i+1])
	}
	return metadata.NewOutgoingContext(ctx, md)
}
