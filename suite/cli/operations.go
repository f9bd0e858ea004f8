package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite/remote"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

// ago tells when something was, in words short enough for a table.
func ago(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	d := time.Since(t.AsTime())
	if d < time.Second {
		return "now"
	}
	return d.Truncate(time.Second).String() + " ago"
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func status(ctx context.Context, a *App, args []string) error {
	c := a.flags("status").withAddr()
	if _, err := c.parse(args); err != nil {
		return err
	}
	var st remote.State
	if c.addr == "" {
		var err error
		if st, err = remote.Load(c.state); err != nil {
			return err
		}
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		s, err := o.GetStatus(ctx, &customerv1.GetStatusRequest{})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(s)
		}
		if st.Instance != "" {
			if err := a.printf("%s\n", block(st)); err != nil {
				return err
			}
		}
		rows := [][]string{{"FEED", "STATE", "SCANNED", "LAST MESSAGE", "LAST CHANGE", "WAITS UNTIL", "REASON"}}
		for _, f := range s.GetFeeds() {
			scanned := number(f.GetScannedRecords())
			if !f.GetScanned() {
				scanned += " so far"
			}
			rows = append(rows, []string{f.GetSystem(), f.GetState(), scanned, ago(f.GetLastMessageTime()), ago(f.GetLastCommitTime()), clock(f.GetResumeTime()), or(f.GetReason(), "-")})
		}
		if err := a.table(rows); err != nil {
			return err
		}
		rows = [][]string{{"", "", "", "", "", "", ""}, {"TARGET", "PENDING", "BULK", "RETRYING", "OLDEST", "URGENT", "DEAD LETTERS", "WRITTEN", "CALLS", "WAITS UNTIL", "REASON"}}
		for _, t := range s.GetTargets() {
			rows = append(rows, []string{
				t.GetSystem(), number(t.GetPending()), number(t.GetBulkPending()), number(t.GetRetrying()),
				age(t.GetOldestPendingMs()), age(t.GetOldestUrgentPendingMs()),
				number(t.GetDeadLetters()), number(t.GetRecordsWritten()), number(t.GetCalls()), clock(t.GetResumeTime()), or(t.GetReason(), "-"),
			})
		}
		if err := a.table(rows); err != nil {
			return err
		}
		if err := a.heldLines(s.GetTargets()); err != nil {
			return err
		}
		if err := a.flowTable(s.GetFlows()); err != nil {
			return err
		}
		if err := a.printf("\n%d customers, %d contacts, %d open questions\n", s.GetCustomers(), s.GetContacts(), s.GetRules().GetOpenQuestions()); err != nil {
			return err
		}
		return a.rulesState(s.GetRules().GetActive(), s.GetRules().GetWaiting(), s.GetRules().GetProblems())
	})
}

func age(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

// bare removes the kind before an id: "customer/c_1" and "c_1" are the same.
func bare(id string) string {
	if _, after, ok := strings.Cut(id, "/"); ok {
		return after
	}
	return id
}

func quote(s string) string { return strconv.Quote(s) }

func claimant(c *customerv1.Claim) string {
	if c == nil {
		return "-"
	}
	return c.GetSystem() + "/" + c.GetRecordId()
}

func when(c *customerv1.Claim) string {
	if c.GetEventTime() == nil {
		return "-"
	}
	return c.GetEventTime().AsTime().Format(time.RFC3339)
}

func events(ctx context.Context, a *App, args []string) error {
	c := a.flags("events").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one id")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		all := &customerv1.ListEventsResponse{}
		err := pages(func(token string) (*customerv1.ListEventsResponse, error) {
			return o.ListEvents(ctx, &customerv1.ListEventsRequest{Id: bare(rest[0]), PageSize: 1000, PageToken: token})
		}, func(res *customerv1.ListEventsResponse) { all.Events = append(all.Events, res.GetEvents()...) })
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(all)
		}
		rows := [][]string{{"TIME", "WHAT", "SYSTEM", "RECORD", "FIELDS", "REASON", "CHANGE"}}
		for _, e := range all.GetEvents() {
			rows = append(rows, []string{
				e.GetTime().AsTime().Format("15:04:05.000"), e.GetKind(), or(e.GetSystem(), "-"), or(e.GetRecordId(), "-"),
				or(strings.Join(e.GetFields(), " "), "-"), or(e.GetReason(), "-"), or(e.GetChangeId(), "-"),
			})
		}
		return a.table(rows)
	})
}

