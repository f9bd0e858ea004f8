package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/rules"
)

func rulesCommand(ctx context.Context, a *App, args []string) error {
	verbs := map[string]func(context.Context, *App, []string) error{
		"show": rulesShow, "check": rulesCheck, "schema": rulesSchema, "default": rulesDefault, "try": rulesTry, "confirm": rulesConfirm,
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return rulesShow(ctx, a, args)
	}
	verb := verbs[args[0]]
	if verb == nil {
		return usagef("rules show, check FILE, schema, default, try --rules FILE, or confirm DIGEST; not %q", args[0])
	}
	return verb(ctx, a, args[1:])
}

// readFile reads a file, standard input for "-".
func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name) //nolint:gosec // the user names the file
}

// rulesCheck needs no running service.
func rulesCheck(_ context.Context, a *App, args []string) error {
	c := a.flags("rules check")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one rule file, or - for standard input")
	}
	text, err := readFile(rest[0])
	if err != nil {
		return err
	}
	summary, problems := rules.Check(text)
	if c.output == "json" {
		if problems == nil {
			problems = []rules.Problem{}
		}
		err = a.json(map[string]any{"file": rest[0], "version": summary.Version, "digest": summary.Digest, "problems": problems})
	} else {
		for _, p := range problems {
			// FILE:LINE: is what editors jump to.
			place := rest[0]
			if p.Line > 0 {
				place = fmt.Sprintf("%s:%d", place, p.Line)
			}
			if p.Path != "" {
				place += ": " + p.Path
			}
			if err := a.printf("%s: %s\n", place, p.Text); err != nil {
				return err
			}
		}
		if len(problems) == 0 {
			err = a.printf("%s is right: version %d, digest %s\n", rest[0], summary.Version, summary.Digest)
		}
	}
	if err == nil && len(problems) > 0 {
		err = errSilent
	}
	return err
}

func rulesSchema(_ context.Context, a *App, _ []string) error { return a.printf("%s", rules.Schema()) }

func rulesDefault(_ context.Context, a *App, _ []string) error {
	return a.printf("%s", rules.Default())
}

func rulesShow(ctx context.Context, a *App, args []string) error {
	c := a.flags("rules show").withAddr()
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		r, err := o.GetRules(ctx, &customerv1.GetRulesRequest{})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(r)
		}
		if err := a.rulesState(r.GetActive(), r.GetWaiting(), r.GetProblems()); err != nil {
			return err
		}
		return a.printf("\n%s", r.GetActive().GetContent())
	})
}

// rulesState says which rules are in force, which wait, and what is wrong with the file.
func (a *App) rulesState(active, waiting *customerv1.RuleSet, problems []string) error {
	state := "applied to every record"
	if !active.GetApplied() {
		state = "being applied"
	}
	if err := a.printf("rules version %d, digest %s, %s\n", active.GetVersion(), active.GetDigest(), state); err != nil {
		return err
	}
	if waiting != nil {
		if err := a.printf("WAITING: version %d changes %d of %d records (%s); selfsame rules confirm %s\n",
			waiting.GetVersion(), waiting.GetTouched(), waiting.GetRecords(), waiting.GetReason(), waiting.GetDigest()); err != nil {
			return err
		}
	}
	for _, p := range problems {
		if err := a.printf("RULE FILE: %s\n", p); err != nil {
			return err
		}
	}
	return nil
}

func rulesTry(ctx context.Context, a *App, args []string) error {
	c := a.flags("rules try").withAddr()
	file := c.String("rules", "", "rule `file` to be tried, - for standard input")
	samples := c.Int("samples", 20, "how many changes are shown one by one")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if *file == "" && len(rest) == 1 {
		*file = rest[0]
	}
	if *file == "" || *samples < 0 || *samples > 1000 {
		return usagef("give --rules FILE, and at most 1000 --samples")
	}
	text, err := readFile(*file)
	if err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		t, err := o.TryRules(ctx, &customerv1.TryRulesRequest{Rules: string(text), Samples: int32(*samples)}) //nolint:gosec // checked
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(t)
		}
		return a.trial(t)
	})
}

