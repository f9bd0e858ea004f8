package systemsalesforce_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// published returns how many events of the kind the org has announced.
func (c *crm) published(topic string) int {
	c.t.Helper()
	var answer struct {
		Events []struct {
			Topic string `json:"topic"`
		} `json:"events"`
	}
	raw := c.do("GET", "/__sandbox__/events?limit=1000", nil)
	if json.Unmarshal([]byte(raw), &answer) != nil || answer.Events == nil {
		require.NoError(c.t, json.Unmarshal([]byte(raw), &answer.Events))
	}
	n := 0
	for _, e := range answer.Events {
		if e.Topic == topic {
			n++
		}
	}
	return n
}

func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, idempotent.Metadata, key)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	const topic = "/event/Order_Placed__e"
	events := func(ids ...string) *salesforcev1.PublishEventsRequest {
		req := &salesforcev1.PublishEventsRequest{Object: "order_placed"}
		for _, id := range ids {
			req.Events = append(req.Events, &salesforcev1.Event{Id: id, Fields: values{"number": textValue("No " + id), "total": numberValue("12.50")}})
		}
		return req
	}
	t.Run("a call without a key is refused", func(t *testing.T) {
		_, err := s.events.PublishEvents(t.Context(), events("a"))
		require.Equal(t, "IDEMPOTENCY_KEY_MISSING", fault.ReasonOf(err))
	})
	t.Run("every event has its outcome, and a repeated call publishes nothing", func(t *testing.T) {
		req := events("1", "2", "3")
		delete(req.Events[1].Fields, "number")
		ctx := withKey(t.Context(), "publish-key-000000001")
		first, err := s.events.PublishEvents(ctx, req)
		require.NoError(t, err)
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, first.GetResults()[0].GetOutcome(), first.String())
		require.Equal(t, "FIELD_REQUIRED", first.GetResults()[1].GetError().GetReason())
		require.Equal(t, "number", first.GetResults()[1].GetError().GetField())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, first.GetResults()[2].GetOutcome())
		require.Equal(t, 2, c.published(topic))
		again, err := s.events.PublishEvents(ctx, req)
		require.NoError(t, err)
		require.Equal(t, first.String(), again.String())
		require.Equal(t, 2, c.published(topic))
	})
	t.Run("an acknowledgement that is lost leaves the events uncertain, and nobody sends them again", func(t *testing.T) {
		before := c.published(topic)
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "lose_ack", "method": "POST", "path_contains": "/composite/sobjects", "count": 1}}})
		ctx := withKey(t.Context(), "publish-key-000000002")
		resp, err := s.events.PublishEvents(ctx, events("4"))
		require.NoError(t, err)
		require.True(t, resp.GetResults()[0].GetError().GetUncertain())
		require.False(t, resp.GetResults()[0].GetError().GetRetryable())
		again, err := s.events.PublishEvents(ctx, events("4"))
		require.NoError(t, err)
		require.Equal(t, resp.String(), again.String())
		require.Equal(t, before+1, c.published(topic))
	})
	t.Run("what certainly was not published may be published under the same key", func(t *testing.T) {
		before := c.published(topic)
		c.faults(map[string]any{"rules": []map[string]any{{"effect": "error", "status": 503, "method": "POST", "path_contains": "/composite/sobjects", "count": 2}}})
		ctx := withKey(t.Context(), "publish-key-000000003")
		_, err := s.events.PublishEvents(ctx, events("5"))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		resp, err := s.events.PublishEvents(ctx, events("5"))
		require.NoError(t, err)
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, resp.GetResults()[0].GetOutcome())
		require.Equal(t, before+1, c.published(topic))
	})
	t.Run("records cannot be published", func(t *testing.T) {
		_, err := s.events.PublishEvents(withKey(t.Context(), "publish-key-000000004"), &salesforcev1.PublishEventsRequest{Object: "subscription", Events: events("6").Events})
		require.Equal(t, "OBJECT_IS_NO_EVENT", fault.ReasonOf(err))
	})
}
