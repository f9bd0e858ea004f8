package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	maxGroup     = 256                   // callers per commit
	maxGroupTime = 20 * time.Millisecond // no further caller joins a group that has run this long
	maxReplays   = 5                     // how often a caller joins again after another one destroyed its group
	// How many groups after a failure have a savepoint for each caller.
	carefulGroups = 64
)

var (
	// errAborted stands for a panic or Goexit in the caller's function.
	errAborted = errors.New("transaction function did not return")
	// errLost means that the group's transaction ended before its commit: nothing of it remains.
	errLost = errors.New("the transaction was rolled back by SQLite")
)

// spoiled means that a caller failed after having changed something, without a savepoint to go back to.
type spoiled struct {
	job    *job
	failed error
}

func (s *spoiled) Error() string { return "a caller of the group failed: " + s.failed.Error() }

// group commits the transactions of all waiting callers with one fsync. One goroutine owns the connection; it hands
// the open transaction from caller to caller and then commits for all. A caller's function runs on the caller's own
// goroutine, so that a panic or a failed test stays there.
//
// Callers are trusted to succeed. One who fails after having changed something takes the group along: it is rolled back,
// and those before it are run again. As that is dear, each caller of the groups that follow is behind a savepoint of its
// own, which keeps a copy of every page that the caller changes, for some groups to come.
type group struct {
	db      *sql.DB
	meter   *meter
	log     *checkpoints
	queue   chan *job // closed to stop
	relaxed chan *job // those who need no fsync; never closed
	done    chan struct{}
	callers atomic.Int64 // who wait for the transaction, have it, or wait for its commit

	// Of the writer only: how durable the connection was opened, and how durable its commits are now; 0 if not known.
	opened, now int
	// Of the writer only: for how many groups to come each caller is protected from the failures of the others.
	careful int
	// Of the writer only: how many callers the last group with an fsync had, and how long its commit took.
	size  int
	flush time.Duration
}

type job struct {
	ctx    context.Context //nolint:containedctx // the wait of one caller, not state
	grant  chan *sql.Tx    // unbuffered: a caller that has left cannot be handed the transaction
	ran    chan error      // what the caller's function returned
	result chan error      // what became of it

	// A job that is one statement is run by the writer itself, without a savepoint: a statement is undone as a whole.
	text    string
	args    []driver.NamedValue
	taken   atomic.Bool // by the writer, or by the caller who leaves
	changed int64
	took    time.Duration

	end end // statements that the writer runs when the function has returned
}

func newGroup(db *sql.DB, c driver.Connector, m *meter) *group {
	g := &group{db: db, meter: m, log: newCheckpoints(c), queue: make(chan *job, maxGroup), relaxed: make(chan *job, maxGroup), done: make(chan struct{})}
	go func() {
		defer close(g.done)
		for g.next() {
		}
	}()
	return g
}

// next runs a group of those who need no fsync and one of those who do, or waits for either. It reports false at the end.
func (g *group) next() bool {
	ran := false
	select {
	case j := <-g.relaxed:
		g.run(j, g.relaxed, false)
		ran = true
	default:
	}
	select {
	case j, open := <-g.queue:
		if !open {
			return false
		}
		g.gather()
		g.run(j, g.queue, true)
		return true
	default:
	}
	if ran {
		return true
	}
	select {
	case j := <-g.relaxed:
		g.run(j, g.relaxed, false)
	case j, open := <-g.queue:
		if !open {
			return false
		}
		g.gather()
		g.run(j, g.queue, true)
	}
	return true
}

const (
	dearFlush  = 2 * time.Millisecond // a commit that takes less is not worth waiting for company
	gatherTick = 50 * time.Microsecond
	gatherMost = 2 * time.Millisecond
)

// gather lets callers join a group before it begins, if the last one was shared and its commit was dear: as long as they
// keep coming, and not longer than a commit takes, or gatherMost. Those who need no fsync are served meanwhile; what they
// wait for may be all that keeps them from joining.
func (g *group) gather() {
	if g.size < 2 || g.flush < dearFlush {
		return
	}
	tick := time.NewTimer(gatherTick)
	defer tick.Stop()
	came := 0
	for end := time.Now().Add(min(g.flush, gatherMost)); len(g.queue) < maxGroup && time.Now().Before(end); {
		select {
		case j := <-g.relaxed:
			g.run(j, g.relaxed, false)
		case <-tick.C:
			if n := len(g.queue); n == came {
				return
			}
			came = len(g.queue)
			tick.Reset(gatherTick)
		}
	}
}

// stop ends the writer. No caller may be in tx or enter it.
func (g *group) stop() error {
	close(g.queue)
	<-g.done
	return g.log.stop()
}

// tx is the caller's side.
func (g *group) tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return g.through(ctx, g.queue, fn)
}

// relax is the caller's side of a transaction that survives the process, but not surely the machine.
func (g *group) relax(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return g.through(ctx, g.relaxed, fn)
}

// exec is the caller's side of a statement.
func (g *group) exec(ctx context.Context, queue chan<- *job, text string, args []any) (int64, error) {
	values, err := named(args)
	if err != nil {
		return 0, err
	}
	g.callers.Add(1)
	defer g.callers.Add(-1)
	for range maxReplays {
		j := &job{ctx: ctx, result: make(chan error, 1), text: text, args: values}
		select {
		case queue <- j:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the transaction: %w", ctx.Err())
		}
		var err error
		select {
		case err = <-j.result:
		case <-ctx.Done():
			if j.taken.CompareAndSwap(false, true) {
				return 0, fmt.Errorf("wait for the transaction: %w", ctx.Err())
			}
			err = <-j.result // the answer is a commit away
		}
		g.meter.record(ctx, j.took, g.meter.exec, err)
		if !errors.Is(err, errLost) {
			return j.changed, err
		}
	}
	return 0, fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, errLost, "the database rolled the change back")
}