func (a *App) trial(t *customerv1.TryRulesResponse) error {
	if err := a.printf("version %d would change %d of %d records and have other things written of %d; nothing was changed\n",
		t.GetVersion(), t.GetChanged(), t.GetRecords(), t.GetWritten()); err != nil {
		return err
	}
	if t.GetReason() != "" {
		if err := a.printf("it would have to be confirmed: %s\n", t.GetReason()); err != nil {
			return err
		}
	}
	if len(t.GetFields()) > 0 {
		rows := [][]string{{"", "", ""}, {"FIELD", "RECORDS", ""}}
		for _, f := range t.GetFields() {
			rows = append(rows, []string{f.GetObject() + " " + f.GetField(), number(f.GetRecords()), ""})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	if len(t.GetChanges()) == 0 {
		return nil
	}
	rows := [][]string{{"", "", "", "", "", ""}, {"RECORD", "FIELD", "NOW", "BY", "THEN", "BY"}}
	for _, x := range t.GetChanges() {
		rows = append(rows, []string{
			x.GetObject() + "/" + x.GetId(), or(x.GetField(), "-"), quote(x.GetBefore()), or(x.GetRuleBefore(), "-"), quote(x.GetAfter()), or(x.GetRuleAfter(), "-"),
		})
	}
	return a.table(rows)
}

func rulesConfirm(ctx context.Context, a *App, args []string) error {
	c := a.flags("rules confirm").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 1 {
		return usagef("give one digest, or none for the rules that wait")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		digest := strings.Join(rest, "")
		if digest == "" {
			r, err := o.GetRules(ctx, &customerv1.GetRulesRequest{OmitContent: true})
			if err != nil {
				return err
			}
			if digest = r.GetWaiting().GetDigest(); digest == "" {
				return a.printf("no rules wait\n")
			}
		}
		res, err := o.ConfirmRules(ctx, &customerv1.ConfirmRulesRequest{Digest: digest})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(res)
		}
		return a.rulesState(res.GetActive(), nil, nil)
	})
}

func pin(ctx context.Context, a *App, args []string) error {
	c := a.flags("pin").withAddr()
	always := c.Bool("always", false, "hold until it is taken away, not only until the rules choose something else")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 3 {
		return usagef("give customer/ID or contact/ID, a field and a value")
	}
	hold := customerv1.PinHold_PIN_HOLD_UNTIL_CHANGE
	if *always {
		hold = customerv1.PinHold_PIN_HOLD_ALWAYS
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		_, err := o.PinField(ctx, &customerv1.PinFieldRequest{Id: bare(rest[0]), Field: rest[1], Value: rest[2], Hold: hold})
		return err
	})
}

func unpin(ctx context.Context, a *App, args []string) error {
	c := a.flags("unpin").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return usagef("give customer/ID or contact/ID and a field")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		_, err := o.UnpinField(ctx, &customerv1.UnpinFieldRequest{Id: bare(rest[0]), Field: rest[1]})
		return err
	})
}

func mergeCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("merge").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return usagef("give the record that stays and the one that goes into it")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		_, err := o.MergeRecords(ctx, &customerv1.MergeRecordsRequest{Into: bare(rest[0]), From: bare(rest[1])})
		return err
	})
}

func unmergeCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("unmerge").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give the record that was merged into another one")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		_, err := o.UnmergeRecord(ctx, &customerv1.UnmergeRecordRequest{Id: bare(rest[0])})
		return err
	})
}

func questionsCommand(ctx context.Context, a *App, args []string) error {
	verb := "list"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "list":
		return questionsList(ctx, a, args)
	case "accept", "reject":
		return questionsAnswer(ctx, a, verb, args)
	}
	return usagef("questions list, accept SYSTEM RECORD FIELD, or reject SYSTEM RECORD FIELD; not %q", verb)
}

func questionsList(ctx context.Context, a *App, args []string) error {
	c := a.flags("questions list").withAddr()
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		all := &customerv1.ListQuestionsResponse{}
		err := pages(func(token string) (*customerv1.ListQuestionsResponse, error) {
			return o.ListQuestions(ctx, &customerv1.ListQuestionsRequest{PageSize: 500, PageToken: token})
		}, func(res *customerv1.ListQuestionsResponse) {
			all.Questions = append(all.Questions, res.GetQuestions()...)
		})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(all)
		}
		rows := [][]string{{"SYSTEM", "RECORD", "FIELD", "THERE", "GOLDEN", "BY", "OF", "ASKED"}}
		for _, q := range all.GetQuestions() {
			rows = append(rows, []string{
				q.GetSystem(), q.GetRecordId(), q.GetField(), quote(q.GetValue()), quote(q.GetGoldenValue()), q.GetRule(),
				q.GetObject() + "/" + q.GetGoldenId(), ago(q.GetAskTime()),
			})
		}
		return a.table(rows)
	})
}

func questionsAnswer(ctx context.Context, a *App, verb string, args []string) error {
	c := a.flags("questions " + verb).withAddr()
	object := c.String("object", "customer", "customer or contact")
	reason := c.String("reason", "", "`why`; kept")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 3 {
		return usagef("give system, record and field")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		_, err := o.AnswerQuestion(ctx, &customerv1.AnswerQuestionRequest{
			System: rest[0], Object: *object, RecordId: rest[1], Field: rest[2], Accept: verb == "accept", Reason: *reason,
		})
		return err
	})
}
