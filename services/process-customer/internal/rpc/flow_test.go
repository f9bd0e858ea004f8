package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

func TestSetFlow(t *testing.T) {
	w, a, _ := setup(t)
	ada := caller.With(t.Context(), caller.Identity{Name: "ada"})
	set := func(req *customerv1.SetFlowRequest) (*customerv1.Flow, error) {
		resp, err := a.operations.SetFlow(ada, req)
		return resp.GetFlow(), err
	}
	shown := func() []*customerv1.Flow {
		s, err := a.operations.GetStatus(t.Context(), &customerv1.GetStatusRequest{})
		require.NoError(t, err)
		return s.GetFlows()
	}
	require.Empty(t, shown())
	for range 2 { // doing it twice is doing it once
		f, err := set(&customerv1.SetFlowRequest{System: "erp", Direction: "deliver", Paused: true, Reason: "maintenance"})
		require.NoError(t, err)
		require.True(t, f.GetPaused())
		require.Equal(t, "ada", f.GetActor())
	}
	_, err := set(&customerv1.SetFlowRequest{System: "salesforce", Direction: "deliver", PerMinute: 60})
	require.NoError(t, err)
	require.Len(t, shown(), 2)
	w.Start()
	require.Len(t, shown(), 2, "it survives a restart")
	_, err = set(&customerv1.SetFlowRequest{System: "erp", Direction: "deliver"})
	require.NoError(t, err)
	require.Len(t, shown(), 1)
	trail, err := a.operations.ListAudit(t.Context(), &customerv1.ListAuditRequest{Operators: true, Actor: "ada", ShowValues: true})
	require.NoError(t, err)
	var kinds []string
	for _, e := range trail.GetEntries() {
		kinds = append(kinds, e.GetKind()+" "+e.GetSystem()+" "+e.GetNote())
	}
	require.Equal(t, []string{"paused erp maintenance", "throttled salesforce ", "resumed erp "}, kinds)

	_, err = set(&customerv1.SetFlowRequest{System: "none", Direction: "deliver"})
	require.Equal(t, "SYSTEM_UNKNOWN", fault.ReasonOf(err))
	_, err = set(&customerv1.SetFlowRequest{System: "erp", Direction: "intake", PerMinute: 5})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
