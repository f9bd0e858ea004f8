package idempotent

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/caller"
)

// Reasons of this package.
const (
	ReasonKeyMissing       = "IDEMPOTENCY_KEY_MISSING"
	ReasonKeyInvalid       = "IDEMPOTENCY_KEY_INVALID"
	ReasonKeyReused        = "IDEMPOTENCY_KEY_REUSED"
	ReasonKeyExpired       = "IDEMPOTENCY_KEY_EXPIRED"
	ReasonInProgress       = "IDEMPOTENCY_IN_PROGRESS"
	ReasonResultGone       = "IDEMPOTENCY_RESULT_GONE"
	ReasonStoreUnavailable = "IDEMPOTENCY_STORE_UNAVAILABLE"
	ReasonNotSupported     = "IDEMPOTENCY_NOT_SUPPORTED"
	ReasonQuotaExceeded    = "IDEMPOTENCY_QUOTA_EXCEEDED"
	ReasonUnreadable       = "IDEMPOTENCY_ANSWER_UNREADABLE"
)

// StatusMetadata tells the caller what became of its key: a header on success, a trailer on an error (a header there
// would switch off grpc-go's own retries).
const StatusMetadata = "idempotency-status"

// Values of StatusMetadata.
const (
	StatusExecuted   = "executed"
	StatusReplayed   = "replayed"
	StatusInProgress = "in-progress"
	StatusIgnored    = "ignored"
)

// BodyMetadata is set to BodyRefetched on a replay whose response was too large to keep and has been read anew.
const (
	BodyMetadata  = "idempotency-body"
	BodyRefetched = "refetched"
)

// Options of the server interceptor. The zero value is usable.
type Options struct {
	// Log receives what the caller does not see; nil discards it.
	Log *slog.Logger
	// Meter counts calls by method, outcome and client; nil counts nothing.
	Meter metric.MeterProvider
	// Lease is how long a claim lives without a heartbeat, which comes every third of it; zero means 30 s.
	Lease time.Duration
	// Wait is how long a call waits for another one with its key; zero means 2 s.
	Wait time.Duration
	// MaxWaiters bounds how many calls wait at once; zero means 64.
	MaxWaiters int
	// Budget is how long a handler may run, whether the caller still waits or not; zero means 30 s.
	Budget time.Duration
	// StoreTimeout bounds each question to the store before the handler runs; zero means 2 s.
	StoreTimeout time.Duration
	// MinTime is how much time a call must have left to be begun; zero means 100 ms.
	MinTime time.Duration
	// Retention is how long answers are kept if the contract does not say; zero means 7 days.
	Retention time.Duration
	// Horizon is how old a key that carries its time (UUIDv7) may be: older than everything that could be remembered,
	// it is refused instead of executed again. Zero means 90 days.
	Horizon time.Duration
	// Ahead is how far in the future the time of a key may be; zero means 5 minutes. A key from further ahead would
	// outlive the memory of its answer.
	Ahead time.Duration
	// Principal returns the verified caller, which separates the keys of callers; nil means caller.From.
	Principal func(ctx context.Context) string
	// Client names the caller in metrics, where few names are expected; nil means the verified name.
	Client func(ctx context.Context) string
	// Probes are the full methods, declared RECOVERY_PROBE, whose handlers look for the effect of an earlier attempt
	// before they act when [Recovering] says so. Only these are executed again after an uncertain attempt. Check refuses a method
	// that is declared so and not listed.
	Probes []string
	// Optimistic lets a call of a method whose effect is one transaction begin without a look at its key if the store is this process's own
	// (SQLite) and has not met the key since it was opened. If the key was used before all the same, the transaction is rolled
	// back and the stored answer returned. Set it only where handlers have no effect outside that transaction.
	Optimistic bool
	// Resource names what a response is about ("customers/42"); it is remembered longer than the response.
	Resource func(resp proto.Message) string
	// Subject names whom an answer is about, so that Store.Erase finds it; "" for nobody.
	Subject func(method string, req, resp proto.Message) string
	// Refetch reads a response again that was too large to keep; nil answers IDEMPOTENCY_RESULT_GONE instead.
	Refetch func(ctx context.Context, method, resource string, req proto.Message) (proto.Message, error)
	// Keys encrypts what the store keeps; nil keeps it in clear.
	Keys *Keyring
	// Headers are the response headers that are kept with an answer; nil means DefaultHeaders.
	Headers []string
	// Quota bounds how many keys a caller may use; the zero value does not.
	Quota Quota
	// IgnoreUnsupported executes a call whose method cannot honour its key, flagged as ignored, instead of refusing it.
	IgnoreUnsupported bool
	// Boundary distrusts what the caller says about the chain of calls it belongs to: set at the edge.
	Boundary bool
	// FingerprintVersion is the algorithm of new fingerprints; zero means the newest. A release that brings a new one is
	// rolled out with the one before.
	FingerprintVersion byte
	// Now is the clock for the age of keys; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Lease, 30*time.Second)
	set(&o.Wait, 2*time.Second)
	set(&o.Budget, 30*time.Second)
	set(&o.StoreTimeout, 2*time.Second)
	set(&o.MinTime, 100*time.Millisecond)
	set(&o.Retention, 7*24*time.Hour)
	set(&o.Horizon, DefaultTombstone)
	set(&o.Ahead, 5*time.Minute)
	if o.MaxWaiters <= 0 {
		o.MaxWaiters = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	if o.Principal == nil {
		o.Principal = principal
	}
	if o.Client == nil {
		o.Client = func(ctx context.Context) string {
			if id := caller.From(ctx); id.Verified {
				return id.Name
			}
			return ""
		}
	}
	if o.Headers == nil {
		o.Headers = DefaultHeaders()
	}
	if o.FingerprintVersion < oldestFingerprint || o.FingerprintVersion > newestFingerprint {
		o.FingerprintVersion = newestFingerprint
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func principal(ctx context.Context) string {
	id := caller.From(ctx)
	if id.Verified {
		return "verified:" + id.Name
	}
	return id.Name
}
