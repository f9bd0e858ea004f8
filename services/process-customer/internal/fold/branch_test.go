package fold_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// TestBranch is about merges of what was merged: each can be taken back for itself.
func TestBranch(t *testing.T) {
	t.Parallel()
	three := func(t *testing.T) (p *pair, c, erpC string, idC golden.ID) {
		t.Helper()
		p = newPair(t)
		c = p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme Hamburg", golden.TaxID: "DE100000003"})
		p.Settle()
		idC = p.Golden(p.SF, golden.Customer, c).ID
		return p, c, p.Twin(idC, p.ERP).Ref.RecordID, idC
	}
	t.Run("what comes back takes its own merge back, and not the one after it", func(t *testing.T) {
		t.Parallel()
		p, c, erpC, idC := three(t)
		p.SF.Merge(golden.Customer, p.a, p.b, nil)
		p.Settle()
		p.SF.Merge(golden.Customer, c, p.a, nil)
		p.Settle()
		require.Len(t, p.records(t, idC), 4)
		p.SF.Undelete(golden.Customer, p.b)
		p.Settle()
		p.Check()
		require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b}, p.records(t, p.idB))
		require.Equal(t, []string{"erp/" + p.erpA, "erp/" + erpC, "salesforce/" + c}, p.records(t, idC))
		require.Equal(t, idC, p.golden(t, p.idA).MergedInto)

		// Nor does the other one, when it is taken back later, bring along what has left it.
		p.SF.Undelete(golden.Customer, p.a)
		p.Settle()
		p.Check()
		require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b}, p.records(t, p.idB))
		require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a}, p.records(t, p.idA))
		require.Equal(t, []string{"erp/" + erpC, "salesforce/" + c}, p.records(t, idC))
	})
	for _, firstB := range []bool{true, false} {
		t.Run(fmt.Sprintf("two of them end in one batch, the first one first: %v", firstB), func(t *testing.T) {
			t.Parallel()
			p, c, erpC, idC := three(t)
			p.SF.Merge(golden.Customer, p.a, p.b, nil)
			p.Settle()
			p.SF.Merge(golden.Customer, c, p.a, nil)
			p.Settle()
			ends := []string{p.b, p.a}
			if !firstB {
				slices.Reverse(ends)
			}
			for _, id := range ends {
				p.SF.Undelete(golden.Customer, id)
			}
			p.Settle()
			p.Check()
			require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b}, p.records(t, p.idB))
			require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a}, p.records(t, p.idA))
			require.Equal(t, []string{"erp/" + erpC, "salesforce/" + c}, p.records(t, idC))
		})
	}
	t.Run("who was merged into what leaves goes along", func(t *testing.T) {
		t.Parallel()
		p, c, _, idC := three(t)
		p.SF.Merge(golden.Customer, p.a, p.b, nil)
		p.Settle()
		p.ERP.Merge(golden.Customer, p.erpB, p.Twin(idC, p.ERP).Ref.RecordID, nil) // a third one, into the record of the second
		p.Settle()
		require.Equal(t, p.idA, p.golden(t, idC).MergedInto)
		p.SF.Undelete(golden.Customer, p.b)
		p.Settle()
		p.Check()
		require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a}, p.records(t, p.idA))
		require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b, "salesforce/" + c}, p.records(t, p.idB))
		require.Equal(t, p.idB, p.golden(t, idC).MergedInto)
	})
}
