package sandbox_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recycle makes a SOAP call in the name of the session and returns, for each
// result, "ok" or the status code.
func (o *org) recycle(call string, ids ...string) []string {
	o.t.Helper()
	body := "<" + call + ">"
	for _, id := range ids {
		body += "<ids>" + id + "</ids>"
	}
	answer := o.soap(200, "/services/Soap/u/66.0", "<CallOptions><client>relay</client></CallOptions><SessionHeader><sessionId>"+o.token+"</sessionId></SessionHeader>", body+"</"+call+">")
	require.Equal(o.t, call+"Response", answer.XMLName.Local)
	out := []string{}
	for _, r := range answer.Children {
		if r.Children[0].XMLName.Local == "errors" {
			require.Equal(o.t, "false", r.Children[2].Text)
			out = append(out, r.Children[0].Children[1].Text)
			continue
		}
		require.Len(o.t, r.Children[0].Text, 18)
		require.Equal(o.t, "true", r.Children[1].Text)
		out = append(out, "ok")
	}
	return out
}

func (o *org) allIDs(object string) []string {
	o.t.Helper()
	out := []string{}
	q := "SELECT Id FROM " + object + " ORDER BY Id"
	for _, r := range o.want(200, "GET", v62+"/queryAll?q="+url.QueryEscape(q), "").object()["records"].([]any) {
		out = append(out, r.(map[string]any)["Id"].(string))
	}
	return out
}

