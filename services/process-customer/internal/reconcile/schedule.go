package reconcile

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	// look is how often the schedule is looked at.
	look = 5 * time.Second
	// lease is how long a silent process keeps a run.
	lease = 5 * time.Minute
	// trimBatch bounds what one look removes. There is no look while a comparison runs: trimEvery is how often there is one in spite of that.
	trimBatch = 1000
	trimEvery = time.Hour
)

// Start asks for a comparison of a system. When one is queued or running that one is returned, and false.
func (r *Reconciler) Start(ctx context.Context, system string, depth store.Depth, repair bool) (store.Run, bool, error) {
	sys := r.systems[system]
	if sys == nil {
		return store.Run{}, false, fault.New(fault.NotFound, "SYSTEM_UNKNOWN", "no such system can be compared")
	}
	asked := store.Run{ID: "r_" + strings.ToLower(rand.Text()), System: system, Depth: depth, Repair: repair, Requested: r.now()}
	if depth >= store.DepthValues { // what reading everything will take is told before it is done
		known, err := r.count(ctx)
		if err != nil {
			return store.Run{}, false, err
		}
		asked.ReadCalls = sys.ReadCalls(known[system])
	}
	var run store.Run
	var fresh bool
	err := r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		var err error
		run, fresh, err = tx.QueueRun(ctx, asked)
		if err != nil || !fresh {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{
			At: r.now(), Kind: "reconcile_requested", System: system, ChangeID: run.ID, Reason: mode(depth, repair), Traceparent: telemetry.Traceparent(ctx),
		}})
	})
	if err != nil {
		return store.Run{}, false, err
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return run, fresh, nil
}

func mode(depth store.Depth, repair bool) string {
	if repair {
		return depth.String() + "_REPAIR"
	}
	return depth.String()
}

// Run compares what was asked for, and what is due, until ctx ends. Failures are kept with the run.
func (r *Reconciler) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for ctx.Err() == nil {
		more, err := r.Step(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "comparison failed", slog.String(telemetry.KeyReason, fault.ReasonOf(err)), slog.String(telemetry.KeyError, err.Error()))
			more = false
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-r.wake:
		}
	}
	return nil
}

// Step queues what is due and does one run; false when there was none to do. An error is about the database.
func (r *Reconciler) Step(ctx context.Context) (bool, error) {
	if err := r.schedule(ctx); err != nil {
		return false, err
	}
	var run store.Run
	var taken bool
	err := r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		run, taken, err = tx.TakeRun(ctx, r.now(), lease)
		return err
	})
	if err != nil || !taken {
		return false, err
	}
	return true, r.do(ctx, run)
}

// schedule queues the runs that are due and removes what is old.
func (r *Reconciler) schedule(ctx context.Context) error {
	now := r.now()
	for _, name := range r.names {
		last, err := r.store.Read().ReconcileRuns(ctx, name, 1)
		if err != nil {
			return err
		}
		deep, err := r.store.Read().LastRun(ctx, name, store.DepthDeep)
		if err != nil {
			return err
		}
		values, err := r.store.Read().LastRun(ctx, name, store.DepthValues)
		if err != nil {
			return err
		}
		depth := store.DepthDigests
		switch {
		case len(last) > 0 && last[0].State == store.RunFailed && last[0].Depth > depth:
			// What cannot be read as a whole now is not to keep it from being compared at all.
		case r.cfg.ValuesEvery > 0 && now.Sub(values.Requested) >= r.cfg.ValuesEvery:
			depth = store.DepthValues
		case r.cfg.DeepEvery > 0 && now.Sub(deep.Requested) >= r.cfg.DeepEvery:
			depth = store.DepthDeep
		}
		active := len(last) > 0 && (last[0].State == store.RunQueued || last[0].State == store.RunRunning)
		due := r.cfg.Every > 0 && now.Sub(r.begun) >= r.cfg.Every && (len(last) == 0 || now.Sub(last[0].Requested) >= r.cfg.Every)
		if active || !due {
			continue
		}
		ready, err := r.ready(ctx, name)
		if err != nil {
			return err
		}
		if !ready {
			continue
		}
		if _, _, err := r.Start(ctx, name, depth, r.cfg.Repair); err != nil {
			return err
		}
	}
	err := r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err1 := tx.TrimRuns(ctx, now.Add(-r.cfg.Keep), trimBatch)
		_, err2 := tx.TrimIgnoreRules(ctx, now.Add(-r.cfg.Keep), trimBatch)
		return errors.Join(err1, err2)
	})
	r.removal.Done(ctx, err)
	return err
}

// ready reports whether everything of a system has been read once: before, nothing can be said.
func (r *Reconciler) ready(ctx context.Context, system string) (bool, error) {
	f, err := r.store.Read().Feed(ctx, system)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return f.Complete, err
}

// do carries a run out and stores how it ended.
func (r *Reconciler) do(ctx context.Context, run store.Run) error {
	c := &comparison{r: r, run: run, sys: r.systems[run.System]}
	ready, err := r.ready(ctx, run.System)
	switch {
	case err != nil:
	case c.sys == nil || !ready:
		err = errNotReady
	default:
		err = c.all(ctx)
	}
	switch {
	case errors.Is(err, store.ErrFenced):
		return nil // another process goes on with it
	case ctx.Err() != nil:
		return nil // stays running; whoever starts next begins it again when the lease has ended
	}
	c.run.State, c.run.Ended = store.RunDone, r.now()
	if err != nil {
		c.run.State, c.run.Reason = store.RunFailed, fault.ReasonOf(err)
		r.log.WarnContext(ctx, "systems not compared", slog.String(telemetry.KeySystem, run.System), slog.String(telemetry.KeyReason, c.run.Reason))
	}
	err = r.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return c.finish(ctx, tx) })
	if errors.Is(err, store.ErrFenced) {
		return nil
	}
	return err
}

var errNotReady = fault.New(fault.Precondition, "NOT_SCANNED", "the system has not been read as a whole yet")
