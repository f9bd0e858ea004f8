package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// auditServer has a trail in two pieces; the second has the problems.
type auditServer struct {
	customerv1.UnimplementedOperationsServiceServer
	problems []*customerv1.AuditProblem
	known    bool
}

func (s auditServer) VerifyAudit(_ context.Context, req *customerv1.VerifyAuditRequest) (*customerv1.VerifyAuditResponse, error) {
	if req.GetPageToken() == "" {
		return &customerv1.VerifyAuditResponse{Checked: 10, NextPageToken: "2", NotedKnown: s.known}, nil
	}
	return &customerv1.VerifyAuditResponse{Checked: 20, Head: "20:ab", Problems: s.problems}, nil
}

func (s auditServer) ListAudit(_ context.Context, req *customerv1.ListAuditRequest) (*customerv1.ListAuditResponse, error) {
	if req.GetPageToken() == "" {
		return &customerv1.ListAuditResponse{NextPageToken: "2", Entries: []*customerv1.AuditEntry{{Position: 1, Kind: "changed", GoldenId: req.GetId()}}}, nil
	}
	e := &customerv1.AuditEntry{Position: 2, Kind: "discarded", Actor: "ada", Reason: "R"}
	if req.GetShowValues() {
		e.Changes, e.Note = []*customerv1.FieldChange{{Field: "phone", Before: "1", After: "2", Rule: "latest"}}, "because"
	}
	return &customerv1.ListAuditResponse{Entries: []*customerv1.AuditEntry{e}}, nil
}

func TestAudit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server auditServer
		args   []string
		code   int
		says   string
	}{
		"a trail that holds":             {auditServer{}, []string{"verify"}, exitOK, "as it was written: 20 entries"},
		"its end is to be noted":         {auditServer{}, []string{"verify"}, exitOK, "20:ab"},
		"a trail that was edited":        {auditServer{problems: []*customerv1.AuditProblem{{Position: 7, Kind: "ENTRY_MISSING"}}}, []string{"verify"}, exitFailed, "ENTRY_MISSING at 7"},
		"a note that nobody can compare": {auditServer{}, []string{"verify", "--noted", "1:ab"}, exitFailed, "has been trimmed"},
		"a note that is the same":        {auditServer{known: true}, []string{"verify", "--noted", "1:ab"}, exitOK, "as it was written"},
		"what happened, without values":  {auditServer{}, []string{"show", "customer/c_1"}, exitOK, "c_1"},
		"all pages":                      {auditServer{}, []string{"show", "c_1"}, exitOK, "ada"},
		"with values":                    {auditServer{}, []string{"show", "c_1", "--show-values"}, exitOK, `"1" → "2"`},
		"with notes":                     {auditServer{}, []string{"show", "--show-values"}, exitOK, "because"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serveOperations(t, c.server)
			code, out, problems := run(t, append([]string{"audit"}, append(c.args, "--addr", addr)...)...)
			require.Equal(t, c.code, code, problems)
			require.Contains(t, out, c.says)
		})
	}
	code, _, _ := run(t, "audit")
	require.Equal(t, exitUsage, code)
}
