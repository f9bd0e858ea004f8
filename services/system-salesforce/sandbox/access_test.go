package sandbox_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	o := setup(t)
	names := func() (out []string) {
		for _, f := range o.want(200, "GET", v62+"/sobjects/Account/describe", "").object()["fields"].([]any) {
			out = append(out, f.(map[string]any)["name"].(string))
		}
		return out
	}
	require.Contains(t, names(), "VAT_Id__c")
	o.want(200, "PUT", "/__sandbox__/access", `{"hidden":["Account.VAT_Id__c"],"read_only":["Account.Phone"],"permissions":["ModifyAllData"],"unselected":["Contact"]}`)
	require.NotContains(t, names(), "VAT_Id__c", "a hidden field is not described")
	o.want(400, "GET", v62+"/query?q=SELECT+VAT_Id__c+FROM+Account", "")
	o.want(200, "GET", v62+"/query?q=SELECT+Name+FROM+Account", "")
	row := o.want(200, "GET", v62+"/query?q=SELECT+PermissionsApiEnabled,PermissionsModifyAllData,PermissionsManageUsers+FROM+UserPermissionAccess", "").object()["records"].([]any)[0].(map[string]any)
	require.Equal(t, true, row["PermissionsApiEnabled"])
	require.Equal(t, true, row["PermissionsModifyAllData"])
	require.Equal(t, false, row["PermissionsManageUsers"])
	var members []string
	for _, r := range o.want(200, "GET", v62+"/tooling/query?q=SELECT+EventChannel,SelectedEntity+FROM+PlatformEventChannelMember", "").object()["records"].([]any) {
		require.Equal(t, "ChangeEvents", r.(map[string]any)["EventChannel"])
		members = append(members, r.(map[string]any)["SelectedEntity"].(string))
	}
	require.Contains(t, members, "AccountChangeEvent")
	require.NotContains(t, members, "ContactChangeEvent")

	o.want(200, "PUT", "/__sandbox__/access", `{"users":["somebody@else.example"],"hidden":["Account.VAT_Id__c"]}`)
	require.Contains(t, names(), "VAT_Id__c", "the plan is about others")
	o.want(400, "PUT", "/__sandbox__/access", `{"hidden":["Account.Nothing"]}`)
	o.want(204, "DELETE", "/__sandbox__/access", "")
}

