package fold_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

func TestAuthority(t *testing.T) {
	t.Parallel()
	t.Run("what only a system without the authority has is created nowhere else", func(t *testing.T) {
		t.Parallel()
		p := newPairWith(t, parse(t, `{version: 1, systems: {erp: {priority: 2}, salesforce: {priority: 1}}, objects: {customer: {create: [salesforce]}}}`))
		made := p.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Only here", golden.TaxID: "DE100000005"})
		p.ERP.Create(golden.Contact, made, golden.Values{golden.LastName: "Alone"})
		p.Settle()
		require.Len(t, p.SF.Records(golden.Customer), 2)
		require.Len(t, p.SF.Records(golden.Contact), 1, "nor are its contacts, and nothing waits for them")
		p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Only here", golden.TaxID: "DE100000005"})
		p.Settle()
		require.Len(t, p.ERP.Records(golden.Customer), 3, "linked, not made twice")
		require.Len(t, p.SF.Records(golden.Contact), 2, "now its contacts have a customer there")
	})
	rules := `{version: 1, systems: {erp: {priority: 2}, salesforce: {priority: 1}}, objects: {customer: {delete: [erp]}}}`
	lives := func(p *pair) bool { _, yes := p.SF.Holder(golden.Customer, string(p.idB)); return yes }
	t.Run("a deletion without the authority stays where it was made", func(t *testing.T) {
		t.Parallel()
		p := newPairWith(t, parse(t, rules))
		p.SF.Delete(golden.Customer, p.a)
		p.Settle()
		require.False(t, p.golden(t, p.idA).Deleted)
		_, yes := p.ERP.Holder(golden.Customer, string(p.idA))
		require.True(t, yes)
	})
	t.Run("a deletion with the authority is carried out, and so is an undelete", func(t *testing.T) {
		t.Parallel()
		p := newPairWith(t, parse(t, rules))
		contact := p.SF.Records(golden.Contact)[0].Ref.RecordID
		p.ERP.Delete(golden.Customer, p.erpB)
		p.Settle()
		require.True(t, p.golden(t, p.idB).Deleted)
		require.False(t, lives(p))
		require.Contains(t, p.Events(p.idB), "deleted_there")

		p.SF.Delete(golden.Contact, contact) // as the CRM does with the contacts of a deleted account
		p.SF.Undelete(golden.Customer, p.b)  // a person without the authority
		p.Settle()
		require.True(t, p.golden(t, p.idB).Deleted, "an undelete elsewhere brings nothing back")
		require.False(t, lives(p))

		p.ERP.Undelete(golden.Customer, p.erpB)
		p.Settle()
		require.False(t, p.golden(t, p.idB).Deleted)
		require.Equal(t, "b.example", p.Twin(p.idB, p.SF).Values[golden.Website])
		require.Len(t, p.SF.Records(golden.Contact), 1, "its contact, too: nobody had deleted it for its own sake")
		require.Empty(t, p.Dead())
	})
	t.Run("the other system refuses the deletion until its cases are gone", func(t *testing.T) {
		t.Parallel()
		p := newPairWith(t, parse(t, rules))
		p.SF.Refuse(p.b, 1, sourcetest.Permanent())
		p.ERP.Delete(golden.Customer, p.erpB)
		p.Settle()
		require.True(t, lives(p))
		require.Len(t, p.Dead(), 1)
		n, err := p.Desk().Retry(t.Context(), []string{p.Dead()[0].ID}, "", 0)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		p.Settle()
		require.False(t, lives(p))
		require.Empty(t, p.Dead())
	})
	t.Run("an answer that is lost, and a feed that is faster, do not make it a person's deletion", func(t *testing.T) {
		t.Parallel()
		p := newPairWith(t, parse(t, rules))
		p.SF.LoseAcks(1, nil)
		p.ERP.Delete(golden.Customer, p.erpB)
		require.NoError(t, p.Turn(t.Context()))
		require.NoError(t, p.Read(t.Context())) // the feed tells what the answer did not
		p.Settle()
		p.ERP.Undelete(golden.Customer, p.erpB)
		p.Settle()
		require.True(t, lives(p), "it was ours, so it is taken back")
	})
}