func (g *group) through(ctx context.Context, queue chan<- *job, fn func(ctx context.Context, tx *sql.Tx) error) error {
	g.callers.Add(1)
	defer g.callers.Add(-1)
	for range maxReplays {
		err := g.join(ctx, queue, fn)
		if !errors.Is(err, errLost) {
			return err
		}
	}
	return fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, errLost, "the database rolled the change back")
}

func (g *group) join(ctx context.Context, queue chan<- *job, fn func(ctx context.Context, tx *sql.Tx) error) error {
	j := &job{ctx: ctx, grant: make(chan *sql.Tx), ran: make(chan error, 1), result: make(chan error, 1)}
	select {
	case queue <- j:
	case <-ctx.Done():
		return fmt.Errorf("wait for the transaction: %w", ctx.Err())
	}
	select {
	case tx := <-j.grant:
		if err := j.call(tx, fn); err != nil {
			<-j.result //nolint:errcheck // the rollback; its own failure changes nothing for this caller
			return err
		}
		// Not bounded by ctx: the answer is a commit away, and leaving now would make it uncertain.
		err := <-j.result
		for _, l := range j.end.last {
			g.meter.record(ctx, l.took, g.meter.exec, err)
		}
		return err
	case err := <-j.result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the transaction: %w", ctx.Err())
	}
}

func (j *job) call(tx *sql.Tx, fn func(ctx context.Context, tx *sql.Tx) error) error {
	err := errAborted
	defer func() { j.ran <- err }() // also on panic and Goexit, with errAborted
	j.end.tx = tx
	err = fn(context.WithValue(context.WithoutCancel(j.ctx), endKey{}, &j.end), tx)
	return err
}

// run commits one group, which begins with first; the others wait in queue.
func (g *group) run(first *job, queue <-chan *job, durable bool) {
	ctx := context.Background()
	conn, err := g.db.Conn(ctx)
	if err != nil {
		first.result <- fmt.Errorf("writer connection: %w", err)
		return
	}
	defer conn.Close()
	if err := g.synchronous(ctx, conn, durable); err != nil {
		g.discard(conn)
		first.result <- fmt.Errorf("set durability: %w", err)
		return
	}
	under, err := bare(conn)
	if err != nil {
		g.discard(conn)
		first.result <- err
		return
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		g.discard(conn)
		first.result <- fmt.Errorf("begin: %w", err)
		return
	}
	members, err := g.collect(ctx, writing{tx, under, g.careful > 0}, first, queue)
	if g.careful > 0 {
		g.careful--
	}
	if s, ok := errors.AsType[*spoiled](err); ok {
		g.careful = carefulGroups
		if tx.Rollback() != nil {
			g.discard(conn)
		}
		s.job.result <- s.failed
		g.meter.repeated.Add(ctx, int64(len(members)))
		for _, j := range members {
			j.result <- errLost
		}
		return
	}
	if err == nil && len(members) > 0 {
		begun := time.Now()
		if err = tx.Commit(); err != nil {
			err = fmt.Errorf("commit: %w", err)
		}
		if durable {
			g.size, g.flush = len(members), time.Since(begun)
		}
	} else if rollback := tx.Rollback(); err == nil {
		err = rollback
	}
	if err != nil {
		// The connection may still be inside the transaction; closing it is what surely ends it.
		g.discard(conn)
	}
	for _, j := range members {
		j.result <- err
	}
	if err == nil {
		g.log.wrote(under)
	}
}

// collect runs the callers that wait, one after the other, and returns those whose work is to be committed. An
// error means that the transaction is lost, with the work of all of them.
func (g *group) collect(ctx context.Context, w writing, first *job, queue <-chan *job) ([]*job, error) {
	var members []*job
	begun := time.Now()
	for j := first; j != nil; {
		run := one
		if j.text != "" {
			run = statement
		}
		ok, err := run(ctx, w, j)
		if ok {
			members = append(members, j)
		}
		if err != nil {
			return members, err
		}
		j = nil
		if len(members) < maxGroup && time.Since(begun) < maxGroupTime {
			j = another(queue)
		}
	}
	return members, nil
}

// another returns the next caller. If there is none, those who could become one may run first: whoever comes in time saves a
// commit. It returns nil if nobody did, or once the queue is closed.
func another(queue <-chan *job) *job {
	for range 2 {
		select {
		case j := <-queue:
			return j
		default:
		}
		runtime.Gosched()
	}
	select {
	case j := <-queue:
		return j
	default:
		return nil
	}
}

// The levels of SQLite's synchronous. With normal a commit is written to the log, which the next full one flushes.
const (
	normalSync = 1
	fullSync   = 2
)

// synchronous makes commits as durable as the group needs. A connection that was opened without durability stays so.
func (g *group) synchronous(ctx context.Context, conn *sql.Conn, durable bool) error {
	if g.now == 0 {
		if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&g.opened); err != nil {
			return err
		}
		g.now = g.opened
	}
	want := normalSync
	if durable {
		want = fullSync
	}
	if g.opened < fullSync || g.now == want {
		return nil
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA synchronous = %d", want)); err != nil {
		return err
	}
	g.now = want
	return nil
}

// discard closes the connection instead of returning it to the pool. The next one is as durable as it was opened.
func (g *group) discard(conn *sql.Conn) {
	g.now = 0
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
