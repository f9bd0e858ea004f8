package idempotent

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

//go:embed migrations
var migrations embed.FS

const (
	migrationTable = "idempotency_migrations"
	minSecret      = 16 // bytes
	maxRaces       = 5  // how often a claim reads again after losing a race
)

// SQLStore keeps claims and answers in the service's own database. On PostgreSQL any number of replicas share it, and
// its clock decides about leases.
type SQLStore struct {
	// Tombstone is how long a finished call is remembered after its answer; zero means DefaultTombstone. Set it before
	// first use.
	Tombstone time.Duration

	db      *db.DB
	secrets [][]byte
	key     *secretKey       // of the first secret
	now     func() time.Time // nil: PostgreSQL's clock
	clock   string           // SQL for now, from $1
	durable Durability
	text    map[string]string // statements with the clock filled in

	met       *met // SQLite only
	reads     combiner[Digest, found]
	records   sync.Pool // of *[]found, for the answers to reads
	claims    combiner[claimed, bool]
	completes combiner[settled, bool]
}

var _ Store = (*SQLStore)(nil)

// SQLOption changes a SQLStore.
type SQLOption func(*SQLStore)

// OtherSecrets are secrets under which records may exist besides those of the first secret, while it is being replaced.
// To replace a secret: give every replica the new one here; when all have it, make it the first and give the old one
// here; leave the old one out after the longest retention.
func OtherSecrets(secrets ...[]byte) SQLOption {
	return func(s *SQLStore) { s.secrets = append(s.secrets, secrets...) }
}

// NewSQLStore returns a store in d and creates its tables. Secret, at least 16 bytes, keys the HMAC that hides callers
// and keys from whoever reads the table; a store with another secret finds nothing of it (see OtherSecrets). A nil now
// means the clock of the store, which is what production uses; tests pass their own. It refuses a read replica.
func NewSQLStore(d *db.DB, secret []byte, now func() time.Time, opts ...SQLOption) (*SQLStore, error) {
	s := &SQLStore{db: d, secrets: [][]byte{secret}, now: now, clock: "CAST($1 AS BIGINT)", text: map[string]string{}}
	for _, o := range opts {
		o(s)
	}
	for _, secret := range s.secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("idempotency store: the secret has %d bytes, want at least %d", len(secret), minSecret)
		}
	}
	s.key = newSecretKey(secret)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("idempotency store: %w", err)
	}
	if s.durable, err = durability(ctx, d); err != nil {
		return nil, fmt.Errorf("idempotency store: %w", err)
	}
	if err := d.Migrate(ctx, files, migrationTable); err != nil {
		return nil, fmt.Errorf("idempotency store: %w", err)
	}
	switch {
	case now != nil:
	case d.Engine() == db.PostgreSQL:
		// Not now(): that is the start of the transaction and goes stale behind a row lock. Not EXTRACT: its decimal arithmetic costs as
		// much as to find a record, and a double holds the microseconds of the next two hundred years.
		s.clock = "(CAST(date_part('epoch', clock_timestamp()) * 1000000 AS BIGINT) + CAST($1 AS BIGINT))"
	default:
		s.now = time.Now
	}
	dialect := []string{"{now}", s.clock, "{skip}", d.SkipLocked(), "{share}", "", "{text}", "", "{bytea}", ""}
	if d.Engine() == db.PostgreSQL {
		// What copies from a row waits for whoever changes it.
		dialect = []string{"{now}", s.clock, "{skip}", d.SkipLocked(), "{share}", " FOR SHARE", "{text}", "::text", "{bytea}", "::bytea"}
	}
	for _, text := range statements() {
		s.text[text] = strings.NewReplacer(dialect...).Replace(text)
	}
	s.together()
	return s, nil
}

// durability asks the database what a commit means.
func durability(ctx context.Context, d *db.DB) (Durability, error) {
	if d.Engine() != db.PostgreSQL {
		var level int
		if err := d.Read().QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil {
			return 0, fmt.Errorf("read the durability of the database: %w", err)
		}
		if level < 2 {
			return Replicated, nil
		}
		return Durable, nil
	}
	var standby bool
	var commit, fsync string
	if err := d.Read().QueryRowContext(ctx, "SELECT pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync')").
		Scan(&standby, &commit, &fsync); err != nil {
		return 0, fmt.Errorf("read the durability of the database: %w", err)
	}
	switch {
	case standby:
		return 0, errors.New("the database is a read replica, which answers late and claims nothing")
	case commit == "off" || fsync == "off":
		return Replicated, nil
	default:
		return Durable, nil
	}
}

