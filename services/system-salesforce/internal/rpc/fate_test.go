package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

func TestBatchGet(t *testing.T) {
	t.Parallel()
	id := func(r rest.Record) string { return r["Id"].(string) }
	t.Run("what cannot be read is not called missing", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		live, gone, hidden, late := account(1, now), account(2, now), account(3, now), account(4, now)
		c.rows, c.late = []rest.Record{live}, []rest.Record{late}
		c.fates = map[string]rest.Fate{id(gone): rest.Gone, id(late): rest.Alive}
		resp, err := s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: []string{id(late), id(gone)[:15], id(hidden), id(live)}})
		require.NoError(t, err)
		require.Equal(t, []string{id(gone)[:15]}, resp.GetMissingIds(), "as it was asked for")
		require.Equal(t, []string{id(hidden)}, resp.GetUnreadableIds())
		require.Len(t, resp.GetAccounts(), 2)
		require.Equal(t, id(late), resp.GetAccounts()[0].GetId(), "in the order asked")
		require.Equal(t, id(live), resp.GetAccounts()[1].GetId())
	})
	t.Run("what was merged away is missing, and names what took its place", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		gone, merged, winner := account(1, now), account(2, now), account(3, now)
		c.fates = map[string]rest.Fate{id(gone): rest.Gone, id(merged): rest.Gone}
		ask := []string{id(gone), id(merged)[:15]}
		accounts, err := s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: ask})
		require.NoError(t, err, "an org without merges is one")
		require.Empty(t, accounts.GetMergedInto())
		c.masters = map[string]string{id(merged): id(winner)}
		accounts, err = s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: ask})
		require.NoError(t, err)
		require.Equal(t, ask, accounts.GetMissingIds())
		require.Equal(t, map[string]string{id(merged)[:15]: id(winner)}, accounts.GetMergedInto(), "as it was asked for")
		contacts, err := (&contacts{Server: s.Server}).BatchGetContacts(t.Context(), &salesforcev1.BatchGetContactsRequest{Ids: ask})
		require.NoError(t, err)
		require.Equal(t, map[string]string{id(merged)[:15]: id(winner)}, contacts.GetMergedInto())
	})
	t.Run("nobody is asked while everything is found, nor for a single record", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.rows = []rest.Record{account(1, now)}
		_, err := s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: []string{id(c.rows[0])}})
		require.NoError(t, err)
		_, err = s.GetAccount(t.Context(), &salesforcev1.GetAccountRequest{Id: id(account(9, now))})
		require.Error(t, err)
		require.Empty(t, c.asked)
	})
	t.Run("a record that can be read when asked, and not any more after that, is unreadable", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.fates = map[string]rest.Fate{id(account(1, now)): rest.Alive}
		resp, err := s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: []string{id(account(1, now))}})
		require.NoError(t, err)
		require.Empty(t, resp.GetMissingIds())
		require.Equal(t, []string{id(account(1, now))}, resp.GetUnreadableIds())
	})
}