func ledger(ctx context.Context, a *App, args []string) error {
	c := a.flags("ledger").withAddr()
	if _, err := c.parse(args); err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		l, err := o.GetLedger(ctx, &customerv1.GetLedgerRequest{})
		if err != nil {
			return err
		}
		if c.output == "json" {
			if err := a.json(l); err != nil || l.GetBalanced() {
				return err
			}
			return errSilent
		}
		rows := [][]string{{"SYSTEM", "RECEIVED", "= APPLIED", "+ SUPERSEDED", "+ UNCHANGED", "+ RETRYING", "+ PARKED", "+ REFUSED", "(ECHOES)", "(DUPLICATES)"}}
		for _, x := range l.GetLines() {
			row := []string{x.GetSystem()}
			for _, n := range []int64{
				x.GetReceived(), x.GetApplied(), x.GetSuperseded(), x.GetUnchanged(), x.GetRetrying(), x.GetParked(), x.GetRefused(), x.GetEchoes(), x.GetDuplicates(),
			} {
				row = append(row, number(n))
			}
			rows = append(rows, row)
		}
		if err := a.table(rows); err != nil {
			return err
		}
		rows = [][]string{{"", "", "", "", "", ""}, {"TARGET", "MARKED", "= DELIVERED", "+ UNNEEDED", "+ PARKED", "+ PENDING", "+ SHADOWED", "(COALESCED)"}}
		for _, x := range l.GetDeliveries() {
			row := []string{x.GetSystem()}
			for _, n := range []int64{x.GetMarked(), x.GetDelivered(), x.GetUnneeded(), x.GetParked(), x.GetPending(), x.GetShadowed(), x.GetCoalesced()} {
				row = append(row, number(n))
			}
			rows = append(rows, row)
		}
		if err := a.table(rows); err != nil {
			return err
		}
		if !l.GetBalanced() {
			if err := a.printf("\nThe ledger does NOT balance: changes or deliveries are unaccounted for.\n"); err != nil {
				return err
			}
			return errSilent
		}
		return a.printf("\nThe ledger balances: every change and every delivery is in exactly one state.\n")
	})
}

func deadLetters(ctx context.Context, a *App, args []string) error {
	f := a.letterFlags()
	settled := f.Bool("all", false, "list settled ones too")
	rest, err := f.parse(args)
	if err != nil {
		return err
	}
	verb := "list"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	verbs := []string{"list", "preview", "redrive", "retry", "discard"}
	if !slices.Contains(verbs, verb) {
		return usagef("%q is none of %s", verb, strings.Join(verbs, ", "))
	}
	mode, err := redriveMode(f.mode)
	if err != nil {
		return err
	}
	return f.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		switch verb {
		case "preview":
			return a.previewLetters(ctx, o, f)
		case "redrive":
			if len(rest) != 1 {
				return usagef("give the selection that preview has printed")
			}
			return a.redriveLetters(ctx, o, rest[0], mode)
		case "retry":
			if len(rest) == 0 && f.preview.GetSystem() == "" {
				return usagef("give ids, or --system for all open ones of a system")
			}
			res, err := o.RetryDeadLetters(ctx, &customerv1.RetryDeadLettersRequest{Ids: rest, System: f.preview.GetSystem(), Mode: mode})
			if err != nil {
				return err
			}
			return a.printf("%d tried again\n", res.GetRetried())
		case "discard":
			reason := f.preview.GetReason()
			if len(rest) != 1 || reason == "" {
				return usagef("give one id or selection, and --reason")
			}
			if strings.HasPrefix(rest[0], "s_") {
				return a.discardLetters(ctx, o, rest[0], reason)
			}
			res, err := o.DiscardDeadLetter(ctx, &customerv1.DiscardDeadLetterRequest{Id: rest[0], Reason: reason})
			if err != nil {
				return err
			}
			return a.printf("%s %s\n", res.GetDeadLetter().GetId(), res.GetDeadLetter().GetState())
		}
		return a.listDeadLetters(ctx, o, f.output, f.preview.GetSystem(), *settled)
	})
}

func (a *App) listDeadLetters(ctx context.Context, o customerv1.OperationsServiceClient, output, system string, settled bool) error {
	all := &customerv1.ListDeadLettersResponse{}
	err := pages(func(token string) (*customerv1.ListDeadLettersResponse, error) {
		return o.ListDeadLetters(ctx, &customerv1.ListDeadLettersRequest{PageSize: 500, PageToken: token, System: system, IncludeSettled: settled})
	}, func(res *customerv1.ListDeadLettersResponse) {
		all.DeadLetters = append(all.DeadLetters, res.GetDeadLetters()...)
	})
	if err != nil {
		return err
	}
	if output == "json" {
		return a.json(all)
	}
	if len(all.GetDeadLetters()) == 0 {
		return a.printf("no dead letters\n")
	}
	rows := [][]string{{"ID", "STATE", "DIRECTION", "SYSTEM", "CUSTOMER OR CONTACT", "REASON", "FIELD", "TRIES", "PARKED", "MESSAGE"}}
	for _, d := range all.GetDeadLetters() {
		rows = append(rows, []string{
			d.GetId(), d.GetState(), d.GetDirection(), d.GetSystem(), or(d.GetGoldenId(), d.GetObject()+" "+d.GetRecordId()), d.GetReason(),
			or(d.GetField(), "-"), fmt.Sprint(d.GetAttempts()), ago(d.GetParkTime()), d.GetMessage(),
		})
	}
	return a.table(rows)
}

func resync(ctx context.Context, a *App, args []string) error {
	c := a.flags("resync").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one system, for example salesforce or erp")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		res, err := o.Resync(ctx, &customerv1.ResyncRequest{System: rest[0]})
		if err != nil {
			return err
		}
		if res.GetStarted() {
			return a.printf("%s is being looked at again; see: selfsame status\n", rest[0])
		}
		return a.printf("a resync of %s was under way already\n", rest[0])
	})
}
