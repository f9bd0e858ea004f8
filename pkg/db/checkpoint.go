package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"modernc.org/sqlite"
)

// SQLite writes changes to a log first. To copy them into the file from time to time, and to flush that, takes as long as
// some hundred commits; left to SQLite, one of the commits does it, and everybody waits. So another connection does it
// beside the writer. The log begins anew when all of it has been copied, which need not happen while much is written:
// when it has become long the writer copies the rest itself, a small one: it waits until one beside it has just ended, if the
// log does not become twice as long meanwhile.
const (
	checkpointPages = 1000 // as SQLite would
	longLog         = 8000 // pages
)

// checkpoints copies the log beside the writer, on a connection that is made when it is first due.
type checkpoints struct {
	due   chan struct{} // closed to stop
	done  chan error
	ended atomic.Bool // one has ended since the writer asked

	// Of the writer only: how many pages were written since it was due, and how long the log is at most.
	since, log  int
	every, long int // checkpointPages and longLog
}

func newCheckpoints(c driver.Connector) *checkpoints {
	k := &checkpoints{due: make(chan struct{}, 1), done: make(chan error, 1), every: checkpointPages, long: longLog}
	go func() { k.done <- k.run(c) }()
	return k
}

// run makes checkpoints until it is stopped. What fails is done the next time, at the latest by the writer.
func (k *checkpoints) run(c driver.Connector) (err error) {
	var conn driver.Conn
	for range k.due {
		if conn == nil {
			if conn, err = c.Connect(context.Background()); err != nil {
				conn = nil
				continue
			}
		}
		_, _ = checkpoint(conn)
		k.ended.Store(true)
	}
	if conn == nil {
		return nil
	}
	return conn.Close()
}

// wrote is told by the writer that it has committed, outside a transaction.
func (k *checkpoints) wrote(under *keepingConn) {
	pages, _, err := under.Status(sqlite.DBStatusCacheWrite, true)
	if err != nil {
		return
	}
	k.since += pages
	k.log += pages
	ended := k.ended.Swap(false)
	if k.since >= k.every {
		k.since = 0
		select {
		case k.due <- struct{}{}:
		default: // it is due already
		}
	}
	if k.log < k.long || !ended && k.log < 2*k.long {
		return
	}
	k.log -= k.long / 32 // it is tried again soon, as long as somebody reads what is in the log
	if pages, err := checkpoint(under); err == nil {
		k.log = min(k.log, pages) // of a log that has begun anew
	}
}

// checkpoint copies what can be copied without waiting for anybody, and returns how many pages the log has.
func checkpoint(c driver.Conn) (pages int, err error) {
	q, ok := c.(driver.QueryerContext)
	if !ok {
		return 0, fmt.Errorf("a connection of type %T", c)
	}
	rows, err := q.QueryContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)", nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("a checkpoint that says nothing")
		}
		return 0, err
	}
	if len(row) != 3 {
		return 0, fmt.Errorf("a checkpoint with %d columns", len(row))
	}
	busy, _ := row[0].(int64)
	all, _ := row[1].(int64)
	if busy != 0 {
		return 0, errors.New("somebody else makes a checkpoint")
	}
	return int(all), nil
}

// stop ends it. The writer must have ended.
func (k *checkpoints) stop() error {
	close(k.due)
	return <-k.done
}
