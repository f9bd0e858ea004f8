package bulk

import (
	"context"
	"errors"
	"log/slog"
	"regexp"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// jobID is what ids look like; they become parts of paths and of file names.
var jobID = regexp.MustCompile(`^[A-Za-z0-9]{15,18}$`)

// finish takes a part from where it is to its end.
func (l *load) finish(ctx context.Context, p *part) error {
	if p.Step == created {
		// A process that is gone made the job. Whether it has all rows is not known, and it is not closed: nothing was processed.
		if err := l.discard(ctx, p); err != nil {
			return err
		}
	}
	for p.Step != settled {
		if err := l.advance(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// advance does one step. It returns an error when the load cannot go on now.
func (l *load) advance(ctx context.Context, p *part) error {
	switch p.Step {
	case prepared:
		return l.open(ctx, p)
	case created:
		return l.hand(ctx, p)
	case uploaded:
		return l.release(ctx, p)
	case closed:
		return l.collect(ctx, p)
	}
	return errors.New("a part of the load is at an unknown step")
}

// open makes the job. If the answer is lost there may be a job without rows that nobody knows; it is harmless, and Sweep aborts it.
func (l *load) open(ctx context.Context, p *part) error {
	switch {
	case l.stopped.Load():
		return l.unsent(ctx, p, NotProcessed, jobAborted())
	case p.Tries >= maxTries:
		return l.unsent(ctx, p, NotProcessed, rest.Refusal{Kind: fault.Unavailable, Reason: ReasonJobLost, Text: "the job was lost several times", Retryable: true})
	}
	j, err := l.create(ctx)
	switch {
	case err == nil && !jobID.MatchString(j.ID), fault.Is(err, fault.Uncertain):
		return l.back(ctx, p, "the job may have been made")
	case err != nil && passing(ctx, err):
		return err
	case err != nil:
		return l.unsent(ctx, p, NotProcessed, blame(err))
	}
	return l.update(func() { p.Step, p.Job, p.Count.Jobs = created, j.ID, p.Count.Jobs+1 })
}

// passing reports whether a failure says nothing about the rows.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil || fault.Retryable(err) {
		return true
	}
	_, known := fault.As(err)
	return !known || fault.Is(err, fault.Canceled) || fault.Is(err, fault.Internal)
}

// back starts a part again with another job.
func (l *load) back(ctx context.Context, p *part, why string) error {
	l.client.o.Log.LogAttrs(ctx, slog.LevelWarn, "part of a bulk load is started again", slog.String("why", why), slog.String("job", p.Job))
	if err := l.update(func() { p.Step, p.Job, p.Tries = prepared, "", p.Tries+1 }); err != nil {
		return err
	}
	return l.pause(ctx, p.Tries)
}

// once notes that a step did not help, and waits before it is tried once more.
func (l *load) once(ctx context.Context, p *part) error {
	if err := l.update(func() { p.Tries++ }); err != nil {
		return err
	}
	return l.pause(ctx, p.Tries)
}

// hand uploads the rows. A job that may have got them, or a piece of them, is aborted: it was not released, so nothing happened.
func (l *load) hand(ctx context.Context, p *part) error {
	head := header(l.j.Columns, l.spec.Delimiter.sign(), l.spec.LineEnding.text())
	registered := make(chan error, 1)
	go func() { registered <- l.register() }()
	err := l.client.persist(ctx, func() error { return l.client.upload(ctx, l.dir, head, p) })
	if err := <-registered; err != nil {
		return err
	}
	switch {
	case err == nil:
		return l.update(func() { p.Step = uploaded })
	case fault.Is(err, fault.Uncertain):
		return l.discard(ctx, p)
	case passing(ctx, err):
		return err
	}
	return l.look(ctx, p, func(jobInfo) error { return l.discard(ctx, p) })
}

// look asks for a job that is not as expected. open is what to do if it still waits for its rows.
func (l *load) look(ctx context.Context, p *part, open func(jobInfo) error) error {
	var j jobInfo
	err := l.client.persist(ctx, func() (err error) { j, err = l.client.status(ctx, p.Job); return err })
	switch {
	case fault.Is(err, fault.NotFound):
		return l.back(ctx, p, "the job is gone")
	case err != nil:
		return err
	case j.State == stateOpen:
		return open(j)
	}
	return l.update(func() { p.Step = closed })
}

// discard aborts a job that was not released, and starts the part again.
func (l *load) discard(ctx context.Context, p *part) error {
	err := l.client.persist(ctx, func() error { return l.client.change(ctx, p.Job, stateAborted) })
	switch {
	case err == nil:
		return l.back(ctx, p, "it is not known whether the job has all rows")
	case fault.Is(err, fault.Uncertain), !passing(ctx, err):
	default:
		return err
	}
	var j jobInfo
	err = l.client.persist(ctx, func() (err error) { j, err = l.client.status(ctx, p.Job); return err })
	switch {
	case fault.Is(err, fault.NotFound), err == nil && j.State == stateAborted:
		return l.back(ctx, p, "it is not known whether the job has all rows")
	case err != nil:
		return err
	case j.State != stateOpen:
		// Somebody released it: its results say what happened.
		return l.update(func() { p.Step = closed })
	case p.Tries >= maxTries:
		return fault.New(fault.Unavailable, ReasonJobLost, "a job can neither be used nor aborted")
	}
	return l.once(ctx, p)
}

// release lets Salesforce process the rows.
func (l *load) release(ctx context.Context, p *part) error {
	if l.stopped.Load() {
		return l.look(ctx, p, func(jobInfo) error { return l.discard(ctx, p) })
	}
	err := l.client.persist(ctx, func() error { return l.client.change(ctx, p.Job, stateUploadComplete) })
	switch {
	case err == nil:
		return l.update(func() { p.Step = closed })
	case !fault.Is(err, fault.Uncertain) && passing(ctx, err):
		return err
	}
	return l.look(ctx, p, func(jobInfo) error {
		if p.Tries >= maxTries {
			return l.discard(ctx, p)
		}
		return l.once(ctx, p)
	})
}

// unsent gives all rows of a part the same outcome.
func (l *load) unsent(ctx context.Context, p *part, state State, why rest.Refusal) error {
	count := Ledger{Jobs: p.Count.Jobs}
	t, err := l.tell(p.told())
	if err != nil {
		return err
	}
	defer t.drop()
	err = l.lines(ctx, p, func(_ int, r *reader) error {
		o := Outcome{Key: string(r.values[0]), Index: unknownIndex, State: state, Refusal: why, Round: p.Round - 1}
		count.count(o)
		return l.emit(t, o)
	})
	if err := errors.Join(err, t.keep()); err != nil {
		return err
	}
	return l.update(func() { p.Step, p.Count = settled, count })
}

func jobAborted() rest.Refusal {
	return rest.Refusal{Kind: fault.Canceled, Reason: ReasonJobAborted, Text: "the load was aborted before the row was processed", Retryable: true}
}
