package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// work runs the load. One without a name stops before its caller's time is up: its jobs are to be ended, and the caller to hear so.
func (l *load) work(ctx context.Context) error {
	until, ok := ctx.Deadline()
	if l.named() || !ok {
		return l.run(ctx)
	}
	left := time.Until(until)
	inner, cancel := context.WithTimeout(ctx, left-min(2*l.client.o.Ending, left/4))
	defer cancel()
	err := l.run(inner)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return errors.Join(fault.New(fault.Timeout, fault.ReasonTimeout, "the load did not end in the time it was given"), err)
	}
	return err
}

// abandon ends the jobs of a load that will not be gone on with, and then gives every row an outcome: a caller that hears of a row
// sends newer values, which a job that still waits must not overwrite. It reports whether all jobs are known to have ended.
func (l *load) abandon(ctx context.Context, cause error) (ended bool, err error) {
	deaf := func(Outcome) error { return nil }
	if _, ok := errors.AsType[sinkError](cause); ok {
		l.sink = deaf
	}
	// Few calls, with which nothing may compete: often the allowance is what ended the load.
	ctx, cancel := context.WithTimeout(priority.With(context.WithoutCancel(ctx), priority.Interactive), l.client.o.Ending)
	defer cancel()
	why := blame(cause)
	if why.Class == rest.Unknown {
		why.Class = rest.Retry // said only of rows that certainly were not processed
	}
	why.Retryable = why.Retryable || passing(ctx, cause)
	l.early = &why
	l.halt()
	ended = true
	var errs []error
	l.j.all(func(p *part) {
		if p.Step == settled {
			return
		}
		known, err := l.endPart(ctx, p)
		if err == nil && p.Step != settled {
			err = l.abandonPart(p, known)
		}
		if err != nil {
			l.sink = deaf
			errs = append(errs, err)
		}
		ended = ended && known
	})
	return ended, errors.Join(errs...)
}

// endPart ends the job of a part and settles what it did, as far as that is possible in the time of ctx. It reports whether the job
// is known to have ended. The error is the sink's.
func (l *load) endPart(ctx context.Context, p *part) (ended bool, err error) {
	if p.Job == "" || p.tally != nil { // no job, or one that has ended and whose results were being read
		return true, nil
	}
	j, err := l.client.end(ctx, p.Job)
	if err != nil {
		l.client.o.Log.LogAttrs(ctx, slog.LevelWarn, "job of a bulk load that ended early cannot be ended yet", slog.String("job", p.Job), slog.String("reason", fault.ReasonOf(err)))
		return false, nil
	}
	switch {
	case j.State == "": // gone
		p.Step = closed
		return true, nil
	case j.State == stateAborted && j.Processed == 0:
		p.Step = uploaded
		return true, nil
	}
	p.Step = closed
	if err = l.collect(ctx, p); err != nil {
		if _, ok := errors.AsType[sinkError](err); ok {
			return true, err
		}
	}
	return true, nil
}

// end aborts a job and waits until it is in a final state, or gone: then the state is empty. It goes on until ctx ends.
func (c *Client) end(ctx context.Context, job string) (jobInfo, error) {
	for attempt := 1; ; attempt++ {
		aborted := c.change(ctx, job, stateAborted) // refused when it has ended
		j, err := c.status(ctx, job)
		switch {
		case fault.Is(err, fault.NotFound):
			return jobInfo{ID: job}, nil
		case err == nil && j.State.final():
			return j, nil
		case err != nil && !passing(ctx, err):
			return j, err
		}
		timer := time.NewTimer(c.o.Retry.Next(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return j, fault.Wrap(fault.Unavailable, ReasonJobRuns, errors.Join(err, aborted), "a job is not known to have ended").WithRetryAfter(endEvery)
		}
	}
}

// abandonPart gives the rows of a part their outcomes. Those of a job that may still run are uncertain, and their caller is told to
// wait until it has been ended.
func (l *load) abandonPart(p *part, ended bool) error {
	unsure := rest.Refusal{Kind: fault.Uncertain, Reason: fault.ReasonOutcomeUncertain, Text: "it is not known what the job did", Class: rest.Unknown, Retryable: true}
	if !ended {
		unsure.RetryAfter = 2 * endEvery
	}
	err := l.lines(context.Background(), p, func(row int, r *reader) error {
		o := Outcome{Key: string(r.values[0]), Index: unknownIndex, State: NotProcessed, Refusal: *l.early, Round: p.Round}
		seen := unseen
		if p.tally != nil {
			seen = p.tally.marks[row]
		}
		switch {
		case seen == done:
			return nil
		case !ended, p.Step == closed && seen == unseen:
			o.State, o.Refusal = Uncertain, unsure
		}
		p.Count.count(o)
		return l.emit(nil, o)
	})
	if ended {
		p.Step = settled // otherwise the journal keeps the job
	}
	return err
}

// EndLeftovers ends the jobs of loads without a name that nobody runs any more, because the process is gone or because they could
// not be ended in time. Until it has returned nil after a start, such a job may write old values over what is written now. A job
// that this user may not end is logged and tried again by Tend, without an error.
func (c *Client) EndLeftovers(ctx context.Context) error {
	dirs, err := c.leftovers()
	if err != nil {
		return err
	}
	ctx = priority.With(ctx, priority.Interactive)
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, c.endLeftover(ctx, dir))
	}
	return errors.Join(errs...)
}

func (c *Client) endLeftover(ctx context.Context, dir string) error {
	j, err := read(dir)
	if err != nil {
		c.o.Log.LogAttrs(ctx, slog.LevelError, "journal of an ended bulk load cannot be read", slog.String("error", err.Error()))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Ending)
	defer cancel()
	var errs []error
	refused := false
	if j != nil {
		j.all(func(p *part) {
			if p.Step == settled || p.Job == "" {
				return
			}
			job, err := c.end(ctx, p.Job)
			switch {
			case err == nil:
				c.o.Log.LogAttrs(ctx, slog.LevelInfo, "job of a bulk load that ended early has ended", slog.String("job", p.Job), slog.String("state", string(job.State)))
			case passing(ctx, err):
				errs = append(errs, err)
			default:
				refused = true
				c.o.Log.LogAttrs(ctx, slog.LevelError, "job of a bulk load that ended early cannot be ended", slog.String("job", p.Job), slog.String("error", err.Error()))
			}
		})
	}
	if len(errs) > 0 || refused {
		return errors.Join(errs...)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("drop a load without an identity: %w", err)
	}
	return nil
}

// leftovers are the folders of loads without a name that do not run.
func (c *Client) leftovers() ([]string, error) {
	entries, err := os.ReadDir(c.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of bulk loads: %w", err)
	}
	var out []string
	for _, e := range entries {
		if dir := filepath.Join(c.o.Dir, e.Name()); strings.HasPrefix(e.Name(), anonymous) && !c.isRunning(dir) {
			out = append(out, dir)
		}
	}
	return out, nil
}

// shed removes the rows of a load that ended, and keeps its journal, which knows the jobs. Without a journal nothing was sent.
func shed(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the folder of a load: %w", err)
	}
	left := false
	for _, e := range entries {
		if e.Name() == journalFile {
			left = true
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("drop the rows of a load: %w", err)
		}
	}
	if left {
		return nil
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("drop a load without an identity: %w", err)
	}
	return nil
}
