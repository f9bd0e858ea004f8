package cli

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

func auditCommand(ctx context.Context, a *App, args []string) error {
	verb, rest := "", args
	if len(args) > 0 {
		verb, rest = args[0], args[1:]
	}
	switch verb {
	case "show":
		return auditShow(ctx, a, rest)
	case "verify":
		return auditVerify(ctx, a, rest)
	case "-h", "--help":
		return a.printf("selfsame audit show [ID]     what happened, by whom\nselfsame audit verify        whether the trail is as it was written\n")
	default:
		return usagef("give show or verify")
	}
}

func auditShow(ctx context.Context, a *App, args []string) error {
	c := a.flags("audit show").withAddr()
	req := &customerv1.ListAuditRequest{PageSize: 1000}
	c.StringVar(&req.Field, "field", "", "only entries about this `field`")
	c.StringVar(&req.System, "system", "", "only entries about this `system`")
	c.StringVar(&req.Kind, "kind", "", "only entries of this `kind`: changed, delivered, discarded …")
	c.StringVar(&req.Actor, "actor", "", "only what this `caller` did")
	c.BoolVar(&req.Operators, "operators", false, "what was done to the service itself")
	c.BoolVar(&req.ShowValues, "show-values", false, "print values and notes; they are personal data")
	since := c.Duration("since", 0, "only the last `duration`")
	limit := c.Int("limit", 1000, "print at most `n` entries")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 1 {
		return usagef("give one id at most: ours, or that of a record of any system")
	}
	if len(rest) == 1 {
		req.Id = bare(rest[0])
	}
	if *since > 0 {
		req.From = timestamppb.New(time.Now().Add(-*since))
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		all := &customerv1.ListAuditResponse{}
		for {
			res, err := o.ListAudit(ctx, req)
			if err != nil {
				return err
			}
			all.Entries = append(all.Entries, res.GetEntries()...)
			all.NextPageToken = res.GetNextPageToken()
			if req.PageToken = res.GetNextPageToken(); req.PageToken == "" || len(all.GetEntries()) >= *limit {
				break
			}
		}
		if len(all.GetEntries()) > *limit {
			all.Entries = all.Entries[:*limit]
		}
		if c.output == "json" {
			return a.json(all)
		}
		return a.auditTable(all)
	})
}

func (a *App) auditTable(all *customerv1.ListAuditResponse) error {
	rows := [][]string{{"POSITION", "TIME", "WHO", "WHAT", "CUSTOMER OR CONTACT", "SYSTEM", "RECORD", "FIELDS", "REASON"}}
	for _, e := range all.GetEntries() {
		rows = append(rows, []string{
			number(e.GetPosition()), e.GetTime().AsTime().Format(time.DateTime), or(e.GetActor(), "selfsame"), e.GetKind(), or(e.GetGoldenId(), "-"),
			or(e.GetSystem(), "-"), or(e.GetRecordId(), "-"), or(strings.Join(e.GetFields(), " "), "-"), or(e.GetReason(), "-"),
		})
		for _, f := range e.GetChanges() {
			rows = append(rows, []string{"", "", "", "", "", "", "", f.GetField(), quote(f.GetBefore()) + " → " + quote(f.GetAfter()) + "  " + f.GetRule()})
		}
		if e.GetNote() != "" {
			rows = append(rows, []string{"", "", "", "", "", "", "", "note", quote(e.GetNote())})
		}
		if e.GetErased() {
			rows = append(rows, []string{"", "", "", "", "", "", "", "", "(values erased)"})
		}
	}
	return a.table(rows)
}

func auditVerify(ctx context.Context, a *App, args []string) error {
	c := a.flags("audit verify").withAddr()
	noted := c.String("noted", "", "`POSITION:HASH` that an earlier run printed and you kept elsewhere")
	if rest, err := c.parse(args); err != nil || len(rest) > 0 {
		if err == nil {
			err = usagef("it takes no arguments")
		}
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		all := &customerv1.VerifyAuditResponse{}
		known := true
		for first, token := true, ""; first || token != ""; first = false {
			res, err := o.VerifyAudit(ctx, &customerv1.VerifyAuditRequest{PageToken: token, Noted: *noted})
			if err != nil {
				return err
			}
			if first {
				known = *noted == "" || res.GetNotedKnown()
			}
			res.Problems = append(all.GetProblems(), res.GetProblems()...)
			all, token = res, res.GetNextPageToken()
		}
		all.NotedKnown = known && *noted != ""
		if c.output == "json" {
			if err := a.json(all); err != nil {
				return err
			}
		} else if err := a.auditReport(all, known); err != nil {
			return err
		}
		if len(all.GetProblems()) > 0 || !known {
			return errSilent
		}
		return nil
	})
}

func (a *App) auditReport(r *customerv1.VerifyAuditResponse, known bool) error {
	for _, p := range r.GetProblems() {
		if err := a.printf("  %s at %d\n", p.GetKind(), p.GetPosition()); err != nil {
			return err
		}
	}
	if !known {
		if err := a.printf("  the noted entry has been trimmed: nobody can say whether it was the same\n"); err != nil {
			return err
		}
	}
	if len(r.GetProblems()) > 0 {
		return a.printf("\nThe audit trail is NOT as it was written: %d problems.\n", len(r.GetProblems()))
	}
	return a.printf("The audit trail is as it was written: %d entries.\nNote this elsewhere, and give it to --noted another time: %s\n", r.GetChecked(), r.GetHead())
}
