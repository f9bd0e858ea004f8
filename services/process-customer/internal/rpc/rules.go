package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Book keeps the survivorship rules.
type Book interface {
	Try(ctx context.Context, r *survive.Rules, samples int) (rulebook.Trial, error)
	Waits(ctx context.Context, r *survive.Rules, t rulebook.Trial) (string, error)
	Confirm(ctx context.Context, digest string) error
	Problems() string
	Brake() int
}

// Steward does what a person decides over the rules.
type Steward interface {
	Pin(ctx context.Context, id golden.ID, field, value string, hold golden.Hold) error
	Unpin(ctx context.Context, id golden.ID, field string) error
	Answer(ctx context.Context, ref golden.Ref, field string, accept bool, note string) error
	Merge(ctx context.Context, into, from golden.ID) error
	Unmerge(ctx context.Context, from golden.ID) error
}

// ruleSet returns the rules in a slot; nil when it is empty.
func ruleSet(ctx context.Context, r store.Reader, slot string, content bool) (*customerv1.RuleSet, error) {
	s, err := r.Rules(ctx, slot)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // an empty slot is no error
	}
	if err != nil {
		return nil, err
	}
	out := &customerv1.RuleSet{
		Digest: s.Digest, Version: s.Version, Time: stamp(s.Since), Reason: s.Reason, Records: s.Records, Touched: s.Changed,
		Applied: s.Done && slot == store.RulesActive,
	}
	if content {
		out.Content = s.Content
	}
	return out, nil
}

func (s *operations) problems() []string {
	if text := s.d.Book.Problems(); text != "" {
		return strings.Split(text, "\n")
	}
	return nil
}

func (s *operations) rulesStatus(ctx context.Context, r store.Reader) (*customerv1.RulesStatus, error) {
	out := &customerv1.RulesStatus{Problems: s.problems()}
	var err error
	if out.Active, err = ruleSet(ctx, r, store.RulesActive, false); err != nil {
		return nil, err
	}
	if out.Waiting, err = ruleSet(ctx, r, store.RulesWaiting, false); err != nil {
		return nil, err
	}
	out.OpenQuestions, err = r.CountQuestions(ctx)
	return out, err
}

func (s *operations) GetRules(ctx context.Context, req *customerv1.GetRulesRequest) (*customerv1.GetRulesResponse, error) {
	r := s.d.Store.Read()
	resp := &customerv1.GetRulesResponse{Problems: s.problems(), BrakePercent: int32(s.d.Book.Brake())} //nolint:gosec // at most 100
	var err error
	if resp.Active, err = ruleSet(ctx, r, store.RulesActive, !req.GetOmitContent()); err != nil {
		return nil, err
	}
	resp.Waiting, err = ruleSet(ctx, r, store.RulesWaiting, !req.GetOmitContent())
	return resp, err
}

func (s *operations) TryRules(ctx context.Context, req *customerv1.TryRulesRequest) (*customerv1.TryRulesResponse, error) {
	rules, err := survive.Parse([]byte(req.GetRules()))
	if err != nil {
		return nil, invalidRules(err)
	}
	samples := int(req.GetSamples())
	if samples == 0 {
		samples = 20
	}
	t, err := s.d.Book.Try(ctx, rules, samples)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.TryRulesResponse{
		Digest: rules.Digest(), Version: int64(rules.Version()), Records: t.Records, Touched: t.Touched, Changed: t.Changed, Written: t.Written,
	}
	if resp.Reason, err = s.d.Book.Waits(ctx, rules, t); err != nil {
		return nil, err
	}
	for _, obj := range golden.Objects() {
		for _, field := range golden.Fields(obj) {
			if n := t.Fields[obj][field]; n > 0 {
				resp.Fields = append(resp.Fields, &customerv1.FieldChanges{Object: string(obj), Field: field, Records: n})
			}
		}
	}
	for _, c := range t.Samples {
		resp.Changes = append(resp.Changes, &customerv1.RuleChange{
			Id: string(c.ID), Object: string(c.Object), Field: c.Field, Before: c.Before, After: c.After, RuleBefore: c.RuleBefore, RuleAfter: c.RuleAfter,
		})
	}
	return resp, nil
}

// invalidRules says what is wrong with a rule file, one violation per mistake.
func invalidRules(err error) error {
	out := fault.InvalidField("rules", rulebook.ReasonInvalid, "has mistakes")
	out.Reason = rulebook.ReasonInvalid
	var problems survive.Problems
	if !errors.As(err, &problems) {
		out.Message = "the rules are not YAML"
		return out
	}
	out.Message, out.Fields = problems.Error(), nil
	for _, p := range problems {
		out.Fields = append(out.Fields, fault.Field{Path: "rules", Reason: rulebook.ReasonInvalid, Description: survive.Problems{p}.Error()})
	}
	return out
}

func (s *operations) ConfirmRules(ctx context.Context, req *customerv1.ConfirmRulesRequest) (*customerv1.ConfirmRulesResponse, error) {
	if err := s.d.Book.Confirm(ctx, req.GetDigest()); err != nil {
		return nil, err
	}
	active, err := ruleSet(ctx, s.d.Store.Read(), store.RulesActive, false)
	return &customerv1.ConfirmRulesResponse{Active: active}, err
}

