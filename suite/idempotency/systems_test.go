package idempotency_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// killedERP kills the service of the ERP when the order is in its database and nobody has been told.
func killedERP(t *testing.T, w *world) {
	w.fault(t, remote.Fault{Kind: "hold_answer", Method: "CreateOrder", Times: 1, DelayMS: 60_000})
	in := w.order(w.buyers[2])
	first, leave := w.sending(t, in)
	defer leave()
	require.Eventually(t, func() bool { return w.orders(t)[in.name] == 1 }, patience, 5*time.Millisecond)
	w.again(t, suite.SystemERP)
	leave()
	<-first
	require.NoError(t, w.demo.ClearFaults(t.Context()))
	w.once(t, in, w.until(t, in))
}

// killedSalesforce kills the service of Salesforce while it makes an account: once before Salesforce has done anything, once when
// it has made the account and the answer was lost.
func killedSalesforce(t *testing.T, w *world) {
	const held = "held back"
	hold := map[string]any{"name": held, "effect": "latency", "delay": "60s", "method": http.MethodPatch, "path_contains": "/sobjects/Account", "count": 1}
	holdSecond := map[string]any{"name": held, "effect": "latency", "delay": "60s", "method": http.MethodPatch, "path_contains": "/sobjects/Account", "after": 1, "count": 1}
	lose := map[string]any{"effect": "lose_ack", "method": http.MethodPatch, "path_contains": "/sobjects/Account", "count": 1}
	for _, c := range []struct {
		when    string
		rules   []any
		already int
	}{
		{"before the effect", []any{hold}, 0},
		{"after the effect", []any{lose, holdSecond}, 1},
	} {
		t.Run(c.when, func(t *testing.T) {
			require.NoError(t, w.demo.SetSalesforceFaults(t.Context(), map[string]any{"rules": c.rules}))
			in := w.customer("Killed Salesforce")
			a := w.until(t, in)
			require.Eventually(t, func() bool {
				if w.fired(t, held) == 1 {
					return true
				}
				// When the news of what was made comes before the second try, that is not needed.
				p, err := w.demo.Progress(t.Context())
				return err == nil && p.Pending == 0 && len(w.accounts(t, in.name)) > 0
			}, patience, 5*time.Millisecond)
			require.Len(t, w.accounts(t, in.name), c.already)
			w.again(t, suite.SystemSalesforce)
			require.NoError(t, w.demo.ClearFaults(t.Context()))
			w.settle(t)
			require.Len(t, w.accounts(t, in.name), 1)
			require.Equal(t, 1, w.customers(t)[in.name])
			w.same(t, in, a)
		})
	}
}

// fired returns how often a rule of the sandbox's script has fired.
func (w *world) fired(t *testing.T, rule string) int {
	t.Helper()
	var plan struct {
		Rules []struct {
			Name  string `json:"name"`
			Fired int    `json:"fired"`
		} `json:"rules"`
	}
	_, err := w.demo.JSON(t.Context(), http.MethodGet, w.demo.State.Salesforce+"/__sandbox__/faults", nil, &plan)
	require.NoError(t, err)
	for _, r := range plan.Rules {
		if r.Name == rule {
			return r.Fired
		}
	}
	return 0
}

// accounts returns the accounts of a name in Salesforce itself.
func (w *world) accounts(t *testing.T, name string) []crm.Record {
	t.Helper()
	found, err := w.demo.CRM.Query(t.Context(), "SELECT Id FROM Account WHERE Name = "+crm.Quote(name))
	require.NoError(t, err)
	return found
}
