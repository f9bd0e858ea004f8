package rpc

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func (s *operations) ListAudit(ctx context.Context, req *customerv1.ListAuditRequest) (*customerv1.ListAuditResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	f := store.AuditFilter{
		Operators: req.GetOperators(), System: req.GetSystem(), Field: req.GetField(), Kind: req.GetKind(), Actor: req.GetActor(),
		From: moment(req.GetFrom()), Until: moment(req.GetUntil()),
	}
	if req.GetId() != "" {
		if f.GoldenID, err = s.subject(ctx, r, req.GetId()); err != nil {
			return nil, err
		}
		if f.GoldenID == "" { // a record that was never taken in has letters only
			f.Operators, f.RecordID = true, req.GetId()
		}
	}
	filter := page.Hash("audit", req.GetId(), req.GetSystem(), req.GetField(), req.GetKind(), req.GetActor(), f.From.String(), f.Until.String())
	var at position
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	entries, err := r.Audit(ctx, f, req.GetShowValues(), at.Position, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListAuditResponse{}
	if len(entries) > size {
		entries = entries[:size]
		if resp.NextPageToken, err = page.Encode(filter, position{entries[size-1].Position}); err != nil {
			return nil, err
		}
	}
	for i := range entries {
		resp.Entries = append(resp.Entries, auditEntry(&entries[i]))
	}
	return resp, nil
}

// subject returns the golden record that an id means, ours or that of a system's record; "" when nobody knows it.
func (s *operations) subject(ctx context.Context, r store.Reader, id string) (golden.ID, error) {
	if _, ours := golden.ParseID(id); ours {
		g, err := find(ctx, r, "", id)
		if fault.Is(err, fault.NotFound) {
			return golden.ID(id), nil // its events outlive it
		}
		if err != nil {
			return "", err
		}
		return g.ID, nil
	}
	for _, t := range s.d.Targets {
		for _, obj := range golden.Objects() {
			rows, err := r.Sources(ctx, t.System(), obj, []string{id})
			if err != nil {
				return "", err
			}
			if len(rows) > 0 && rows[0].GoldenID != "" {
				return rows[0].GoldenID, nil
			}
		}
	}
	return "", nil
}

func auditEntry(e *store.Audited) *customerv1.AuditEntry {
	m := &customerv1.AuditEntry{
		Position: e.Position, Time: stamp(e.At), Actor: e.Actor, Kind: e.Kind, GoldenId: string(e.GoldenID), System: e.System, RecordId: e.RecordID,
		ChangeId: e.ChangeID, Fields: e.Fields, Reason: e.Reason, Traceparent: e.Traceparent, Note: e.Note, Erased: e.Erased, Hash: hex.EncodeToString(e.Hash),
	}
	for _, c := range e.Changes {
		m.Changes = append(m.Changes, &customerv1.FieldChange{Field: c.Name, Before: c.Before, After: c.After, Rule: c.Rule})
	}
	return m
}

// verifyPiece is how many entries one call checks.
const verifyPiece = 50_000

func (s *operations) VerifyAudit(ctx context.Context, req *customerv1.VerifyAuditRequest) (*customerv1.VerifyAuditResponse, error) {
	filter := page.Hash("audit chain")
	var from audit.Cursor
	if err := page.Decode(req.GetPageToken(), filter, &from); err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	report, err := audit.Walk(ctx, r, from, verifyPiece)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.VerifyAuditResponse{Checked: report.Cursor.Checked, Beginning: report.Beginning.String(), Head: report.Head.String()}
	if req.GetNoted() != "" && req.GetPageToken() == "" {
		noted, err := audit.ParseMark(req.GetNoted())
		if err != nil {
			return nil, fault.InvalidField("noted", "", "is not POSITION:HASH")
		}
		equal, known, err := audit.Compare(ctx, r, noted)
		if err != nil {
			return nil, err
		}
		resp.NotedKnown = known
		if known && !equal {
			report.Problems = append(report.Problems, audit.Problem{Position: noted.Position, Kind: audit.MarkDiffers})
		}
	}
	for _, p := range report.Problems {
		resp.Problems = append(resp.Problems, &customerv1.AuditProblem{Position: p.Position, Kind: p.Kind})
	}
	// Once something is wrong, what follows is not worth more time.
	if !report.Done && len(report.Problems) < audit.MaxProblems {
		if resp.NextPageToken, err = page.Encode(filter, report.Cursor); err != nil {
			return nil, errors.Join(errors.New("encode the place in the chain"), err)
		}
	}
	return resp, nil
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
