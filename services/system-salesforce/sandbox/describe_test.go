package sandbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// described is the describe of an object, its fields by name.
func (o *org) described(object string) (all map[string]any, fields map[string]map[string]any) {
	o.t.Helper()
	all = o.want(200, "GET", v62+"/sobjects/"+object+"/describe", "").object()
	fields = map[string]map[string]any{}
	for _, f := range all["fields"].([]any) {
		f := f.(map[string]any)
		fields[f["name"].(string)] = f
	}
	return all, fields
}

func TestDescribeTellsAllAboutFields(t *testing.T) {
	t.Parallel()
	o := family(t)
	_, account := o.described("Account")
	for _, f := range account {
		for _, key := range []string{
			"name", "label", "type", "length", "precision", "scale", "soapType", "nillable", "createable", "updateable", "defaultedOnCreate", "calculated", "autoNumber", "unique",
			"externalId", "idLookup", "custom", "caseSensitive", "filterable", "sortable", "groupable", "nameField", "picklistValues", "restrictedPicklist", "referenceTo",
			"relationshipName", "compoundFieldName", "defaultValue", "aggregatable", "cascadeDelete", "restrictedDelete", "byteLength", "digits",
		} {
			require.Contains(t, f, key, f["name"])
		}
	}
	for name, want := range map[string]map[string]any{
		"Id":                {"type": "id", "length": 18.0, "soapType": "tns:ID", "idLookup": true, "createable": false, "nillable": false, "groupable": true},
		"Name":              {"type": "string", "nameField": true, "nillable": false, "createable": true, "aggregatable": true},
		"ParentId":          {"type": "reference", "length": 18.0, "referenceTo": []any{"Account"}, "relationshipName": "Parent", "filterable": true},
		"AnnualRevenue":     {"type": "currency", "precision": 18.0, "groupable": false, "sortable": true, "aggregatable": true, "soapType": "xsd:double"},
		"NumberOfEmployees": {"type": "int", "groupable": true, "digits": 8.0, "precision": 0.0},
		"CreatedDate":       {"type": "datetime", "groupable": false, "sortable": true, "updateable": false, "defaultedOnCreate": true},
		"Description":       {"type": "textarea", "filterable": false, "sortable": false, "groupable": false, "aggregatable": false},
		"BillingAddress":    {"type": "address", "filterable": false, "createable": false, "soapType": "urn:address"},
		"BillingCity":       {"compoundFieldName": "BillingAddress", "createable": true},
		"IsDeleted":         {"type": "boolean", "aggregatable": false, "groupable": true, "nillable": false},
		"Selfsame_Id__c":    {"externalId": true, "unique": true, "idLookup": true, "custom": true},
		"Colours__c":        {"type": "multipicklist", "restrictedPicklist": true, "sortable": false, "groupable": false, "filterable": true, "aggregatable": false, "soapType": "xsd:string"},
	} {
		for key, value := range want {
			require.Equal(t, value, account[name][key], "%s %s", name, key)
		}
	}
	require.Equal(t, map[string]any{"active": true, "defaultValue": false, "label": "red", "value": "red", "validFor": nil}, account["Colours__c"]["picklistValues"].([]any)[0])
	_, product := o.described("Product2")
	require.Equal(t, false, product["IsActive"]["defaultValue"])
	_, cases := o.described("Case")
	require.Equal(t, "New", cases["Status"]["defaultValue"])
	require.Equal(t, true, cases["CaseNumber"]["autoNumber"])
	require.Equal(t, true, cases["AccountId"]["restrictedDelete"])
}

