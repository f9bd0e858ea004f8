package bulk

import (
	"context"
	"log/slog"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
)

// ahead is a job that is made before the rows are known that it gets.
type ahead struct {
	done   chan struct{}
	cancel context.CancelFunc
	job    jobInfo
	err    error
}

// begin makes the first job ahead: there will be one, and making it takes as long as reading many rows.
func (l *load) begin(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{done: make(chan struct{}), cancel: cancel}
	l.ahead = a
	go func() {
		defer close(a.done)
		a.job, a.err = l.client.create(ctx, &l.spec)
	}()
}

// create makes a job, or takes the one that was made ahead.
func (l *load) create(ctx context.Context) (j jobInfo, err error) {
	l.mu.Lock()
	a := l.ahead
	l.ahead = nil
	l.mu.Unlock()
	err = l.client.persist(ctx, func() (err error) {
		if a == nil {
			j, err = l.client.create(ctx, &l.spec)
			return err
		}
		<-a.done
		a.cancel()
		j, err, a = a.job, a.err, nil
		return err
	})
	return j, err
}

// forsake aborts the job that was made ahead if no part took it. It has no rows, so Sweep may come by later as well.
func (l *load) forsake(ctx context.Context) {
	a := l.ahead
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(priority.With(context.WithoutCancel(ctx), priority.Interactive), l.client.o.Ending)
	defer cancel()
	select {
	case <-a.done:
	case <-ctx.Done():
	}
	a.cancel()
	<-a.done
	if a.err != nil || !jobID.MatchString(a.job.ID) {
		return
	}
	if err := l.client.change(ctx, a.job.ID, stateAborted); err != nil {
		l.client.o.Log.LogAttrs(ctx, slog.LevelWarn, "job without rows is left for the sweep", slog.String("job", a.job.ID), slog.String("reason", fault.ReasonOf(err)))
	}
}
