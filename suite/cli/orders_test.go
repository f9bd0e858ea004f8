package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

type orderServer struct {
	customerv1.UnimplementedOperationsServiceServer
}

func (orderServer) ListQueuedOrders(_ context.Context, req *customerv1.ListQueuedOrdersRequest) (*customerv1.ListQueuedOrdersResponse, error) {
	waits := &customerv1.QueuedOrder{Operation: &customerv1.Operation{Id: "op_1", CustomerId: "c_1"}, Reference: "ref", Attempts: 3, Items: 2}
	if req.GetPageToken() == "" {
		return &customerv1.ListQueuedOrdersResponse{Orders: []*customerv1.QueuedOrder{waits}, NextPageToken: "more"}, nil
	}
	out := &customerv1.ListQueuedOrdersResponse{}
	if req.GetDone() {
		out.Orders = []*customerv1.QueuedOrder{{Operation: &customerv1.Operation{Id: "op_2", Done: true, Order: &customerv1.OrderSummary{Id: "S17"}}}}
	}
	return out, nil
}

func (orderServer) CancelQueuedOrder(_ context.Context, req *customerv1.CancelQueuedOrderRequest) (*customerv1.CancelQueuedOrderResponse, error) {
	return &customerv1.CancelQueuedOrderResponse{Order: &customerv1.QueuedOrder{
		Operation: &customerv1.Operation{Id: req.GetOperationId(), Done: true, Reason: "OPERATION_CANCELED"}, Reference: "ref-1", Attempts: 2,
	}}, nil
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"those that wait are listed, on all pages": {nil, exitOK, []string{"op_1", "waits", "c_1"}},
		"those that are done too":                  {[]string{"list", "--all"}, exitOK, []string{"op_1", "op_2", "placed as S17"}},
		"one is called off, and where to look":     {[]string{"cancel", "op_1", "--reason", "ordered by phone"}, exitOK, []string{"given up", "OPERATION_CANCELED", "tried 2 times", "ref-1"}},
		"that needs a reason":                      {[]string{"cancel", "op_1"}, exitUsage, []string{"--reason"}},
		"and an operation":                         {[]string{"cancel", "--reason", "x"}, exitUsage, []string{"one operation"}},
		"another verb is none":                     {[]string{"drop"}, exitUsage, []string{"none of"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := run(t, append([]string{"orders", "--addr", serveOperations(t, orderServer{})}, c.args...)...)
			require.Equal(t, c.code, code, problems)
			for _, text := range c.says {
				require.Contains(t, out+problems, text)
			}
		})
	}
}
