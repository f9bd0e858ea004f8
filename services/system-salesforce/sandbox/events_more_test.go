package sandbox_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// extension is a schema file with a custom object, a platform event, channels
// and managed subscriptions.
const extension = `{
 "objects": [
  {"name": "Invoice__c", "label": "Invoice", "fields": [
   {"name": "Name", "label": "Number", "type": "string", "length": 80, "nameField": true},
   {"name": "Total__c", "label": "Total", "type": "currency", "precision": 18, "scale": 2},
   {"name": "Account__c", "label": "Account", "type": "reference", "referenceTo": ["Account"], "relationship": "Account__r", "childRelationship": "Invoices__r", "onDelete": "cascade"}]},
  {"name": "Order_Placed__e", "label": "Order Placed", "fields": [
   {"name": "Number__c", "label": "Number", "type": "string", "length": 40, "required": true},
   {"name": "Amount__c", "label": "Amount", "type": "double", "precision": 18, "scale": 2},
   {"name": "Urgent__c", "label": "Urgent", "type": "boolean"}]},
  {"name": "Order_Shipped__e", "label": "Order Shipped", "fields": [{"name": "Number__c", "label": "Number", "type": "string", "length": 40}]}],
 "channels": [
  {"name": "Finance__chn", "members": ["Account", "Invoice__c"]},
  {"name": "Orders__chn", "members": ["Order_Placed__e", "Order_Shipped__e"]}],
 "managedSubscriptions": [
  {"developerName": "Relay", "topicName": "/data/AccountChangeEvent", "defaultReplay": "EARLIEST", "errorRecoveryReplay": "EARLIEST"}]
}`

// loginAfter logs in when the clock of the organization was put forward.
func (o *org) loginAfter(d time.Duration) {
	o.t.Helper()
	status, body := o.grant(o.assertion(map[string]any{"exp": o.clock.now().Add(d + time.Minute).Unix()}))
	require.Equal(o.t, http.StatusOK, status, body)
	o.token = body["access_token"].(string)
}

// extended adds the extension to a sandbox.
func extended(t *testing.T) func(*sandbox.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(file, []byte(extension), 0o600))
	return func(c *sandbox.Config) { c.SchemaFiles = append(c.SchemaFiles, file) }
}

func TestCustomObjectsAndChannelsHaveEvents(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	invoices := f.subscribe("/data/Invoice__ChangeEvent", latest, "", 10)
	channel := f.subscribe("/data/Finance__chn", latest, "", 10)
	invoices.next()
	channel.next()
	account := o.account(`{"Name":"Acme"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"not a member"}`)
	invoice := o.want(201, "POST", v62+"/sobjects/Invoice__c", fmt.Sprintf(`{"Name":"R1","Total__c":12.5,"Account__c":"%s"}`, account)).id()
	e := invoices.collect(1)[0]
	require.Equal(t, "Invoice__c", e.header["entityName"])
	require.Equal(t, []any{invoice}, e.header["recordIds"])
	require.InDelta(t, 12.5, e.value["Total__c"], 0)
	require.Equal(t, account, e.value["Account__c"])
	got := channel.collect(2)
	require.Equal(t, "CREATE "+account, got[0].String())
	require.Equal(t, e.id, got[1].id)
	topic, err := f.unary("GetTopic", "/data/Finance__chn", nil)
	require.NoError(t, err)
	require.Empty(t, topic[3], "a channel of changes cannot be published to")
}

func TestTheSameChangeOfSeveralRecordsIsOneEvent(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	a, b, c := o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`), o.account(`{"Name":"C"}`)
	s := f.subscribe("/data/ChangeEvents", latest, "", 50)
	s.next()
	row := func(id, phone string) string {
		return fmt.Sprintf(`{"attributes":{"type":"Account"},"id":"%s","Phone":"%s"}`, id, phone)
	}
	o.want(200, "PATCH", v62+"/composite/sobjects", `{"records":[`+row(a, "1")+","+row(b, "2")+","+row(c, "1")+`]}`)
	got := s.collect(2)
	require.Equal(t, []any{a, c}, got[0].header["recordIds"])
	require.Equal(t, []any{b}, got[1].header["recordIds"])
	require.Equal(t, "1", got[0].value["Phone"])
	require.Equal(t, []any{int64(1), int64(2)}, []any{got[0].header["sequenceNumber"], got[1].header["sequenceNumber"]})

	for i := range 3 {
		o.want(201, "POST", v62+"/sobjects/Invoice__c", fmt.Sprintf(`{"Name":"R%d","Account__c":"%s"}`, i, a))
	}
	s.collect(3)
	o.want(204, "DELETE", v62+"/sobjects/Account/"+a, "")
	got = s.collect(2)
	require.Len(t, got[0].header["recordIds"], 3, "the rows that went with their parent went together")
	require.Equal(t, "DELETE "+a, got[1].String())
}

func TestRecordsCanHaveEventsOfTheirOwn(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Events.SplitRecords = true })
	s := o.feed().subscribe(accountTopic, latest, "", 50)
	s.next()
	o.want(200, "POST", v62+"/composite/sobjects", accounts("Same", "Same"))
	require.Len(t, s.collect(2)[1].header["recordIds"], 1)
}

func TestOversizedEventsBecomeGaps(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Events.MaxBytes = 2000 })
	s := o.feed().subscribe(accountTopic, latest, "", 50)
	s.next()
	id := o.account(`{"Name":"A","Description":"` + strings.Repeat("x", 3000) + `"}`)
	e := s.collect(1)[0]
	require.Equal(t, "GAP_CREATE "+id, e.String())
	require.Empty(t, nonNull(e))
	require.NotEmpty(t, e.header["transactionKey"])
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Phone":"1"}`)
	require.Equal(t, "UPDATE", s.collect(1)[0].header["changeType"])
}

