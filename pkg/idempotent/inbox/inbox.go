package inbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

//go:embed migrations
var migrations embed.FS

// Reasons of this package.
const (
	// ReasonMessageInvalid says that a message has no usable identity.
	ReasonMessageInvalid = "MESSAGE_INVALID"
	// ReasonMessageChanged says that the id of a processed message came with another body.
	ReasonMessageChanged = "MESSAGE_CHANGED"
)

// MaxBody is the largest body that is kept of a parked message, in bytes; of a larger one only its identity is kept.
const MaxBody = 1 << 20

// Version orders what is said about one object: by Major, then by Minor. The zero value is the oldest.
type Version struct{ Major, Minor int64 }

// Message is one delivery of a message.
type Message struct {
	// ID is the same in every delivery of the message and of no other. Empty if Stream and Position identify it.
	ID string
	// Stream names an ordered log, a partition for example; Position grows along it (gaps are fine). Once
	// Checkpoint has passed a position, nothing is kept of the messages below. Empty: the message is remembered by
	// ID for the retention.
	Stream   string
	Position int64
	// Object names what the message is about; empty: order does not matter.
	Object string
	// Version orders the messages about one object. An older one than the newest that was processed is skipped.
	Version Version
	// Body is handed to the handler and kept if the message is parked. If the same ID comes with another body, that
	// is an error of the producer, which is not processed.
	Body []byte
}

// Verdict is what became of a delivery. All of them mean that it may be acknowledged.
type Verdict uint8

const (
	// Processed means that the effect is committed now.
	Processed Verdict = iota + 1
	// Duplicate means that it was before.
	Duplicate
	// Stale means that a newer version of the object was processed before; this one is skipped for good.
	Stale
	// Parked means that the message failed too often and waits for a person.
	Parked
)

// String returns the lower-case name, fit for a metric label.
func (v Verdict) String() string {
	switch v {
	case Processed:
		return "processed"
	case Duplicate:
		return "duplicate"
	case Stale:
		return "stale"
	case Parked:
		return "parked"
	default:
		return "none"
	}
}

