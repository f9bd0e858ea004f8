package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// ask gets a block from the store and takes one call of it. It returns false without an error when it is worth trying again.
func (a *Accountant) ask(ctx context.Context, level priority.Level, g *grant) (bool, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return false, fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "no call of the allowance became free in time")
	}
	force := isForced(ctx)
	if !force {
		// Somebody who asked before us may have got a block, or a refusal.
		a.mu.Lock()
		ok, err := a.take(level, g), a.recalled(level)
		a.mu.Unlock()
		if ok || err != nil {
			return ok, err
		}
	}
	if a.resting() {
		return a.without(level, g, errResting)
	}
	answer, err := a.exchange(ctx, Exchange{Level: level, Want: blockMax, Force: force})
	if err != nil {
		a.unreachable(ctx, err)
		return a.without(level, g, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer.Block > 0 {
		a.pools[level].calls += answer.Block - 1
		a.pools[level].used = a.o.Now()
		g.trial = a.held(level) && !force
		return true, nil
	}
	return false, a.remember(level, answer)
}

// remember must be called with a.mu held.
func (a *Accountant) remember(level priority.Level, answer told) error {
	if answer.refusal == nil {
		return nil // the block of an exchange whose answer was lost was empty: ask anew
	}
	if answer.refusal.Reason == ReasonExhausted {
		now := a.o.Now()
		a.refused[level] = remembered{until: now.Add(min(refusalMemory, answer.refusal.RetryAfter)), err: answer.refusal, at: now}
	}
	return answer.refusal
}

// told is an Answer with the refusal made out for the caller.
type told struct {
	Answer
	refusal *fault.Error
}

// exchange tells the store what has not been told and asks for x; whoever calls it holds the turn. An exchange whose answer was
// lost is repeated first, so that nothing is counted twice.
func (a *Accountant) exchange(ctx context.Context, x Exchange) (told, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	a.mu.Lock()
	lost := a.unsettled
	if lost != nil {
		lost.Report = a.recent(lost.Report)
	}
	a.mu.Unlock()
	if lost != nil {
		answer, err := a.send(ctx, *lost)
		if err != nil {
			return told{}, err
		}
		a.mu.Lock()
		a.pools[lost.Level].calls += answer.Block
		a.pools[lost.Level].used = a.o.Now()
		a.mu.Unlock()
	}
	a.mu.Lock()
	a.seq++
	x.Replica, x.Seq, x.Report = a.o.Replica, a.seq, a.recent(a.next)
	a.next = Report{}
	a.mu.Unlock()
	answer, err := a.send(ctx, x)
	if err != nil {
		return told{}, err
	}
	out := told{Answer: answer}
	if x.Want > 0 && answer.Block == 0 {
		out.refusal = a.refusal(ctx, x.Level, answer)
	}
	return out, nil
}

// recent leaves a figure out that has become too old to be told: others may have reported calls since that it does not hold. An
// account without lag takes every figure.
func (a *Accountant) recent(r Report) Report {
	if a.o.Config.Lag > 0 && a.o.Now().Sub(a.figureAt) > a.o.Config.Lag/2 {
		r.Used, r.Limit = 0, 0
	}
	return r
}

// send makes one exchange and keeps it when it is not known whether it happened.
func (a *Accountant) send(ctx context.Context, x Exchange) (Answer, error) {
	now := a.o.Now()
	answer, err := a.o.Store.Exchange(ctx, x, now)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.unsettled, a.tried = &x, now
		return Answer{}, err
	}
	a.unsettled, a.tried, a.reached, a.state = nil, time.Time{}, now, answer.State
	if a.state.Limit > 0 {
		a.emergency = min(emergencyMost, max(0, (a.state.Limit-a.state.Estimate)/10))
	}
	for _, l := range priority.Levels() {
		if a.held(l) && (x.Level != l || answer.Block == 0) {
			a.drop(l)
		}
	}
	return answer, nil
}

// errResting means that the store did not answer a moment ago.
var errResting = errors.New("the store did not answer a moment ago")

// resting reports whether the store is left alone for a while, so that calls do not all wait for its timeout.
func (a *Accountant) resting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.tried.IsZero() && a.o.Now().Sub(a.tried) < storeRetry
}

func (a *Accountant) unreachable(ctx context.Context, cause error) {
	a.o.Log.LogAttrs(ctx, slog.LevelWarn, "the shared api budget cannot be reached", slog.String(telemetry.KeyReason, fault.ReasonOf(cause)),
		slog.String(telemetry.KeyError, cause.Error()))
}

// without decides while the store does not answer: a person who waits gets one of a few calls, everything else waits.
func (a *Accountant) without(level priority.Level, g *grant, cause error) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if level == priority.Interactive && a.emergency > 0 && !a.held(level) {
		a.emergency--
		g.leased = false
		return true, nil
	}
	return false, fault.Wrap(fault.Unavailable, ReasonStore, cause, "the shared account of the API allowance cannot be reached").WithRetryAfter(storeRetry)
}