func TestHiddenRecords(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.want(201, "POST", v62+"/sobjects/Account", `{"Name":"Hidden AG","Selfsame_Id__c":"h-1"}`).object()["id"].(string)
	shown := o.want(201, "POST", v62+"/sobjects/Account", `{"Name":"Shown AG"}`).object()["id"].(string)
	contact := o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Arndt","AccountId":"`+shown+`"}`).object()["id"].(string)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Bach","AccountId":"`+id+`"}`)
	o.want(200, "PUT", "/__sandbox__/access", `{"hidden_records":["`+id[:15]+`","`+contact+`"]}`)
	ids := func(soql string) (out []string) {
		for _, r := range o.want(200, "GET", v62+"/queryAll?q="+soql, "").object()["records"].([]any) {
			out = append(out, r.(map[string]any)["Id"].(string))
		}
		return out
	}

	require.Equal(t, []string{shown}, ids("SELECT+Id+FROM+Account"))
	require.Empty(t, ids("SELECT+Id+FROM+Account+WHERE+Id='"+id+"'"))
	require.Empty(t, ids("SELECT+Id+FROM+Account+WHERE+Id+IN+(SELECT+AccountId+FROM+Contact+WHERE+LastName='Arndt')"), "a hidden record finds no others")
	require.EqualValues(t, 1, o.want(200, "GET", v62+"/query?q=SELECT+COUNT()+FROM+Account", "").object()["totalSize"])
	require.EqualValues(t, 1, o.want(200, "GET", v62+"/query?q=SELECT+COUNT(Id)+n+FROM+Contact", "").object()["records"].([]any)[0].(map[string]any)["n"])
	nested := o.want(200, "GET", v62+"/query?q=SELECT+Id,(SELECT+Id+FROM+Contacts)+FROM+Account", "").object()["records"].([]any)[0].(map[string]any)
	require.Nil(t, nested["Contacts"])
	o.want(404, "GET", v62+"/sobjects/Account/"+id, "")
	o.want(404, "GET", v62+"/sobjects/Account/Selfsame_Id__c/h-1", "")
	o.want(200, "GET", v62+"/sobjects/Account/"+shown, "")
	require.Nil(t, o.want(200, "POST", v62+"/composite/sobjects/Account", `{"ids":["`+id+`","`+shown+`"],"fields":["Id"]}`).array()[0])

	job := o.want(200, "POST", v62+"/jobs/query", `{"operation":"query","query":"SELECT Id FROM Account"}`).id()
	o.until(v62+"/jobs/query/"+job, func(j map[string]any) bool { return j["state"] == "JobComplete" })
	require.Equal(t, "1", o.want(200, "GET", v62+"/jobs/query/"+job+"/results", "").header.Get("Sforce-NumberOfRecords"))

	o.want(204, "DELETE", "/__sandbox__/access", "")
	o.want(200, "GET", v62+"/sobjects/Account/"+id, "")
	o.want(400, "PUT", "/__sandbox__/access", `{"hidden_records":["Acme"]}`)
	o.want(400, "PUT", "/__sandbox__/access", `{"shared":["Nothing"]}`)
}

func TestHiddenRecordsAreNotWritten(t *testing.T) {
	t.Parallel()
	o := setup(t)
	const unseen = "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
	id, shown := o.account(`{"Name":"Hidden AG","Selfsame_Id__c":"h-1","ERP_Customer_Number__c":"7"}`), o.account(`{"Name":"Shown AG"}`)
	o.want(200, "PUT", "/__sandbox__/access", `{"hidden_records":["`+id+`"]}`)
	row := v62 + "/sobjects/Account/" + id
	require.Equal(t, unseen, o.want(403, "PATCH", row, `{"Name":"Seen"}`).code())
	require.Equal(t, unseen, o.want(403, "DELETE", row, "").code())
	require.Equal(t, unseen, o.want(403, "POST", v62+"/sobjects/Contact", `{"LastName":"L","AccountId":"`+id+`"}`).code())
	require.Equal(t, "INVALID_FIELD", o.want(400, "POST", v62+"/sobjects/Contact", `{"LastName":"L","Account":{"Selfsame_Id__c":"h-1"}}`).code())
	require.Equal(t, "DUPLICATE_VALUE", o.want(400, "PATCH", v62+"/sobjects/Account/Selfsame_Id__c/h-1", `{"Name":"Seen"}`).code(), "the value is taken")
	o.want(201, "PATCH", v62+"/sobjects/Account/ERP_Customer_Number__c/7", `{"Name":"Another"}`)
	saved := o.want(200, "PATCH", v62+"/composite/sobjects", `{"records":[{"attributes":{"type":"Account"},"Id":"`+id+`","Name":"Seen"},{"attributes":{"type":"Account"},"Id":"`+shown+`","Phone":"1"}]}`).array()
	require.Equal(t, unseen, saved[0]["errors"].([]any)[0].(map[string]any)["statusCode"])
	require.Equal(t, true, saved[1]["success"])
	require.Equal(t, []string{unseen}, o.merge("<Id>"+shown+"</Id>", victims(id))["errors"])
	require.Equal(t, []string{unseen}, o.merge("<Id>"+id+"</Id>", victims(shown))["errors"])

	job := o.want(200, "POST", v62+"/jobs/ingest", `{"object":"Account","operation":"update"}`).id()
	o.want(201, "PUT", v62+"/jobs/ingest/"+job+"/batches", "Id,Name\n"+id+",Seen\n", "Content-Type", "text/csv")
	o.want(200, "PATCH", v62+"/jobs/ingest/"+job, `{"state":"UploadComplete"}`)
	o.until(v62+"/jobs/ingest/"+job, func(j map[string]any) bool { return j["state"] == "JobComplete" && j["numberRecordsFailed"] == 1.0 })

	o.want(204, "DELETE", "/__sandbox__/access", "")
	require.Equal(t, "Hidden AG", o.want(200, "GET", row, "").object()["Name"], "nothing was written")
	o.want(204, "DELETE", row, "")
	o.want(200, "PUT", "/__sandbox__/access", `{"hidden_records":["`+id+`"]}`)
	require.Equal(t, []string{unseen}, o.recycle("undelete", id))
}

func TestPermissionRows(t *testing.T) {
	t.Parallel()
	o := setup(t)
	user := o.want(200, "GET", v62+"/query?q=SELECT+Id,Username+FROM+User+ORDER+BY+Id", "").object()["records"].([]any)[0].(map[string]any)
	mine := func(object, columns, where string) []map[string]any {
		t.Helper()
		soql := "SELECT+" + columns + "+FROM+" + object + "+WHERE+ParentId+IN+(SELECT+PermissionSetId+FROM+PermissionSetAssignment+WHERE+AssigneeId='" + user["Id"].(string) + "')" + where
		var out []map[string]any
		for _, r := range o.want(200, "GET", v62+"/query?q="+soql, "").object()["records"].([]any) {
			out = append(out, r.(map[string]any))
		}
		return out
	}
	views := func() map[string]bool {
		out := map[string]bool{}
		for _, r := range mine("ObjectPermissions", "SobjectType,PermissionsViewAllRecords", "+AND+SobjectType+IN+('Account','Contact','Lead')") {
			out[r["SobjectType"].(string)] = r["PermissionsViewAllRecords"].(bool)
		}
		return out
	}
	require.Equal(t, map[string]bool{"Account": true, "Contact": true, "Lead": true}, views())
	phone := func() []map[string]any {
		return mine("FieldPermissions", "Field,PermissionsRead,PermissionsEdit,Parent.IsOwnedByProfile", "+AND+Field='Account.Phone'")
	}
	require.Len(t, phone(), 1)
	require.Equal(t, true, phone()[0]["PermissionsEdit"])
	require.Equal(t, true, phone()[0]["Parent"].(map[string]any)["IsOwnedByProfile"])
	assigned := o.want(200, "GET", v62+"/query?q=SELECT+Assignee.Username+FROM+PermissionSetAssignment+WHERE+AssigneeId='"+user["Id"].(string)+"'", "").object()["records"].([]any)[0].(map[string]any)
	require.Equal(t, user["Username"], assigned["Assignee"].(map[string]any)["Username"])

	account := o.want(201, "POST", v62+"/sobjects/Account", `{"Name":"Hidden AG"}`).object()["id"].(string)
	o.want(200, "PUT", "/__sandbox__/access", `{"users":["`+user["Username"].(string)+`"],"hidden_records":["`+account+`"],"shared":["Lead"],"read_only":["Account.Phone"],"permissions":["ModifyAllData"]}`)
	require.Equal(t, map[string]bool{"Account": false, "Contact": true, "Lead": false}, views(), "who cannot see a record does not see all")
	require.Equal(t, false, phone()[0]["PermissionsEdit"])
	o.want(200, "PUT", "/__sandbox__/access", `{"hidden":["Account.Phone"]}`)
	require.Empty(t, phone())
	require.Equal(t, map[string]bool{"Account": true, "Contact": true, "Lead": true}, views())
	o.want(200, "PUT", "/__sandbox__/access", `{"users":["somebody@else.example"],"shared":["Account"]}`)
	require.True(t, views()["Account"], "the plan is about others")
	o.want(400, "POST", v62+"/sobjects/ObjectPermissions", `{"SobjectType":"Account"}`)
}
