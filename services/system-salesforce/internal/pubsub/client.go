// Package pubsub reads change events from the Salesforce Pub/Sub API.
//
// The problem: streams of that API end without an error, sessions end under them, replay ids expire, and events arrive as
// Avro with bitmaps. The invariant: [Client.Subscribe] hands over every event after its starting position, in order, or ends
// with an error; after a reconnect it goes on after the last batch its caller took, never from "latest" and never by
// skipping an event it cannot read.
//
// It does not store positions and does not read the records the events are about.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub/eventbus"
)

// Reasons of the errors of this package.
const (
	// ReasonFeedMissing means the org does not publish these changes, or not to this user.
	ReasonFeedMissing = "CHANGE_FEED_MISSING"
	// ReasonEventUnreadable means an event does not fit its schema; going on would lose it.
	ReasonEventUnreadable = "CHANGE_EVENT_UNREADABLE"
	// ReasonFeedUnavailable means the stream could not be opened again for a while.
	ReasonFeedUnavailable = "CHANGE_FEED_UNAVAILABLE"
)

const (
	// maxDemand is the most events the API lets a client have outstanding.
	maxDemand = 100
	// unaryTimeout bounds GetSchema.
	unaryTimeout = 20 * time.Second
	// maxFailures is how often in a row a stream may fail before the subscriber is told: about a minute with the pauses below.
	maxFailures = 8
)

// Sessions is what the client needs of package auth.
type Sessions interface {
	Session(ctx context.Context) (auth.Session, error)
	Renew(ctx context.Context, refused auth.Session) (auth.Session, error)
	Accepted(session auth.Session)
}

// Position is where a subscription begins. The zero value is the oldest event the API still has.
type Position struct {
	// Replay is the id of the last event already handled; empty means from the oldest.
	Replay []byte
}

// Event is one change event with its header decoded.
type Event struct {
	// ReplayID is the event's position.
	ReplayID []byte
	// Entity is the sObject: "Account".
	Entity string
	// RecordIDs are the records the change is about: several when one transaction changed them alike.
	RecordIDs []string
	// ChangeType is CREATE, UPDATE, DELETE, UNDELETE, GAP_… or GAP_OVERFLOW.
	ChangeType string
	// Origin is the changeOrigin: "com/salesforce/api/rest/66.0;client=selfsame".
	Origin string
	// Committed is when the transaction ended, by Salesforce's clock.
	Committed time.Time
	// User is the id of the user who wrote.
	User string
	// Changed are the sObject fields that changed, parts of compounds as "BillingAddress.City". Empty when not said.
	Changed []string
}

// Message is one platform event.
type Message struct {
	// ReplayID is the event's position.
	ReplayID []byte
	// ID is the id its publisher gave it, or Salesforce.
	ID string
	// Fields are its values by the names of the sObject fields; empty ones are left out. Numbers are float64 or int64, times are
	// int64 milliseconds, compounds map[string]any.
	Fields map[string]any
}

// Batch is what one message of the stream brought: events, or none and then only a position.
type Batch struct {
	// Events are those of a change topic.
	Events []Event
	// Messages are those of a platform event's topic.
	Messages []Message
	// Position is after this batch.
	Position Position
	// Org is the org it came from, as the session names it.
	Org string
}

// Options are what a Client works with; all are required.
type Options struct {
	// Conn leads to the Pub/Sub API and stays the caller's.
	Conn     grpc.ClientConnInterface
	Sessions Sessions
	// Watchdog is how long a stream may say nothing before it is taken for dead. Salesforce sends something at least every 270 s
	// by contract and every 60 s in practice.
	Watchdog time.Duration
	Meter    metric.MeterProvider
	Log      *slog.Logger
}

// Client subscribes to topics. Create it with New; it is safe for concurrent use.
type Client struct {
	api      eventbus.PubSubClient
	sessions Sessions
	watchdog time.Duration
	backoff  retry.Backoff
	log      *slog.Logger
	metrics  metrics

	mu      sync.Mutex
	schemas map[string]*schema
}

// New returns a client. It makes no call.
func New(o Options) (*Client, error) {
	m, err := newMetrics(o.Meter)
	if err != nil {
		return nil, err
	}
	return &Client{
		api: eventbus.NewPubSubClient(o.Conn), sessions: o.Sessions, watchdog: o.Watchdog, log: o.Log, metrics: m,
		backoff: retry.Backoff{Min: 500 * time.Millisecond, Max: 15 * time.Second, Factor: 2, Jitter: 0.3},
		schemas: map[string]*schema{},
	}, nil
}

