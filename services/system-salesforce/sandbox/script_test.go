package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// script sets rules as the fault plan.
func (o *org) script(rules ...string) {
	o.t.Helper()
	o.fault(`{"rules":[` + strings.Join(rules, ",") + `]}`)
}

func TestScriptedRequestFaults(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.script(
		`{"effect":"error","method":"PATCH","status":502,"code":"BAD_GATEWAY","message":"no way","count":1}`,
		`{"effect":"quota","path_contains":"/query","count":1}`,
		`{"effect":"latency","path_prefix":"/services/data/v62.0/sobjects","delay":"50ms","count":1}`,
		`{"effect":"reset","method":"POST","path_contains":"/Lead","after":1,"count":1}`,
		`{"effect":"truncate","path_contains":"/describe","count":1}`,
		`{"effect":"lose_ack","path_contains":"/composite","count":1}`,
		`{"name":"mid-flight","effect":"unauthorized","path_contains":"/Contact","count":1}`,
	)
	start := time.Now()
	id := o.account(`{"Name":"A"}`)
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
	r := o.want(502, "PATCH", v62+"/sobjects/Account/"+id, `{"Name":"B"}`)
	require.Equal(t, []any{"BAD_GATEWAY", "no way"}, []any{r.code(), r.array()[0]["message"]})
	require.Equal(t, "REQUEST_LIMIT_EXCEEDED", o.want(403, "GET", v62+"/query?q=SELECT+Id+FROM+Account", "").code())
	require.Equal(t, []string{"A"}, o.names("SELECT Name FROM Account"))

	lead := `{"LastName":"L","Company":"C"}`
	o.want(201, "POST", v62+"/sobjects/Lead", lead)
	_, err := o.try("POST", v62+"/sobjects/Lead", lead)
	require.Error(t, err)
	o.want(201, "POST", v62+"/sobjects/Lead", lead)
	require.InDelta(t, 2, o.soql("SELECT COUNT() FROM Lead")["totalSize"], 0)

	cut, err := o.try("GET", v62+"/sobjects/Account/describe", "", "Accept-Encoding", "identity")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, http.StatusOK, cut.status)
	require.False(t, json.Valid([]byte(cut.text)))
	whole := o.want(200, "GET", v62+"/sobjects/Account/describe", "", "Accept-Encoding", "identity")
	require.Len(t, cut.text, len(whole.text)/2)

	_, err = o.try("POST", v62+"/composite/sobjects", accounts("lost answer"))
	require.Error(t, err)
	require.Equal(t, []string{"A", "lost answer"}, o.names("SELECT Name FROM Account ORDER BY Name"))

	require.Equal(t, "INVALID_SESSION_ID", o.want(401, "POST", v62+"/sobjects/Contact", `{"LastName":"L"}`).code())
	o.want(401, "GET", v62+"/limits", "")
	o.login()
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"L"}`)
	log := o.want(200, "GET", "/__sandbox__/faults/log", "").array()
	require.Len(t, log, 7)
	require.Equal(t, "mid-flight", log[6]["rule"])
	for _, r := range o.want(200, "GET", "/__sandbox__/faults", "").object()["rules"].([]any) {
		require.InDelta(t, 1, r.(map[string]any)["fired"], 0)
	}
}

func TestScriptedLocks(t *testing.T) {
	t.Parallel()
	o := setup(t)
	a, b := o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`)
	contact := func(parent string) string { return fmt.Sprintf(`{"LastName":"L","AccountId":"%s"}`, parent) }
	o.script(`{"effect":"lock_row","parent":"`+a+`"}`, `{"effect":"lock_row","record":"`+b[:15]+`"}`)
	require.Equal(t, "UNABLE_TO_LOCK_ROW", o.want(400, "POST", v62+"/sobjects/Contact", contact(a)).code())
	id := o.want(201, "POST", v62+"/sobjects/Contact", contact(b)).id()
	o.want(204, "PATCH", v62+"/sobjects/Account/"+a, `{"Phone":"1"}`)
	require.Equal(t, "UNABLE_TO_LOCK_ROW", o.want(400, "PATCH", v62+"/sobjects/Account/"+b, `{"Phone":"1"}`).code())
	require.Equal(t, "UNABLE_TO_LOCK_ROW", o.want(400, "PATCH", v62+"/sobjects/Contact/"+id, contact(a)).code())
}

// The same seed makes the same records fail, whatever the sandbox was started
// with.
func TestTheSameSeedLocksTheSameRecords(t *testing.T) {
	t.Parallel()
	names := make([]string, 60)
	for i := range names {
		names[i] = fmt.Sprint("A", i)
	}
	run := func(start, seed int64) []string {
		o := setup(t, func(c *sandbox.Config) { c.Seed = start })
		o.fault(fmt.Sprintf(`{"seed":%d,"rules":[{"effect":"lock_row","probability":0.3}]}`, seed))
		return insertAll(o, accounts(names...))
	}
	first := run(1, 99)
	require.Contains(t, first, "ok")
	require.Contains(t, first, "UNABLE_TO_LOCK_ROW")
	require.Equal(t, first, run(2, 99))
	require.NotEqual(t, first, run(1, 100))
}

