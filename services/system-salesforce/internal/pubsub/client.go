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
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
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
	// Changed are the sObject fields that changed, parts of compounds as "BillingAddress.City". Empty when not said.
	Changed []string
}

// Batch is what one message brought: events, or none and then only a position.
type Batch struct {
	Events []Event
	// Position is after this batch.
	Position Position
}

// Client subscribes to topics. Create it with New; it is safe for concurrent use.
type Client struct {
	api      eventbus.PubSubClient
	sessions Sessions
	watchdog time.Duration
	backoff  retry.Backoff
	log      *slog.Logger

	mu      sync.Mutex
	schemas map[string]*schema
}

// New returns a client on a connection, which stays the caller's. A stream that says nothing for watchdog is taken for dead;
// Salesforce sends something at least every 270 s by contract and every 60 s in practice.
func New(conn grpc.ClientConnInterface, sessions Sessions, watchdog time.Duration, log *slog.Logger) *Client {
	return &Client{
		api: eventbus.NewPubSubClient(conn), sessions: sessions, watchdog: watchdog, log: log,
		backoff: retry.Backoff{Min: 500 * time.Millisecond, Max: 15 * time.Second, Factor: 2, Jitter: 0.3},
		schemas: map[string]*schema{},
	}
}

var errSilent = errors.New("the stream was silent for too long")

// Subscribe calls handle with every batch of a topic after from, until ctx ends, handle fails or the failure is permanent.
// While handle runs no more than maxDemand events are under way. It reconnects by itself after the last batch that handle took.
//
// Errors: Precondition with RESUME_TOKEN_EXPIRED when the position is no longer kept; Precondition with ReasonFeedMissing;
// Internal with ReasonEventUnreadable; Unavailable when Salesforce refuses the login or cannot be reached for about a minute.
func (c *Client) Subscribe(ctx context.Context, topic string, from Position, handle func(context.Context, Batch) error) error {
	failures := 0
	for {
		progress := false
		err := c.stream(ctx, topic, &from, func(ctx context.Context, b Batch) error {
			if err := handle(ctx, b); err != nil {
				return handlerError{err}
			}
			progress = true
			return nil
		})
		if he, ok := errors.AsType[handlerError](err); ok {
			return he.error
		}
		if ctx.Err() != nil {
			return fmt.Errorf("subscribe to %s: %w", topic, ctx.Err())
		}
		if progress {
			failures = 0
		}
		if failures++; permanent(err) || failures >= maxFailures {
			return err
		}
		c.log.LogAttrs(ctx, slog.LevelWarn, "change stream ended, subscribing again",
			slog.String("topic", topic), slog.Int("attempt", failures), slog.String("error", err.Error()))
		if !wait(ctx, max(c.backoff.Next(failures), fault.RetryAfter(err))) {
			return fmt.Errorf("subscribe to %s: %w", topic, ctx.Err())
		}
	}
}

// handlerError tells the subscriber's own error from those of the stream.
type handlerError struct{ error }

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

// stream runs one subscription; it always returns an error.
func (c *Client) stream(ctx context.Context, topic string, at *Position, handle func(context.Context, Batch) error) error {
	session, err := c.sessions.Session(ctx)
	if err != nil {
		return err
	}
	err = c.receive(ctx, session, topic, at, handle)
	if status.Code(err) == codes.Unauthenticated {
		if _, renewErr := c.sessions.Renew(ctx, session); renewErr != nil {
			return renewErr
		}
		return fault.Wrap(fault.Unavailable, ReasonFeedUnavailable, err, "the session of the change stream has ended")
	}
	return err
}

func (c *Client) receive(ctx context.Context, session auth.Session, topic string, at *Position, handle func(context.Context, Batch) error) error {
	sctx, cancel := context.WithCancelCause(withSession(ctx, session))
	defer cancel(nil)
	dog := time.AfterFunc(c.watchdog, func() { cancel(errSilent) })
	defer dog.Stop()

	stream, err := c.api.Subscribe(sctx)
	if err != nil {
		return c.streamError(sctx, err, nil)
	}
	first := &eventbus.FetchRequest{TopicName: topic, ReplayPreset: eventbus.ReplayPreset_EARLIEST, NumRequested: maxDemand}
	if len(at.Replay) > 0 {
		first.ReplayPreset, first.ReplayId = eventbus.ReplayPreset_CUSTOM, at.Replay
	}
	// A failed Send shows its reason in Recv.
	_ = stream.Send(first)
	for {
		answer, err := stream.Recv()
		if err != nil {
			return c.streamError(sctx, err, stream.Trailer())
		}
		dog.Stop() // the time the handler takes is not the stream's silence
		c.sessions.Accepted(session)
		batch, err := c.batch(ctx, session, answer, *at)
		if err != nil {
			return err
		}
		if err := handle(ctx, batch); err != nil {
			return err
		}
		*at = batch.Position
		if pending := answer.GetPendingNumRequested(); pending <= maxDemand/2 {
			_ = stream.Send(&eventbus.FetchRequest{TopicName: topic, NumRequested: maxDemand - max(pending, 0)})
		}
		dog.Reset(c.watchdog)
	}
}

