package cli

import (
	"context"
	"fmt"
	"strings"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// reviewUsage is what "match review" takes.
const reviewUsage = "match review [list], show A B, confirm A B…, reject A B…, preview, or status"

// matchReview is where people decide which customers of a running suite are one.
func matchReview(ctx context.Context, a *App, args []string) error {
	verb := "list"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "list":
		return reviewList(ctx, a, args)
	case "show":
		return reviewShow(ctx, a, args)
	case "confirm", "reject":
		return reviewAnswer(ctx, a, verb, args)
	case "preview":
		return reviewPreview(ctx, a, args)
	case "status":
		return reviewStatus(ctx, a, args)
	}
	return usagef("%s; not %q", reviewUsage, verb)
}

// matchQuestions reads open questions down to a probability, the most likely first; most of them, all when zero.
func matchQuestions(ctx context.Context, o customerv1.OperationsServiceClient, kind string, above float64, most int) ([]*customerv1.MatchQuestion, error) {
	var all []*customerv1.MatchQuestion
	for token := ""; ; {
		res, err := o.ListMatchQuestions(ctx, &customerv1.ListMatchQuestionsRequest{PageSize: 500, PageToken: token, Kind: kind})
		if err != nil {
			return nil, err
		}
		for _, q := range res.GetQuestions() {
			if q.GetProbability() < above || (most > 0 && len(all) == most) {
				return all, nil
			}
			all = append(all, q)
		}
		if token = res.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

func reviewList(ctx context.Context, a *App, args []string) error {
	c := a.flags("match review list").withAddr()
	above := c.Float64("above", 0, "only pairs of at least this `probability`")
	most := c.Int("limit", 50, "how many pairs at most; 0 for all")
	kind := c.kind("both")
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		questions, err := matchQuestions(ctx, o, *kind, *above, *most)
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(&customerv1.ListMatchQuestionsResponse{Questions: questions})
		}
		rows := [][]string{{"PROBABILITY", "ONE", "", "THE OTHER", "", "ASKED"}}
		for _, q := range questions {
			rows = append(rows, []string{
				fmt.Sprintf("%.4f", q.GetProbability()), reference(q.GetLeft().GetCustomerId()), named(q.GetLeft()),
				reference(q.GetRight().GetCustomerId()), named(q.GetRight()), ago(q.GetAskTime()),
			})
		}
		return a.table(rows)
	})
}

// reference returns the id of a golden record with its kind.
func reference(id string) string {
	if strings.HasPrefix(id, "p_") {
		return "contact/" + id
	}
	return "customer/" + id
}

// kind is the flag that chooses between customers and contacts.
func (c *common) kind(otherwise string) *string {
	kind := ""
	c.Func("kind", "`customer` or contact; "+otherwise+" when not given", func(s string) error {
		if s != "customer" && s != "contact" {
			return usagef("--kind is customer or contact")
		}
		kind = s
		return nil
	})
	return &kind
}

// plural names the records of a kind.
func plural(kind string) string {
	if kind == "contact" {
		return "contacts"
	}
	return "customers"
}

func named(s *customerv1.MatchSide) string {
	return strings.TrimSuffix(quote(s.GetName())+" "+s.GetPlace(), " ")
}

func reviewShow(ctx context.Context, a *App, args []string) error {
	c := a.flags("match review show").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return usagef("give two customers or two contacts")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		r, err := o.CompareCustomers(ctx, &customerv1.CompareCustomersRequest{LeftId: bare(rest[0]), RightId: bare(rest[1])})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(r)
		}
		rows := [][]string{{"FIELD", "ONE", "THE OTHER"}}
		for _, f := range r.GetFields() {
			rows = append(rows, []string{f.GetField(), quote(f.GetLeft()), quote(f.GetRight())})
		}
		rows = append(rows, []string{"", "", ""}, []string{"COMPARISON", "LEVEL", "BITS"})
		for _, e := range r.GetEvidence() {
			rows = append(rows, []string{e.GetComparison(), or(e.GetLevel(), "-"), fmt.Sprintf("%+.2f", e.GetBits())})
		}
		if err := a.table(rows); err != nil {
			return err
		}
		return a.printf("\n%s\n", verdict(r, strings.Split(reference(bare(rest[0])), "/")[0]))
	})
}

// verdict says how two customers or contacts stand to each other.
func verdict(r *customerv1.CompareCustomersResponse, kind string) string {
	out := fmt.Sprintf("probability %.4f", r.GetProbability())
	if r.GetVeto() != "" {
		out = "never the same by the model (" + r.GetVeto() + ")"
	}
	switch {
	case r.GetVerdict() != "":
		out += fmt.Sprintf("; %s, said %s %s", r.GetVerdict(), or(r.GetVerdictActor(), "somebody"), ago(r.GetVerdictTime()))
		if r.GetVerdictNote() != "" {
			out += ": " + quote(r.GetVerdictNote())
		}
	case r.GetAsked():
		out += "; nobody has said anything yet"
	}
	if r.GetTogether() {
		return out + "; one " + kind + " now"
	}
	return out + "; two " + kind + "s now"
}

// answerSize is how many pairs are answered by one call.
const answerSize = 200

