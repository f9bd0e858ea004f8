package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// letterServer has 3 letters and deals with 2 per call.
type letterServer struct {
	customerv1.UnimplementedOperationsServiceServer
	left int32
	mode customerv1.RedriveMode
}

func (s *letterServer) PreviewDeadLetters(_ context.Context, req *customerv1.PreviewDeadLettersRequest) (*customerv1.PreviewDeadLettersResponse, error) {
	if req.GetSystem() == "none" {
		return &customerv1.PreviewDeadLettersResponse{}, nil
	}
	return &customerv1.PreviewDeadLettersResponse{Selection: "s_1", Letters: 3, More: true, Groups: []*customerv1.DeadLetterGroup{
		{Letters: 3, Direction: req.GetDirection(), System: "erp", Reason: req.GetReason()},
	}}, nil
}

func (s *letterServer) RedriveDeadLetters(_ context.Context, req *customerv1.RedriveDeadLettersRequest) (*customerv1.RedriveDeadLettersResponse, error) {
	if req.GetSelection() != "s_1" {
		return nil, fault.New(fault.NotFound, "SELECTION_UNKNOWN", "preview again")
	}
	s.mode = req.GetMode()
	n := min(s.left, 2)
	s.left -= n
	return &customerv1.RedriveDeadLettersResponse{Redriven: n, Left: s.left}, nil
}

func (s *letterServer) DiscardDeadLetters(_ context.Context, _ *customerv1.DiscardDeadLettersRequest) (*customerv1.DiscardDeadLettersResponse, error) {
	n := min(s.left, 2)
	s.left -= n
	return &customerv1.DiscardDeadLettersResponse{Discarded: n, Left: s.left}, nil
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a preview names the selection":         {[]string{"preview", "--direction", "deliver", "--reason", "TOO_LONG"}, exitOK, "redrive s_1"},
		"a preview says what is in it":          {[]string{"preview", "--reason", "TOO_LONG"}, exitOK, "TOO_LONG"},
		"a preview says that there is more":     {[]string{"preview"}, exitOK, "the oldest 3 are selected"},
		"a preview of nothing":                  {[]string{"preview", "--system", "none"}, exitOK, "no open dead letters"},
		"a redrive goes on until nothing left":  {[]string{"redrive", "s_1", "--mode", "current-rules"}, exitOK, "3 tried again"},
		"a redrive of an unknown selection":     {[]string{"redrive", "s_2"}, exitFailed, "SELECTION_UNKNOWN"},
		"a redrive without a selection":         {[]string{"redrive"}, exitUsage, "preview has printed"},
		"a redrive in a mode that is not there": {[]string{"redrive", "s_1", "--mode", "magic"}, exitUsage, "same-step, from-start or current-rules"},
		"a selection is given up as a whole":    {[]string{"discard", "s_1", "--reason", "why"}, exitOK, "3 given up"},
		"giving up needs a reason":              {[]string{"discard", "s_1"}, exitUsage, "--reason"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &letterServer{left: 3}
			code, out, problems := run(t, append([]string{"dead-letters", "--addr", serveOperations(t, server)}, c.args...)...)
			require.Equal(t, c.code, code, problems)
			require.Contains(t, out+problems, c.says)
			if c.args[0] == "redrive" && c.code == exitOK {
				require.Equal(t, customerv1.RedriveMode_REDRIVE_MODE_CURRENT_RULES, server.mode)
			}
		})
	}
}
