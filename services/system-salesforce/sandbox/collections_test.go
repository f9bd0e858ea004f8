package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// outcomes lists the outcome of each result: "ok" or the status code.
func outcomes(rows []map[string]any) []string {
	var out []string
	for _, r := range rows {
		if r["success"] == true {
			out = append(out, "ok")
			continue
		}
		out = append(out, r["errors"].([]any)[0].(map[string]any)["statusCode"].(string))
	}
	return out
}

func accounts(names ...string) string {
	var rows []map[string]any
	for _, n := range names {
		row := map[string]any{"attributes": map[string]any{"type": "Account"}}
		if n != "" {
			row["Name"] = n
		}
		rows = append(rows, row)
	}
	return mustJSON(map[string]any{"records": rows})
}

func withAllOrNone(body string) string {
	return strings.Replace(body, "{", `{"allOrNone":true,`, 1)
}

func TestCollectionsKeepOrderAndReportEachRecord(t *testing.T) {
	t.Parallel()
	o := setup(t)
	rows := o.want(200, "POST", v62+"/composite/sobjects/", accounts("A", "", "C")).array()
	require.Equal(t, []string{"ok", "REQUIRED_FIELD_MISSING", "ok"}, outcomes(rows))
	require.Equal(t, []any{"Name"}, rows[1]["errors"].([]any)[0].(map[string]any)["fields"])
	require.NotContains(t, rows[0], "created")
	a, c := rows[0]["id"].(string), rows[2]["id"].(string)
	rows = o.want(200, "PATCH", v62+"/composite/sobjects", fmt.Sprintf(
		`{"records":[{"attributes":{"type":"Account"},"id":"%s","Name":"A2"},{"attributes":{"type":"Account"},"Id":"%s","Name":"C2"},{"Name":"no id"},{"id":"001000000000009AAA","Name":"none"}]}`, a, c)).array()
	require.Equal(t, []string{"ok", "ok", "MISSING_ARGUMENT", "INVALID_CROSS_REFERENCE_KEY"}, outcomes(rows))
	require.Equal(t, []string{"A2", "C2"}, o.names("SELECT Name FROM Account ORDER BY Name"))
	rows = o.want(200, "DELETE", v62+"/composite/sobjects?ids="+a+",xx,"+c+"&allOrNone=false", "").array()
	require.Equal(t, []string{"ok", "MALFORMED_ID", "ok"}, outcomes(rows))
}

func TestCollectionsRollBack(t *testing.T) {
	t.Parallel()
	o := setup(t)
	rows := o.want(200, "POST", v62+"/composite/sobjects", withAllOrNone(accounts("A", "", "C"))).array()
	require.Equal(t, []string{"ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING", "ALL_OR_NONE_OPERATION_ROLLED_BACK"}, outcomes(rows))
	require.NotContains(t, rows[0], "id")
	require.Empty(t, o.names("SELECT Name FROM Account"))

	id := o.account(`{"Name":"Old","Selfsame_Id__c":"k1"}`)
	body := `{"allOrNone":true,"records":[{"id":"` + id + `","Name":"New","Selfsame_Id__c":"k2"},{"id":"` + id + `","Name":null}]}`
	rows = o.want(200, "PATCH", v62+"/composite/sobjects", body).array()
	require.Equal(t, []string{"ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"}, outcomes(rows))
	require.Equal(t, []string{"Old"}, o.names("SELECT Name FROM Account WHERE Selfsame_Id__c = 'k1'"))
	require.Empty(t, o.names("SELECT Name FROM Account WHERE Selfsame_Id__c = 'k2'"))

	o.want(200, "DELETE", v62+"/composite/sobjects?allOrNone=true&ids="+id+",001000000000009AAA", "")
	require.Equal(t, []string{"Old"}, o.names("SELECT Name FROM Account"))
	require.InDelta(t, 1, o.want(200, "GET", "/__sandbox__/stats", "").object()["events_published"], 0)
}

