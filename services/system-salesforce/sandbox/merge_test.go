package sandbox_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// merge makes a SOAP call with one request and returns the texts of its result
// by the name of the element.
func (o *org) merge(master, victims string) map[string][]string {
	o.t.Helper()
	answer := o.soap(200, "/services/Soap/u/66.0", "<SessionHeader><sessionId>"+o.token+"</sessionId></SessionHeader>",
		"<merge><request><masterRecord>"+master+"</masterRecord>"+victims+"</request></merge>")
	require.Equal(o.t, "mergeResponse", answer.XMLName.Local)
	require.Len(o.t, answer.Children, 1)
	out := map[string][]string{}
	for _, c := range answer.Children[0].Children {
		text := c.Text
		if c.XMLName.Local == "errors" {
			text = c.Children[1].Text
		}
		out[c.XMLName.Local] = append(out[c.XMLName.Local], text)
	}
	return out
}

func victims(ids ...string) (out string) {
	for _, id := range ids {
		out += "<recordToMergeIds>" + id + "</recordToMergeIds>"
	}
	return out
}

func TestMerge(t *testing.T) {
	t.Parallel()
	t.Run("the master gets what referred to the others, and values of theirs that were chosen", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		keep, a, b := o.account(`{"Name":"Keep"}`), o.account(`{"Name":"A","Phone":"1","Selfsame_Id__c":"k"}`), o.account(`{"Name":"B"}`)
		contact := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Lang","AccountId":"`+a+`"}`).id()
		child := o.account(`{"Name":"Child","ParentId":"` + b + `"}`)
		s := o.feed().subscribe("/data/ChangeEvents", latest, "", 100)
		s.next()
		o.clock.advance(time.Second)
		got := o.merge("<type>Account</type><Id>"+keep[:15]+"</Id><Phone>1</Phone><Selfsame_Id__c>k</Selfsame_Id__c>", victims(a, b))
		require.Equal(t, []string{"true"}, got["success"])
		require.Equal(t, []string{keep}, got["id"])
		require.Equal(t, []string{a, b}, got["mergedRecordIds"])
		require.ElementsMatch(t, []string{contact, child}, got["updatedRelatedIds"])

		r := o.want(200, "GET", v62+"/sobjects/Account/Selfsame_Id__c/k", "").object()
		require.Equal(t, keep, r["Id"])
		require.Equal(t, "1", r["Phone"])
		require.Equal(t, keep, o.want(200, "GET", v62+"/sobjects/Contact/"+contact, "").object()["AccountId"])
		require.Equal(t, keep, o.want(200, "GET", v62+"/sobjects/Account/"+child, "").object()["ParentId"])
		o.want(404, "GET", v62+"/sobjects/Account/"+a, "")
		rows := o.want(200, "GET", v62+"/queryAll?q="+url.QueryEscape("SELECT Id, IsDeleted, MasterRecordId FROM Account WHERE MasterRecordId != null ORDER BY Id"), "").object()["records"].([]any)
		require.Len(t, rows, 2)
		for i, id := range []string{a, b} {
			row := rows[i].(map[string]any)
			require.Equal(t, []any{id, true, keep}, []any{row["Id"], row["IsDeleted"], row["MasterRecordId"]})
		}

		// Events say that records were changed and deleted, not that they were merged.
		kinds := map[string][]string{}
		for _, e := range s.collect(4) {
			for _, id := range e.header["recordIds"].([]any) {
				kinds[id.(string)] = append(kinds[id.(string)], e.header["changeType"].(string))
			}
			require.NotContains(t, e.schema, "MasterRecordId")
		}
		require.Equal(t, map[string][]string{keep: {"UPDATE"}, a: {"DELETE"}, b: {"DELETE"}, contact: {"UPDATE"}, child: {"UPDATE"}}, kinds)
	})
	t.Run("a merged record that is brought back is one of its own again", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		keep, a := o.account(`{"Name":"Keep"}`), o.account(`{"Name":"A"}`)
		require.Equal(t, []string{"true"}, o.merge("<Id>"+keep+"</Id>", victims(a))["success"])
		require.Equal(t, []string{"ok"}, o.recycle("undelete", a))
		require.Nil(t, o.want(200, "GET", v62+"/sobjects/Account/"+a, "").object()["MasterRecordId"])
	})
	t.Run("a merge that is refused changes nothing", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		keep, a, b := o.account(`{"Name":"Keep"}`), o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`)
		contact := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Lang","AccountId":"`+a+`"}`).id()
		under := o.account(`{"Name":"Under","ParentId":"` + a + `"}`)
		deal := o.want(201, "POST", v62+"/sobjects/Opportunity", `{"Name":"D","StageName":"Prospecting","CloseDate":"2026-01-01"}`).id()
		for name, c := range map[string]struct{ code, master, victims string }{
			"the master is unknown":                 {"INVALID_CROSS_REFERENCE_KEY", "<Id>001000000000999</Id>", victims(a)},
			"a victim is of another object":         {"INVALID_CROSS_REFERENCE_KEY", "<Id>" + keep + "</Id>", victims(contact)},
			"an object is not merged":               {"MERGE_FAILED", "<Id>" + deal + "</Id>", victims(deal)},
			"there is nothing to merge":             {"MERGE_FAILED", "<Id>" + keep + "</Id>", ""},
			"there is too much to merge":            {"MERGE_FAILED", "<Id>" + keep + "</Id>", victims(a, b, under)},
			"a record is merged into itself":        {"MERGE_FAILED", "<Id>" + keep + "</Id>", victims(keep)},
			"the master is below the victim":        {"CIRCULAR_DEPENDENCY", "<Id>" + under + "</Id>", victims(a)},
			"a value is none, with all gone before": {"INVALID_EMAIL_ADDRESS", "<Id>" + keep + "</Id><Email__c>no</Email__c>", victims(a)},
		} {
			require.Equal(t, []string{c.code}, o.merge(c.master, c.victims)["errors"], name)
			require.Equal(t, a, o.want(200, "GET", v62+"/sobjects/Contact/"+contact, "").object()["AccountId"], name)
			o.want(200, "GET", v62+"/sobjects/Account/"+a, "")
		}
	})
}