func (s *operations) PinField(ctx context.Context, req *customerv1.PinFieldRequest) (*customerv1.PinFieldResponse, error) {
	g, err := find(ctx, s.d.Store.Read(), "", req.GetId())
	if err != nil {
		return nil, err
	}
	hold := golden.HoldUntilChange
	if req.GetHold() == customerv1.PinHold_PIN_HOLD_ALWAYS {
		hold = golden.HoldAlways
	}
	return &customerv1.PinFieldResponse{}, s.d.Steward.Pin(ctx, g.ID, req.GetField(), req.GetValue(), hold)
}

func (s *operations) UnpinField(ctx context.Context, req *customerv1.UnpinFieldRequest) (*customerv1.UnpinFieldResponse, error) {
	g, err := find(ctx, s.d.Store.Read(), "", req.GetId())
	if err != nil {
		return nil, err
	}
	return &customerv1.UnpinFieldResponse{}, s.d.Steward.Unpin(ctx, g.ID, req.GetField())
}

// asked is where a page of questions ends.
type asked struct {
	Micros int64  `json:"t"`
	System string `json:"s"`
	Record string `json:"r"`
	Field  string `json:"f"`
}

func (s *operations) ListQuestions(ctx context.Context, req *customerv1.ListQuestionsRequest) (*customerv1.ListQuestionsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	filter := page.Hash("questions")
	var at asked
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	after := store.Question{Field: at.Field, Ref: golden.Ref{System: at.System, RecordID: at.Record}}
	if at.Micros > 0 {
		after.Asked = time.UnixMicro(at.Micros)
	}
	r := s.d.Store.Read()
	questions, err := r.OpenQuestions(ctx, after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListQuestionsResponse{}
	if len(questions) > size {
		questions = questions[:size]
		last := questions[size-1]
		if resp.NextPageToken, err = page.Encode(filter, asked{last.Asked.UnixMicro(), last.Ref.System, last.Ref.RecordID, last.Field}); err != nil {
			return nil, err
		}
	}
	resp.Questions, err = s.questions(ctx, r, questions)
	return resp, err
}

// questions shows questions with the values they are about.
func (s *operations) questions(ctx context.Context, r store.Reader, questions []store.Question) ([]*customerv1.Question, error) {
	ids := make([]golden.ID, 0, len(questions))
	for _, q := range questions {
		ids = append(ids, q.GoldenID)
	}
	rows, err := r.SourcesOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	of := map[golden.ID][]*store.Source{}
	for _, row := range rows {
		of[row.GoldenID] = append(of[row.GoldenID], row)
	}
	out := make([]*customerv1.Question, 0, len(questions))
	for _, q := range questions {
		m := &customerv1.Question{
			System: q.Ref.System, Object: string(q.Ref.Object), RecordId: q.Ref.RecordID, Field: q.Field, GoldenId: string(q.GoldenID), AskTime: stamp(q.Asked),
		}
		for _, row := range of[q.GoldenID] {
			if row.Ref == q.Ref {
				m.Value = row.Shadow[q.Field]
			}
		}
		for _, d := range fold.Decide(q.Ref.Object, of[q.GoldenID], s.d.Rules()) {
			if d.Field == q.Field {
				m.GoldenValue, m.Rule = d.Value, d.Rule
			}
		}
		out = append(out, m)
	}
	return out, nil
}

func (s *operations) AnswerQuestion(ctx context.Context, req *customerv1.AnswerQuestionRequest) (*customerv1.AnswerQuestionResponse, error) {
	obj := golden.Object(req.GetObject())
	if obj == "" {
		obj = golden.Customer
	}
	ref := golden.Ref{System: req.GetSystem(), Object: obj, RecordID: req.GetRecordId()}
	return &customerv1.AnswerQuestionResponse{}, s.d.Steward.Answer(ctx, ref, req.GetField(), req.GetAccept(), req.GetReason())
}

func (s *operations) MergeRecords(ctx context.Context, req *customerv1.MergeRecordsRequest) (*customerv1.MergeRecordsResponse, error) {
	into, ok := golden.ParseID(req.GetInto())
	from, ok2 := golden.ParseID(req.GetFrom())
	if !ok || !ok2 {
		return nil, fault.New(fault.NotFound, reasonUnknown, "there is no such record")
	}
	return &customerv1.MergeRecordsResponse{}, s.d.Steward.Merge(ctx, into, from)
}

func (s *operations) UnmergeRecord(ctx context.Context, req *customerv1.UnmergeRecordRequest) (*customerv1.UnmergeRecordResponse, error) {
	id, ok := golden.ParseID(req.GetId())
	if !ok {
		return nil, fault.New(fault.NotFound, reasonUnknown, "there is no such record")
	}
	return &customerv1.UnmergeRecordResponse{}, s.d.Steward.Unmerge(ctx, id)
}
