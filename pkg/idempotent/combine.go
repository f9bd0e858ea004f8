package idempotent

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	maxTogether  = 128             // questions per statement
	enough       = 16              // who wait already need no more company
	togetherTime = 5 * time.Second // bounds a shared statement if the caller who asks has no deadline
)

// combiner lets callers that ask the same kind of question at the same time share a statement, and with it a round trip
// and a commit. A question is asked at once while less than limit statements run, and those that arrive meanwhile go
// together with the next. Only where crowded says that company will come is a statement held until pace after the one
// before; without crowded it lets those run first who could. It starts no goroutine: one of the callers asks for the others.
type combiner[Q, A any] struct {
	limit   int // 0: everybody asks alone
	pace    time.Duration
	crowded func() bool // nil: never
	// ask answers the questions in their order.
	ask func(ctx context.Context, questions []Q) ([]A, error)
	// free takes back what ask returned, which is copied then; may be nil.
	free func([]A)

	spare   sync.Pool // of *asked that nobody refers to
	mu      sync.Mutex
	running int
	queue   []*asked[Q, A]
	last    time.Time // when the last statement was begun
}

type asked[Q, A any] struct {
	question Q
	ready    chan struct{} // has room for one: there is an answer, or the turn has come
	lead     bool          // the turn has come: this caller asks for all
	together int
	answer   A
	err      error
}

// do answers the question. The error of a statement that several shared is never passed on: each caller then asks alone.
func (c *combiner[Q, A]) do(ctx context.Context, q Q) (A, error) {
	if c.limit == 0 {
		return c.alone(ctx, q)
	}
	me := c.asking(q)
	c.mu.Lock()
	if c.running < c.limit && len(c.queue) == 0 {
		c.running++
		me.lead = true
		c.mu.Unlock()
	} else {
		c.queue = append(c.queue, me)
		c.mu.Unlock()
		select {
		case <-me.ready:
		case <-left(ctx):
			c.leave(me) // and is not used again: somebody may be about to answer
			var none A
			return none, ctx.Err()
		}
	}
	if me.lead {
		c.hold(ctx)
		if err := ctx.Err(); err != nil { // the end came with the turn, or before the statement
			c.pass()
			var none A
			return none, err
		}
		c.forAll(ctx, me)
	}
	answer, together, err := me.answer, me.together, me.err
	c.done(me)
	if err != nil && together > 1 && !over(ctx) {
		return c.alone(ctx, q)
	}
	return answer, err
}

// asking returns what somebody asks, until done.
func (c *combiner[Q, A]) asking(q Q) *asked[Q, A] {
	me, ok := c.spare.Get().(*asked[Q, A])
	if !ok {
		me = &asked[Q, A]{ready: make(chan struct{}, 1)}
	}
	me.question = q
	return me
}

func (c *combiner[Q, A]) done(me *asked[Q, A]) {
	*me = asked[Q, A]{ready: me.ready}
	c.spare.Put(me)
}

// left is when a caller waits no longer for others. Who has a limit for the question, as everybody else then has, need not
// watch it: whoever asks for all ends with a limit that began before.
func left(ctx context.Context) <-chan struct{} {
	if l, ok := ctx.(*limited); ok {
		return l.Context.Done()
	}
	return ctx.Done()
}

// over reports whether the caller has no time left.
func over(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(at)
}

// hold waits for company where it is likely to come.
func (c *combiner[Q, A]) hold(ctx context.Context) {
	if c.crowded == nil {
		// Whoever is about to ask may run first, and asks along.
		for n := -1; n != c.waiting() && n < enough; runtime.Gosched() {
			n = c.waiting()
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	wait := c.last.Add(c.pace).Sub(now)
	c.last = now
	if wait <= 0 || len(c.queue) >= enough || !c.crowded() {
		return
	}
	c.last = now.Add(wait)
	c.mu.Unlock()
	defer c.mu.Lock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (c *combiner[Q, A]) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// alone asks for one caller.
func (c *combiner[Q, A]) alone(ctx context.Context, q Q) (A, error) {
	answers, err := c.ask(ctx, []Q{q})
	if err != nil {
		var none A
		return none, err
	}
	answer := answers[0]
	if c.free != nil {
		c.free(answers)
	}
	return answer, nil
}

// forAll asks for the caller, whose turn it is, and those who wait. The statement goes on if the caller leaves, for the
// others; but it ends with the caller's deadline, so that nobody waits longer than for a question of its own: those who
// have more time then ask alone.
func (c *combiner[Q, A]) forAll(ctx context.Context, me *asked[Q, A]) {
	defer c.pass()
	c.mu.Lock()
	n := min(len(c.queue), maxTogether-1)
	batch := append(make([]*asked[Q, A], 0, n+1), me)
	batch = append(batch, c.queue[:n]...)
	c.queue = append(c.queue[:0:0], c.queue[n:]...)
	c.mu.Unlock()
	questions := make([]Q, len(batch))
	for i, a := range batch {
		questions[i] = a.question
	}
	if len(batch) > 1 {
		limit := togetherTime
		if at, ok := ctx.Deadline(); ok {
			limit = min(limit, time.Until(at))
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
	}
	var answers []A
	err := errUnanswered // if the question panics
	defer func() { c.tell(me, batch, answers, err) }()
	answers, err = c.ask(ctx, questions)
}

// errUnanswered ends the wait for a statement that somebody else did not survive.
var errUnanswered = errors.New("the shared statement ended without an answer")

// tell hands the answers, or the error, to those who wait.
func (c *combiner[Q, A]) tell(me *asked[Q, A], batch []*asked[Q, A], answers []A, err error) {
	for i, a := range batch {
		a.together, a.err = len(batch), err
		if err == nil {
			a.answer = answers[i]
		}
		if a != me {
			a.ready <- struct{}{}
		}
	}
	if c.free != nil && err == nil {
		c.free(answers)
	}
}

// pass gives the turn to the first in the queue.
func (c *combiner[Q, A]) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.running--
		return
	}
	next := c.queue[0]
	c.queue = c.queue[1:]
	next.lead = true
	next.ready <- struct{}{}
}

// leave takes a caller out that waits no longer. If its question is under way already, nothing can be done about it; if
// its turn has come, the next one gets it.
func (c *combiner[Q, A]) leave(me *asked[Q, A]) {
	c.mu.Lock()
	turn := me.lead
	if at := slices.Index(c.queue, me); at >= 0 {
		c.queue = slices.Concat(c.queue[:at], c.queue[at+1:])
	}
	c.mu.Unlock()
	if turn {
		c.pass()
	}
}