var (
	errSilent = errors.New("the stream was silent for too long")
	errTip    = errors.New("position known")
)

// Subscribe calls handle with every batch of a topic after from, until ctx ends, handle fails or the failure is permanent.
// While handle runs no more than maxDemand events are under way. It reconnects by itself after the last batch that handle took.
//
// Errors: Precondition with RESUME_TOKEN_EXPIRED when the position is no longer kept; Precondition with ReasonFeedMissing;
// Internal with ReasonEventUnreadable; Unavailable when Salesforce refuses the login or cannot be reached for about a minute.
func (c *Client) Subscribe(ctx context.Context, topic string, from Position, handle func(context.Context, Batch) error) error {
	failures := 0
	for {
		progress := false
		err := c.stream(ctx, request(topic, from), from, func(ctx context.Context, b Batch) error {
			if err := handle(ctx, b); err != nil {
				return handlerError{err}
			}
			progress, from = true, b.Position
			return nil
		})
		if he, ok := errors.AsType[handlerError](err); ok {
			return he.error
		}
		if progress {
			failures = 0
		}
		failures++
		if err := c.again(ctx, topic, failures, err); err != nil {
			return err
		}
	}
}

// Tip returns a position of a topic that no event published later lies before. Salesforce tells it with its next message, which
// takes up to its keepalive period when nothing happens. Events that came with that message lie before the position: whoever
// uses it has to look for what happened until now by other means. Errors are as for Subscribe.
func (c *Client) Tip(ctx context.Context, topic string) (Batch, error) {
	for failures := 1; ; failures++ {
		var tip Batch
		first := &eventbus.FetchRequest{TopicName: topic, ReplayPreset: eventbus.ReplayPreset_LATEST, NumRequested: 1}
		err := c.stream(ctx, first, Position{}, func(_ context.Context, b Batch) error {
			tip = Batch{Position: b.Position, Org: b.Org}
			if len(tip.Position.Replay) == 0 {
				return nil // the message said nothing
			}
			return handlerError{errTip}
		})
		if errors.Is(err, errTip) {
			return tip, nil
		}
		if err := c.again(ctx, topic, failures, err); err != nil {
			return Batch{}, err
		}
	}
}

// again waits before the next attempt, or returns why there is none.
func (c *Client) again(ctx context.Context, topic string, failures int, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("subscribe to %s: %w", topic, ctx.Err())
	}
	if permanent(err) || failures >= maxFailures {
		return err
	}
	c.metrics.reconnect(ctx, topic, err)
	c.log.LogAttrs(ctx, slog.LevelWarn, "change stream ended, subscribing again",
		slog.String("topic", topic), slog.Int("attempt", failures), slog.String("code", codeOf(err)), slog.String("reason", fault.ReasonOf(err)))
	if !wait(ctx, max(c.backoff.Next(failures), fault.RetryAfter(err))) {
		return fmt.Errorf("subscribe to %s: %w", topic, ctx.Err())
	}
	return nil
}

// codeOf returns the gRPC code a stream ended with; Silent when it was we who ended it. The text beside it is Salesforce's and may hold anything, so it is not logged.
func codeOf(err error) string {
	if errors.Is(err, errSilent) {
		return "Silent"
	}
	if own, ok := fault.As(err); ok && own.Cause != nil {
		err = own.Cause
	}
	return status.Code(err).String()
}

// request is the first message of a subscription.
func request(topic string, from Position) *eventbus.FetchRequest {
	first := &eventbus.FetchRequest{TopicName: topic, ReplayPreset: eventbus.ReplayPreset_EARLIEST, NumRequested: maxDemand}
	if len(from.Replay) > 0 {
		first.ReplayPreset, first.ReplayId = eventbus.ReplayPreset_CUSTOM, from.Replay
	}
	return first
}

// handlerError tells the subscriber's own error from those of the stream.
type handlerError struct{ error }

func (e handlerError) Unwrap() error { return e.error }

func permanent(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Exhausted, fault.Timeout, fault.Conflict:
		return fault.ReasonOf(err) == auth.ReasonLoginRefused
	}
	return true
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
