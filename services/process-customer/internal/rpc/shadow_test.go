package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestShadow(t *testing.T) {
	w, a, _ := setup(t)
	flow := func(req *customerv1.SetFlowRequest) *customerv1.Flow {
		req.System, req.Direction = "erp", "deliver"
		resp, err := a.operations.SetFlow(t.Context(), req)
		require.NoError(t, err)
		return resp.GetFlow()
	}
	require.True(t, flow(&customerv1.SetFlowRequest{Shadow: proto.Bool(true), Reason: "before the switch"}).GetShadow())
	id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
	w.Settle()
	require.Empty(t, w.ERP.Records(golden.Customer))

	report, err := a.operations.GetShadow(t.Context(), &customerv1.GetShadowRequest{System: "erp"})
	require.NoError(t, err)
	require.True(t, report.GetShadow())
	require.EqualValues(t, 1, report.GetRecords())
	require.Len(t, report.GetFields(), 2)
	require.EqualValues(t, 1, report.GetFields()[0].GetWaiting())

	req := &customerv1.ListShadowWritesRequest{System: "erp", PageSize: 1, Values: true}
	var intended []string
	for {
		page, err := a.operations.ListShadowWrites(t.Context(), req)
		require.NoError(t, err)
		for _, x := range page.GetWrites() {
			intended = append(intended, x.GetField()+"="+x.GetIntended())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	require.Equal(t, []string{"name=Acme", "phone=1"}, intended)
	req = &customerv1.ListShadowWritesRequest{System: "erp", State: "WAITING"}
	page, err := a.operations.ListShadowWrites(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, page.GetWrites(), 2)
	require.Empty(t, page.GetWrites()[0].GetIntended(), "values are shown to whoever asks for them")

	// Pausing and going on do not end it: only who says so does.
	require.True(t, flow(&customerv1.SetFlowRequest{Paused: true, Reason: "maintenance"}).GetShadow())
	require.True(t, flow(&customerv1.SetFlowRequest{}).GetShadow())
	w.Settle()
	require.Empty(t, w.ERP.Records(golden.Customer))
	require.False(t, flow(&customerv1.SetFlowRequest{Shadow: proto.Bool(false)}).GetShadow())
	w.Settle()
	require.Len(t, w.ERP.Records(golden.Customer), 1)
	require.Equal(t, "Acme", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])

	_, err = a.operations.GetShadow(t.Context(), &customerv1.GetShadowRequest{System: "moon"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = a.operations.SetFlow(t.Context(), &customerv1.SetFlowRequest{System: "erp", Direction: "intake", Shadow: proto.Bool(true)})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
