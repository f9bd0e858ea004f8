package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// rulesServer has rules that touch more records than were shown the first time.
type rulesServer struct {
	customerv1.UnimplementedOperationsServiceServer
	touched int64
}

func (s *rulesServer) GetRules(context.Context, *customerv1.GetRulesRequest) (*customerv1.GetRulesResponse, error) {
	return &customerv1.GetRulesResponse{Waiting: &customerv1.RuleSet{Digest: "d2", Version: 2, Touched: s.touched, Records: 9}}, nil
}

func (s *rulesServer) ConfirmRules(_ context.Context, req *customerv1.ConfirmRulesRequest) (*customerv1.ConfirmRulesResponse, error) {
	if s.touched < 7 {
		s.touched = 7
		return nil, fault.New(fault.Precondition, "RULES_TOUCH_MORE", "7 of 9 records by now, 1 of 9 were shown").WithMeta("touched", "7").WithMeta("shown", "1")
	}
	return &customerv1.ConfirmRulesResponse{Active: &customerv1.RuleSet{Digest: req.GetDigest(), Version: 2}}, nil
}

func TestRulesConfirm(t *testing.T) {
	t.Parallel()
	addr := serveOperations(t, &rulesServer{touched: 1})
	code, _, problems := run(t, "rules", "confirm", "--addr", addr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problems, "RULES_TOUCH_MORE: 7 of 9 records by now, 1 of 9 were shown")
	code, out, problems := run(t, "rules", "confirm", "--addr", addr)
	require.Equal(t, exitOK, code, problems)
	require.Contains(t, out, "version 2, digest d2")
}
