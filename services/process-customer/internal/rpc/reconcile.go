package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Reconciler compares systems with what is known of them.
type Reconciler interface {
	Start(ctx context.Context, system string, depth store.Depth, repair bool) (store.Run, bool, error)
}

// maxIgnored is how long a difference may be accepted.
const maxIgnored = 366 * 24 * time.Hour

func (s *operations) StartReconciliation(ctx context.Context, req *customerv1.StartReconciliationRequest) (*customerv1.StartReconciliationResponse, error) {
	depth := store.DepthDigests
	switch {
	case req.GetValues():
		depth = store.DepthValues
	case req.GetDeep():
		depth = store.DepthDeep
	}
	run, fresh, err := s.d.Reconciler.Start(ctx, req.GetSystem(), depth, req.GetRepair())
	if err != nil {
		return nil, err
	}
	return &customerv1.StartReconciliationResponse{Reconciliation: reconciliation(run), Started: fresh}, nil
}

func reconciliation(r store.Run) *customerv1.Reconciliation {
	return &customerv1.Reconciliation{
		Id: r.ID, System: r.System, Deep: r.Depth >= store.DepthDeep, Values: r.Depth >= store.DepthValues, Repair: r.Repair, State: r.State, Reason: r.Reason, RequestTime: stamp(r.Requested),
		StartTime: stamp(r.Started), EndTime: stamp(r.Ended), Compared: r.Compared, Calls: r.Calls, ReadCalls: r.ReadCalls, Repaired: r.Repaired,
	}
}

func (s *operations) GetReconciliation(ctx context.Context, req *customerv1.GetReconciliationRequest) (*customerv1.GetReconciliationResponse, error) {
	run, err := s.d.Store.Read().ReconcileRun(ctx, req.GetId())
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.Wrap(fault.NotFound, "RECONCILIATION_UNKNOWN", err, "there is no such comparison")
	}
	if err != nil {
		return nil, err
	}
	return &customerv1.GetReconciliationResponse{Reconciliation: reconciliation(run)}, nil
}

func (s *operations) ListReconciliations(ctx context.Context, req *customerv1.ListReconciliationsRequest) (*customerv1.ListReconciliationsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 20, 500)
	if err != nil {
		return nil, err
	}
	runs, err := s.d.Store.Read().ReconcileRuns(ctx, req.GetSystem(), size)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListReconciliationsResponse{}
	for _, r := range runs {
		resp.Reconciliations = append(resp.Reconciliations, reconciliation(r))
	}
	return resp, nil
}

// found is where a page of findings ends.
type found struct {
	System string        `json:"s"`
	Object golden.Object `json:"o"`
	Record string        `json:"r"`
	Kind   string        `json:"k"`
}

func (s *operations) ListFindings(ctx context.Context, req *customerv1.ListFindingsRequest) (*customerv1.ListFindingsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	filter := page.Hash("findings", req.GetSystem(), req.GetState(), req.GetKind())
	var at found
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	after := store.Finding{Ref: golden.Ref{System: at.System, Object: at.Object, RecordID: at.Record}, Kind: at.Kind}
	findings, err := s.d.Store.Read().Findings(ctx, req.GetSystem(), req.GetState(), req.GetKind(), req.GetShowValues(), after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListFindingsResponse{}
	if len(findings) > size {
		findings = findings[:size]
		last := findings[size-1]
		resp.NextPageToken, err = page.Encode(filter, found{last.Ref.System, last.Ref.Object, last.Ref.RecordID, last.Kind})
		if err != nil {
			return nil, err
		}
	}
	for _, f := range findings {
		m := &customerv1.Finding{
			System: f.Ref.System, Object: string(f.Ref.Object), RecordId: f.Ref.RecordID, Kind: f.Kind, GoldenId: string(f.GoldenID), State: f.State,
			Since: stamp(f.Since), Seen: stamp(f.Seen),
		}
		for _, c := range f.Changes {
			m.Changes = append(m.Changes, &customerv1.FieldChange{Field: c.Name, Before: c.Before, After: c.After})
		}
		resp.Findings = append(resp.Findings, m)
	}
	return resp, nil
}

func (s *operations) CreateIgnoreRule(ctx context.Context, req *customerv1.CreateIgnoreRuleRequest) (*customerv1.CreateIgnoreRuleResponse, error) {
	now := s.d.Now()
	until := req.GetExpireTime().AsTime()
	if !until.After(now) || until.Sub(now) > maxIgnored {
		return nil, fault.InvalidField("expire_time", "", "must lie in the future, within a year")
	}
	rule := store.IgnoreRule{
		ID: req.GetId(), System: req.GetSystem(), Object: golden.Object(req.GetObject()), RecordID: req.GetRecordId(), Field: req.GetField(),
		Reason: req.GetReason(), Actor: caller.From(ctx).Name, Created: now, Until: until,
	}
	err := s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		fresh, err := tx.PutIgnoreRule(ctx, rule)
		if err != nil || !fresh {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{
			At: now, Kind: "ignored", System: rule.System, RecordID: rule.RecordID, ChangeID: rule.ID, Fields: fieldsOf(rule.Field),
			Traceparent: telemetry.Traceparent(ctx), Note: rule.Reason,
		}})
	})
	if err != nil {
		return nil, err
	}
	return &customerv1.CreateIgnoreRuleResponse{Rule: ignoreRule(rule)}, nil
}

func fieldsOf(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

func ignoreRule(r store.IgnoreRule) *customerv1.IgnoreRule {
	return &customerv1.IgnoreRule{
		Id: r.ID, System: r.System, Object: string(r.Object), RecordId: r.RecordID, Field: r.Field, Reason: r.Reason, Actor: r.Actor,
		CreateTime: stamp(r.Created), ExpireTime: stamp(r.Until),
	}
}

func (s *operations) DeleteIgnoreRule(ctx context.Context, req *customerv1.DeleteIgnoreRuleRequest) (*customerv1.DeleteIgnoreRuleResponse, error) {
	err := s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.DropIgnoreRule(ctx, req.GetId())
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{At: s.d.Now(), Kind: "ignored_no_more", ChangeID: req.GetId(), Traceparent: telemetry.Traceparent(ctx)}})
	})
	if err != nil {
		return nil, err
	}
	return &customerv1.DeleteIgnoreRuleResponse{}, nil
}

func (s *operations) ListIgnoreRules(ctx context.Context, req *customerv1.ListIgnoreRulesRequest) (*customerv1.ListIgnoreRulesResponse, error) {
	rules, err := s.d.Store.Read().IgnoreRules(ctx, req.GetSystem(), s.d.Now())
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListIgnoreRulesResponse{}
	for _, r := range rules {
		resp.Rules = append(resp.Rules, ignoreRule(r))
	}
	return resp, nil
}