func TestUndeleteBringsBackWhatWentAlong(t *testing.T) {
	t.Parallel()
	o := setup(t)
	acc := o.account(`{"Name":"A","Selfsame_Id__c":"k"}`)
	contact := func(name string) string {
		return o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"`+name+`","AccountId":"`+acc+`"}`).id()
	}
	before, along := contact("Before"), contact("Along")
	o.want(204, "DELETE", v62+"/sobjects/Contact/"+before, "")
	o.want(204, "DELETE", v62+"/sobjects/Account/"+acc, "")
	o.want(404, "GET", v62+"/sobjects/Contact/"+along, "")
	var bin []string
	for _, e := range o.want(200, "GET", "/__sandbox__/bin", "").array() {
		bin = append(bin, e["id"].(string))
	}
	require.Equal(t, []string{before, acc}, bin)

	s := o.feed().subscribe("/data/ChangeEvents", latest, "", 100)
	s.next()
	require.Equal(t, []string{"UNDELETE_FAILED", "ok", "UNDELETE_FAILED", "UNDELETE_FAILED", "UNDELETE_FAILED"},
		o.recycle("undelete", along, acc[:15], acc, "001000000000009AAA", "junk"))
	events := s.collect(2)
	require.Equal(t, "UNDELETE", events[0].header["changeType"])
	require.Equal(t, "com/salesforce/api/soap/66.0;client=relay", events[0].header["changeOrigin"])
	require.Equal(t, []any{along}, events[1].header["recordIds"])
	require.Equal(t, acc, o.want(200, "GET", v62+"/sobjects/Contact/"+along, "").object()["AccountId"])
	o.want(200, "GET", v62+"/sobjects/Account/Selfsame_Id__c/k", "")
	o.want(404, "GET", v62+"/sobjects/Contact/"+before, "") // it had gone on its own
	require.Equal(t, []string{"ok"}, o.recycle("undelete", before))
}

func TestUndeletePutsBackReferences(t *testing.T) {
	t.Parallel()
	o := setup(t)
	path := v62 + "/sobjects/"
	first := o.want(201, "POST", path+"Contact", `{"LastName":"First"}`).id()
	second := o.want(201, "POST", path+"Contact", `{"LastName":"Second"}`).id()
	newCase := func() string { return o.want(201, "POST", path+"Case", `{"ContactId":"`+first+`"}`).id() }
	contact := func(id string) any { return o.want(200, "GET", path+"Case/"+id, "").object()["ContactId"] }
	plain, replaced, gone, unlinked := newCase(), newCase(), newCase(), newCase()
	o.want(204, "PATCH", path+"Case/"+unlinked, `{"ContactId":null}`)
	o.want(400, "POST", v62+"/composite/tree/Contact", mustJSON(children(record("Contact")))) // a transaction in between that fails
	_, parts := o.composite(bundle(true, sub("d", "DELETE", "/sobjects/Contact/"+first, nil), sub("x", "POST", "/sobjects/Contact", record(""))))
	require.Equal(t, "REQUIRED_FIELD_MISSING", refusal(parts[1])) // and a deletion that is undone
	require.Equal(t, first, contact(plain))

	o.want(204, "DELETE", path+"Contact/"+first, "")
	require.Nil(t, contact(plain))
	o.want(204, "PATCH", path+"Case/"+replaced, `{"ContactId":"`+second+`"}`)
	o.want(204, "DELETE", path+"Case/"+gone, "")
	s := o.feed().subscribe("/data/CaseChangeEvent", latest, "", 100)
	s.next()
	require.Equal(t, []string{"ok"}, o.recycle("undelete", first))
	require.Equal(t, first, contact(plain))
	require.Equal(t, second, contact(replaced))
	require.Nil(t, contact(unlinked), "it was not the deletion that unlinked it")
	e := s.collect(1)[0]
	require.Equal(t, []any{plain}, e.header["recordIds"])
	require.Equal(t, first, nonNull(e)["ContactId"])
}

func TestUndeleteIsRefusedForATakenKey(t *testing.T) {
	t.Parallel()
	o := setup(t)
	acc := o.account(`{"Name":"A"}`)
	con := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"C","Selfsame_Id__c":"k","AccountId":"`+acc+`"}`).id()
	o.want(204, "DELETE", v62+"/sobjects/Account/"+acc, "")
	other := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"D","Selfsame_Id__c":"k"}`).id()
	require.Equal(t, []string{"DUPLICATE_VALUE"}, o.recycle("undelete", acc))
	o.want(404, "GET", v62+"/sobjects/Account/"+acc, "") // nothing came back in part
	o.want(204, "DELETE", v62+"/sobjects/Contact/"+other, "")
	require.Equal(t, []string{"ok"}, o.recycle("undelete", acc))
	o.want(200, "GET", v62+"/sobjects/Contact/"+con, "")
}

func TestTheBinIsEmptied(t *testing.T) {
	t.Parallel()
	o := setup(t)
	a, b := o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`)
	con := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"C","AccountId":"`+a+`"}`).id()
	require.Equal(t, []string{"DELETE_FAILED"}, o.recycle("emptyRecycleBin", a))
	o.want(204, "DELETE", v62+"/sobjects/Account/"+a, "")
	require.Equal(t, []string{a, b}, o.allIDs("Account"))
	require.Equal(t, []string{"DELETE_FAILED", "ok", "DELETE_FAILED"}, o.recycle("emptyRecycleBin", con, a, a))
	require.Equal(t, []string{b}, o.allIDs("Account"))
	require.Empty(t, o.allIDs("Contact"))
	require.Equal(t, "NOT_FOUND", o.want(404, "GET", v62+"/sobjects/Account/"+a, "").code())
	require.Equal(t, []string{"UNDELETE_FAILED"}, o.recycle("undelete", a))

	// The deletion can still be learned of.
	o.clock.advance(2 * time.Minute)
	gone := o.want(200, "GET", v62+"/sobjects/Account/deleted?start=2026-05-14T09:59:00Z&end=2026-05-14T10:01:30Z", "").object()["deletedRecords"].([]any)
	require.Equal(t, a, gone[0].(map[string]any)["id"])

	o.want(204, "DELETE", v62+"/sobjects/Account/"+b, "")
	o.want(204, "DELETE", "/__sandbox__/bin", "")
	require.Empty(t, o.want(200, "GET", "/__sandbox__/bin", "").array())
	require.Empty(t, o.allIDs("Account"))
	require.NotContains(t, []string{a, b}, o.account(`{"Name":"New"}`), "ids are not used again")
}

func TestTheBinForgetsAfterFifteenDays(t *testing.T) {
	t.Parallel()
	o := setup(t)
	old := o.account(`{"Name":"Old"}`)
	purged := o.account(`{"Name":"Purged"}`)
	kept := o.account(`{"Name":"Kept"}`)
	back := o.account(`{"Name":"Back"}`)
	for _, id := range []string{old, purged, back} {
		o.want(204, "DELETE", v62+"/sobjects/Account/"+id, "")
	}
	require.Equal(t, []string{"ok"}, o.recycle("emptyRecycleBin", purged))
	require.Equal(t, []string{"ok"}, o.recycle("undelete", back))
	o.clock.advance(24 * time.Hour)
	o.login()
	o.want(204, "DELETE", v62+"/sobjects/Account/"+kept, "")
	o.clock.advance(14*24*time.Hour - time.Second)
	o.login()
	require.Equal(t, []string{old, kept, back}, o.allIDs("Account"))
	o.clock.advance(time.Second)
	require.Equal(t, []string{kept, back}, o.allIDs("Account"))
	window := "?start=" + url.QueryEscape(o.clock.now().AddDate(0, 0, -20).Format(time.RFC3339)) + "&end=" + url.QueryEscape(o.clock.now().Format(time.RFC3339))
	gone := o.want(200, "GET", v62+"/sobjects/Account/deleted"+window, "").object()["deletedRecords"].([]any)
	require.Len(t, gone, 1)
	require.Equal(t, kept, gone[0].(map[string]any)["id"])
	require.Equal(t, []string{"UNDELETE_FAILED", "ok"}, o.recycle("undelete", old, kept))
}

func TestSOAPCallsAreCountedAndLimited(t *testing.T) {
	t.Parallel()
	o := setup(t)
	session := "<SessionHeader><sessionId>" + o.token + "</sessionId></SessionHeader>"
	body := "<undelete>"
	for range 201 {
		body += "<ids>x</ids>"
	}
	require.Equal(t, "sf:EXCEEDED_ID_LIMIT", o.soap(500, "/services/Soap/u/66.0", session, body+"</undelete>").Children[0].Text)
	require.Equal(t, "api-usage=2/100000", o.want(200, "GET", v62+"/sobjects", "").header.Get("Sforce-Limit-Info"))
}
