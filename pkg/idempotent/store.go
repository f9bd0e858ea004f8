package idempotent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"
)

// Scope is what a key is unique within. Stores keep it only as an HMAC, and the method in clear.
type Scope struct {
	// Principal is the verified caller.
	Principal string
	// Method is the full gRPC method.
	Method string
	// Key is the caller's key.
	Key string
}

// Digest identifies a record: the HMAC of its scope under the store's secret.
type Digest [sha256.Size]byte

// String returns the digest in hexadecimal, as operators see it.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short returns the first 16 digits of String: what spans carry.
func (d Digest) Short() string { return hex.EncodeToString(d[:8]) }

// ParseDigest reads what String returns.
func ParseDigest(s string) (d Digest, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return Digest{}, fmt.Errorf("a digest has %d hexadecimal digits", 2*len(d))
	}
	copy(d[:], b)
	return d, nil
}

// Digest returns the identity of the scope under a store's secret: the one derivation that all stores share.
func (s Scope) Digest(secret []byte) Digest { return mac(secret, s.Principal, s.Method, s.Key) }

// SubjectDigest hides the subject of an answer like a scope, so that it can be found again and read by nobody.
func SubjectDigest(secret []byte, subject string) []byte {
	d := mac(secret, "subject", subject)
	return d[:16]
}

// mac is HMAC-SHA256 without its allocations. It counts the length of each part, so that no two lists of parts are the
// same bytes.
func mac(secret []byte, parts ...string) Digest {
	if len(secret) > sha256.BlockSize {
		sum := sha256.Sum256(secret)
		secret = sum[:]
	}
	var room [512]byte
	inner := room[:sha256.BlockSize]
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner, secret)
	for i := 0; i < sha256.BlockSize; i += 8 {
		b := binary.NativeEndian.Uint64(inner[i:])
		binary.NativeEndian.PutUint64(inner[i:], b^0x3636363636363636)
		binary.NativeEndian.PutUint64(outer[i:], b^0x5c5c5c5c5c5c5c5c)
	}
	for _, part := range parts {
		inner = binary.BigEndian.AppendUint64(inner, uint64(len(part)))
		inner = append(inner, part...)
	}
	sum := sha256.Sum256(inner)
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// secretKey is a secret that much is hidden under. Of the blocks of a mac two are the same each time: package hmac keeps what
// SHA-256 makes of them once it has begun anew.
type secretKey struct{ spare sync.Pool } // of *macRoom

type macRoom struct {
	hash.Hash

	text []byte
}

func newSecretKey(secret []byte) *secretKey {
	k := &secretKey{}
	k.spare.New = func() any { return &macRoom{Hash: hmac.New(sha256.New, secret)} }
	return k
}

// mac is mac under the secret.
func (k *secretKey) mac(parts ...string) (d Digest) {
	r := k.spare.Get().(*macRoom) //nolint:forcetypeassert // holds nothing else
	defer k.spare.Put(r)
	r.text = r.text[:0]
	for _, part := range parts {
		r.text = binary.BigEndian.AppendUint64(r.text, uint64(len(part)))
		r.text = append(r.text, part...)
	}
	r.Reset()
	r.Write(r.text)
	r.text = r.Sum(r.text[:0])
	copy(d[:], r.text)
	return d
}

// Forever is a retention that does not end: the answer is kept, and the key stays used.
const Forever = 200 * 365 * 24 * time.Hour

// Claim asks for the right to execute.
type Claim struct {
	// Scope names the effect.
	Scope Scope
	// Fingerprint is the identity of the request; its first byte is the version of the algorithm.
	Fingerprint []byte
	// Owner is random and made before Begin, so that a caller whose Begin was answered but not heard still owns it.
	Owner []byte
	// Lease is how long the claim lives without a heartbeat.
	Lease time.Duration
	// Retention is how long the answer is kept; Forever at most.
	Retention time.Duration
	// Takeover allows an attempt whose owner vanished to be executed again: every effect below is keyed.
	Takeover bool
	// Probe allows that too, and for an uncertain outcome as well: the handler looks before it acts.
	Probe bool
	// Trace is the traceparent of this call.
	Trace string
}

// Outcome is the answer to a claim.
type Outcome uint8

const (
	// Granted means: execute.
	Granted Outcome = iota + 1
	// Replay means: it is done, this is the answer.
	Replay
	// Mismatch means: the key was used for another request.
	Mismatch
	// InProgress means: another attempt executes.
	InProgress
	// InDoubt means: an attempt ended and nobody knows whether it had its effect.
	InDoubt
	// Gone means: it is done, but the answer is no longer kept.
	Gone
	// Absent means: nothing is known (only SQLStore's look before a transaction says so).
	Absent
)

