package sandbox_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestHiddenFieldsDoNotExist(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"Acme","Phone":"1","VAT_Id__c":"DE1","BillingCity":"Kiel"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"Able","AccountId":"`+id+`"}`)
	o.want(200, "PUT", "/__sandbox__/access", `{"hidden":["Account.VAT_Id__c","Account.BillingAddress","Case.AccountId"]}`)
	for _, q := range []string{
		"SELECT VAT_Id__c FROM Account", "SELECT Id FROM Account WHERE VAT_Id__c = 'DE1'", "SELECT Id FROM Account ORDER BY VAT_Id__c", "SELECT BillingCity FROM Account",
		"SELECT VAT_Id__c, COUNT(Id) FROM Account GROUP BY VAT_Id__c", "SELECT MAX(VAT_Id__c) FROM Account", "SELECT Account.VAT_Id__c FROM Contact",
		"SELECT (SELECT Id, Account.VAT_Id__c FROM Contacts) FROM Account", "SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account WHERE VAT_Id__c = 'DE1')",
		"SELECT Account.Name FROM Case", "SELECT AccountId FROM Case",
	} {
		require.Equal(t, "INVALID_FIELD", o.want(400, "GET", v62+"/query?q="+url.QueryEscape(q), "").code(), q)
		require.Equal(t, "INVALID_FIELD", o.want(400, "POST", v62+"/jobs/query", mustJSON(map[string]string{"operation": "query", "query": q})).code(), q)
	}
	require.Equal(t, "INVALID_TYPE", o.want(400, "GET", v62+"/query?q="+url.QueryEscape("SELECT (SELECT Id FROM Cases) FROM Account"), "").code())
	all := o.soql("SELECT FIELDS(ALL) FROM Account LIMIT 1")["records"].([]any)[0].(map[string]any)
	require.NotContains(t, all, "VAT_Id__c")
	require.Equal(t, "1", all["Phone"])
	row := o.want(200, "GET", v62+"/sobjects/Account/"+id, "").object()
	require.NotContains(t, row, "VAT_Id__c")
	require.NotContains(t, row, "BillingCity")
	require.Equal(t, "Acme", row["Name"])
	require.Equal(t, "INVALID_FIELD", o.want(400, "GET", v62+"/sobjects/Account/"+id+"?fields=VAT_Id__c", "").code())
	require.Equal(t, "INVALID_FIELD", o.want(400, "POST", v62+"/composite/sobjects/Account", `{"ids":["`+id+`"],"fields":["VAT_Id__c"]}`).code())
	require.Equal(t, "INVALID_FIELD", o.want(400, "PATCH", v62+"/sobjects/Account/"+id, `{"VAT_Id__c":"DE2"}`).code())

	o.want(204, "DELETE", "/__sandbox__/access", "")
	require.Equal(t, "DE1", o.want(200, "GET", v62+"/sobjects/Account/"+id, "").object()["VAT_Id__c"])
}

func TestReadOnlyFieldsAreNotWritten(t *testing.T) {
	t.Parallel()
	o := setup(t)
	const refused = "INVALID_FIELD_FOR_INSERT_UPDATE"
	id := o.account(`{"Name":"Acme","Phone":"1","Selfsame_Id__c":"k-1"}`)
	o.want(200, "PUT", "/__sandbox__/access", `{"read_only":["Account.Phone","Contact.AccountId"],"hidden":["Lead.Title"]}`)
	r := o.want(400, "PATCH", v62+"/sobjects/Account/"+id, `{"Name":"Acme AG","Phone":"2"}`)
	require.Equal(t, refused, r.code())
	require.Equal(t, []any{"Phone"}, r.array()[0]["fields"])
	require.Equal(t, refused, o.want(400, "POST", v62+"/sobjects/Account", `{"Name":"B","Phone":"2"}`).code())
	require.Equal(t, refused, o.want(400, "PATCH", v62+"/sobjects/Account/Selfsame_Id__c/k-1", `{"Phone":"2"}`).code())
	require.Equal(t, refused, o.want(400, "POST", v62+"/sobjects/Contact", `{"LastName":"L","Account":{"Selfsame_Id__c":"k-1"}}`).code())
	saved := o.want(200, "POST", v62+"/composite/sobjects", `{"records":[{"attributes":{"type":"Account"},"Name":"C","Phone":"3"},{"attributes":{"type":"Account"},"Name":"D"}]}`).array()
	require.Equal(t, refused, saved[0]["errors"].([]any)[0].(map[string]any)["statusCode"])
	require.Equal(t, true, saved[1]["success"])
	row := o.soql("SELECT Name, Phone FROM Account WHERE Phone = '1'")["records"].([]any)[0].(map[string]any)
	require.Equal(t, "Acme", row["Name"], "it is read, and nothing of the refused record was written")

	load := func(object, csv string, done func(map[string]any) bool) {
		job := o.want(200, "POST", v62+"/jobs/ingest", `{"object":"`+object+`","operation":"insert"}`).id()
		o.want(201, "PUT", v62+"/jobs/ingest/"+job+"/batches", csv, "Content-Type", "text/csv")
		o.want(200, "PATCH", v62+"/jobs/ingest/"+job, `{"state":"UploadComplete"}`)
		o.until(v62+"/jobs/ingest/"+job, done)
	}
	load("Account", "Name,Phone\nE,4\nF,\n", func(j map[string]any) bool {
		return j["state"] == "JobComplete" && j["numberRecordsProcessed"] == 2.0 && j["numberRecordsFailed"] == 1.0
	})
	load("Lead", "LastName,Company,Title\nE,F,G\n", func(j map[string]any) bool {
		return j["state"] == "Failed" && j["errorMessage"] == "InvalidBatch : Field name not found : Title"
	})
	o.want(200, "PUT", "/__sandbox__/access", `{"users":["somebody@else.example"],"read_only":["Account.Phone"]}`)
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Phone":"2"}`)
}

