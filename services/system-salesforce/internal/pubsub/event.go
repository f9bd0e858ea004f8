package pubsub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub/eventbus"
)

func (c *Client) batch(ctx context.Context, session auth.Session, answer *eventbus.FetchResponse, at Position) (Batch, error) {
	if len(answer.GetEvents()) == 0 {
		// Only an empty answer's latest id may be stored: with events it may lie beyond them.
		if latest := answer.GetLatestReplayId(); len(latest) > 0 {
			at = Position{Replay: slices.Clone(latest)}
		}
		return Batch{Position: at, Org: session.OrgID}, nil
	}
	b := Batch{Org: session.OrgID}
	for _, e := range answer.GetEvents() {
		if err := c.add(ctx, session, &b, e); err != nil {
			return Batch{}, err
		}
	}
	return b, nil
}

// add decodes one event into the batch and moves its position.
func (c *Client) add(ctx context.Context, session auth.Session, b *Batch, e *eventbus.ConsumerEvent) error {
	s, err := c.schema(ctx, session, e.GetEvent().GetSchemaId())
	if err != nil {
		return err
	}
	if len(e.GetReplayId()) == 0 {
		return unreadable(errors.New("the event has no replay id"))
	}
	b.Position = Position{Replay: slices.Clone(e.GetReplayId())}
	if s.change {
		event, err := c.event(ctx, s, e.GetEvent().GetPayload())
		event.ReplayID = b.Position.Replay
		b.Events = append(b.Events, event)
		return err
	}
	fields, err := s.decodeFields(e.GetEvent().GetPayload())
	if err != nil {
		return unreadable(err)
	}
	b.Messages = append(b.Messages, Message{ReplayID: b.Position.Replay, ID: e.GetEvent().GetId(), Fields: fields})
	return nil
}

func (c *Client) event(ctx context.Context, s *schema, payload []byte) (Event, error) {
	event, doubt, err := s.event(payload)
	if err != nil {
		return Event{}, unreadable(err)
	}
	if doubt != nil {
		c.log.LogAttrs(ctx, slog.LevelWarn, "changed fields of an event not understood", slog.String("object", event.Entity), slog.String("error", doubt.Error()))
	}
	return event, nil
}

// Decoder decodes the change events of one schema, as a Client does with each event of a stream. It is safe for concurrent use.
type Decoder struct{ schema *schema }

// NewDecoder returns the decoder of a schema in JSON.
func NewDecoder(schemaJSON string) (*Decoder, error) {
	s, err := parseSchema(schemaJSON)
	if err != nil {
		return nil, err
	}
	if !s.change {
		return nil, errors.New("not the schema of a change event")
	}
	return &Decoder{schema: s}, nil
}

// Decode reads one payload. The event has no replay id: that is not part of it.
func (d *Decoder) Decode(payload []byte) (Event, error) {
	event, _, err := d.schema.event(payload)
	return event, err
}

// event reads a payload. doubt is why the changed fields are not complete: they are only a hint to the reader, so bits we cannot
// explain are no reason to stop the feed.
func (s *schema) event(payload []byte) (event Event, doubt, err error) {
	h, err := s.decode(payload)
	if err != nil {
		return Event{}, nil, err
	}
	event = Event{
		Entity: h.EntityName, RecordIDs: h.RecordIDs, ChangeType: h.ChangeType,
		Origin: h.ChangeOrigin, User: h.CommitUser, Committed: time.UnixMilli(h.CommitTimestamp).UTC(),
	}
	for _, list := range [][]string{h.ChangedFields, h.NulledFields, h.DiffFields} {
		names, err := s.decodeBitmap(list)
		doubt = errors.Join(doubt, err)
		for _, n := range names {
			if !slices.Contains(event.Changed, n) {
				event.Changed = append(event.Changed, n)
			}
		}
	}
	return event, doubt, nil
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
