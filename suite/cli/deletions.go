package cli

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// deletionsCommand looks at deletions that wait for a person, and has them carried out: deletions list [SYSTEM], confirm SYSTEM.
func deletionsCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("deletions").withAddr()
	until := c.String("until", "", "confirm those that were held at or before this `time`, as list shows it")
	reason := c.String("reason", "", "why they are right; kept")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	verb := "list"
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	switch {
	case verb == "list" && len(rest) <= 1:
		system := ""
		if len(rest) == 1 {
			system = rest[0]
		}
		return c.operations(ctx, func(o customerv1.OperationsServiceClient) error { return a.listDeletions(ctx, o, c, system) })
	case verb == "list":
		return usagef("give one system, or none")
	case verb != "confirm":
		return usagef("%q is none of list, confirm", verb)
	case len(rest) != 1 || *until == "" || *reason == "":
		return usagef("confirm needs a system, --until and --reason; list shows what it would confirm")
	}
	at, err := time.Parse(time.RFC3339Nano, *until)
	if err != nil {
		return usagef("--until: %q is not a time as list shows it", *until)
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		got, err := o.ConfirmDeletions(ctx, &customerv1.ConfirmDeletionsRequest{System: rest[0], HeldUntil: timestamppb.New(at), Reason: *reason})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(got)
		}
		return a.printf("%d deletions are carried out in %s\n", got.GetConfirmed(), rest[0])
	})
}

func (a *App) listDeletions(ctx context.Context, o customerv1.OperationsServiceClient, c *common, system string) error {
	out := &customerv1.ListHeldDeletionsResponse{}
	err := pages(func(token string) (*customerv1.ListHeldDeletionsResponse, error) {
		return o.ListHeldDeletions(ctx, &customerv1.ListHeldDeletionsRequest{System: system, PageSize: 1000, PageToken: token})
	}, func(got *customerv1.ListHeldDeletionsResponse) {
		out.Deletions = append(out.Deletions, got.GetDeletions()...)
	})
	if err != nil {
		return err
	}
	if c.output == "json" {
		return a.json(out)
	}
	if len(out.GetDeletions()) == 0 {
		return a.printf("no deletions wait\n")
	}
	var systems []string
	count, newest := map[string]int64{}, map[string]time.Time{}
	rows := [][]string{{"IN", "RECORD", "WAITS SINCE"}}
	for _, d := range out.GetDeletions() {
		in := d.GetSystem()
		if count[in] == 0 {
			systems = append(systems, in)
		}
		count[in]++
		if at := d.GetHoldTime().AsTime(); at.After(newest[in]) {
			newest[in] = at
		}
		rows = append(rows, []string{in, d.GetObject() + "/" + d.GetGoldenId(), ago(d.GetHoldTime())})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	for _, in := range systems {
		if err := a.printf("\n%d deletions wait in %s. If they are right:\n  selfsame deletions confirm %s --until %s --reason \"…\"\n",
			count[in], in, in, newest[in].Format(time.RFC3339Nano)); err != nil {
			return err
		}
	}
	return nil
}

// heldLines says in which systems deletions wait for a person.
func (a *App) heldLines(targets []*customerv1.TargetStatus) error {
	for _, t := range targets {
		if n := t.GetHeldDeletions(); n > 0 {
			if err := a.printf("\nHELD: %d deletions in %s wait for a person; selfsame deletions list %s\n", n, t.GetSystem(), t.GetSystem()); err != nil {
				return err
			}
		}
	}
	return nil
}
