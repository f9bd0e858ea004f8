package changes

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

const orders = `
version: 1
objects:
  order_placed:
    sobject: Order_Placed__e
    fields:
      number: {field: Number__c}
      total: {field: Total__c}
      due: {field: Due__c}
      at: {field: At__c}
      urgent: {field: Urgent__c}
`

func TestWatchEvents(t *testing.T) {
	t.Parallel()
	model := `{"objects":[{"name":"Order_Placed__e","fields":[{"name":"Number__c","type":"string","length":40},{"name":"Total__c","type":"double","precision":18,"scale":2},
		{"name":"Due__c","type":"date"},{"name":"At__c","type":"datetime"},{"name":"Urgent__c","type":"boolean"}]}]}`
	x := begin(t, settings{sandbox: schemaFile(t, model), mapping: orders})
	publish := func(n int) {
		x.do("POST", "/services/data/v66.0/sobjects/Order_Placed__e", map[string]any{
			"Number__c": fmt.Sprint("N", n), "Total__c": 12.25, "Due__c": "2026-05-01", "At__c": "2026-05-01T10:00:00.000Z", "Urgent__c": true,
		}, nil)
	}
	follow := func(token string, n int) (events []*salesforcev1.PlatformEvent, last string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := x.watcher.WatchEvents(ctx, "order_placed", token, func(r *salesforcev1.WatchEventsResponse) error {
			events, last = append(events, r.GetEvents()...), r.GetResumeToken()
			if len(events) >= n {
				return errStop
			}
			return nil
		})
		require.ErrorIs(t, err, errStop)
		return events, last
	}
	publish(1)
	publish(2)
	events, token := follow("", 2)
	f := events[0].GetFields()
	require.Equal(t, "N1", f["number"].GetText())
	require.Equal(t, "12.25", f["total"].GetNumber())
	require.Equal(t, "2026-05-01", f["due"].GetDate())
	require.Equal(t, time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), f["at"].GetTime().AsTime())
	require.True(t, f["urgent"].GetFlag())
	require.WithinDuration(t, time.Now(), events[0].GetPublishTime().AsTime(), time.Minute)

	t.Run("a stream goes on where its token was taken, with the same ids", func(t *testing.T) {
		publish(3)
		rest, _ := follow(token, 1)
		require.Equal(t, "N3", rest[0].GetFields()["number"].GetText())
		again, _ := follow("", 3)
		require.Equal(t, events[1].GetId(), again[1].GetId())
	})
	t.Run("a position that is lost is an error, because nothing else keeps events", func(t *testing.T) {
		x.faults(map[string]any{"expire_replay_ids": true})
		err := x.watcher.WatchEvents(x.soon(), "order_placed", token, func(*salesforcev1.WatchEventsResponse) error { return nil })
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
	})
	t.Run("what is not an event of the mapping is refused, and so is a token of something else", func(t *testing.T) {
		for _, name := range []string{"account", "nonsense"} {
			err := x.watcher.WatchEvents(x.soon(), name, "", func(*salesforcev1.WatchEventsResponse) error { return nil })
			require.Equal(t, ReasonNotMapped, fault.ReasonOf(err))
		}
		require.Equal(t, ReasonNotMapped, fault.ReasonOf(x.watcher.Watch(x.soon(), "", []string{"order_placed"}, func(*salesforcev1.WatchChangesResponse) error { return nil })))
		other, err := encodeToken(eventToken{Version: 2, Org: "00D", Event: "other"})
		require.NoError(t, err)
		err = x.watcher.WatchEvents(x.soon(), "order_placed", other, func(*salesforcev1.WatchEventsResponse) error { return nil })
		require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(err))
	})
}