func reviewAnswer(ctx context.Context, a *App, verb string, args []string) error {
	c := a.flags("match review " + verb).withAddr()
	above := c.Float64("above", 0, "answer every open question of at least this `probability`")
	below := c.Float64("below", 0, "answer every open question of less than this `probability`")
	kind := c.kind("both")
	yes := c.Bool("yes", false, "answer many questions without asking for --yes first")
	reason := c.String("reason", "", "`why`; kept")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	many := *above > 0 || *below > 0
	if many == (len(rest) > 0) || len(rest)%2 != 0 {
		return usagef("give pairs of customers, or --above or --below")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		var pairs []*customerv1.MatchAnswer
		for i := 0; i < len(rest); i += 2 {
			pairs = append(pairs, &customerv1.MatchAnswer{LeftId: bare(rest[i]), RightId: bare(rest[i+1])})
		}
		if many {
			questions, err := matchQuestions(ctx, o, *kind, *above, 0)
			if err != nil {
				return err
			}
			for _, q := range questions {
				if *below == 0 || q.GetProbability() < *below {
					pairs = append(pairs, &customerv1.MatchAnswer{LeftId: q.GetLeft().GetCustomerId(), RightId: q.GetRight().GetCustomerId()})
				}
			}
			if !*yes {
				return a.printf("%d pairs; say --yes to %s them all\n", len(pairs), verb)
			}
		}
		return a.answer(ctx, c.output, o, pairs, verb == "confirm", *reason)
	})
}

func (a *App) answer(ctx context.Context, output string, o customerv1.OperationsServiceClient, pairs []*customerv1.MatchAnswer, same bool, reason string) error {
	all := &customerv1.AnswerMatchesResponse{}
	for len(pairs) > 0 {
		n := min(len(pairs), answerSize)
		res, err := o.AnswerMatches(ctx, &customerv1.AnswerMatchesRequest{Pairs: pairs[:n], Same: same, Reason: reason})
		if err != nil {
			return err
		}
		all.Results = append(all.Results, res.GetResults()...)
		pairs = pairs[n:]
	}
	refused := 0
	for _, r := range all.GetResults() {
		if r.GetRefused() != "" {
			refused++
		}
	}
	if output == "json" {
		if err := a.json(all); err != nil {
			return err
		}
	} else {
		for _, r := range all.GetResults() {
			if r.GetRefused() != "" {
				if err := a.printf("refused: %s %s %s\n", reference(r.GetLeftId()), reference(r.GetRightId()), r.GetRefused()); err != nil {
					return err
				}
			}
		}
		if err := a.printf("%d answered\n", len(all.GetResults())-refused); err != nil {
			return err
		}
	}
	if refused > 0 {
		return errSilent
	}
	return nil
}

func reviewPreview(ctx context.Context, a *App, args []string) error {
	c := a.flags("match review preview").withAddr()
	limit := c.Float64("join-from", 0, "`probability` from which they would be joined; that of the model when 0")
	samples := c.Int("samples", 5, "how many of the largest groups are named")
	kind := c.kind("customers")
	if _, err := c.parse(args); err != nil {
		return err
	}
	if *samples < 0 || *samples > 100 || *limit < 0 || *limit >= 1 {
		return usagef("--samples is 0 to 100, --join-from below 1")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		p, err := o.PreviewMatching(ctx, &customerv1.PreviewMatchingRequest{Kind: *kind, JoinFrom: *limit, Samples: int32(*samples)}) //nolint:gosec // checked
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(p)
		}
		err = a.printf("joining from probability %.4f would make %d groups of %d %s, the largest of %d: %d of %d %s would go into others; nothing was changed\n"+
			"%d pairs, of which %d would be held apart; a person would be asked about %d more\n",
			p.GetJoinFrom(), p.GetGroups(), p.GetGroups()+p.GetMerged(), plural(*kind), p.GetLargest(), p.GetMerged(), p.GetCustomers(), plural(*kind), p.GetPairs(), p.GetRefused(), p.GetAsked())
		if err == nil && p.GetWaiting() > 0 {
			err = a.printf("%d %s have changed and are not in this report yet\n", p.GetWaiting(), plural(*kind))
		}
		if err != nil {
			return err
		}
		for _, g := range p.GetSamples() {
			var names []string
			for _, s := range g.GetCustomers() {
				names = append(names, reference(s.GetCustomerId())+" "+named(s))
			}
			if err := a.printf("  %s\n", strings.Join(names, ", ")); err != nil {
				return err
			}
		}
		return nil
	})
}

func reviewStatus(ctx context.Context, a *App, args []string) error {
	c := a.flags("match review status").withAddr()
	kind := c.kind("customers")
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		s, err := o.GetMatching(ctx, &customerv1.GetMatchingRequest{Kind: *kind})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(s)
		}
		return a.printf("mode %s, model %s, asks from %.3f, joins from %.3f\n%d %s can be found, %d wait to be matched\n"+
			"%d questions are open; %d confirmed, %d rejected; %d %s are joined to others\n",
			s.GetMode(), or(s.GetModel(), "-"), s.GetReviewFrom(), s.GetJoinFrom(), s.GetCustomers(), plural(*kind), s.GetWaiting(),
			s.GetAsked(), s.GetConfirmed(), s.GetRejected(), s.GetJoined(), plural(*kind))
	})
}
