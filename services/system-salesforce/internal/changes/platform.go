package changes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
)

// eventToken is the resume token of a platform event's stream; without a replay id it begins with the oldest event kept.
type eventToken struct {
	Version int    `json:"v"`
	Org     string `json:"o"`
	Event   string `json:"e"`
	Replay  []byte `json:"r,omitempty"`
}

// WatchEvents sends the platform events of one of our names after a token until ctx ends or send fails. The first response goes
// out at once and carries only the position. Nothing else keeps platform events, so a position that is lost is an error.
//
// Errors: Invalid RESUME_TOKEN_INVALID, Precondition RESUME_TOKEN_EXPIRED and OBJECT_NOT_MAPPED, and those of
// pubsub.Client.Subscribe.
func (w *Watcher) WatchEvents(ctx context.Context, name, text string, send func(*salesforcev1.WatchEventsResponse) error) error {
	o, ok := w.o.Mapping.Object(name)
	if !ok || !o.Event {
		return notMapped(name)
	}
	ctx = stated(ctx)
	session, err := w.o.Sessions.Session(ctx)
	if err != nil {
		return err
	}
	t := eventToken{Version: tokenVersion, Org: session.OrgID, Event: name}
	if text != "" {
		if err := decodeToken(text, &t); err != nil {
			return err
		}
		if t.Version != tokenVersion || t.Event != name {
			return invalidToken(errors.New("a token of another stream"))
		}
	}
	stream := &eventStream{w: w, object: o, token: t, send: send}
	if !sameOrg(t.Org, session.OrgID) {
		return otherOrg()
	}
	if err := stream.emit(nil); err != nil {
		return err
	}
	return w.o.Feed.Subscribe(ctx, "/event/"+o.SObject, pubsub.Position{Replay: t.Replay}, stream.take)
}

type eventStream struct {
	w      *Watcher
	object *mapping.Object
	token  eventToken
	send   func(*salesforcev1.WatchEventsResponse) error
}

func (s *eventStream) emit(events []*salesforcev1.PlatformEvent) error {
	text, err := encodeToken(s.token)
	if err != nil {
		return err
	}
	return s.send(&salesforcev1.WatchEventsResponse{Events: events, ResumeToken: text})
}

func (s *eventStream) take(ctx context.Context, b pubsub.Batch) error {
	if b.Org != "" && !sameOrg(s.token.Org, b.Org) {
		return otherOrg()
	}
	var schema *mapping.Schema
	if len(b.Messages) > 0 {
		err := s.w.patiently(ctx, s.object.Name, "the describe", func() (err error) {
			schema, err = s.w.o.Schema(ctx, s.object.SObject)
			return err
		})
		if err != nil {
			return err
		}
	}
	// One message of the stream brings up to a hundred events of up to a megabyte each, more than a response holds.
	for _, m := range b.Messages {
		event, err := s.event(m, schema)
		if err != nil {
			return fault.Wrap(fault.Internal, pubsub.ReasonEventUnreadable, err, "a platform event cannot be read")
		}
		s.w.metrics.platform(ctx, s.object.Name, event.GetPublishTime().AsTime())
		s.token.Replay = m.ReplayID
		if err := s.emit([]*salesforcev1.PlatformEvent{event}); err != nil {
			return err
		}
	}
	if len(b.Messages) == 0 && len(b.Position.Replay) > 0 {
		s.token.Replay = b.Position.Replay
		return s.emit(nil)
	}
	return nil
}

// event translates an event: its values get the form they have in the REST API, from which every record is read.
func (s *eventStream) event(m pubsub.Message, schema *mapping.Schema) (*salesforcev1.PlatformEvent, error) {
	created, _ := m.Fields["CreatedDate"].(int64)
	stamp := restTime(created)
	row := map[string]any{"Id": "event", "CreatedDate": stamp, "SystemModstamp": stamp}
	for _, d := range schema.Fields() {
		if value, ok := m.Fields[d.Name]; ok {
			row[d.Name] = restValue(d.Type, value)
		}
	}
	record, err := s.object.ReadRecord(row, schema)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.PlatformEvent{
		Id:          s.object.Name + ":" + base64.RawURLEncoding.EncodeToString(m.ReplayID),
		PublishTime: timestamppb.New(time.UnixMilli(created)), Fields: record.GetFields(),
	}, nil
}

func restTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000-0700")
}

// restValue is a decoded value as the REST API writes it.
func restValue(kind string, value any) any {
	switch v := value.(type) {
	case int64:
		switch kind {
		case "datetime":
			return restTime(v)
		case "date":
			return time.UnixMilli(v).UTC().Format(time.DateOnly)
		}
		return json.Number(strconv.FormatInt(v, 10))
	case int32:
		return json.Number(strconv.FormatInt(int64(v), 10))
	case float64:
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return value
}
