package cli

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

func redriveMode(name string) (customerv1.RedriveMode, error) {
	switch name {
	case "same-step":
		return customerv1.RedriveMode_REDRIVE_MODE_SAME_STEP, nil
	case "from-start":
		return customerv1.RedriveMode_REDRIVE_MODE_FROM_START, nil
	case "current-rules":
		return customerv1.RedriveMode_REDRIVE_MODE_CURRENT_RULES, nil
	default:
		return 0, usagef("--mode is same-step, from-start or current-rules, not %q", name)
	}
}

// letterFlags are the flags of the commands about many dead letters.
type letterFlags struct {
	*common
	preview customerv1.PreviewDeadLettersRequest
	since   time.Duration
	mode    string
}

func (a *App) letterFlags() *letterFlags {
	f := &letterFlags{common: a.flags("dead-letters").withAddr()}
	f.StringVar(&f.preview.System, "system", "", "only those of one `system`")
	f.StringVar(&f.preview.Direction, "direction", "", "preview: only intake or deliver")
	f.StringVar(&f.preview.Object, "object", "", "preview: only customer or contact")
	f.StringVar(&f.preview.Reason, "reason", "", "discard: why, kept; preview: only those with this reason")
	f.DurationVar(&f.since, "since", 0, "preview: only those parked within this `duration`")
	f.StringVar(&f.mode, "mode", "same-step", "where they are tried again: same-step, from-start (read every system again) or current-rules")
	return f
}

func (a *App) previewLetters(ctx context.Context, o customerv1.OperationsServiceClient, f *letterFlags) error {
	if f.since > 0 {
		f.preview.From = timestamppb.New(time.Now().Add(-f.since))
	}
	p, err := o.PreviewDeadLetters(ctx, &f.preview)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return a.json(p)
	}
	if p.GetSelection() == "" {
		return a.printf("no open dead letters are meant\n")
	}
	rows := [][]string{{"LETTERS", "DIRECTION", "SYSTEM", "REASON", "FIELD"}}
	for _, g := range p.GetGroups() {
		rows = append(rows, []string{fmt.Sprint(g.GetLetters()), g.GetDirection(), g.GetSystem(), g.GetReason(), or(g.GetField(), "-")})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if p.GetMore() {
		if err := a.printf("There are more; the oldest %d are selected.\n", p.GetLetters()); err != nil {
			return err
		}
	}
	return a.printf("\n%d selected, until %s. Exactly these are meant by:\n  selfsame dead-letters redrive %s [--mode …]\n  selfsame dead-letters discard %s --reason \"…\"\n",
		p.GetLetters(), p.GetExpireTime().AsTime().Local().Format("15:04:05"), p.GetSelection(), p.GetSelection())
}

func (a *App) redriveLetters(ctx context.Context, o customerv1.OperationsServiceClient, selection string, mode customerv1.RedriveMode) error {
	var done, skipped int32
	for {
		res, err := o.RedriveDeadLetters(ctx, &customerv1.RedriveDeadLettersRequest{Selection: selection, Mode: mode})
		if err != nil {
			return err
		}
		done, skipped = done+res.GetRedriven(), skipped+res.GetSkipped()
		if res.GetLeft() == 0 {
			return a.printf("%d tried again, %d had changed since they were shown\n", done, skipped)
		}
	}
}

func (a *App) discardLetters(ctx context.Context, o customerv1.OperationsServiceClient, selection, reason string) error {
	var done, skipped int32
	for {
		res, err := o.DiscardDeadLetters(ctx, &customerv1.DiscardDeadLettersRequest{Selection: selection, Reason: reason})
		if err != nil {
			return err
		}
		done, skipped = done+res.GetDiscarded(), skipped+res.GetSkipped()
		if res.GetLeft() == 0 {
			return a.printf("%d given up, %d had changed since they were shown\n", done, skipped)
		}
	}
}