// Result is the answer of Begin and Look.
type Result struct {
	// Outcome says which of the other fields are set.
	Outcome Outcome
	// Digest is the record, always set.
	Digest Digest
	// Grant is the right to execute (Granted).
	Grant Grant
	// Answer is what was stored (Replay; Gone: only Resource).
	Answer Answer
	// Remaining is how long the other attempt's lease still runs (InProgress).
	Remaining time.Duration
	// Fence is the number of the attempt that the record is about.
	Fence int64
	// Trace is the traceparent of that attempt.
	Trace string
	// At is when the record was claimed, by the store's clock.
	At time.Time
	// Fingerprint is that of the record (Mismatch), for a caller that knows an older algorithm.
	Fingerprint []byte
}

// Grant is the right to execute one attempt.
type Grant struct {
	// Digest is the record.
	Digest Digest
	// Fence is the number of the attempt, from 1.
	Fence int64
	// Owner is that of the claim. Stores compare it besides the fence: after a store lost its last writes, fences are
	// given out again.
	Owner []byte
	// Retention is how long the answer will be kept.
	Retention time.Duration
	// Recovery is true if an earlier attempt may already have had effects.
	Recovery bool
}

// Answer is a stored answer. Stores do not look into it.
type Answer struct {
	// OK tells a response from an error.
	OK bool
	// Body is the stored answer, possibly encrypted; nil if it was too large to keep.
	Body []byte
	// Resource names what the call made, if known; it outlives Body.
	Resource string
	// Subject names whom the answer is about; stores keep only its digest, for Erase. Results do not carry it.
	Subject string
}

// Verdict settles what nobody knew.
type Verdict struct {
	// Executed tells whether the effect happened; if not, the key is released.
	Executed bool
	// Answer is kept if it happened.
	Answer Answer
	// Force also settles a claim whose lease still runs; its owner then finds itself stale.
	Force bool
}

var (
	// ErrStale means that the claim is no longer held: another attempt took over, or the record is finished. The caller
	// must not answer with its own result; it looks what is stored.
	ErrStale = errors.New("idempotency claim is no longer held")
	// ErrNoRecord means that the store knows nothing under a digest.
	ErrNoRecord = errors.New("no idempotency record")
)

// Store keeps claims and answers. All methods are safe for concurrent use and linearizable per record; the store's
// clock decides about leases. Any other error than ErrStale and ErrNoRecord means that the store could not be asked.
type Store interface {
	// Capabilities declares what the store promises.
	Capabilities() Capabilities

	// Begin claims, or says why not. Beginning again with the same Owner returns the same grant.
	Begin(ctx context.Context, c Claim) (Result, error)
	// Look returns what is stored, without claiming; InProgress also for a claim that ran out or was released. ErrStale
	// if nothing is.
	Look(ctx context.Context, g Grant) (Result, error)
	// Heartbeat lets the claim live for another lease from now; with 0 it ends now and may be taken over. It works as
	// long as nobody took over, even after the lease. ErrStale otherwise.
	Heartbeat(ctx context.Context, g Grant, lease time.Duration) error
	// Complete stores the answer, for good. ErrStale if the claim is no longer held.
	Complete(ctx context.Context, g Grant, a Answer) error
	// Release says that nothing was executed: the next claim with the same request is granted. ErrStale as above.
	Release(ctx context.Context, g Grant) error
	// Uncertain says that the effect may have happened. ErrStale as above.
	Uncertain(ctx context.Context, g Grant) error

	// Step records that a step of the attempt is done, with its result, so that the next attempt need not do it again.
	// The first record of a step stays. ErrStale as above.
	Step(ctx context.Context, g Grant, name string, result []byte) error
	// Steps returns the steps recorded by this and earlier attempts.
	Steps(ctx context.Context, g Grant) (map[string][]byte, error)

	// Resolve settles the attempt g.Fence of an uncertain record, or of a claim whose lease is over (any claim, with
	// Force), from outside: by a read-back or an operator. A record that is done by it has the next fence. g needs
	// Digest, Fence and Retention only. ErrStale if the record is in another state or attempt.
	Resolve(ctx context.Context, g Grant, v Verdict) error
	// Purge turns answers past their retention into tombstones, claims that nobody may execute again into uncertain ones
	// once their lease is over, and removes what is past its time, at most about limit records of each, and returns how
	// many it changed. Live claims and uncertain outcomes stay; what may have had its effect, an abandoned claim or a
	// release after such an attempt, stays as long as an answer and its tombstone would.
	Purge(ctx context.Context, limit int) (int, error)
	// Erase makes the answers about a subject unreadable now: tombstones stay, so that nothing is executed again. It
	// returns how many there were.
	Erase(ctx context.Context, subject string) (int, error)

	// Digest returns under which digest new claims of the scope are kept.
	Digest(s Scope) Digest
	// List returns records for operators, a page at a time, in no particular order.
	List(ctx context.Context, f Filter) (Page, error)
	// Show returns one record, or ErrNoRecord.
	Show(ctx context.Context, d Digest) (Entry, error)
	// Expire ends the retention of a finished answer now: it becomes a tombstone. ErrNoRecord if there is none, ErrStale if
	// the record is not done.
	Expire(ctx context.Context, d Digest) error
	// Stats returns the counts that alerts are made of.
	Stats(ctx context.Context) (Stats, error)
}

