package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// writing is an open transaction, and its connection as it is: without what database/sql and otelsql do for each statement,
// which would keep everybody waiting. The writer uses the connection only while no caller's function runs.
type writing struct {
	conn  *sql.Conn
	tx    *sql.Tx
	under *keepingConn
	// careful gives each caller a savepoint.
	careful bool
	// rehearse lets each function run twice.
	rehearse bool
}

// do runs a statement of the writer's own.
func (w writing) do(ctx context.Context, text string) error {
	_, err := w.under.ExecContext(ctx, text, nil)
	return err
}

// run runs a statement of a caller.
func (w writing) run(ctx context.Context, text string, args []driver.NamedValue) (changed int64, took time.Duration, err error) {
	begun := time.Now()
	res, err := w.under.ExecContext(ctx, text, args)
	took = time.Since(begun)
	if err == nil {
		changed, err = res.RowsAffected()
	}
	return changed, took, err
}

// last runs the last statements of a caller. It returns the error of the first that is refused, and whether the transaction
// is gone with it.
func (w writing) last(ctx context.Context, e *end) (gone bool, refused error) {
	for i := range e.last {
		l := &e.last[i]
		if _, l.took, refused = w.run(ctx, l.text, l.values); refused == nil {
			continue
		}
		if gone = w.ended(ctx); !gone && l.refused != nil {
			refused = l.refused(refused)
		}
		return gone, refused
	}
	return false, nil
}

// ended reports whether the transaction is no longer there: some errors, as that of a full disk, end it. Then another one
// can begin.
func (w writing) ended(ctx context.Context) bool { return w.do(ctx, "BEGIN") == nil }

// bare returns the connection below database/sql and otelsql.
func bare(conn *sql.Conn) (under *keepingConn, err error) {
	err = conn.Raw(func(c any) error {
		for {
			switch inner := c.(type) {
			case *keepingConn:
				under = inner
				return nil
			case interface{ Raw() driver.Conn }: // otelsql
				c = inner.Raw()
			default:
				return fmt.Errorf("a connection of type %T", c)
			}
		}
	})
	return under, err
}

// named converts arguments as database/sql does.
func named(args []any) ([]driver.NamedValue, error) {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(a)
		if err != nil {
			return nil, fmt.Errorf("argument $%d: %w", i+1, err)
		}
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out, nil
}

// lost is what an error means that ended the transaction.
func (w writing) lost(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, done := w.tx.ExecContext(ctx, "SELECT 1"); errors.Is(done, sql.ErrTxDone) {
		// The function committed or rolled back by itself: what remains is unknown, so nobody may be run again.
		return fmt.Errorf("transaction ended inside its function: %w", done)
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// statement runs the statement of one caller. It reports what one does.
func statement(ctx context.Context, w writing, j *job) (bool, error) {
	if !j.taken.CompareAndSwap(false, true) {
		return false, nil // the caller has left
	}
	var err error
	j.changed, j.took, err = w.run(ctx, j.text, j.args)
	if err == nil {
		return true, nil
	}
	if w.ended(ctx) {
		return true, w.lost(ctx, err)
	}
	j.result <- err
	return false, nil
}

// hand runs the function of a caller, or lets the caller do it. It reports false if the caller has left.
func (w writing) hand(ctx context.Context, j *job) (ran bool, failed error) {
	if !j.taken.CompareAndSwap(false, true) {
		return false, nil
	}
	if j.grant == nil {
		if w.rehearse {
			if failed = w.rehearsed(ctx, j); failed != nil {
				return true, failed
			}
		}
		return true, j.try(w.tx)
	}
	j.grant <- w.tx
	return true, <-j.ran
}

// rehearsed runs the function of a caller and undoes what it did.
func (w writing) rehearsed(ctx context.Context, j *job) error {
	if err := w.do(ctx, "SAVEPOINT rehearsal"); err != nil {
		return err
	}
	failed := j.try(w.tx)
	for _, text := range []string{"ROLLBACK TO rehearsal", "RELEASE rehearsal"} {
		if err := w.do(ctx, text); err != nil {
			return errors.Join(failed, err)
		}
	}
	w.under.changed, w.under.shaken = false, false
	return failed
}

// trust runs one caller without a savepoint. It reports what one does; a *spoiled error means that the group is to be rolled back.
func trust(ctx context.Context, w writing, j *job) (bool, error) {
	w.under.changed, w.under.shaken = false, false
	ran, failed := w.hand(ctx, j)
	if !ran {
		return false, nil
	}
	if failed == nil && len(j.end.last) > 0 {
		var gone bool
		if gone, failed = w.last(ctx, &j.end); gone {
			return true, w.lost(ctx, failed)
		}
	}
	if w.under.shaken && w.ended(ctx) {
		// A statement of this caller ended the transaction, by an interrupt, a full disk or on purpose.
		return true, w.lost(ctx, errEnded)
	}
	switch {
	case failed == nil:
		return true, nil
	case w.under.changed:
		return false, &spoiled{j, failed}
	default:
		j.result <- failed
		return false, nil
	}
}

var errEnded = errors.New("the transaction is not there any more")

// one runs one caller, behind a savepoint if that is wanted. It reports whether the caller waits for the commit; if not, the caller has
// its result already.
func one(ctx context.Context, w writing, j *job) (bool, error) {
	if !w.careful {
		return trust(ctx, w, j)
	}
	if err := w.do(ctx, "SAVEPOINT caller"); err != nil {
		return true, w.lost(ctx, err)
	}
	ran, failed := w.hand(ctx, j)
	if !ran {
		return false, w.lost(ctx, w.do(ctx, "RELEASE caller"))
	}
	if failed == nil && len(j.end.last) > 0 {
		var gone bool
		if gone, failed = w.last(ctx, &j.end); gone {
			return true, w.lost(ctx, failed)
		}
	}
	if failed != nil {
		err := w.do(ctx, "ROLLBACK TO caller")
		if err == nil {
			err = w.do(ctx, "RELEASE caller")
		}
		j.result <- failed
		return false, w.lost(ctx, err)
	}
	// Fails if a statement of this caller ended the transaction, by an interrupt, a full disk or on purpose.
	return true, w.lost(ctx, w.do(ctx, "RELEASE caller"))
}