// Capabilities implements Store.
func (s *SQLStore) Capabilities() Capabilities {
	return Capabilities{Durability: s.durable, Shared: s.db.Engine() == db.PostgreSQL, Transactional: true}
}

// Digest implements Store.
func (s *SQLStore) Digest(scope Scope) Digest {
	return s.key.mac(scope.Principal, scope.Method, scope.Key)
}

// at is the argument $1 of every statement: the time, or nothing to add to the database's own.
func (s *SQLStore) at() int64 {
	if s.now == nil {
		return 0
	}
	return s.now().UnixMicro()
}

// sql returns a statement with the clock filled in.
func (s *SQLStore) sql(text string) string { return s.text[text] }

const (
	columns = `fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method, claimed_at, earlier`

	// What Begin decides by and an answer is made of. Each column costs the server about as much as each key.
	decisive = `fp, state, fence, owner, lease_until, expires_at, answer_ok, answer, resource, trace, claimed_at, earlier`

	sqlDecide = `SELECT ` + decisive + `, {now} FROM idempotency WHERE k = $2`

	sqlRead = `SELECT ` + columns + `, {now} FROM idempotency WHERE k = $2`

	sqlInsert = `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method, claimed_at)
 VALUES ($2, $3, 'c', 1, $4, $5, {now} + $6, {now} + $7, FALSE, NULL, '', $8, $9, {now})
 ON CONFLICT (k) DO NOTHING`

	// Only if the record is as it was read: same attempt, same state, no heartbeat since.
	sqlTake = `UPDATE idempotency SET state = 'c', fence = fence + 1, fp = $3, owner = $4, recoverable = $5, lease_until = {now} + $6,
 expires_at = {now} + $7, answer_ok = FALSE, answer = NULL, resource = '', trace = $8, method = $9, claimed_at = {now}, subject = NULL, earlier = $13
 WHERE k = $2 AND fence = $10 AND state = $11 AND lease_until = $12`

	// How to compare the state of the record of a key: as itself PostgreSQL would go through all open claims, and those that were since
	// the last vacuum, in the index that is made to find those, once it knows that they are few.
	stateOfKey = `state || ''`

	sqlDoubt = `UPDATE idempotency SET state = 'u', expires_at = {now}
 WHERE k = $2 AND fence = $3 AND ` + stateOfKey + ` = 'c' AND lease_until = $4`

	held = ` WHERE k = $2 AND fence = $3 AND owner = $4 AND ` + stateOfKey + ` = 'c'`

	sqlHeartbeat = `UPDATE idempotency SET lease_until = {now} + $5, expires_at = {now} + $5 + $6` + held

	sqlComplete = `UPDATE idempotency SET state = 'd', answer_ok = $5, answer = $6, resource = $7, subject = $8, expires_at = {now} + $9` + held

	sqlEnd = `UPDATE idempotency SET state = $5, lease_until = {now}, expires_at = {now} + $6` + held

	sqlStep = `INSERT INTO idempotency_steps (k, step, fence, result)
 SELECT k, $5{text}, fence, $6{bytea} FROM idempotency` + held + ` AND {now} > 0{share} ON CONFLICT (k, step) DO NOTHING`

	sqlHeld = `SELECT count(*) FROM idempotency` + held + ` AND {now} > 0`

	sqlSteps = `SELECT step, result FROM idempotency_steps WHERE k = $1`
)

const maxColumns = 16 // with the key and the time

// dest appends where the columns go.
func (r *record) dest(to []any) []any {
	return append(to, &r.fingerprint, (*string)(&r.state), &r.fence, &r.owner, &r.recoverable, &r.lease, &r.expires,
		&r.answer.OK, &r.answer.Body, &r.answer.Resource, &r.trace, &r.method, &r.claimed, &r.earlier)
}

func (s *SQLStore) read(ctx context.Context, q db.Querier, d Digest) (r record, now int64, err error) {
	err = q.QueryRowContext(ctx, s.sql(sqlRead), s.at(), d[:]).Scan(append(r.dest(make([]any, 0, maxColumns)), &now)...)
	return r, now, err
}

// Begin implements Store. It reads first: a finished call is answered without a lock or a write. On SQLite, where a read costs
// about as much as the claim, it reads first what it has met before; a key that it has not met is nearly always a new one.
func (s *SQLStore) Begin(ctx context.Context, c Claim) (Result, error) {
	begin := s.begin
	if len(s.secrets) > 1 {
		begin = s.beginRotating
	}
	res, err := begin(ctx, c)
	if err != nil {
		return Result{}, fmt.Errorf("claim idempotency key: %w", err)
	}
	return res, nil
}