// refusal says why a level gets no calls, and when it may.
func (a *Accountant) refusal(ctx context.Context, level priority.Level, answer Answer) *fault.Error {
	v, now := answer.refused, a.o.Now()
	switch v.why {
	case granted:
		return nil
	case blinded:
		return fault.New(fault.Unavailable, ReasonUnknown, "it is not known yet how much of the API allowance is left").WithRetryAfter(time.Second)
	case closed, spent:
	}
	resume := v.until
	if v.need > 0 {
		usage, err := a.o.Store.History(ctx)
		if err != nil {
			usage = nil // the forecast of an empty history is a day
		}
		resume = maxTime(resume, newHistory(readings(usage)).resume(v.need, now))
	}
	text := "what is left of the org's API allowance is kept for more urgent calls"
	if v.why == closed || answer.State.Estimate >= answer.State.Limit {
		text = "the org's API allowance is used up"
	}
	at := resume.UTC().Truncate(time.Second).Format(time.RFC3339)
	wait := min(max(resume.Sub(now), time.Second), a.o.Config.Recheck)
	return fault.New(fault.Exhausted, ReasonExhausted, "%s; %s work may go on about %s", text, level, at).
		WithRetryAfter(wait).WithMeta(fault.MetaResume, at).WithMeta(MetaPriority, level.String())
}

// Run reports to the store, gives unused calls back, and has one replica read the limits now and then, until ctx ends. Failures
// are logged and tried again. When it ends it gives everything unused back.
func (a *Accountant) Run(ctx context.Context, limits func(ctx context.Context) ([]Allowance, error)) error {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			a.settle(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		case <-a.wake:
		}
		if !a.due() {
			continue
		}
		refresh, err := a.flush(ctx, true)
		if err != nil {
			a.unreachable(ctx, err)
			continue
		}
		if refresh {
			a.read(ctx, limits)
		}
		a.foresee(ctx)
	}
}

// foresee works out for the metrics when the allowance ends, at most once a minute.
func (a *Accountant) foresee(ctx context.Context) {
	now := a.o.Now()
	a.mu.Lock()
	due, s := now.Sub(a.foreseen) >= time.Minute, a.state
	if due {
		a.foreseen = now
	}
	a.mu.Unlock()
	if !due || s.Limit == 0 {
		return
	}
	usage, err := a.o.Store.History(ctx)
	if err != nil {
		return // the next exchange says what is wrong with the store
	}
	at := newHistory(readings(usage)).exhaustion(s.Estimate, s.Limit, now)
	a.mu.Lock()
	a.exhaustion = at
	a.mu.Unlock()
}

// due reports whether the store should hear of us, and gives up what has not been used for a while.
func (a *Accountant) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.o.Now()
	for _, l := range priority.Levels() {
		if now.Sub(a.pools[l].used) >= poolIdle {
			a.drop(l)
		}
	}
	if !a.tried.IsZero() {
		return now.Sub(a.tried) >= storeRetry
	}
	return !a.next.empty() || now.Sub(a.reached) >= idleTick || now.Sub(a.offered) >= idleTick
}

func (a *Accountant) flush(ctx context.Context, refresh bool) (bool, error) {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	answer, err := a.exchange(ctx, Exchange{Refresh: refresh})
	if refresh {
		a.mu.Lock()
		a.offered = a.o.Now()
		a.mu.Unlock()
	}
	return answer.Refresh, err
}

// settle tells everything and gives everything back.
func (a *Accountant) settle(ctx context.Context) {
	a.mu.Lock()
	for _, l := range priority.Levels() {
		a.drop(l)
	}
	nothing := a.next.empty() && a.unsettled == nil
	a.mu.Unlock()
	if nothing {
		return
	}
	if _, err := a.flush(ctx, false); err != nil {
		a.o.Log.LogAttrs(ctx, slog.LevelInfo, "the last report to the shared api budget is lost", slog.String(telemetry.KeyError, err.Error()))
	}
}

// read reads the limits of the org. The call itself brings the usage; the answer the other allowances.
func (a *Accountant) read(ctx context.Context, limits func(ctx context.Context) ([]Allowance, error)) {
	ctx = priority.With(context.WithValue(ctx, forced{}, true), priority.Sync)
	all, err := limits(ctx)
	if err == nil {
		now := a.o.Now()
		for i := range all {
			all[i].Observed = now
		}
		if err = a.o.Store.SaveAllowances(ctx, all); err == nil {
			a.metrics.allowances(all)
			return
		}
	}
	if ctx.Err() == nil {
		a.o.Log.LogAttrs(ctx, slog.LevelWarn, "limits of the org not read", slog.String(telemetry.KeyReason, fault.ReasonOf(err)), slog.String(telemetry.KeyError, fmt.Sprint(err)))
	}
}
