package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// States of a feed, as operators see them.
const (
	FeedConnecting = "CONNECTING"
	FeedScanning   = "SCANNING"
	FeedLive       = "LIVE"
	FeedFailing    = "FAILING"
	FeedPaused     = "PAUSED"
)

// States of the scan of a feed.
const (
	ScanNeeded  = "needed"
	ScanRunning = "running"
	ScanDone    = "done"
)

// Feed is where the feed of one system stands.
type Feed struct {
	System string
	// Token resumes the stream; empty when none is known.
	Token string
	// State is CONNECTING, SCANNING, LIVE, FAILING or PAUSED; Reason says why it fails, or what the system waits for while it is LIVE.
	State, Reason string
	// Resume is when a feed that waits goes on; zero when it does not wait, or nobody knows.
	Resume time.Time
	// Position is the time up to which Token has everything, by the system's clock; zero when it is not known.
	Position time.Time
	// Scan is needed, running or done. Phase and Cursor say how far a running one is, Epoch is its number.
	Scan, Phase, Cursor string
	Epoch               int64
	// Scanned counts the records read by the scan under way or the last one.
	Scanned int64
	// Complete is true once a scan has ended.
	Complete bool
	// LastMessage is when the last message arrived, LastCommit the commit time of the newest change taken in.
	LastMessage, LastCommit time.Time
	// Owner holds the feed until LeaseUntil; Fence grows with every owner.
	Owner      string
	LeaseUntil time.Time
	Fence      int64
}

const feedColumns = `system, token, state, reason, scan, scan_phase, scan_cursor, scan_epoch, scanned, complete,
	last_message_us, last_commit_us, lease_owner, lease_until_us, fence, position_us, resume_us`

func scanFeed(row interface{ Scan(...any) error }) (Feed, error) {
	var f Feed
	var message, commit, until, position, resume int64
	err := row.Scan(&f.System, &f.Token, &f.State, &f.Reason, &f.Scan, &f.Phase, &f.Cursor, &f.Epoch, &f.Scanned,
		&f.Complete, &message, &commit, &f.Owner, &until, &f.Fence, &position, &resume)
	f.LastMessage, f.LastCommit, f.LeaseUntil = db.FromMicros(message), db.FromMicros(commit), db.FromMicros(until)
	f.Position, f.Resume = db.FromMicros(position), db.FromMicros(resume)
	return f, err
}

// Feed returns the feed of a system; ErrNotFound when it was never opened.
func (r Reader) Feed(ctx context.Context, system string) (Feed, error) {
	f, err := scanFeed(r.q.QueryRowContext(ctx, "SELECT "+feedColumns+" FROM feed WHERE system = $1", system))
	if errors.Is(err, sql.ErrNoRows) {
		return Feed{}, fmt.Errorf("feed %s: %w", system, ErrNotFound)
	}
	if err != nil {
		return Feed{}, fmt.Errorf("read feed %s: %w", system, err)
	}
	return f, nil
}

// Feeds returns all feeds by system name.
func (r Reader) Feeds(ctx context.Context) ([]Feed, error) {
	var out []Feed
	err := r.query(ctx, "read feeds", "SELECT "+feedColumns+" FROM feed ORDER BY system", nil, func(rows *sql.Rows) error {
		f, err := scanFeed(rows)
		out = append(out, f)
		return err
	})
	return out, err
}

// EnsureFeed makes the row of a system that is new; its first scan is needed.
func (t *Tx) EnsureFeed(ctx context.Context, system string) error {
	_, err := t.exec(ctx, "make feed "+system, "INSERT INTO feed ("+feedColumns+`)
		VALUES ($1, '', 'CONNECTING', '', 'needed', '', '', 0, 0, FALSE, 0, 0, '', 0, 0, 0, 0) ON CONFLICT (system) DO NOTHING`, system)
	return err
}