func (s *SQLStore) begin(ctx context.Context, c Claim) (Result, error) {
	d := s.Digest(c.Scope)
	look := s.met == nil || s.met.before(d)
	for range maxRaces {
		var f found
		var err error
		if look {
			if f, err = s.reads.do(ctx, d); err != nil {
				return Result{}, err
			}
		}
		look = true
		if !f.there() {
			won, err := s.claims.do(ctx, claimed{c, d})
			if err != nil || won {
				return c.first(d), err
			}
			continue // somebody was faster
		}
		res, step := c.decide(d, f.record, f.now)
		if step == stepNone {
			return res, nil
		}
		done, err := s.advance(d, c, f.record, res, step, func(fn func(context.Context, db.Execer) error) error { return s.db.Single(ctx, fn) })
		if done || err != nil {
			return res, err
		}
	}
	return c.lostRaces(d), nil
}

// lostRaces is for a claim that somebody else was always faster than.
func (c Claim) lostRaces(d Digest) Result {
	return Result{Outcome: InProgress, Digest: d, Remaining: c.Lease}
}

func (s *SQLStore) claimArgs(d Digest, c Claim) []any {
	return []any{s.at(), d[:], c.Fingerprint, c.Owner, c.Takeover, c.Lease.Microseconds(), (c.Lease + c.Retention).Microseconds(), c.Trace, c.Scope.Method}
}

// advance does with the record that was read what the state machine says, for res. It reports false if the record changed since.
func (s *SQLStore) advance(d Digest, c Claim, r record, res Result, step step, run func(func(context.Context, db.Execer) error) error) (done bool, err error) {
	switch step {
	case stepNone:
		return true, nil
	case stepTake:
		err = run(func(ctx context.Context, e db.Execer) (err error) {
			done, err = changed(e.ExecContext(ctx, s.sql(sqlTake), append(s.claimArgs(d, c), r.fence, string(r.state), r.lease, res.Grant.Recovery)...))
			return err
		})
	case stepDoubt:
		err = run(func(ctx context.Context, e db.Execer) (err error) {
			done, err = changed(e.ExecContext(ctx, s.sql(sqlDoubt), s.at(), d[:], r.fence, r.lease))
			return err
		})
	}
	return done, err
}

// beginRotating claims while records may exist under several secrets. Replicas may disagree on which comes first: a lock
// that all of them take keeps two from claiming under different ones at once.
func (s *SQLStore) beginRotating(ctx context.Context, c Claim) (Result, error) {
	var res Result
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		d, _, err := s.lockScope(ctx, tx, c.Scope)
		if err != nil {
			return err
		}
		res, err = s.beginTx(ctx, tx, d, c)
		return err
	})
	return res, err
}

func (s *SQLStore) beginTx(ctx context.Context, tx *sql.Tx, d Digest, c Claim) (Result, error) {
	for range maxRaces {
		won, err := changed(tx.ExecContext(ctx, s.sql(sqlInsert), s.claimArgs(d, c)...))
		if err != nil || won {
			return c.first(d), err
		}
		r, now, err := s.read(ctx, tx, d)
		if errors.Is(err, sql.ErrNoRows) {
			continue // it was there and has been purged
		}
		if err != nil {
			return Result{}, err
		}
		res, step := c.decide(d, r, now)
		done, err := s.advance(d, c, r, res, step, func(fn func(context.Context, db.Execer) error) error { return fn(ctx, tx) })
		if done || err != nil {
			return res, err
		}
	}
	return c.lostRaces(d), nil
}

// lockScope returns where the record of a scope is, or belongs, and keeps others from making one elsewhere.
func (s *SQLStore) lockScope(ctx context.Context, tx *sql.Tx, scope Scope) (d Digest, found bool, err error) {
	digests := make([]Digest, len(s.secrets))
	for i, secret := range s.secrets {
		digests[i] = scope.Digest(secret)
	}
	lowest := slices.MinFunc(digests, func(x, y Digest) int { return bytes.Compare(x[:], y[:]) })
	if err := s.db.Lock(ctx, tx, "idempotency/"+lowest.String()); err != nil {
		return d, false, err
	}
	for _, d := range digests {
		switch _, _, err := s.read(ctx, tx, d); {
		case err == nil:
			return d, true, nil
		case !errors.Is(err, sql.ErrNoRows):
			return d, false, err
		}
	}
	return digests[0], false, nil
}

func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
