package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

type ledgerServer struct {
	customerv1.UnimplementedOperationsServiceServer
	answer *customerv1.GetLedgerResponse
}

func (s ledgerServer) GetLedger(context.Context, *customerv1.GetLedgerRequest) (*customerv1.GetLedgerResponse, error) {
	return s.answer, nil
}

func TestLedger(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		balanced bool
		code     int
		says     string
	}{
		"a ledger that balances":         {true, exitOK, "The ledger balances"},
		"a ledger that does not balance": {false, exitFailed, "does NOT balance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serveOperations(t, ledgerServer{answer: &customerv1.GetLedgerResponse{
				Balanced: c.balanced, Lines: []*customerv1.LedgerLine{{System: "salesforce", Received: 4711}},
				Deliveries: []*customerv1.DeliveryLine{{System: "erp", Marked: 815}},
			}})
			code, out, problems := run(t, "ledger", "--addr", addr)
			require.Equal(t, c.code, code, problems)
			for _, text := range []string{c.says, "4711", "815"} {
				require.Contains(t, out, text)
			}
			code, out, _ = run(t, "ledger", "--addr", addr, "-o", "json")
			require.Equal(t, c.code, code, "also as JSON")
			require.Contains(t, out, "4711")
		})
	}
}
