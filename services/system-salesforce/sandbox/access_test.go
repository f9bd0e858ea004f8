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
