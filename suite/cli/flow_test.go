package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

type flowServer struct {
	customerv1.UnimplementedOperationsServiceServer
}

func (flowServer) SetFlow(_ context.Context, req *customerv1.SetFlowRequest) (*customerv1.SetFlowResponse, error) {
	return &customerv1.SetFlowResponse{Flow: &customerv1.Flow{
		System: req.GetSystem(), Direction: req.GetDirection(), Paused: req.GetPaused(), PerMinute: req.GetPerMinute(), Reason: req.GetReason(),
	}}, nil
}

func TestFlow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"both directions are paused":  {[]string{"pause", "erp", "--reason", "maintenance"}, exitOK, []string{"intake", "deliver", "PAUSED", "maintenance"}},
		"one direction is paused":     {[]string{"pause", "erp", "--direction", "deliver", "--reason", "x"}, exitOK, []string{"deliver"}},
		"a pause needs a reason":      {[]string{"pause", "erp"}, exitUsage, []string{"--reason"}},
		"it goes on":                  {[]string{"resume", "erp"}, exitOK, []string{"running"}},
		"deliveries are slowed down":  {[]string{"throttle", "erp", "--per-minute", "60"}, exitOK, []string{"60"}},
		"slowing down needs a number": {[]string{"throttle", "erp"}, exitUsage, []string{"--per-minute"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := run(t, append([]string{c.args[0], "--addr", serveOperations(t, flowServer{})}, c.args[1:]...)...)
			require.Equal(t, c.code, code, problems)
			for _, text := range c.says {
				require.Contains(t, out+problems, text)
			}
		})
	}
}
