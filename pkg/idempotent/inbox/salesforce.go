package inbox

import (
	"context"
	"encoding/hex"

	"github.com/selfsame-io/selfsame/pkg/retry"
)

// SalesforceEvent is a platform event or a change event, as the Pub/Sub API delivers it.
type SalesforceEvent struct {
	// ReplayID is the opaque place of the event in its topic.
	ReplayID []byte
	// EventID is the producer's UUID of the event; empty on some old topics.
	EventID string
	// Change is the header of a change event; nil for a platform event.
	Change *SalesforceChange
	// Payload is the event itself.
	Payload []byte
}

// SalesforceChange is what the ChangeEventHeader says about identity and order.
type SalesforceChange struct {
	Entity string
	// RecordIDs are more than one if Salesforce merged changes of one transaction that are equal.
	RecordIDs []string
	// CommitNumber grows with every transaction, SequenceNumber within one.
	CommitNumber   int64
	SequenceNumber int64
}

// SalesforceSubscription is one subscription to a topic.
type SalesforceSubscription interface {
	// Next returns the next events, none for a keepalive, and the replay id after which a new subscription would go
	// on. It waits until there is something or ctx ends.
	Next(ctx context.Context) (events []SalesforceEvent, latest []byte, err error)
}

// Salesforce consumes a topic. Salesforce keeps no position for a subscriber: the inbox does.
type Salesforce struct {
	// Org and Topic name the topic.
	Org, Topic string
	// Subscribe begins after a replay id; nil is up to the caller (usually: read everything first, then the newest).
	// Its error ends Run: a replay id that is past the 72 hours of retention needs a full read, not a guess.
	Subscribe func(ctx context.Context, after []byte) (SalesforceSubscription, error)
	Inbox     *Inbox
	Process   Process
	// Parallel is how many records are processed at once; zero means 8. Messages about one record stay in order.
	Parallel int
	// Backoff is the pause before an event is tried again.
	Backoff retry.Backoff
}

func (s Salesforce) stream() string { return "sf:" + s.Org + ":" + s.Topic }

// Messages returns the event as messages: one per record that a change event is about, so that each is ordered and
// recognised alone.
func (s Salesforce) Messages(e SalesforceEvent) []Message {
	id := "sf:" + s.Org + ":" + e.EventID
	if e.EventID == "" {
		id = s.stream() + ":" + hex.EncodeToString(e.ReplayID)
	}
	if e.Change == nil || len(e.Change.RecordIDs) == 0 {
		return []Message{{ID: id, Body: e.Payload}}
	}
	out := make([]Message, 0, len(e.Change.RecordIDs))
	for _, record := range e.Change.RecordIDs {
		out = append(out, Message{
			ID: id + "/" + record, Object: "sf:" + s.Org + ":" + e.Change.Entity + "/" + record,
			Version: Version{e.Change.CommitNumber, e.Change.SequenceNumber}, Body: e.Payload,
		})
	}
	return out
}

// Run consumes until ctx ends (nil) or the subscription does; then the caller runs it again. The replay id is stored
// after the effects of everything before it.
func (s Salesforce) Run(ctx context.Context) error {
	place, after, _, err := s.Inbox.Position(ctx, s.stream())
	if err != nil {
		return ended(ctx, "read the replay id", err)
	}
	sub, err := s.Subscribe(ctx, after)
	if err != nil {
		return ended(ctx, "subscribe", err)
	}
	parallel := s.Parallel
	if parallel <= 0 {
		parallel = 8
	}
	for ctx.Err() == nil {
		events, latest, err := sub.Next(ctx)
		if err != nil {
			return ended(ctx, "next event", err)
		}
		var messages []Message
		for _, e := range events {
			messages = append(messages, s.Messages(e)...)
		}
		err = lanes(ctx, messages, parallel, func(m Message) string { return m.Object }, func(ctx context.Context, m Message) error {
			return persist(ctx, s.Backoff, func(ctx context.Context) (Verdict, error) { return s.Process(ctx, m) })
		})
		if err != nil {
			return ended(ctx, "process", err)
		}
		if latest == nil {
			continue
		}
		place++
		if err := s.Inbox.Checkpoint(ctx, s.stream(), place, latest); err != nil {
			return ended(ctx, "store the replay id", err)
		}
	}
	return nil
}