func TestCollectionsUpsert(t *testing.T) {
	t.Parallel()
	o := setup(t)
	path := v62 + "/composite/sobjects/Account/Selfsame_Id__c"
	first := o.want(200, "PATCH", path, `{"allOrNone":false,"records":[
		{"attributes":{"type":"Account"},"Selfsame_Id__c":"E1","Name":"One"},
		{"attributes":{"type":"Account"},"selfsame_id__c":"E2","Name":"Two","Id":""}]}`).array()
	require.Equal(t, []any{true, true}, []any{first[0]["created"], first[1]["created"]})
	rows := o.want(200, "PATCH", path, `{"records":[
		{"attributes":{"type":"Account"},"Selfsame_Id__c":"E2","Name":"Deux"},
		{"attributes":{"type":"Account"},"Selfsame_Id__c":"E3","Name":"Three"},
		{"attributes":{"type":"Account"},"Selfsame_Id__c":"D","Name":"x"},
		{"attributes":{"type":"Account"},"Selfsame_Id__c":"d","Name":"y"},
		{"attributes":{"type":"Account"},"Name":"no key"},
		{"attributes":{"type":"Contact"},"Selfsame_Id__c":"E4","LastName":"no account"}]}`).array()
	require.Equal(t, []string{"ok", "ok", "DUPLICATE_VALUE", "DUPLICATE_VALUE", "MISSING_ARGUMENT", "INVALID_TYPE"}, outcomes(rows))
	require.Equal(t, first[1]["id"], rows[0]["id"])
	require.Equal(t, false, rows[0]["created"])
	require.Contains(t, rows[2]["errors"].([]any)[0].(map[string]any)["message"], "Duplicate external id specified")
	require.Equal(t, []string{"Deux", "One", "Three"}, o.names("SELECT Name FROM Account ORDER BY Name"))
	rows = o.want(200, "PATCH", v62+"/composite/sobjects/Contact/Selfsame_Id__c", `{"records":[
		{"attributes":{"type":"Contact"},"Selfsame_Id__c":"c1","LastName":"L","Account":{"Selfsame_Id__c":"E1"}},
		{"attributes":{"type":"Contact"},"Selfsame_Id__c":"c2","LastName":"L","Account":{"Selfsame_Id__c":"nope"}}]}`).array()
	require.Equal(t, []string{"ok", "INVALID_FIELD"}, outcomes(rows))
	require.Contains(t, mustJSON(rows[1]), "Foreign key external ID: nope not found")
	o.want(404, "PATCH", v62+"/composite/sobjects/Account/Name", `{"records":[]}`)
}

func TestCollectionsRetrieve(t *testing.T) {
	t.Parallel()
	o := setup(t)
	a, b := o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`)
	o.want(204, "DELETE", v62+"/sobjects/Account/"+b, "")
	for _, r := range []result{
		o.want(200, "GET", v62+"/composite/sobjects/Account?ids="+b+","+a+",bad&fields=Id,Name", ""),
		o.want(200, "POST", v62+"/composite/sobjects/Account", mustJSON(map[string]any{"ids": []string{b, a[:15], "bad"}, "fields": []string{"id", "name"}})),
	} {
		var rows []map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.text), &rows))
		require.Len(t, rows, 3)
		require.Nil(t, rows[0])
		require.Equal(t, "A", rows[1]["Name"])
		require.Equal(t, a, rows[1]["Id"])
		require.Nil(t, rows[2])
	}
	require.Equal(t, "INVALID_FIELD", o.want(400, "GET", v62+"/composite/sobjects/Account?ids="+a+"&fields=Nope", "").code())
}

func TestCollectionsAreLimited(t *testing.T) {
	t.Parallel()
	o := setup(t)
	names := make([]string, 201)
	for i := range names {
		names[i] = "n"
	}
	r := o.want(http.StatusBadRequest, "POST", v62+"/composite/sobjects", accounts(names...))
	require.Equal(t, "EXCEEDED_ID_LIMIT", r.code())
	require.Empty(t, o.names("SELECT Name FROM Account"))
}

func TestLoadedAccountsArePagedByKeyset(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.MaxEvents = 1000 })
	const total = 5000
	for from := 0; from < total; from += 200 {
		var rows []map[string]any
		for i := range 200 {
			rows = append(rows, map[string]any{"attributes": map[string]any{"type": "Account"}, "Name": fmt.Sprintf("Account %d", from+i), "Selfsame_Id__c": fmt.Sprintf("k%d", from+i)})
		}
		o.want(200, "PATCH", v62+"/composite/sobjects/Account/Selfsame_Id__c", mustJSON(map[string]any{"records": rows}))
		if from%800 == 0 {
			o.clock.advance(1e9)
		}
	}
	seen := map[string]bool{}
	q := "SELECT Id, SystemModstamp FROM Account ORDER BY SystemModstamp, Id LIMIT 700"
	for {
		rows := o.soql(q)["records"].([]any)
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			id := r.(map[string]any)["Id"].(string)
			require.False(t, seen[id], "a row twice")
			seen[id] = true
		}
		last := rows[len(rows)-1].(map[string]any)
		at := last["SystemModstamp"]
		q = fmt.Sprintf("SELECT Id, SystemModstamp FROM Account WHERE SystemModstamp > %s OR (SystemModstamp = %s AND Id > '%s') ORDER BY SystemModstamp, Id LIMIT 700", at, at, last["Id"])
	}
	require.Len(t, seen, total)
}
