package cli

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// compareServer finds what it is given to find.
type compareServer struct {
	customerv1.UnimplementedOperationsServiceServer
	mu       sync.Mutex
	other    bool // a comparison of another kind is under way at first
	old      bool // of a release that compares no values
	polls    int
	findings []*customerv1.Finding
	state    string
	asked    []*customerv1.StartReconciliationRequest
	rule     *customerv1.CreateIgnoreRuleRequest
}

func (s *compareServer) GetStatus(context.Context, *customerv1.GetStatusRequest) (*customerv1.GetStatusResponse, error) {
	return &customerv1.GetStatusResponse{Targets: []*customerv1.TargetStatus{{System: "erp"}, {System: "salesforce"}}}, nil
}

func (s *compareServer) StartReconciliation(_ context.Context, req *customerv1.StartReconciliationRequest) (*customerv1.StartReconciliationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.polls = append(s.asked, req), 0
	if s.other {
		s.other = false
		return &customerv1.StartReconciliationResponse{Reconciliation: &customerv1.Reconciliation{Id: "r_other", System: req.GetSystem(), State: "DONE", Deep: !req.GetDeep()}}, nil
	}
	run := &customerv1.Reconciliation{Id: "r_1", System: req.GetSystem(), State: "QUEUED", Deep: req.GetDeep(), Values: req.GetValues() && !s.old, ReadCalls: 51}
	return &customerv1.StartReconciliationResponse{Started: true, Reconciliation: run}, nil
}

func (s *compareServer) GetReconciliation(context.Context, *customerv1.GetReconciliationRequest) (*customerv1.GetReconciliationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &customerv1.Reconciliation{Id: "r_1", System: s.asked[len(s.asked)-1].GetSystem(), State: "RUNNING", Compared: 4711, Calls: 3, Reason: "R"}
	if s.polls++; s.polls > 1 {
		r.State = s.state
	}
	return &customerv1.GetReconciliationResponse{Reconciliation: r}, nil
}

func (s *compareServer) ListReconciliations(context.Context, *customerv1.ListReconciliationsRequest) (*customerv1.ListReconciliationsResponse, error) {
	return &customerv1.ListReconciliationsResponse{Reconciliations: []*customerv1.Reconciliation{{Id: "r_old", State: "FAILED", Deep: true, Values: true, Reason: "UNAVAILABLE"}}}, nil
}

func (s *compareServer) ListFindings(_ context.Context, req *customerv1.ListFindingsRequest) (*customerv1.ListFindingsResponse, error) {
	if req.GetPageToken() == "" && len(s.findings) > 1 {
		return &customerv1.ListFindingsResponse{Findings: s.findings[:1], NextPageToken: "2"}, nil
	}
	return &customerv1.ListFindingsResponse{Findings: s.findings[min(1, len(s.findings)-min(1, len(s.findings))):]}, nil
}

func (s *compareServer) CreateIgnoreRule(_ context.Context, req *customerv1.CreateIgnoreRuleRequest) (*customerv1.CreateIgnoreRuleResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rule = req
	return &customerv1.CreateIgnoreRuleResponse{Rule: &customerv1.IgnoreRule{Id: req.GetId(), ExpireTime: req.GetExpireTime()}}, nil
}

func (s *compareServer) DeleteIgnoreRule(context.Context, *customerv1.DeleteIgnoreRuleRequest) (*customerv1.DeleteIgnoreRuleResponse, error) {
	return &customerv1.DeleteIgnoreRuleResponse{}, nil
}

func (s *compareServer) ListIgnoreRules(context.Context, *customerv1.ListIgnoreRulesRequest) (*customerv1.ListIgnoreRulesResponse, error) {
	return &customerv1.ListIgnoreRulesResponse{Rules: []*customerv1.IgnoreRule{{Id: "i_1", System: "erp", Field: "phone", Reason: "known"}}}, nil
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	finding := func(state string) *customerv1.Finding {
		return &customerv1.Finding{
			System: "erp", Kind: "DIFFERENT", State: state, RecordId: "K-7", Changes: []*customerv1.FieldChange{{Field: "phone", Before: "1", After: "2"}},
		}
	}
	for name, c := range map[string]struct {
		server *compareServer
		args   []string
		code   int
		says   []string
	}{
		"all systems when none is named":       {&compareServer{state: "DONE"}, nil, exitOK, []string{"salesforce", "erp", "4711", "No difference is open"}},
		"open differences fail the command":    {&compareServer{state: "DONE", findings: []*customerv1.Finding{finding("OPEN")}}, []string{"erp"}, exitFailed, []string{"DIFFERENT", "K-7", `phone "1" → "2"`, "1 differences are open"}},
		"what is in flight does not":           {&compareServer{state: "DONE", findings: []*customerv1.Finding{finding("IN_FLIGHT")}}, []string{"erp"}, exitOK, []string{"IN_FLIGHT", "No difference"}},
		"pages of findings":                    {&compareServer{state: "DONE", findings: []*customerv1.Finding{finding("REPAIRED"), finding("PARKED")}}, []string{"erp", "--repair"}, exitFailed, []string{"REPAIRED", "PARKED"}},
		"a comparison that failed":             {&compareServer{state: "FAILED"}, []string{"erp"}, exitFailed, []string{"FAILED"}},
		"another one under way is waited for":  {&compareServer{state: "DONE", other: true}, []string{"erp", "--deep"}, exitOK, []string{"4711"}},
		"what was found before":                {&compareServer{findings: []*customerv1.Finding{finding("OPEN")}}, []string{"show"}, exitOK, []string{"r_old", "values", "UNAVAILABLE", "K-7"}},
		"what reading everything takes":        {&compareServer{state: "DONE"}, []string{"erp", "--values"}, exitOK, []string{"all of erp takes about 51 calls", "4711", "No difference"}},
		"values, after another one":            {&compareServer{state: "DONE", other: true}, []string{"erp", "--values"}, exitOK, []string{"about 51 calls", "4711"}},
		"an older service compares no values":  {&compareServer{state: "DONE", old: true}, []string{"erp", "--values"}, exitFailed, []string{"compares no values"}},
		"a rule":                               {&compareServer{}, []string{"ignore", "erp", "--field", "phone", "--for", "24h", "--reason", "known"}, exitOK, []string{"i_"}},
		"a rule needs an end and a reason":     {&compareServer{}, []string{"ignore", "erp", "--field", "phone"}, exitUsage, []string{"--for"}},
		"the rules, after one was ended":       {&compareServer{}, []string{"rules", "--end", "i_0"}, exitOK, []string{"i_1", "known"}},
		"nonsense after show is not taken for": {&compareServer{}, []string{"show", "erp"}, exitUsage, []string{"no arguments"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serveOperations(t, c.server)
			var args []string
			if len(c.args) > 0 && (c.args[0] == "show" || c.args[0] == "ignore" || c.args[0] == "rules") {
				args = append([]string{"reconcile", c.args[0], "--addr", addr}, c.args[1:]...)
			} else {
				args = append([]string{"reconcile", "--addr", addr}, c.args...)
			}
			code, out, problems := run(t, args...)
			require.Equal(t, c.code, code, problems+out)
			for _, text := range c.says {
				require.Contains(t, out+problems, text)
			}
		})
	}
}
