package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// errAborted stands for a panic or Goexit in the caller's function.
var errAborted = errors.New("transaction function did not return")

// job is what one caller of a group wants to be done.
type job struct {
	ctx    context.Context //nolint:containedctx // the wait of one caller, not state
	taken  atomic.Bool     // by the writer, or by the caller who leaves
	result chan error      // what became of it

	fn     func(ctx context.Context, tx *sql.Tx) error
	failed error // of fn
	end    end   // statements that the writer runs when the function has returned

	// A job without a function is one statement, which needs no savepoint: a statement is undone as a whole.
	text    string
	args    []driver.NamedValue
	changed int64
	took    time.Duration

	// Of a function that its caller runs; nil otherwise.
	grant chan *sql.Tx // unbuffered: a caller that has left cannot be handed the transaction
	ran   chan error   // what the function returned
}

// put queues the job. That of a caller who has left before is not begun.
func (j *job) put(queue chan<- *job) error {
	err := j.ctx.Err() // which of two that are ready select takes is chance
	if err == nil {
		select {
		case queue <- j:
			return nil
		case <-j.ctx.Done():
			err = j.ctx.Err()
		}
	}
	return fmt.Errorf("wait for the transaction: %w", err)
}

// wait returns what became of the job, or that the caller has left before it was taken. From then on the answer is a commit away:
// to leave would make it uncertain.
func (j *job) wait() error {
	left := j.ctx.Done()
	for {
		select {
		case tx := <-j.grant:
			j.call(tx)
		case err := <-j.result:
			return err
		case <-left:
			if j.taken.CompareAndSwap(false, true) {
				return fmt.Errorf("wait for the transaction: %w", j.ctx.Err())
			}
			left = nil
		}
	}
}

// call runs the function on its caller's goroutine.
func (j *job) call(tx *sql.Tx) {
	defer func() { j.ran <- j.failed }() // also on panic and Goexit, with errAborted
	j.run(tx)
}

// try runs the function on the writer's goroutine. After a Goexit that goroutine ends.
func (j *job) try(tx *sql.Tx) (failed error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if failed = errAborted; recover() == nil {
			j.result <- failed
		}
	}()
	j.run(tx)
	returned = true
	return j.failed
}

func (j *job) run(tx *sql.Tx) {
	j.failed = errAborted
	j.end = end{tx: tx}
	j.failed = j.fn(context.WithValue(context.WithoutCancel(j.ctx), endKey{}, &j.end), tx)
}
