package cli

import (
	"context"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// setFlow asks for the same in the directions named.
func (a *App) setFlow(ctx context.Context, c *common, direction string, req *customerv1.SetFlowRequest) error {
	directions := []string{direction}
	if direction == "both" {
		directions = []string{"intake", "deliver"}
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		var flows []*customerv1.Flow
		for _, d := range directions {
			req.Direction = d
			res, err := o.SetFlow(ctx, req)
			if err != nil {
				return err
			}
			flows = append(flows, res.GetFlow())
		}
		if c.output == "json" {
			return a.json(&customerv1.GetStatusResponse{Flows: flows})
		}
		return a.flowTable(flows)
	})
}

// flowTable prints what is paused or slowed down.
func (a *App) flowTable(flows []*customerv1.Flow) error {
	if len(flows) == 0 {
		return nil
	}
	rows := [][]string{{"", "", "", "", "", ""}, {"FLOW", "DIRECTION", "STATE", "PER MINUTE", "SINCE", "WHO", "WHY"}}
	for _, f := range flows {
		state, rate := "running", "-"
		if f.GetShadow() {
			state = "SHADOW"
		}
		if f.GetPaused() {
			state = "PAUSED"
		}
		if f.GetPerMinute() > 0 {
			rate = number(f.GetPerMinute())
		}
		rows = append(rows, []string{f.GetSystem(), f.GetDirection(), state, rate, ago(f.GetSince()), or(f.GetActor(), "-"), or(f.GetReason(), "-")})
	}
	return a.table(rows)
}

// flowFlags are the flags of pause and resume.
func (a *App) flowFlags(name string) (c *common, direction, reason *string) {
	c = a.flags(name).withAddr()
	direction = c.String("direction", "both", "intake (reading the system), deliver (writing to it) or both")
	reason = c.String("reason", "", "why; kept")
	return c, direction, reason
}

func pauseCommand(ctx context.Context, a *App, args []string) error {
	c, direction, reason := a.flowFlags("pause")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || *reason == "" {
		return usagef("give one system and --reason")
	}
	return a.setFlow(ctx, c, *direction, &customerv1.SetFlowRequest{System: rest[0], Paused: true, Reason: *reason})
}

func resumeCommand(ctx context.Context, a *App, args []string) error {
	c, direction, reason := a.flowFlags("resume")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one system")
	}
	return a.setFlow(ctx, c, *direction, &customerv1.SetFlowRequest{System: rest[0], Reason: *reason})
}

func throttleCommand(ctx context.Context, a *App, args []string) error {
	c := a.flags("throttle").withAddr()
	rate := c.Int64("per-minute", -1, "records written per minute at most, by all replicas; 0 ends it")
	reason := c.String("reason", "", "why; kept")
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || *rate < 0 {
		return usagef("give one system and --per-minute")
	}
	return a.setFlow(ctx, c, "deliver", &customerv1.SetFlowRequest{System: rest[0], PerMinute: *rate, Reason: *reason})
}
