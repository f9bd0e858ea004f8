package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// pollReconciliation is how often a comparison is asked for how far it is.
const pollReconciliation = 200 * time.Millisecond

func reconcileCommand(ctx context.Context, a *App, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "show":
			return reconcileShow(ctx, a, args[1:])
		case "ignore":
			return reconcileIgnore(ctx, a, args[1:])
		case "rules":
			return reconcileRules(ctx, a, args[1:])
		}
	}
	c := a.flags("reconcile").withAddr()
	deep := c.Bool("deep", false, "list every record, and look for deliveries that nobody waits for")
	values := c.Bool("values", false, "read every record and compare its values, besides what --deep does")
	repair := c.Bool("repair", false, "take what is found in, as any other change")
	show := c.Bool("show-values", false, "print the values that differ; they are personal data")
	systems, err := c.parse(args)
	if err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		if len(systems) == 0 {
			s, err := o.GetStatus(ctx, &customerv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			for _, t := range s.GetTargets() {
				systems = append(systems, t.GetSystem())
			}
		}
		var runs []*customerv1.Reconciliation
		for _, system := range systems {
			req := &customerv1.StartReconciliationRequest{System: system, Deep: *deep || *values, Values: *values, Repair: *repair}
			run, err := a.compareSystem(ctx, o, req, c.output)
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		return a.reconciliations(ctx, o, c.output, runs, *show)
	})
}

// compareSystem starts a comparison and waits for its end. One that is under way and is not what was asked for is waited for
// first.
func (a *App) compareSystem(ctx context.Context, o customerv1.OperationsServiceClient, req *customerv1.StartReconciliationRequest, output string) (*customerv1.Reconciliation, error) {
	for {
		res, err := o.StartReconciliation(ctx, req)
		if err != nil {
			return nil, err
		}
		run := res.GetReconciliation()
		if res.GetStarted() && req.GetValues() {
			if !run.GetValues() {
				return nil, errors.New("the service is of a release that compares no values")
			}
			if output != "json" {
				if err := a.printf("Reading all of %s takes about %d calls.\n", req.GetSystem(), run.GetReadCalls()); err != nil {
					return nil, err
				}
			}
		}
		for run.GetState() == "QUEUED" || run.GetState() == "RUNNING" {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(pollReconciliation):
			}
			got, err := o.GetReconciliation(ctx, &customerv1.GetReconciliationRequest{Id: run.GetId()})
			if err != nil {
				return nil, err
			}
			run = got.GetReconciliation()
		}
		if res.GetStarted() || (run.GetDeep() == req.GetDeep() && run.GetValues() == req.GetValues() && run.GetRepair() == req.GetRepair()) {
			return run, nil
		}
	}
}

// allFindings returns the findings of some systems.
func allFindings(ctx context.Context, o customerv1.OperationsServiceClient, systems []string, req *customerv1.ListFindingsRequest) ([]*customerv1.Finding, error) {
	var all []*customerv1.Finding
	for {
		res, err := o.ListFindings(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, f := range res.GetFindings() {
			if len(systems) == 0 || slices.Contains(systems, f.GetSystem()) {
				all = append(all, f)
			}
		}
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return all, nil
		}
	}
}

// reconciliations prints how comparisons ended and what they found, and fails when something is open.
func (a *App) reconciliations(ctx context.Context, o customerv1.OperationsServiceClient, output string, runs []*customerv1.Reconciliation, values bool) error {
	var systems []string
	failed := false
	for _, r := range runs {
		systems = append(systems, r.GetSystem())
		failed = failed || r.GetState() != "DONE"
	}
	findings, err := allFindings(ctx, o, systems, &customerv1.ListFindingsRequest{PageSize: 1000, ShowValues: values})
	if err != nil {
		return err
	}
	open := 0
	for _, f := range findings {
		if f.GetState() == "OPEN" || f.GetState() == "PARKED" {
			open++
		}
	}
	if output == "json" {
		for _, r := range runs {
			if err := a.json(r); err != nil {
				return err
			}
		}
		err = a.json(&customerv1.ListFindingsResponse{Findings: findings})
	} else {
		err = a.reconcileTables(runs, findings, open)
	}
	if err == nil && (failed || open > 0) {
		return errSilent
	}
	return err
}

func depth(r *customerv1.Reconciliation) string {
	switch {
	case r.GetValues():
		return "values"
	case r.GetDeep():
		return "deep"
	default:
		return "digests"
	}
}

