package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// reviewer is a service with two open questions.
type reviewer struct {
	customerv1.UnimplementedOperationsServiceServer
	answers []*customerv1.AnswerMatchesRequest
}

func (r *reviewer) ListMatchQuestions(_ context.Context, req *customerv1.ListMatchQuestionsRequest) (*customerv1.ListMatchQuestionsResponse, error) {
	side := func(id string) *customerv1.MatchSide {
		return &customerv1.MatchSide{CustomerId: id, Name: "Name " + id}
	}
	if req.GetPageToken() == "" {
		return &customerv1.ListMatchQuestionsResponse{
			Questions: []*customerv1.MatchQuestion{{Left: side("c_1"), Right: side("c_2"), Probability: 0.99}}, NextPageToken: "more",
		}, nil
	}
	return &customerv1.ListMatchQuestionsResponse{Questions: []*customerv1.MatchQuestion{{Left: side("c_3"), Right: side("c_4"), Probability: 0.6}}}, nil
}

func (r *reviewer) AnswerMatches(_ context.Context, req *customerv1.AnswerMatchesRequest) (*customerv1.AnswerMatchesResponse, error) {
	r.answers = append(r.answers, req)
	out := &customerv1.AnswerMatchesResponse{}
	for _, p := range req.GetPairs() {
		result := &customerv1.MatchResult{LeftId: p.GetLeftId(), RightId: p.GetRightId()}
		if p.GetLeftId() == "c_9" {
			result.Refused = "MATCH_CONTRADICTS"
		}
		out.Results = append(out.Results, result)
	}
	return out, nil
}

func TestMatchReview(t *testing.T) {
	t.Parallel()
	review := func(t *testing.T, r *reviewer, args ...string) (int, string) {
		t.Helper()
		code, out, problems := run(t, append([]string{"match", "review", args[0], "--addr", serveOperations(t, r)}, args[1:]...)...)
		return code, out + problems
	}
	t.Run("lists the questions, all pages of them, the most likely first", func(t *testing.T) {
		t.Parallel()
		code, out := review(t, &reviewer{}, "list")
		require.Zero(t, code, out)
		require.Regexp(t, `(?s)0\.9900 +customer/c_1 +"Name c_1" +customer/c_2 .*0\.6000`, out)
		_, out = review(t, &reviewer{}, "list", "--above", "0.9")
		require.NotContains(t, out, "c_3")
	})
	t.Run("answers many questions only when told so twice", func(t *testing.T) {
		t.Parallel()
		r := &reviewer{}
		code, out := review(t, r, "confirm", "--above", "0.9")
		require.Zero(t, code, out)
		require.Contains(t, out, "1 pairs; say --yes")
		require.Empty(t, r.answers)
		code, out = review(t, r, "confirm", "--above", "0.9", "--yes", "--reason", "seen them")
		require.Zero(t, code, out)
		require.Len(t, r.answers, 1)
		require.True(t, r.answers[0].GetSame())
		require.Equal(t, "seen them", r.answers[0].GetReason())
		require.Len(t, r.answers[0].GetPairs(), 1)
	})
	t.Run("says which answers were refused, and fails", func(t *testing.T) {
		t.Parallel()
		r := &reviewer{}
		code, out := review(t, r, "reject", "customer/c_9", "c_8", "c_1", "c_2")
		require.NotZero(t, code)
		require.Contains(t, out, "refused: customer/c_9 customer/c_8 MATCH_CONTRADICTS")
		require.Contains(t, out, "1 answered")
		require.False(t, r.answers[0].GetSame())
	})
	t.Run("wants pairs", func(t *testing.T) {
		t.Parallel()
		for _, args := range [][]string{{"confirm"}, {"confirm", "c_1"}, {"reject", "c_1", "c_2", "--below", "0.5"}, {"forget"}} {
			code, _ := review(t, &reviewer{}, args...)
			require.NotZero(t, code, args)
		}
	})
}