// Options of an inbox. The zero value is usable.
type Options struct {
	// Retention is how long a processed message is remembered by its id, and the version of an object after its last
	// message; zero means 30 days. It must be longer than the broker may wait with a redelivery (SQS keeps messages
	// up to 14 days, Salesforce events 3).
	Retention time.Duration
	// MaxAttempts is how often a message may fail for a reason that repeating does not cure, before it is parked;
	// zero means 5. Failures that may pass (an outage, a timeout, a conflict) are not counted.
	MaxAttempts int
	// Meter counts selfsame.inbox.messages by consumer and verdict; nil counts nothing.
	Meter metric.MeterProvider
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Inbox is what one consumer has processed. It is safe for concurrent use, by any number of replicas on PostgreSQL.
type Inbox struct {
	db       *db.DB
	consumer string
	opts     Options
	messages metric.Int64Counter
}

// New returns the inbox of the named consumer in d and creates its tables. Consumers of different names know nothing of
// each other; replicas of one consumer share the name.
func New(d *db.DB, consumer string, o Options) (*Inbox, error) {
	if consumer == "" {
		return nil, errors.New("inbox: the consumer has no name")
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.Migrate(ctx, files, "inbox_migrations"); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	if o.Retention <= 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = 5
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	counter, err := o.Meter.Meter("github.com/selfsame-io/selfsame/pkg/idempotent/inbox").Int64Counter("selfsame.inbox.messages",
		metric.WithUnit("{message}"), metric.WithDescription("Deliveries by what became of them."))
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	return &Inbox{db: d, consumer: consumer, opts: o, messages: counter}, nil
}

// Handle processes a delivery: fn runs in the transaction that records the message, so both commit or neither does. fn
// may run more than once before Handle returns (see db.DB.Tx) and must not wait for anything but the database.
//
// An error means that the delivery must not be acknowledged: the broker will deliver it again. The last of
// Options.MaxAttempts failures that repeating cannot cure parks the message instead.
func (in *Inbox) Handle(ctx context.Context, m Message, fn func(ctx context.Context, tx *sql.Tx) error) (Verdict, error) {
	return in.settle(ctx, m, func(ctx context.Context) (Verdict, error) { return in.record(ctx, m, fn) })
}

// Call processes a delivery whose effect is not in this database. The context of effect carries a key that is the same
// in every delivery of the message: idempotent.Child derives from it the keys of the calls. The message is recorded
// after effect returned nil; a crash between the two calls effect again, with the same keys.
func (in *Inbox) Call(ctx context.Context, m Message, effect func(ctx context.Context) error) (Verdict, error) {
	return in.settle(ctx, m, func(ctx context.Context) (Verdict, error) {
		if v, err := in.stale(ctx, m); v != 0 || err != nil {
			return v, err
		}
		if err := effect(idempotent.WithKey(ctx, in.Key(m))); err != nil {
			return 0, err
		}
		return in.record(ctx, m, func(context.Context, *sql.Tx) error { return nil })
	})
}

// Key returns the idempotency key of the message's effect.
func (in *Inbox) Key(m Message) string {
	k := in.digest(m)
	return base64.RawURLEncoding.EncodeToString(k[:])
}

// settle answers from what is known, processes otherwise, and counts what failed.
func (in *Inbox) settle(ctx context.Context, m Message, process func(ctx context.Context) (Verdict, error)) (v Verdict, err error) {
	if m.ID == "" && m.Stream == "" {
		return 0, fault.New(fault.Invalid, ReasonMessageInvalid, "the message has neither an id nor a position")
	}
	defer func() {
		if err == nil {
			in.messages.Add(ctx, 1, metric.WithAttributes(attribute.String("consumer", in.consumer), attribute.String("verdict", v.String())))
		}
	}()
	// Most duplicates are answered here, without a transaction.
	if v, err := in.known(ctx, in.db.Read(), m); v != 0 || err != nil {
		return in.judge(ctx, m, v, err)
	}
	v, err = process(ctx)
	return in.judge(ctx, m, v, err)
}

// judge counts a failure that repeating cannot cure and parks the message after too many.
func (in *Inbox) judge(ctx context.Context, m Message, v Verdict, err error) (Verdict, error) {
	if err == nil {
		return v, nil
	}
	if ctx.Err() != nil || passes(err) {
		return 0, err
	}
	parked, countErr := in.failed(context.WithoutCancel(ctx), m, err)
	switch {
	case countErr != nil:
		return 0, errors.Join(err, countErr)
	case parked:
		return Parked, nil
	default:
		return 0, err
	}
}

// passes reports whether err may be gone at the next delivery, so that it says nothing about the message.
func passes(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Conflict, fault.Timeout, fault.Exhausted, fault.Canceled, fault.Uncertain:
		return true
	default:
		return false
	}
}

// refuse counts a delivery that cannot even be read.
func (in *Inbox) refuse(ctx context.Context, m Message, err error) (Verdict, error) {
	return in.settle(ctx, m, func(context.Context) (Verdict, error) { return 0, err })
}

// digest identifies the message among those of its consumer.
func (in *Inbox) digest(m Message) [sha256.Size]byte {
	h := sha256.New()
	write := func(s string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	write("inbox/v1")
	write(in.consumer)
	write(m.ID)
	if m.ID == "" {
		write(m.Stream)
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(m.Position))) //nolint:gosec // the bits are the identity
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (m Message) bodyDigest() []byte {
	if m.Body == nil {
		return nil
	}
	d := sha256.Sum256(m.Body)
	return d[:]
}

func (m Message) changed(stored []byte) bool {
	d := m.bodyDigest()
	return d != nil && stored != nil && !slices.Equal(d, stored)
}

func errChanged() error {
	return fault.New(fault.Precondition, ReasonMessageChanged, "the id of a processed message came with another body")
}

func (in *Inbox) at() int64 { return in.opts.Now().UnixMicro() }