func TestTooManyChangesOverflow(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Events.OverflowAfter = 3 })
	s := o.feed().subscribe("/data/ChangeEvents", latest, "", 50)
	s.next()
	o.want(200, "POST", v62+"/composite/sobjects", accounts("A", "B", "C", "D", "E"))
	got := s.collect(4)
	require.Equal(t, "C", got[2].value["Name"])
	require.Equal(t, "GAP_OVERFLOW 000000000000000AAA", got[3].String())
	require.Equal(t, "Account", got[3].header["entityName"])
	require.Equal(t, got[0].header["transactionKey"], got[3].header["transactionKey"])
	o.account(`{"Name":"F"}`)
	require.Equal(t, "CREATE", s.collect(1)[0].header["changeType"])
}

func TestGapsAreAnnouncedOnDemand(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 50)
	s.next()
	id := o.account(`{"Name":"A"}`)
	s.collect(1)
	for _, kind := range []string{"GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE"} {
		o.want(204, "POST", "/__sandbox__/events", fmt.Sprintf(`{"object":"Account","change_type":"%s","record_ids":["%s"]}`, kind, id))
		e := s.collect(1)[0]
		require.Equal(t, kind+" "+id, e.String())
		require.Empty(t, nonNull(e))
	}
	o.want(204, "POST", "/__sandbox__/events", `{"object":"Account","change_type":"GAP_UPDATE","record_ids":["001*"]}`)
	require.Equal(t, "GAP_UPDATE 001*", s.collect(1)[0].String())
	o.want(204, "POST", "/__sandbox__/events", `{"object":"account","change_type":"GAP_OVERFLOW"}`)
	require.Equal(t, "GAP_OVERFLOW 000000000000000AAA", s.collect(1)[0].String())
	for _, bad := range []string{`{"object":"Nope","change_type":"GAP_UPDATE"}`, `{"object":"Account","change_type":"UPDATE","record_ids":["001*"]}`, `{"object":"Account","change_type":"GAP_UPDATE"}`, `{`} {
		o.want(400, "POST", "/__sandbox__/events", bad)
	}
}

// patched applies a unified difference, and checks the hash that it carries.
func patched(t *testing.T, old, diff string) string {
	t.Helper()
	lines, out := strings.Split(old, "\n"), []string{}
	parts := strings.Split(diff, "\n")
	require.Equal(t, "--- ", parts[0])
	at := 0
	for _, l := range parts[2:] {
		if strings.HasPrefix(l, "@@") {
			var from, n, to, m int
			_, err := fmt.Sscanf(l, "@@ -%d,%d +%d,%d @@", &from, &n, &to, &m)
			require.NoError(t, err)
			out = append(out, lines[at:from-1]...)
			at = from - 1
			continue
		}
		switch l[0] {
		case ' ':
			require.Equal(t, lines[at], l[1:])
			out = append(out, l[1:])
			at++
		case '-':
			require.Equal(t, lines[at], l[1:])
			at++
		case '+':
			out = append(out, l[1:])
		}
	}
	text := strings.Join(append(out, lines[at:]...), "\n")
	sum := sha256.Sum256([]byte(text))
	require.Equal(t, "+++ "+hex.EncodeToString(sum[:]), parts[1])
	return text
}