func TestTopicsMayBeForbidden(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	allowed := func(topic string) [2]bool {
		m, err := f.unary("GetTopic", topic, nil)
		require.NoError(t, err)
		return [2]bool{len(m[3]) > 0, len(m[4]) > 0}
	}
	require.Equal(t, [2]bool{true, true}, allowed(orderTopic))
	require.Equal(t, [2]bool{false, true}, allowed(accountTopic))
	schema := f.schemaOf(orderTopic)
	order := message(1, "k", 2, schema, 3, avroOrder(5, "005x", "n", 2))
	o.want(200, "PUT", "/__sandbox__/access", `{"no_subscribe":["`+accountTopic+`"],"no_publish":["`+orderTopic+`"]}`)
	require.Equal(t, [2]bool{false, true}, allowed(orderTopic))
	require.Equal(t, [2]bool{false, false}, allowed(accountTopic))

	f.subscribe(accountTopic, latest, "", 1).fails(codes.PermissionDenied, "sfdc.platform.eventbus.grpc.topic.access.denied")
	s := f.subscribe(orderTopic, latest, "", 1)
	require.Empty(t, s.next().events, "the other topic is open")
	var trailer metadata.MD
	_, err := f.publish(message(1, orderTopic, 2, order), &trailer)
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.Equal(t, []string{"sfdc.platform.eventbus.grpc.topic.access.denied"}, trailer.Get("error-code"))
	require.Equal(t, "INSUFFICIENT_ACCESS_OR_READONLY", o.want(403, "POST", v62+"/sobjects/Order_Placed__e", `{"Number__c":"7"}`).code())
	job := o.want(200, "POST", v62+"/jobs/ingest", `{"object":"Order_Placed__e","operation":"insert"}`).id()
	o.want(201, "PUT", v62+"/jobs/ingest/"+job+"/batches", "Number__c\n8\n", "Content-Type", "text/csv")
	o.want(200, "PATCH", v62+"/jobs/ingest/"+job, `{"state":"UploadComplete"}`)
	o.until(v62+"/jobs/ingest/"+job, func(j map[string]any) bool { return j["state"] == "JobComplete" && j["numberRecordsFailed"] == 1.0 })
	o.want(400, "PUT", "/__sandbox__/access", `{"no_publish":["Order_Placed__e"]}`)

	o.want(200, "PUT", "/__sandbox__/access", `{"users":["somebody@else.example"],"no_publish":["`+orderTopic+`"]}`)
	results, err := f.publish(message(1, orderTopic, 2, order), nil)
	require.NoError(t, err)
	require.Empty(t, results[0].fault)
	require.Len(t, s.collect(1), 1)
}
