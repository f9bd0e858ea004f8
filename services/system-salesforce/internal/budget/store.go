package budget

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/priority"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Report is what a replica has to tell since its last one. Levels index the arrays.
type Report struct {
	// Completed is how many calls it was given have a known outcome; Returned how many it will not make.
	Completed, Returned int64
	// Extra is how many calls it made without having been given them.
	Extra int64
	// Used and Limit are the highest figures it saw; Limit is 0 when it saw none.
	Used, Limit int64
	// Closed is the most urgent level that Salesforce refused because the allowance is used up; Unset when none.
	Closed priority.Level
	// Opened is the most urgent level of a trial that was served; Unset when none.
	Opened priority.Level
	// Own counts the requests sent, by level.
	Own [priority.Audit + 1]int64
}

// empty reports whether there is nothing to tell.
func (r Report) empty() bool { return r == Report{} }

// add joins a later report.
func (r *Report) add(later Report) {
	r.Completed += later.Completed
	r.Returned += later.Returned
	r.Extra += later.Extra
	if later.Limit > 0 {
		if r.Limit != later.Limit {
			r.Used, r.Limit = later.Used, later.Limit
		}
		r.Used = max(r.Used, later.Used)
	}
	for _, p := range []struct{ have, more *priority.Level }{{&r.Closed, &later.Closed}, {&r.Opened, &later.Opened}} {
		if *p.more != priority.Unset && (*p.have == priority.Unset || *p.more < *p.have) {
			*p.have = *p.more
		}
	}
	for l, n := range later.Own {
		r.Own[l] += n
	}
}

// Exchange is one report of a replica, and what it asks for.
type Exchange struct {
	// Replica names the process; no two that run at once share a name.
	Replica string
	// Seq numbers the exchanges of a replica. One that is repeated, because its answer was lost, has the effect of the first.
	Seq int64
	// Report is taken in first.
	Report Report
	// Level and Want ask for calls; Want 0 asks for none.
	Level priority.Level
	Want  int64
	// Force asks for one call whatever is left.
	Force bool
	// Refresh asks whether this replica shall read the limits now.
	Refresh bool
}

// Answer is what a replica is told.
type Answer struct {
	// Block is how many calls it may make.
	Block int64
	// Refresh is true when it shall read the limits now.
	Refresh bool
	// State is the allowance after the exchange.
	State State

	refused verdict
}

// State is what is known about the allowance.
type State struct {
	// Limit and Used are as last reported by Salesforce; Limit is 0 when nothing is known yet.
	Limit, Used int64
	// Estimate is what will have been used, at most, when all calls handed out have been made.
	Estimate int64
	// Outstanding is how many of them have no known outcome.
	Outstanding int64
	// Observed is when Salesforce last reported.
	Observed time.Time
	// Closed is until when calls of ClosedFor and less urgent ones are held back; zero when none are.
	Closed    time.Time
	ClosedFor priority.Level
}

func (a *account) state() State {
	return State{
		Limit: a.most, Used: a.used, Estimate: a.estimate(), Outstanding: a.outstanding(), Observed: a.observed, Closed: a.closed, ClosedFor: a.closedFor,
	}
}

// Allowance is one of the org's other limits.
type Allowance struct {
	// Name is Salesforce's, for example DailyDeliveredPlatformEvents.
	Name string
	// Limit and Remaining are as last reported.
	Limit, Remaining int64
	// Observed is when.
	Observed time.Time
}

// Usage is the history of one slot of a quarter of an hour.
type Usage struct {
	// End is when the slot ended.
	End time.Time
	// Used is the org's usage at the end of the slot.
	Used int64
	// Own counts the requests of all replicas in the slot, by level.
	Own [priority.Audit + 1]int64

	slot int64
}

// Store keeps the allowance of one org for all replicas. It is safe for concurrent use, also by several processes.
type Store struct {
	db  *db.DB
	org string
	cfg Config
}

// OpenStore brings the schema up to date and returns the store of an org. The caller closes d.
func OpenStore(ctx context.Context, d *db.DB, org string, cfg Config) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open budget store: %w", err)
	}
	if err := d.Migrate(ctx, files, "salesforce_budget_migration"); err != nil {
		return nil, fmt.Errorf("open budget store: %w", err)
	}
	return &Store{db: d, org: org, cfg: cfg}, nil
}