func TestLargeTextsTravelAsDifferences(t *testing.T) {
	t.Parallel()
	o := setup(t)
	lines := make([]string, 60)
	for i := range lines {
		lines[i] = fmt.Sprintf("line %d of a long description", i)
	}
	old := strings.Join(lines, "\n")
	id := o.account(mustJSON(map[string]string{"Name": "A", "Description": old}))
	s := o.feed().subscribe(accountTopic, latest, "", 50)
	s.next()
	change := func(text string) event {
		o.want(204, "PATCH", v62+"/sobjects/Account/"+id, mustJSON(map[string]string{"Description": text}))
		return s.collect(1)[0]
	}
	lines[20] = "another line"
	fresh := strings.Join(append(lines[:40:40], append([]string{"and one more"}, lines[40:]...)...), "\n")
	e := change(fresh)
	require.Equal(t, []string{"Description"}, fieldNames(t, e.schema, e.header["diffFields"]))
	require.ElementsMatch(t, []string{"Description", "LastModifiedDate"}, fieldNames(t, e.schema, e.header["changedFields"]))
	require.Less(t, len(e.value["Description"].(string)), len(fresh))
	require.Equal(t, fresh, patched(t, old, e.value["Description"].(string)))
	for name, text := range map[string]string{
		"a short text":             "short",
		"a text that is all new":   strings.Repeat("other\n", 300) + "end",
		"a text that is one line":  strings.Repeat("word ", 400) + "end",
		"a text that grew by half": fresh + strings.Repeat("x", 2*len(fresh)),
	} {
		e := change(text)
		require.Empty(t, e.header["diffFields"], name)
		require.Equal(t, text, e.value["Description"], name)
	}
}

func TestReplayIDsAreOpaque(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Events.HostileReplayIDs = true })
	f := o.feed()
	f.hostile = true
	s := f.subscribe(accountTopic, latest, "", 10)
	tip := s.next().latest
	require.Len(t, tip, 15)
	o.account(`{"Name":"A"}`)
	e := s.collect(1)[0]
	o.account(`{"Name":"B"}`)
	require.Equal(t, "A", f.subscribe(accountTopic, custom, tip, 10).collect(2)[0].value["Name"])
	require.Equal(t, "B", f.subscribe(accountTopic, custom, e.replay, 10).collect(1)[0].value["Name"])
	f.subscribe(accountTopic, custom, e.replay[:14]+"x", 10).fails(codes.InvalidArgument, corrupted)
	f.subscribe(accountTopic, custom, "\x00\x00\x00\x00\x00\x00\x00\x07", 10).fails(codes.InvalidArgument, corrupted)
}

func TestDeliveriesAreCountedAndLimited(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Events.DeliveryLimit = 3 })
	f := o.feed()
	delivered := func() any { return o.want(200, "GET", "/__sandbox__/org", "").object()["events_delivered_last_day"] }
	o.account(`{"Name":"A"}`)
	o.account(`{"Name":"B"}`)
	f.subscribe(accountTopic, earliest, "", 2).collect(2)
	require.InDelta(t, 2, delivered(), 0)
	f.subscribe(accountTopic, earliest, "", 1).collect(1)
	f.subscribe(accountTopic, earliest, "", 1).fails(codes.ResourceExhausted, "")
	o.want(200, "POST", "/__sandbox__/clock", `{"advance":"25h"}`)
	require.InDelta(t, 0, delivered(), 0)
	o.loginAfter(25 * time.Hour)
	f.subscribe(accountTopic, earliest, "", 1).collect(1)
}

func TestTheClockIsPutForward(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 10)
	s.next()
	o.account(`{"Name":"A"}`)
	e := s.collect(1)[0]
	o.account(`{"Name":"B"}`)
	before := o.clock.now()
	now := o.want(200, "POST", "/__sandbox__/clock", `{"advance":"72h1s"}`).object()["now"]
	require.Equal(t, before.Add(72*time.Hour+time.Second).Format(time.RFC3339), now)
	s.fails(codes.Unauthenticated, authError)
	o.loginAfter(73 * time.Hour)
	f.subscribe(accountTopic, custom, e.replay, 1).fails(codes.InvalidArgument, corrupted)
	for _, bad := range []string{`{"advance":"-1h"}`, `{"advance":"soon"}`, `{"back":"1h"}`} {
		o.want(400, "POST", "/__sandbox__/clock", bad)
	}
}

// Merging must not let an older state of a record overtake a newer one.
func TestMergedEventsKeepTheOrderOfARecord(t *testing.T) {
	t.Parallel()
	o := setup(t)
	a, b := o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`)
	s := o.feed().subscribe(accountTopic, latest, "", 50)
	s.next()
	var steps []string
	for i, step := range [][2]string{{a, "1"}, {a, "2"}, {b, "1"}, {a, "1"}, {b, "2"}} {
		steps = append(steps, fmt.Sprintf(`{"method":"PATCH","referenceId":"r%d","url":"%s/sobjects/Account/%s","body":{"Phone":"%s"}}`, i, v62, step[0], step[1]))
	}
	o.want(200, "POST", v62+"/composite", `{"allOrNone":true,"compositeRequest":[`+strings.Join(steps, ",")+`]}`)
	var got []string
	phone := map[string]any{}
	for _, e := range s.collect(3) {
		for _, id := range e.header["recordIds"].([]any) {
			phone[id.(string)] = e.value["Phone"]
		}
		got = append(got, fmt.Sprint(e.value["Phone"], e.header["recordIds"]))
	}
	require.Equal(t, map[string]any{a: "1", b: "2"}, phone)
	require.Equal(t, []string{fmt.Sprint("1", []any{a, b}), fmt.Sprint("2", []any{a, b}), fmt.Sprint("1", []any{a})}, got)
}
