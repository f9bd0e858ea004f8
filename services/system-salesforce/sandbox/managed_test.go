package sandbox_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

// managed opens a ManagedSubscribe stream; the request is in field numbers.
func (f *feed) managed(request ...any) *stream {
	f.org.t.Helper()
	s := &stream{f, f.open("ManagedSubscribe")}
	_ = s.s.SendMsg(&rawBytes{message(request...)}) // a broken stream shows in the next receive
	return s
}

// commit keeps a position and returns the error of the answer.
func (s *stream) commit(id, replay string) string {
	t := s.feed.org.t
	t.Helper()
	require.NoError(t, s.s.SendMsg(&rawBytes{message(5, message(1, id, 2, replay))}))
	for {
		var raw rawBytes
		require.NoError(t, s.s.RecvMsg(&raw))
		m := fields(t, raw.b)
		if len(m[5]) == 0 {
			continue
		}
		answer := fields(t, m[5][0].([]byte))
		require.Equal(t, id, str(answer[1]))
		require.Equal(t, replay, str(answer[2]))
		require.EqualValues(t, s.feed.org.clock.now().UnixMilli(), answer[4][0])
		if len(answer[3]) == 0 {
			return ""
		}
		fault := fields(t, answer[3][0].([]byte))
		require.EqualValues(t, 2, fault[1][0])
		return str(fault[2])
	}
}

const (
	tooling     = v62 + "/tooling/query/?q="
	managedRows = v62 + "/tooling/sobjects/ManagedEventSubscription"
)

func (o *org) managedID(name string) string {
	o.t.Helper()
	q := url.QueryEscape("SELECT Id, DeveloperName, Metadata FROM ManagedEventSubscription WHERE DeveloperName = '" + name + "' LIMIT 1")
	rows := o.want(200, "GET", tooling+q, "").object()["records"].([]any)
	require.Len(o.t, rows, 1)
	return rows[0].(map[string]any)["Id"].(string)
}

func TestManagedSubscriptionsKeepTheirPosition(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	o.account(`{"Name":"A"}`)
	o.account(`{"Name":"B"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"other topic"}`)
	o.account(`{"Name":"C"}`)
	id := o.managedID("Relay")
	s := f.managed(1, id, 3, 2)
	got := s.collect(2)
	require.Equal(t, "A", got[0].value["Name"], "nothing was committed, so it starts where it says")
	require.Empty(t, s.commit("c1", got[0].replay))
	require.Equal(t, "B", f.managed(1, id[:15], 3, 5).collect(2)[0].value["Name"])
	require.Empty(t, s.commit("c2", got[1].replay))
	require.NotEmpty(t, s.commit("c3", "garbage"))
	s = f.managed(2, "Relay", 3, 1)
	require.Equal(t, "C", s.collect(1)[0].value["Name"])
	require.NoError(t, s.s.SendMsg(&rawBytes{message(3, 1)}))
	o.account(`{"Name":"D"}`)
	require.Equal(t, "D", s.collect(1)[0].value["Name"])
	// The position survives the events' being renumbered only as an error.
	o.fault(`{"expire_replay_ids":true}`)
	s.fails(codes.Unavailable, "")
	require.Equal(t, "A", f.managed(1, id, 3, 1).collect(1)[0].value["Name"], "the recovery setting decides")
}

func TestManagedSubscriptionsAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	f.managed(1, "18x000000000009AAA", 3, 1).fails(codes.NotFound, "")
	f.managed(3, 1).fails(codes.NotFound, "")
	f.managed(2, "Relay", 3, 0).fails(codes.InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid")
	s := f.managed(2, "Relay", 3, 1)
	s.next()
	require.NoError(t, s.s.SendMsg(&rawBytes{message(2, "Another", 3, 1)}))
	s.fails(codes.InvalidArgument, "")
	s = f.managed(2, "Relay", 3, 1)
	s.next()
	id := o.managedID("Relay")
	o.want(204, "PATCH", managedRows+"/"+id, `{"Metadata":{"topicName":"/data/AccountChangeEvent","state":"STOP"}}`)
	o.account(`{"Name":"A"}`)
	s.fails(codes.FailedPrecondition, "")
	f.managed(2, "Relay", 3, 1).fails(codes.FailedPrecondition, "")
	o.token = "bad"
	f.managed(2, "Relay", 3, 1).fails(codes.Unauthenticated, authError)
}

func TestManagedSubscriptionsAreToolingObjects(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	body := `{"FullName":"Second","Metadata":{"label":"Second one","topicName":"/event/Order_Placed__e","state":"RUN","defaultReplay":"LATEST"}}`
	id := o.want(201, "POST", managedRows, body).id()
	require.Equal(t, "18x", id[:3])
	require.Equal(t, "DUPLICATE_DEVELOPER_NAME", o.want(400, "POST", managedRows, body).code())
	for _, bad := range []string{`{"FullName":"X"}`, `{"FullName":"X","Metadata":{"topicName":"/data/ChangeEvents","state":"MAYBE"}}`} {
		require.Equal(t, "FIELD_INTEGRITY_EXCEPTION", o.want(400, "POST", managedRows, bad).code())
	}
	query := func(status int, q string) result { return o.want(status, "GET", tooling+url.QueryEscape(q), "") }
	rows := query(200, "SELECT Id, DeveloperName FROM ManagedEventSubscription").object()
	require.InDelta(t, 2, rows["totalSize"], 0)
	one := query(200, "select Metadata from ManagedEventSubscription where Id='"+id+"' OR DeveloperName='"+id+"' limit 1").object()["records"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{"label": "Second one", "topicName": "/event/Order_Placed__e", "state": "RUN", "defaultReplay": "LATEST", "errorRecoveryReplay": "LATEST"}, one["Metadata"])
	require.Contains(t, one["attributes"].(map[string]any)["url"], "/tooling/sobjects/ManagedEventSubscription/"+id)
	require.Empty(t, query(200, "SELECT Id FROM ManagedEventSubscription WHERE DeveloperName='Second' AND Id='x'").object()["records"])
	require.Equal(t, "MALFORMED_QUERY", query(400, "SELECT Metadata FROM ManagedEventSubscription").code())
	require.Equal(t, "INVALID_FIELD", query(400, "SELECT Nope FROM ManagedEventSubscription").code())
	require.Equal(t, "MALFORMED_QUERY", query(400, "SELECT Id FROM ManagedEventSubscription WHERE Id LIKE 'x'").code())
	require.Equal(t, "INVALID_TYPE", query(400, "SELECT Id FROM ApexClass").code())
	require.Equal(t, "Second", o.want(200, "GET", managedRows+"/"+id, "").object()["DeveloperName"])
	o.want(204, "DELETE", managedRows+"/"+id, "")
	o.want(404, "GET", managedRows+"/"+id, "")
	o.token = "bad"
	require.Equal(t, http.StatusUnauthorized, o.do("GET", managedRows+"/"+id, "").status)
}

func TestManagedPositionsGrowTooOld(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	o.account(`{"Name":"A"}`)
	s := f.managed(2, "Relay", 3, 1)
	e := s.collect(1)[0]
	require.Empty(t, s.commit("c", e.replay))
	o.account(`{"Name":"B"}`)
	o.clock.advance(100 * time.Hour)
	o.login()
	o.account(`{"Name":"C"}`)
	// A and B are gone: the committed position is too old, the oldest kept is C.
	require.Equal(t, "C", f.managed(2, "Relay", 3, 1).collect(1)[0].value["Name"])
}