func (a *App) reconcileTables(runs []*customerv1.Reconciliation, findings []*customerv1.Finding, open int) error {
	rows := [][]string{{"SYSTEM", "STATE", "RECORDS", "CALLS", "READING ALL", "REPAIRED", "REASON"}}
	for _, r := range runs {
		rows = append(rows, []string{
			r.GetSystem(), r.GetState(), number(r.GetCompared()), number(r.GetCalls()), number(r.GetReadCalls()), number(r.GetRepaired()), or(r.GetReason(), "-"),
		})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if err := a.findingTable(findings); err != nil {
		return err
	}
	if open > 0 {
		return a.printf("\n%d differences are open.\n", open)
	}
	return a.printf("\nNo difference is open.\n")
}

func (a *App) findingTable(findings []*customerv1.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	rows := [][]string{{"", "", "", "", "", ""}, {"FINDING", "STATE", "SYSTEM", "OBJECT", "RECORD", "CUSTOMER OR CONTACT", "SINCE", "FIELDS"}}
	for i, f := range findings {
		if i == shownDifferences {
			rows = append(rows, []string{fmt.Sprintf("… and %d more; -o json has all", len(findings)-i)})
			break
		}
		var fields []string
		for _, c := range f.GetChanges() {
			text := c.GetField()
			if c.GetBefore() != "" || c.GetAfter() != "" {
				text += " " + quote(c.GetBefore()) + " → " + quote(c.GetAfter())
			}
			fields = append(fields, text)
		}
		rows = append(rows, []string{
			f.GetKind(), f.GetState(), f.GetSystem(), f.GetObject(), f.GetRecordId(), or(f.GetGoldenId(), "-"), ago(f.GetSince()), or(strings.Join(fields, ", "), "-"),
		})
	}
	return a.table(rows)
}

func reconcileShow(ctx context.Context, a *App, args []string) error {
	c := a.flags("reconcile show").withAddr()
	req := &customerv1.ListFindingsRequest{PageSize: 1000}
	c.StringVar(&req.System, "system", "", "only those of one `system`")
	c.StringVar(&req.Kind, "kind", "", "only those of one `kind`: MISSING_HERE, MISSING_THERE, DIFFERENT, DUPLICATE, UNDELIVERED")
	c.StringVar(&req.State, "in", "", "only those in one `state`: OPEN, IN_FLIGHT, PARKED, IGNORED, REPAIRED")
	c.BoolVar(&req.ShowValues, "show-values", false, "print the values that differ; they are personal data")
	if rest, err := c.parse(args); err != nil || len(rest) > 0 {
		if err == nil {
			err = usagef("it takes no arguments")
		}
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		runs, err := o.ListReconciliations(ctx, &customerv1.ListReconciliationsRequest{System: req.GetSystem()})
		if err != nil {
			return err
		}
		findings, err := allFindings(ctx, o, nil, req)
		if err != nil {
			return err
		}
		if c.output == "json" {
			if err := a.json(runs); err != nil {
				return err
			}
			return a.json(&customerv1.ListFindingsResponse{Findings: findings})
		}
		rows := [][]string{{"COMPARISON", "SYSTEM", "DEPTH", "STATE", "BEGAN", "RECORDS", "CALLS", "READING ALL", "REPAIRED", "REASON"}}
		for _, r := range runs.GetReconciliations() {
			rows = append(rows, []string{
				r.GetId(), r.GetSystem(), depth(r), r.GetState(), ago(r.GetStartTime()), number(r.GetCompared()), number(r.GetCalls()), number(r.GetReadCalls()),
				number(r.GetRepaired()), or(r.GetReason(), "-"),
			})
		}
		if err := a.table(rows); err != nil {
			return err
		}
		return a.findingTable(findings)
	})
}

func reconcileIgnore(ctx context.Context, a *App, args []string) error {
	c := a.flags("reconcile ignore").withAddr()
	req := &customerv1.CreateIgnoreRuleRequest{Id: "i_" + strings.ToLower(rand.Text())}
	c.StringVar(&req.Object, "object", "", "customer or contact; both when not given")
	c.StringVar(&req.RecordId, "record", "", "a record of the system, or a customer or contact; all when not given")
	c.StringVar(&req.Field, "field", "", "a `field`; all when not given")
	c.StringVar(&req.Reason, "reason", "", "why; kept")
	period := c.Duration("for", 0, "for how `long`, at most a year")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || req.GetReason() == "" || *period <= 0 {
		return usagef("give a system, --for and --reason")
	}
	req.System, req.ExpireTime = rest[0], timestamppb.New(time.Now().Add(*period))
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		res, err := o.CreateIgnoreRule(ctx, req)
		if err != nil {
			return err
		}
		return a.printf("%s until %s\n", res.GetRule().GetId(), res.GetRule().GetExpireTime().AsTime().Local().Format(time.DateTime))
	})
}

func reconcileRules(ctx context.Context, a *App, args []string) error {
	c := a.flags("reconcile rules").withAddr()
	end := c.String("end", "", "end the rule with this `id`")
	if rest, err := c.parse(args); err != nil || len(rest) > 0 {
		if err == nil {
			err = usagef("it takes no arguments")
		}
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		if *end != "" {
			if _, err := o.DeleteIgnoreRule(ctx, &customerv1.DeleteIgnoreRuleRequest{Id: *end}); err != nil {
				return err
			}
		}
		res, err := o.ListIgnoreRules(ctx, &customerv1.ListIgnoreRulesRequest{})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(res)
		}
		rows := [][]string{{"RULE", "SYSTEM", "OBJECT", "RECORD", "FIELD", "UNTIL", "WHO", "WHY"}}
		for _, r := range res.GetRules() {
			rows = append(rows, []string{
				r.GetId(), r.GetSystem(), or(r.GetObject(), "any"), or(r.GetRecordId(), "any"), or(r.GetField(), "any"),
				r.GetExpireTime().AsTime().Local().Format(time.DateTime), or(r.GetActor(), "-"), r.GetReason(),
			})
		}
		return a.table(rows)
	})
}