// AcquireFeed takes the feed for owner until now+ttl and raises the fence; false while another owner holds it.
func (t *Tx) AcquireFeed(ctx context.Context, system, owner string, now time.Time, ttl time.Duration) (Feed, bool, error) {
	f, err := scanFeed(t.tx.QueryRowContext(ctx, `UPDATE feed SET lease_owner = $2, lease_until_us = $3, fence = fence + 1
		WHERE system = $1 AND (lease_until_us <= $4 OR lease_owner = $2) RETURNING `+feedColumns,
		system, owner, db.Micros(now.Add(ttl)), db.Micros(now)))
	if errors.Is(err, sql.ErrNoRows) {
		return Feed{}, false, nil
	}
	if err != nil {
		return Feed{}, false, fmt.Errorf("acquire feed %s: %w", system, err)
	}
	return f, true, nil
}

// RenewFeed lengthens the lease and returns the feed; ErrFenced when it is not ours any more.
func (t *Tx) RenewFeed(ctx context.Context, system string, fence int64, now time.Time, ttl time.Duration) (Feed, error) {
	return fenced(scanFeed(t.tx.QueryRowContext(ctx, "UPDATE feed SET lease_until_us = $3 WHERE system = $1 AND fence = $2 RETURNING "+
		feedColumns, system, fence, db.Micros(now.Add(ttl)))))
}

// ReleaseFeed gives the feed up, so that another process need not wait for the lease to end.
func (t *Tx) ReleaseFeed(ctx context.Context, system string, fence int64) error {
	_, err := t.exec(ctx, "release feed "+system, "UPDATE feed SET lease_until_us = 0 WHERE system = $1 AND fence = $2", system, fence)
	return err
}

// SaveFeed stores where the feed stands, all but lease and fence, if f.Fence still holds; ErrFenced otherwise. A scan
// that an operator has asked for meanwhile is kept: the returned feed shows it.
func (t *Tx) SaveFeed(ctx context.Context, f Feed) (Feed, error) {
	return fenced(scanFeed(t.tx.QueryRowContext(ctx, `UPDATE feed SET token = $3, state = $4, reason = $5,
			scan = CASE WHEN scan = 'needed' AND $6 IN ('done', 'running') AND scan_epoch = $9 THEN scan ELSE $6 END,
			scan_phase = $7, scan_cursor = $8, scan_epoch = $9, scanned = $10, complete = $11,
			last_message_us = CASE WHEN last_message_us > $12 THEN last_message_us ELSE $12 END,
			last_commit_us = CASE WHEN last_commit_us > $13 THEN last_commit_us ELSE $13 END,
			position_us = $14, resume_us = $15
		WHERE system = $1 AND fence = $2 RETURNING `+feedColumns,
		f.System, f.Fence, f.Token, f.State, f.Reason, f.Scan, f.Phase, f.Cursor, f.Epoch, f.Scanned, f.Complete,
		db.Micros(f.LastMessage), db.Micros(f.LastCommit), db.Micros(f.Position), db.Micros(f.Resume))))
}

func fenced(f Feed, err error) (Feed, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return Feed{}, ErrFenced
	}
	if err != nil {
		return Feed{}, fmt.Errorf("write feed: %w", err)
	}
	return f, nil
}

// RequestScan asks for everything of a system to be looked at again; false when that is already to be done. A scan under
// way is begun again: it may have passed what the request is about.
func (t *Tx) RequestScan(ctx context.Context, system string) (bool, error) {
	n, err := t.exec(ctx, "request scan of "+system, "UPDATE feed SET scan = 'needed' WHERE system = $1 AND scan <> 'needed'", system)
	return n > 0, err
}

// InUse returns the feeds of the systems that are configured, and those that some process reads now: replicas may be started with
// another configuration. One that stays behind when its system is taken out of the configuration goes on if it comes back.
func InUse(feeds []Feed, configured []string, now time.Time) []Feed {
	return slices.DeleteFunc(slices.Clone(feeds), func(f Feed) bool { return !slices.Contains(configured, f.System) && !f.LeaseUntil.After(now) })
}

// ResetLeases frees what a process that is no more had taken. Only for a database that one process uses at a time.
func (t *Tx) ResetLeases(ctx context.Context) error {
	for _, table := range []string{"feed", "pending", "erasure_step", "reconcile_run"} {
		if _, err := t.exec(ctx, "reset leases of "+table, "UPDATE "+table+" SET lease_until_us = 0 WHERE lease_until_us > 0"); err != nil {
			return err
		}
	}
	return nil
}
