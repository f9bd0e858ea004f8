package cli

import (
	"context"

	"google.golang.org/protobuf/proto"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

const shadowHelp = `selfsame shadow start SYSTEM --reason WHY   note what would be written, and write nothing
selfsame shadow report SYSTEM               how that compares with what the system holds, by field
selfsame shadow list SYSTEM                 what would be written, one by one
selfsame shadow stop SYSTEM                 write again, first of all what differs
`

func shadowCommand(ctx context.Context, a *App, args []string) error {
	verb, rest := "", args
	if len(args) > 0 {
		verb, rest = args[0], args[1:]
	}
	switch verb {
	case "start":
		return shadowSet(ctx, a, true, rest)
	case "stop":
		return shadowSet(ctx, a, false, rest)
	case "report":
		return shadowReport(ctx, a, rest)
	case "list":
		return shadowList(ctx, a, rest)
	case "-h", "--help":
		return a.printf("%s", shadowHelp)
	default:
		return usagef("give start, report, list or stop")
	}
}

func shadowSet(ctx context.Context, a *App, on bool, args []string) error {
	c := a.flags("shadow").withAddr()
	reason := c.String("reason", "", "why; kept")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || (on && *reason == "") {
		return usagef("give one system, and --reason to start")
	}
	return a.setFlow(ctx, c, "deliver", &customerv1.SetFlowRequest{System: rest[0], Shadow: proto.Bool(on), Reason: *reason})
}

func shadowReport(ctx context.Context, a *App, args []string) error {
	c := a.flags("shadow report").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one system")
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		res, err := o.GetShadow(ctx, &customerv1.GetShadowRequest{System: rest[0]})
		if err != nil {
			return err
		}
		if c.output == "json" {
			return a.json(res)
		}
		if !res.GetShadow() {
			return a.printf("%s is written to: it is not in shadow mode.\n", rest[0])
		}
		if err := a.printf("%s has been in shadow mode for %s; %d records would have been written.\n", rest[0], ago(res.GetSince()), res.GetRecords()); err != nil {
			return err
		}
		if len(res.GetFields()) == 0 {
			return nil
		}
		rows := [][]string{{"OBJECT", "FIELD", "MATCHED", "WAITING", "DIFFERENT"}}
		for _, f := range res.GetFields() {
			rows = append(rows, []string{f.GetObject(), or(f.GetField(), "(record)"), number(f.GetMatched()), number(f.GetWaiting()), number(f.GetDifferent())})
		}
		return a.table(rows)
	})
}

func shadowList(ctx context.Context, a *App, args []string) error {
	c := a.flags("shadow list").withAddr()
	req := &customerv1.ListShadowWritesRequest{PageSize: 500}
	c.StringVar(&req.State, "only", "", "only `MATCHED`, WAITING or DIFFERENT")
	c.BoolVar(&req.Values, "show-values", false, "print values; they are personal data")
	limit := c.Int("limit", 500, "print at most `n`")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one system")
	}
	req.System = rest[0]
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		all := &customerv1.ListShadowWritesResponse{}
		for {
			res, err := o.ListShadowWrites(ctx, req)
			if err != nil {
				return err
			}
			all.Writes = append(all.Writes, res.GetWrites()...)
			if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" || len(all.GetWrites()) >= *limit {
				break
			}
		}
		all.Writes = all.GetWrites()[:min(*limit, len(all.GetWrites()))]
		if c.output == "json" {
			return a.json(all)
		}
		rows := [][]string{{"RECORD", "IN THE SYSTEM", "WOULD", "FIELD", "STATE", "FOR", "BEFORE", "INTENDED", "HOLDS"}}
		for _, w := range all.GetWrites() {
			row := []string{w.GetObject() + "/" + w.GetGoldenId(), or(w.GetRecordId(), "-"), w.GetKind(), or(w.GetField(), "-"), w.GetState(), ago(w.GetSince()), "-", "-", "-"}
			if req.GetValues() {
				row[6], row[7], row[8] = quote(w.GetBefore()), quote(w.GetIntended()), quote(w.GetHolds())
			}
			rows = append(rows, row)
		}
		return a.table(rows)
	})
}
