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

// errLost means that the group's transaction ended before its commit: nothing of it remains.
var errLost = errors.New("the transaction was rolled back by SQLite")

// spoiled means that a caller failed after having changed something, without a savepoint to go back to.
type spoiled struct {
	job    *job
	failed error
}

func (s *spoiled) Error() string { return "a caller of the group failed: " + s.failed.Error() }

// group commits the transactions of all waiting callers with one fsync. One goroutine owns the connection; it runs the
// callers' functions, one after the other in one transaction, and then commits for all. To hand the transaction to the
// caller's goroutine and back would take as long as a statement, and everybody waits for it. Only a function that did not
// return, because of a panic or a failed test, is run once more, by its caller, so that it goes on where it belongs.
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
	// rehearse lets each function run twice.
	rehearse atomic.Bool
	callers  atomic.Int64 // who wait for the transaction, have it, or wait for its commit

	// Of the writer only: how durable the connection was opened, and how durable its commits are now; -1 if not known.
	opened, now int
	// Of the writer only: for how many groups to come each caller is protected from the failures of the others.
	careful int
	// Of the writer only: how many callers the last group with an fsync had, and how long its commit took.
	size  int
	flush time.Duration
}

func newGroup(db *sql.DB, c driver.Connector, m *meter) *group {
	g := &group{db: db, meter: m, log: newCheckpoints(c), queue: make(chan *job, maxGroup), relaxed: make(chan *job, maxGroup), done: make(chan struct{}), now: unknownSync}
	go g.write()
	return g
}

// write runs groups until the queue is closed.
func (g *group) write() {
	ended := false
	defer func() {
		if ended {
			close(g.done)
			return
		}
		go g.write() // a caller's function has ended the goroutine
	}()
	for g.next() {
	}
	ended = true
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
		g.lead(j)
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
		g.lead(j)
	}
	return true
}

// lead runs a group once others have had the time to join it.
func (g *group) lead(first *job) {
	gathered := false
	defer func() {
		if !gathered { // the goroutine ends, inside the function of somebody who needs no fsync
			first.result <- errLost
		}
	}()
	g.gather()
	gathered = true
	g.run(first, g.queue, true)
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
		if err := j.put(queue); err != nil {
			return 0, err
		}
		err := j.wait()
		if j.took > 0 { // it ran
			g.meter.record(ctx, j.took, opExec, err)
		}
		if !errors.Is(err, errLost) {
			return j.changed, err
		}
	}
	return 0, fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, errLost, "the database rolled the change back")
}

func (g *group) through(ctx context.Context, queue chan<- *job, fn func(ctx context.Context, tx *sql.Tx) error) error {
	g.callers.Add(1)
	defer g.callers.Add(-1)
	own := false
	for range maxReplays {
		j := &job{ctx: ctx, result: make(chan error, 1), fn: fn}
		if own {
			j.grant, j.ran = make(chan *sql.Tx), make(chan error, 1)
		}
		err := g.join(ctx, queue, j)
		switch {
		case errors.Is(err, errAborted):
			own = true
		case !errors.Is(err, errLost):
			return err
		}
	}
	return fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, errLost, "the database rolled the change back")
}

func (g *group) join(ctx context.Context, queue chan<- *job, j *job) error {
	if err := j.put(queue); err != nil {
		return err
	}
	err := j.wait()
	if j.failed != nil {
		return j.failed // whether it could be rolled back changes nothing for this caller
	}
	for _, l := range j.end.last {
		g.meter.record(ctx, l.took, opExec, err)
	}
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
	w := writing{conn, tx, under, g.careful > 0, g.rehearse.Load()}
	members, err := g.collect(ctx, w, first, queue)
	if g.careful > 0 {
		g.careful--
	}
	if s, ok := errors.AsType[*spoiled](err); ok {
		g.spoil(ctx, w, members)
		s.job.result <- s.failed
		return
	}
	if err == nil && len(members) > 0 {
		begun := time.Now()
		if err = tx.Commit(); err != nil {
			err = fmt.Errorf("commit: %w", err)
		}
		took := time.Since(begun)
		g.meter.record(ctx, took, opCommit, err)
		if durable {
			g.size, g.flush = len(members), took
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

// spoil undoes a group for the sake of one of it. The others run again.
func (g *group) spoil(ctx context.Context, w writing, members []*job) {
	g.careful = carefulGroups
	if w.tx.Rollback() != nil {
		g.discard(w.conn)
	}
	g.meter.repeated.Add(ctx, int64(len(members)))
	for _, j := range members {
		j.result <- errLost
	}
}

// collect runs the callers that wait, one after the other, and returns those whose work is to be committed. An
// error means that the transaction is lost, with the work of all of them.
func (g *group) collect(ctx context.Context, w writing, first *job, queue <-chan *job) ([]*job, error) {
	var members []*job
	ended := false
	defer func() {
		if !ended { // the goroutine ends, inside somebody's function
			g.spoil(ctx, w, members)
		}
	}()
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
			ended = true
			return members, err
		}
		j = nil
		if len(members) < maxGroup && time.Since(begun) < maxGroupTime {
			j = another(queue)
		}
	}
	ended = true
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
	unknownSync = -1
	normalSync  = 1
	fullSync    = 2
)

// synchronous makes commits as durable as the group needs. A connection that was opened without durability stays so.
func (g *group) synchronous(ctx context.Context, conn *sql.Conn, durable bool) error {
	if g.now == unknownSync {
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
	g.now = unknownSync
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