func TestScriptedEventFaults(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe("/data/ChangeEvents", latest, "", 50)
	s.next()
	o.script(
		`{"effect":"drop_event","object":"Account","change_type":"CREATE","after":1,"count":1}`,
		`{"effect":"duplicate_event","object":"Contact","copies":3,"count":1}`,
		`{"effect":"gap_event","object":"Account","change_type":"UPDATE","count":1}`,
	)
	a := o.account(`{"Name":"A"}`)
	o.account(`{"Name":"missing"}`)
	o.account(`{"Name":"C"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"L"}`)
	o.want(204, "PATCH", v62+"/sobjects/Account/"+a, `{"Name":"B"}`)
	o.want(204, "PATCH", v62+"/sobjects/Account/"+a, `{"Name":"D"}`)
	got := s.collect(7)
	require.Equal(t, []any{"A", "C"}, []any{got[0].value["Name"], got[1].value["Name"]})
	require.Equal(t, got[2], got[3])
	require.Equal(t, got[2], got[4])
	require.Equal(t, "GAP_UPDATE "+a, got[5].String())
	require.Equal(t, "D", got[6].value["Name"])
	require.InDelta(t, 6, o.want(200, "GET", "/__sandbox__/stats", "").object()["events_published"], 0)
}

func TestScriptedStreamFaults(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.KeepAlive = 100 * time.Millisecond })
	f := o.feed()
	o.script(`{"effect":"refuse_stream","count":1}`, `{"effect":"reset_stream","topic":"`+accountTopic+`","count":1}`)
	f.subscribe(accountTopic, latest, "", 10).fails(codes.Unavailable, "sfdc.platform.eventbus.grpc.service.unavailable")
	s := f.subscribe(accountTopic, latest, "", 10)
	s.next()
	o.account(`{"Name":"A"}`)
	e := s.collect(1)[0]
	s.fails(codes.Unavailable, "")
	o.script(`{"effect":"corrupt_replay_id","count":1}`)
	f.subscribe(accountTopic, custom, e.replay, 10).fails(codes.InvalidArgument, corrupted)
	s = f.subscribe(accountTopic, custom, e.replay, 10)
	s.next() // a keepalive
	silent := false
	for try := 0; !silent; try++ { // a keepalive may have been sent already when the rule is set
		require.Less(t, try, 100)
		o.script(`{"effect":"lose_keepalive","count":3}`)
		start := time.Now()
		s.next()
		silent = time.Since(start) >= 300*time.Millisecond
	}
	// A frozen stream stays open, and neither an event nor a keepalive comes.
	o.script(`{"effect":"freeze_stream","count":1}`)
	o.account(`{"Name":"B"}`)
	heard := make(chan error, 1)
	go func() {
		for {
			if b, err := s.receive(); err != nil || len(b.events) > 0 {
				heard <- err
				return
			}
		}
	}()
	select {
	case err := <-heard:
		require.Fail(t, "the stream is not frozen", err)
	case <-time.After(400 * time.Millisecond):
	}
	require.Equal(t, "B", f.subscribe(accountTopic, custom, e.replay, 1).collect(1)[0].value["Name"], "another stream goes on")
	o.fault(`{"reset_streams":true}`)
	require.Error(t, <-heard)
}

func TestTheOrganizationMoves(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 10)
	s.next()
	id := o.account(`{"Name":"A"}`)
	e := s.collect(1)[0]
	o.fault(`{"migrate_org":true}`)
	_, err := s.receive()
	require.Error(t, err)
	o.want(401, "GET", v62+"/limits", "")
	status, body := o.grant(o.assertion(nil))
	require.Equal(t, http.StatusOK, status)
	o.token = body["access_token"].(string)
	require.NotContains(t, body["id"], orgID)
	moved := o.soql("SELECT Id FROM Organization")["records"].([]any)[0].(map[string]any)["Id"].(string)
	require.NotEqual(t, orgID, moved)
	require.Contains(t, body["id"], moved)
	require.Equal(t, moved, o.want(200, "GET", "/__sandbox__/org", "").object()["id"])
	f.subscribe(accountTopic, custom, e.replay, 1).fails(codes.Unauthenticated, authError) // the old tenant id
	f.tenant = moved
	f.subscribe(accountTopic, custom, e.replay, 1).fails(codes.InvalidArgument, corrupted)
	require.Equal(t, "CREATE "+id, f.subscribe(accountTopic, earliest, "", 1).collect(1)[0].String(), "the records stay")
}

func TestFaultsFromTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"rules":[{"effect":"quota","path_contains":"/limits","start":"1h","for":"1h"}]}`), 0o600))
	o := setup(t, func(c *sandbox.Config) { c.FaultFile = file })
	o.want(200, "GET", v62+"/limits", "")
	o.clock.advance(time.Hour)
	o.want(403, "GET", v62+"/limits", "")
	o.clock.advance(time.Hour)
	o.login()
	o.want(200, "GET", v62+"/limits", "")
	for name, text := range map[string]string{"no JSON": `{`, "a bad rule": `{"rules":[{"effect":"explode"}]}`} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := sandbox.New(sandbox.Config{FaultFile: file})
		require.Error(t, err, name)
	}
	_, err := sandbox.New(sandbox.Config{FaultFile: file + ".none"})
	require.Error(t, err)
}

func TestBadScriptsAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.script(`{"effect":"quota","path_contains":"/nowhere"}`)
	for _, bad := range []string{`{"effect":"nope"}`, `{"effect":"quota","probability":3}`, `{"effect":"latency"}`, `{"effect":"quota","colour":"red"}`} {
		o.want(400, "PUT", "/__sandbox__/faults", `{"rules":[`+bad+`]}`)
	}
	require.Len(t, o.want(200, "GET", "/__sandbox__/faults", "").object()["rules"], 1, "the plan before stays")
}
