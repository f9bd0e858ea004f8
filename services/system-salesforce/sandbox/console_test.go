package sandbox_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePageNeedsNothingElse(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.token = ""
	page := o.want(200, "GET", "/__sandbox__/", "")
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, page.text, "<title>Salesforce sandbox</title>")
	require.NotRegexp(t, `(?i)(src|href)\s*=|https?://|@import|url\(`, page.text, "nothing is loaded from elsewhere")
	require.Equal(t, "/__sandbox__/", o.want(http.StatusFound, "GET", "/__sandbox__", "").header.Get("Location"))
	// Every address that the page asks for is served, and is JSON.
	asked := regexp.MustCompile(`get\("([a-z/]+)`).FindAllStringSubmatch(page.text, -1)
	require.Len(t, asked, 6)
	for _, m := range asked {
		path := "/__sandbox__/" + m[1]
		if m[1] == "records" {
			path += "?object=Account"
		}
		require.Contains(t, o.want(200, "GET", path, "").header.Get("Content-Type"), "application/json")
	}
}

func TestTheOrganizationIsShown(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	o.account(`{"Name":"First"}`)
	id := o.account(`{"Name":"Second","BillingCity":"Kiel"}`)
	gone := o.account(`{"Name":"Third"}`)
	o.want(204, "DELETE", v62+"/sobjects/Account/"+gone, "")
	org := o.want(200, "GET", "/__sandbox__/org", "").object()
	require.Equal(t, orgID, org["id"])
	require.Equal(t, []any{o.server.PubSubAddr(), o.server.PubSubTLSAddr()}, []any{org["pubsub"], org["pubsub_tls"]})
	require.Equal(t, []any{"/data/ChangeEvents", "/data/Finance__chn", "/event/Orders__chn"}, org["channels"])
	require.Equal(t, "Relay", org["managed_subscriptions"].([]any)[0].(map[string]any)["developer_name"])
	byName := map[string]map[string]any{}
	for _, x := range org["objects"].([]any) {
		byName[x.(map[string]any)["name"].(string)] = x.(map[string]any)
	}
	require.InDelta(t, 2, byName["Account"]["live"], 0)
	require.Equal(t, "/data/Invoice__ChangeEvent", byName["Invoice__c"]["topic"])
	require.Equal(t, true, byName["Order_Placed__e"]["platform_event"])

	rows := o.want(200, "GET", "/__sandbox__/records?object=account&limit=2", "").array()
	require.Len(t, rows, 2)
	require.Equal(t, []any{gone, true, id, "Second"}, []any{rows[0]["Id"], rows[0]["IsDeleted"], rows[1]["Id"], rows[1]["Name"]})
	log := o.want(200, "GET", "/__sandbox__/events?limit=1", "").array()
	require.Equal(t, []any{"DELETE", accountTopic, []any{gone}}, []any{log[0]["change_type"], log[0]["topic"], log[0]["record_ids"]})
	for _, bad := range []string{"records?object=Nope", "records?object=Account&limit=x", "events?limit=-1"} {
		o.want(400, "GET", "/__sandbox__/"+bad, "")
	}
	o.want(404, "GET", "/__sandbox__/nope", "")
}