// withSession adds what every call of the API carries.
func withSession(ctx context.Context, s auth.Session) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "accesstoken", s.Token, "instanceurl", s.InstanceURL, "tenantid", s.OrgID)
}

func (c *Client) batch(ctx context.Context, session auth.Session, answer *eventbus.FetchResponse, at Position) (Batch, error) {
	if len(answer.GetEvents()) == 0 {
		// Only an empty answer's latest id may be stored: with events it may lie beyond them.
		if latest := answer.GetLatestReplayId(); len(latest) > 0 {
			at = Position{Replay: slices.Clone(latest)}
		}
		return Batch{Position: at}, nil
	}
	b := Batch{Events: make([]Event, 0, len(answer.GetEvents()))}
	for _, e := range answer.GetEvents() {
		event, err := c.event(ctx, session, e)
		if err != nil {
			return Batch{}, err
		}
		b.Events = append(b.Events, event)
	}
	b.Position = Position{Replay: b.Events[len(b.Events)-1].ReplayID}
	return b, nil
}

func (c *Client) event(ctx context.Context, session auth.Session, e *eventbus.ConsumerEvent) (Event, error) {
	s, err := c.schema(ctx, session, e.GetEvent().GetSchemaId())
	if err != nil {
		return Event{}, err
	}
	h, err := s.decode(e.GetEvent().GetPayload())
	if err != nil {
		return Event{}, unreadable(err)
	}
	if len(e.GetReplayId()) == 0 {
		return Event{}, unreadable(errors.New("the event has no replay id"))
	}
	event := Event{
		ReplayID: slices.Clone(e.GetReplayId()), Entity: h.EntityName, RecordIDs: h.RecordIDs, ChangeType: h.ChangeType,
		Origin: h.ChangeOrigin, Committed: time.UnixMilli(h.CommitTimestamp).UTC(),
	}
	// The changed fields are only a hint to the reader: bits we cannot explain are no reason to stop the feed.
	for _, list := range [][]string{h.ChangedFields, h.NulledFields, h.DiffFields} {
		names, err := s.decodeBitmap(list)
		if err != nil {
			c.log.LogAttrs(ctx, slog.LevelWarn, "changed fields of an event not understood", slog.String("object", h.EntityName), slog.String("error", err.Error()))
		}
		for _, n := range names {
			if !slices.Contains(event.Changed, n) {
				event.Changed = append(event.Changed, n)
			}
		}
	}
	return event, nil
}

func unreadable(cause error) error {
	return fault.Wrap(fault.Internal, ReasonEventUnreadable, cause, "a change event cannot be read")
}

// schema returns the schema of an id. Ids are fingerprints, so an entry is valid for ever.
func (c *Client) schema(ctx context.Context, session auth.Session, id string) (*schema, error) {
	c.mu.Lock()
	s, ok := c.schemas[id]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	uctx, cancel := context.WithTimeout(withSession(ctx, session), unaryTimeout)
	defer cancel()
	var trailer metadata.MD
	info, err := c.api.GetSchema(uctx, &eventbus.SchemaRequest{SchemaId: id}, grpc.Trailer(&trailer))
	if err != nil {
		return nil, c.streamError(uctx, err, trailer)
	}
	if s, err = parseSchema(info.GetSchemaJson()); err != nil {
		return nil, unreadable(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schemas[id] = s
	return s, nil
}

// streamError classifies the end of a stream. UNAUTHENTICATED is returned as it is, for the caller renews the session.
func (c *Client) streamError(ctx context.Context, err error, trailer metadata.MD) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fault.Wrap(fault.Unavailable, ReasonFeedUnavailable, errSilent, "the change stream went silent")
	}
	code := strings.Join(trailer.Get("error-code"), " ")
	s := status.Convert(err)
	replay := strings.Contains(code, "replayid") || s.Code() == codes.InvalidArgument && code == "" && strings.Contains(strings.ToLower(s.Message()), "replay")
	switch {
	case s.Code() == codes.Unauthenticated:
		return err
	case replay:
		return fault.Wrap(fault.Precondition, fault.ReasonResumeTokenExpired, err, "Salesforce no longer keeps the changes after this position; read everything again")
	case s.Code() == codes.NotFound, s.Code() == codes.PermissionDenied:
		return fault.Wrap(fault.Precondition, ReasonFeedMissing, err, "the org does not publish these changes to the integration user; enable Change Data Capture for them")
	case s.Code() == codes.InvalidArgument, s.Code() == codes.Unimplemented:
		return fault.Wrap(fault.Internal, ReasonFeedUnavailable, err, "the change feed refuses the subscription")
	case s.Code() == codes.ResourceExhausted:
		return fault.Wrap(fault.Exhausted, ReasonFeedUnavailable, err, "the org has too many subscribers").WithRetryAfter(10 * time.Second)
	}
	// Everything else, the orderly end of the stream included, is a reason to subscribe again.
	return fault.Wrap(fault.Unavailable, ReasonFeedUnavailable, err, "the change stream ended")
}
