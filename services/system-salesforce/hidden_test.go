package systemsalesforce_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// Salesforce answers alike for what it hides and for what is not there; a batch read must not.
func TestHiddenIsNotMissing(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	s := widen(t, startReady(t, config(t, c)))
	hidden, purged := c.create("Account", map[string]any{"Name": "Hidden AG"}), c.create("Account", map[string]any{"Name": "Purged AG"})
	gone, live := c.create("Account", map[string]any{"Name": "Gone AG"}), c.create("Account", map[string]any{"Name": "Live AG"})
	c.do("DELETE", "/services/data/v66.0/sobjects/Account/"+purged, nil)
	c.do("DELETE", "/__sandbox__/bin", nil)
	c.do("DELETE", "/services/data/v66.0/sobjects/Account/"+gone, nil)
	ask := func() *salesforcev1.BatchGetAccountsResponse {
		t.Helper()
		resp, err := s.accounts.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: []string{hidden, live, gone, purged}})
		require.NoError(t, err)
		return resp
	}

	resp := ask()
	require.Len(t, resp.GetAccounts(), 2)
	require.Equal(t, []string{gone, purged}, resp.GetMissingIds(), "the user sees every record")
	require.Empty(t, resp.GetUnreadableIds())

	c.do("PUT", "/__sandbox__/access", map[string]any{"hidden_records": []string{hidden}})
	resp = ask()
	require.Len(t, resp.GetAccounts(), 1)
	require.Equal(t, []string{gone}, resp.GetMissingIds(), "only what the recycle bin shows is certainly gone")
	require.Equal(t, []string{hidden, purged}, resp.GetUnreadableIds())

	c.do("DELETE", "/__sandbox__/access", nil)
	require.Len(t, ask().GetAccounts(), 2)
}