// Durability orders what stores promise about an acknowledged write.
type Durability uint8

const (
	// Volatile stores forget when the process ends.
	Volatile Durability = iota + 1
	// Replicated stores survive the process, and may lose the last writes with the host or at a fail-over.
	Replicated
	// Durable stores lose nothing they acknowledged.
	Durable
)

// String returns the name used in messages.
func (d Durability) String() string {
	switch d {
	case Volatile:
		return "volatile"
	case Replicated:
		return "replicated"
	case Durable:
		return "durable"
	default:
		return "undeclared"
	}
}

// Capabilities is what a store promises.
type Capabilities struct {
	// Durability of what it acknowledged.
	Durability Durability
	// Shared is true if replicas of a service see the same records.
	Shared bool
	// Transactional is true if an answer can be stored in the transaction of the effect.
	Transactional bool
}

// State is the state of a record; stores keep the letter.
type State string

// The states of a record.
const (
	Claimed   State = "c"
	Done      State = "d"
	Released  State = "r"
	Uncertain State = "u"
	Tombstone State = "t"
)

// String returns the word for the state.
func (s State) String() string {
	switch s {
	case Claimed:
		return "claimed"
	case Done:
		return "done"
	case Released:
		return "released"
	case Uncertain:
		return "uncertain"
	case Tombstone:
		return "tombstone"
	default:
		return "unknown"
	}
}

// Entry is a record as operators see it: nothing of the request, the answer, the key or the caller.
type Entry struct {
	// Digest identifies it.
	Digest Digest
	// Method is the full gRPC method.
	Method string
	// State is where it stands; a claim whose lease is over is still Claimed.
	State State
	// Fence is the number of the last attempt.
	Fence int64
	// ClaimedAt is when that attempt began.
	ClaimedAt time.Time
	// LeaseUntil is how long its claim lives.
	LeaseUntil time.Time
	// ExpiresAt is when the answer, or the tombstone, goes.
	ExpiresAt time.Time
	// OK tells a stored response from a stored error.
	OK bool
	// Bytes is the size of the stored answer.
	Bytes int
	// Resource names what the call made.
	Resource string
	// Trace is the traceparent of the attempt.
	Trace string
	// Recoverable tells that the call may be executed again when its owner vanished.
	Recoverable bool
}

// Filter selects records. The zero value selects all.
type Filter struct {
	// States, if any, are those wanted.
	States []State
	// Method, if set, is the one wanted.
	Method string
	// Prefix, if set, is how the digest begins, in hexadecimal; an even number of digits.
	Prefix string
	// ClaimedBefore, if set, leaves out younger attempts.
	ClaimedBefore time.Time
	// Limit bounds the page; zero means 100.
	Limit int
	// Cursor is the Next of the page before; "" begins.
	Cursor string
}

// Page is a page of records.
type Page struct {
	// Entries are the records; there may be fewer than the limit although more follow.
	Entries []Entry
	// Next continues; "" at the end.
	Next string
}

// GivenUp is how long after the end of its lease a claim that may be executed again still counts as open: whoever made the
// call repeats it by then, or never, and there is nothing for an operator to settle.
const GivenUp = time.Hour

// Stats is what a store holds. Counts of everything may be estimates.
type Stats struct {
	// Records is how many there are, Bytes how much room they take (0 if unknown).
	Records, Bytes int64
	// Open is how many claims are not settled, OldestOpen the age of the oldest attempt among them. A claim that may be
	// executed again counts until GivenUp after its lease.
	Open       int64
	OldestOpen time.Duration
	// Abandoned is how many of them have no living lease.
	Abandoned int64
	// Uncertain is how many outcomes are uncertain, OldestUncertain the age of the oldest attempt among them.
	Uncertain       int64
	OldestUncertain time.Duration
}