// What describe promises about fields is what queries do with them.
func TestDescribeAgreesWithQueries(t *testing.T) {
	t.Parallel()
	o := family(t)
	_, fields := o.described("Account")
	status := func(q string) int { return o.do("GET", v62+"/query?q="+q, "").status }
	answer := map[bool]int{true: 200, false: 400}
	for name, f := range fields {
		require.Equal(t, answer[f["filterable"].(bool)], status("SELECT+Id+FROM+Account+WHERE+"+name+"+=+null"), "filter "+name)
		require.Equal(t, answer[f["sortable"].(bool)], status("SELECT+Id+FROM+Account+ORDER+BY+"+name), "sort "+name)
		require.Equal(t, answer[f["groupable"].(bool)], status("SELECT+"+name+"+FROM+Account+GROUP+BY+"+name), "group "+name)
		require.Equal(t, answer[f["aggregatable"].(bool)], status("SELECT+COUNT("+name+")+FROM+Account"), "aggregate "+name)
	}
}

func TestDescribeTellsChildrenAndRecordTypes(t *testing.T) {
	t.Parallel()
	o := family(t)
	all, _ := o.described("Account")
	children := map[string]map[string]any{}
	for _, c := range all["childRelationships"].([]any) {
		c := c.(map[string]any)
		children[c["relationshipName"].(string)] = c
	}
	require.Equal(t, map[string]any{
		"childSObject": "Contact", "field": "AccountId", "relationshipName": "Contacts", "cascadeDelete": true, "restrictedDelete": false,
		"deprecatedAndHidden": false, "junctionIdListNames": []any{}, "junctionReferenceTo": []any{},
	}, children["Contacts"])
	require.Equal(t, true, children["Cases"]["restrictedDelete"])
	require.Equal(t, "Site__c", children["Sites__r"]["childSObject"])
	for name := range children { // each of them can be queried
		o.soql("SELECT (SELECT Id FROM " + name + ") FROM Account")
	}
	types := all["recordTypeInfos"].([]any)
	require.Len(t, types, 1)
	require.Equal(t, true, types[0].(map[string]any)["master"])
	require.Equal(t, "012000000000000AAA", types[0].(map[string]any)["recordTypeId"])
	require.Equal(t, false, all["customSetting"])
	none, _ := o.described("Organization")
	require.Empty(t, none["recordTypeInfos"])
}

func TestReplicationAnswersHoldOnlySoManyIDs(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Limits.ReplicationIDs = 3 })
	window := "?start=2026-05-14T09:59:00Z&end=2026-05-14T10:30:00Z"
	ids := []string{}
	for _, name := range []string{"A", "B", "C"} {
		ids = append(ids, o.account(`{"Name":"`+name+`"}`))
	}
	o.clock.advance(time.Minute)
	require.Len(t, o.want(200, "GET", v62+"/sobjects/Account/updated"+window, "").object()["ids"], 3)
	ids = append(ids, o.account(`{"Name":"D"}`))
	require.Equal(t, "EXCEEDED_ID_LIMIT", o.want(400, "GET", v62+"/sobjects/Account/updated"+window, "").code())
	for _, id := range ids {
		o.want(204, "DELETE", v62+"/sobjects/Account/"+id, "")
	}
	require.Equal(t, "EXCEEDED_ID_LIMIT", o.want(400, "GET", v62+"/sobjects/Account/deleted"+window, "").code())
	require.Empty(t, o.want(200, "GET", v62+"/sobjects/Account/updated"+window, "").object()["ids"])
	for what, message := range map[string]string{
		"?start=2026-05-14T10:00:00Z":                          "start and end must be ISO 8601 dates",
		"?start=2026-05-14T10:00:00Z&end=2026-05-14T09:00:00Z": "startDate must be before endDate",
		"?start=2026-05-14T10:00:00Z&end=2026-05-14T10:00:59Z": "at least one minute",
		"?start=2026-04-14T09:00:00Z&end=2026-05-14T10:00:00Z": "30 days",
	} {
		r := o.want(400, "GET", v62+"/sobjects/Account/updated"+what, "")
		require.Equal(t, "INVALID_REPLICATION_DATE", r.code(), what)
		require.Contains(t, r.text, message)
	}
}