// Exchange takes a report in and hands calls out, in one transaction. Errors are about the database; then it is not known
// whether the exchange happened, and repeating it with the same Seq is safe.
func (s *Store) Exchange(ctx context.Context, x Exchange, now time.Time) (Answer, error) {
	var out Answer
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		out = Answer{}
		if err := s.db.Lock(ctx, tx, "salesforce-budget/"+s.org); err != nil {
			return err
		}
		a, err := s.load(ctx, tx)
		if err != nil {
			return err
		}
		leases, err := s.leases(ctx, tx)
		if err != nil {
			return err
		}
		mine := leases[x.Replica]
		mine.replica = x.Replica
		before := *a
		if err := s.bury(ctx, tx, a, leases, x.Replica, now); err != nil {
			return err
		}
		if x.Seq <= mine.seq {
			out.Block = mine.block // the answer of the first time was lost
		} else {
			out = a.exchange(s.cfg, &mine, x, now)
			if err := s.count(ctx, tx, x.Report, now); err != nil {
				return err
			}
		}
		out.State = a.state()
		mine.expires = now.Add(s.cfg.Lease)
		if err := s.saveLease(ctx, tx, mine); err != nil {
			return err
		}
		if *a == before {
			return nil
		}
		return s.save(ctx, tx, a)
	})
	if err != nil {
		return Answer{}, fmt.Errorf("exchange with the budget store: %w", err)
	}
	return out, nil
}

// bury counts the calls of replicas that have vanished as made: Salesforce's figures hold those that were.
func (s *Store) bury(ctx context.Context, tx *sql.Tx, a *account, leases map[string]lease, self string, now time.Time) error {
	for _, name := range slices.Sorted(maps.Keys(leases)) {
		l := leases[name]
		if name == self || l.expires.After(now) {
			continue
		}
		a.completed += l.outstanding
		if _, err := tx.ExecContext(ctx, "DELETE FROM api_budget_lease WHERE org = $1 AND replica = $2", s.org, name); err != nil {
			return fmt.Errorf("remove a lease: %w", err)
		}
	}
	return nil
}

// State returns what is known.
func (s *Store) State(ctx context.Context) (State, error) {
	a, err := s.read(ctx, s.db.Read())
	if errors.Is(err, sql.ErrNoRows) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read the budget: %w", err)
	}
	return a.state(), nil
}

func (s *Store) load(ctx context.Context, tx *sql.Tx) (*account, error) {
	a, err := s.read(ctx, tx)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, `INSERT INTO api_budget (org, most, used, granted, completed, high, high_before, base, base_before,
			period_at, observed_at, closed_until, closed_level, refresh_at) VALUES ($1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)`, s.org)
		a = &account{}
	}
	if err != nil {
		return nil, fmt.Errorf("load the budget: %w", err)
	}
	return a, nil
}

func (s *Store) read(ctx context.Context, q db.Querier) (*account, error) {
	a := &account{}
	var period, observed, closed, refresh, level int64
	err := q.QueryRowContext(ctx, `SELECT most, used, granted, completed, high, high_before, base, base_before, period_at, observed_at,
		closed_until, closed_level, refresh_at FROM api_budget WHERE org = $1`, s.org).
		Scan(&a.most, &a.used, &a.granted, &a.completed, &a.high, &a.highBefore, &a.base, &a.baseBefore, &period, &observed, &closed, &level, &refresh)
	if err != nil {
		return nil, err
	}
	a.period, a.observed, a.closed, a.refresh = db.FromMicros(period), db.FromMicros(observed), db.FromMicros(closed), db.FromMicros(refresh)
	a.closedFor = priority.Level(level) //nolint:gosec // written by save
	return a, nil
}

func (s *Store) save(ctx context.Context, tx *sql.Tx, a *account) error {
	_, err := tx.ExecContext(ctx, `UPDATE api_budget SET most = $1, used = $2, granted = $3, completed = $4, high = $5, high_before = $6, base = $7,
		base_before = $8, period_at = $9, observed_at = $10, closed_until = $11, closed_level = $12, refresh_at = $13 WHERE org = $14`,
		a.most, a.used, a.granted, a.completed, a.high, a.highBefore, a.base, a.baseBefore, db.Micros(a.period), db.Micros(a.observed), db.Micros(a.closed),
		int64(a.closedFor), db.Micros(a.refresh), s.org)
	if err != nil {
		return fmt.Errorf("save the budget: %w", err)
	}
	return nil
}

// lease is what one replica has been given.
type lease struct {
	replica                 string
	outstanding, seq, block int64
	expires                 time.Time
}

func (s *Store) leases(ctx context.Context, tx *sql.Tx) (out map[string]lease, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT replica, outstanding, expires_at, seq, block FROM api_budget_lease WHERE org = $1", s.org)
	if err != nil {
		return nil, fmt.Errorf("load leases: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string]lease{}
	for rows.Next() {
		var l lease
		var expires int64
		if err := rows.Scan(&l.replica, &l.outstanding, &expires, &l.seq, &l.block); err != nil {
			return nil, fmt.Errorf("load leases: %w", err)
		}
		l.expires = db.FromMicros(expires)
		out[l.replica] = l
	}
	return out, rows.Err()
}

func (s *Store) saveLease(ctx context.Context, tx *sql.Tx, l lease) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO api_budget_lease (org, replica, outstanding, expires_at, seq, block) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (org, replica) DO UPDATE SET outstanding = $3, expires_at = $4, seq = $5, block = $6`,
		s.org, l.replica, l.outstanding, db.Micros(l.expires), l.seq, l.block)
	if err != nil {
		return fmt.Errorf("save a lease: %w", err)
	}
	return nil
}
