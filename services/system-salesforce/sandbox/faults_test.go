package sandbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestLostAcknowledgementHasCommitted(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.fault(`{"lose_ack":{"path_prefix":"/services/data/v62.0/composite","count":1}}`)
	o.account(`{"Name":"other path"}`)
	_, err := o.try("POST", v62+"/composite/sobjects", accounts("A"))
	require.Error(t, err)
	require.Equal(t, []string{"A", "other path"}, o.names("SELECT Name FROM Account ORDER BY Name"))
	o.want(200, "POST", v62+"/composite/sobjects", accounts("B"))
	require.JSONEq(t, `{}`, o.want(200, "GET", "/__sandbox__/faults", "").text)
}

func TestInjectedErrorsChangeNothing(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.fault(`{"error":{"status":500,"count":2,"path_contains":"/sobjects","method":"POST"}}`)
	for range 2 {
		require.Equal(t, "UNKNOWN_EXCEPTION", o.want(500, "POST", v62+"/sobjects/Account", `{"Name":"A"}`).code())
	}
	o.account(`{"Name":"A"}`)
	require.Equal(t, []string{"A"}, o.names("SELECT Name FROM Account"))
}

func TestLockedRows(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"A"}`)
	o.fault(`{"lock_row":{"count":1}}`)
	r := o.want(400, "PATCH", v62+"/sobjects/Account/"+id, `{"Name":"B"}`)
	require.Equal(t, "UNABLE_TO_LOCK_ROW", r.code())
	require.Contains(t, r.array()[0]["message"], id)
	o.fault(`{"lock_row":{"count":1}}`)
	require.Equal(t, []string{"UNABLE_TO_LOCK_ROW", "ok"}, insertAll(o, accounts("X", "Y")))
	o.fault(`{"lock_row":{"count":1}}`)
	require.Equal(t, []string{"UNABLE_TO_LOCK_ROW", "ALL_OR_NONE_OPERATION_ROLLED_BACK"}, insertAll(o, withAllOrNone(accounts("P", "Q"))))
	require.Equal(t, []string{"A", "Y"}, o.names("SELECT Name FROM Account ORDER BY Name"))
}

func insertAll(o *org, body string) []string {
	o.t.Helper()
	return outcomes(o.want(200, "POST", v62+"/composite/sobjects", body).array())
}

func TestDown(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 1)
	s.next()
	o.fault(`{"down":true}`)
	require.Equal(t, "SERVER_UNAVAILABLE", o.want(503, "GET", v62+"/limits", "").code())
	s.fails(codes.Unavailable, "sfdc.platform.eventbus.grpc.service.unavailable")
	f.subscribe(accountTopic, latest, "", 1).fails(codes.Unavailable, "sfdc.platform.eventbus.grpc.service.unavailable")
	o.want(204, "DELETE", "/__sandbox__/faults", "")
	o.want(200, "GET", v62+"/limits", "")
}

func TestExpiredSessionsAndReplayIDs(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 10)
	tip := s.next().latest
	o.account(`{"Name":"A"}`)
	e := s.collect(1)[0]
	o.fault(`{"expire_replay_ids":true}`)
	s.fails(codes.Unavailable, "")
	for _, id := range []string{tip, e.replay} {
		f.subscribe(accountTopic, custom, id, 1).fails(codes.InvalidArgument, corrupted)
	}
	again := f.subscribe(accountTopic, earliest, "", 1).collect(1)[0]
	require.Equal(t, "A", again.value["Name"])
	require.Equal(t, e.id, again.id)
	require.Greater(t, again.replay, e.replay)
	o.account(`{"Name":"B"}`)
	require.Len(t, f.subscribe(accountTopic, custom, again.replay, 1).collect(1), 1)
	o.fault(`{"expire_sessions":true}`)
	o.want(401, "GET", v62+"/limits", "")
}

func TestDuplicateEvents(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 2)
	s.next()
	o.fault(`{"duplicate_events":2}`)
	o.want(200, "POST", v62+"/composite/sobjects", accounts("A", "B"))
	got := s.collect(2) // duplicates count as delivered events
	require.Equal(t, got[0], got[1])
	s.request("", latest, "", 2)
	rest := s.collect(2)
	require.Equal(t, "B", rest[0].value["Name"])
	require.Equal(t, rest[0].replay, rest[1].replay)
	require.Len(t, f.subscribe(accountTopic, custom, got[0].replay, 9).collect(2), 2)
}

func TestReorderedEvents(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	o.fault(`{"reorder_events":true}`)
	swapped := false
	for round := 0; round < 20 && !swapped; round++ {
		for i := range 2 {
			o.account(fmt.Sprintf(`{"Name":"%d-%d"}`, round, i))
		}
		got := s.collect(2) // none is lost, even if nothing follows
		require.Less(t, got[0].replay, got[1].replay)
		swapped = got[0].value["Name"] == fmt.Sprintf("%d-1", round)
	}
	require.True(t, swapped)
	o.account(`{"Name":"last"}`)
	require.Equal(t, "last", s.collect(1)[0].value["Name"])
}

func TestLatencyAndBadPlans(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.fault(`{"latency":"40ms"}`)
	start := time.Now()
	o.want(200, "GET", v62+"/limits", "")
	require.GreaterOrEqual(t, time.Since(start), 40*time.Millisecond)
	for _, bad := range []string{`{"latency":"soon"}`, `{"lock_row":{}}`, `{"nope":1}`, `{`, `{"error":{"probability":2}}`} {
		o.want(400, "PUT", "/__sandbox__/faults", bad)
	}
	require.JSONEq(t, `{"latency":"40ms"}`, o.want(200, "GET", "/__sandbox__/faults", "").text)
}

func TestStatsAndEventLog(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"A"}`)
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Name":"B"}`)
	stats := o.want(200, "GET", "/__sandbox__/stats", "").object()
	require.InDelta(t, 2, stats["api_calls"], 0)
	require.InDelta(t, 2, stats["events_published"], 0)
	require.InDelta(t, 1, stats["records"].(map[string]any)["Account"], 0)
	require.Equal(t, map[string]any{"POST /sobjects/Account": 1.0, "PATCH /sobjects/Account": 1.0}, stats["by_path"])
	log := o.want(200, "GET", "/__sandbox__/events?limit=1", "").array()
	require.Len(t, log, 1)
	require.Equal(t, "UPDATE", log[0]["change_type"])
	require.Equal(t, id, log[0]["record_id"])
	require.NotContains(t, o.want(200, "GET", "/__sandbox__/events", "").text, "Name")
}
