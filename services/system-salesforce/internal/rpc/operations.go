package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/priority"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/budget"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/doctor"
)

// Operations serves what operators ask. Both fields are required.
type Operations struct {
	salesforcev1.UnimplementedOperationsServiceServer

	Budget interface {
		Overview(ctx context.Context) (budget.Overview, error)
	}
	Doctor interface {
		Examine(ctx context.Context) []doctor.Finding
	}
}

// Register adds the service to a gRPC server.
func (s *Operations) Register(r grpc.ServiceRegistrar) {
	salesforcev1.RegisterOperationsServiceServer(r, s)
}

// GetBudget tells how much of the allowance is left, and for whom.
func (s *Operations) GetBudget(ctx context.Context, _ *salesforcev1.GetBudgetRequest) (*salesforcev1.GetBudgetResponse, error) {
	v, err := s.Budget.Overview(ctx)
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.GetBudgetResponse{
		Limit: v.State.Limit, Used: v.State.Used, Estimate: v.State.Estimate, ObserveTime: stamp(v.State.Observed), ExhaustionTime: stamp(v.Exhaustion),
		CallsLastHour: int64(v.Rate), OwnCallsLastDay: v.Own, Concurrent: int32(v.Concurrent), Running: int32(v.Running), //nolint:gosec // at most 25
	}
	for _, l := range v.Levels {
		resp.Priorities = append(resp.Priorities, &salesforcev1.PriorityBudget{
			Priority: l.Level.String(), Remaining: l.Remaining, ResumeTime: stamp(l.Resume), OwnCallsLastDay: l.Own, Waiting: int32(min(l.Waiting, 1<<30)), //nolint:gosec // bounded
		})
	}
	for _, a := range v.Named() {
		resp.Allowances = append(resp.Allowances, &salesforcev1.Allowance{Name: a.Name, Limit: a.Limit, Remaining: a.Remaining, ObserveTime: stamp(a.Observed)})
	}
	return resp, nil
}

// Diagnose examines the org. Somebody is waiting for it.
func (s *Operations) Diagnose(ctx context.Context, _ *salesforcev1.DiagnoseRequest) (*salesforcev1.DiagnoseResponse, error) {
	return Diagnosis(s.Doctor.Examine(priority.With(ctx, priority.Interactive))), nil
}

// Diagnosis is the message of what a doctor found.
func Diagnosis(found []doctor.Finding) *salesforcev1.DiagnoseResponse {
	resp := &salesforcev1.DiagnoseResponse{Passed: doctor.Passed(found)}
	for _, f := range found {
		resp.Findings = append(resp.Findings, &salesforcev1.Finding{
			Check: f.Check, Subject: f.Subject, Severity: severity(f.Severity), Message: f.Message, Advice: f.Advice,
		})
	}
	return resp
}

func severity(s doctor.Severity) salesforcev1.Severity {
	switch s {
	case doctor.OK:
		return salesforcev1.Severity_SEVERITY_OK
	case doctor.Skipped:
		return salesforcev1.Severity_SEVERITY_SKIPPED
	case doctor.Warning:
		return salesforcev1.Severity_SEVERITY_WARNING
	case doctor.Failed:
		return salesforcev1.Severity_SEVERITY_FAILED
	}
	return salesforcev1.Severity_SEVERITY_UNSPECIFIED
}

// stamp leaves the zero time out.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
