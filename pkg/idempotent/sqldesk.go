package idempotent

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

const (
	resolvable = ` WHERE k = $2 AND fence = $3 AND (` + stateOfKey + ` = 'u' OR (` + stateOfKey + ` = 'c' AND ($4 OR lease_until <= {now})))`

	sqlResolveDone = `UPDATE idempotency SET state = 'd', fence = fence + 1, answer_ok = $5, answer = $6, resource = $7, subject = $8, expires_at = {now} + $9` + resolvable

	sqlResolveReleased = `UPDATE idempotency SET state = 'r', earlier = FALSE, lease_until = {now}, expires_at = {now} + $5` + resolvable

	bury = `UPDATE idempotency SET state = 't', answer = NULL, subject = NULL, expires_at = {now} + $2 WHERE `

	// Only inside, or SQLite would read all that are done and compare them with the list.
	sqlBury = bury + `k IN (SELECT k FROM idempotency WHERE state = 'd' AND expires_at <= {now} ORDER BY expires_at LIMIT $3{skip})`

	sqlErase = bury + `subject = $3`

	sqlExpire = bury + `k = $3 AND state = 'd'`

	sqlVanished = `UPDATE idempotency SET state = 'u'
 WHERE k IN (SELECT k FROM idempotency WHERE state = 'c' AND NOT recoverable AND lease_until <= {now} ORDER BY lease_until LIMIT $2{skip})`

	// Steps live as long as an attempt may need them.
	sqlForgetSteps = `DELETE FROM idempotency_steps WHERE k IN (SELECT s.k FROM idempotency_steps s LEFT JOIN idempotency i ON i.k = s.k
 AND (i.state = 'u' OR (i.state IN ('c', 'r') AND (i.expires_at > {now} - $2 OR i.lease_until > {now}))) WHERE i.k IS NULL LIMIT $3)`

	forget = `DELETE FROM idempotency WHERE k IN (SELECT k FROM idempotency WHERE `

	stepless = ` AND NOT EXISTS (SELECT 1 FROM idempotency_steps s WHERE s.k = idempotency.k)`

	sqlForgetTombs = forget + `state = 't' AND expires_at <= {now}` + stepless + ` ORDER BY expires_at LIMIT $2{skip})`

	// What may have had its effect is remembered as long as what had it.
	sqlForgetReleased = forget + `state = 'r' AND expires_at <= {now} AND (NOT earlier OR expires_at <= {now} - $2)` + stepless + ` ORDER BY expires_at LIMIT $3{skip})`

	sqlForgetAbandoned = forget + `state = 'c' AND recoverable AND lease_until <= {now} AND expires_at <= {now} - $2` + stepless + ` ORDER BY lease_until LIMIT $3{skip})`

	sqlOpen = `SELECT state, count(*), min(claimed_at), sum(CASE WHEN lease_until <= {now} THEN 1 ELSE 0 END), {now}
 FROM idempotency WHERE state = 'u' OR (state = 'c' AND (NOT recoverable OR lease_until > {now} - $2)) GROUP BY state`

	sqlSizePostgres = `SELECT greatest(reltuples, 0)::bigint, pg_total_relation_size(oid) FROM pg_class WHERE oid = 'idempotency'::regclass`

	sqlSizeSQLite = `SELECT count(*), 0 FROM idempotency`
)

func statements() []string {
	return []string{
		sqlRead, sqlDecide, sqlInsert, sqlTake, sqlDoubt, sqlHeartbeat, sqlComplete, sqlEnd, sqlStep, sqlHeld, sqlResolveDone, sqlResolveReleased,
		sqlBury, sqlErase, sqlExpire, sqlVanished, sqlForgetSteps, sqlForgetTombs, sqlForgetReleased, sqlForgetAbandoned, sqlOpen, sqlAnswer, sqlReadMany, sqlInsertMany, sqlCompleteMany,
	}
}

// Resolve implements Store.
func (s *SQLStore) Resolve(ctx context.Context, g Grant, v Verdict) error {
	args := []any{s.at(), g.Digest[:], g.Fence, v.Force}
	text := sqlResolveReleased
	if v.Executed {
		text, args = sqlResolveDone, append(args, s.answerArgs(v.Answer, g.Retention)...)
	} else {
		args = append(args, g.Retention.Microseconds())
	}
	n, err := s.change(ctx, text, args...)
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("resolve idempotency record: %w", err)
	}
	return nil
}

// change runs one statement and returns how many records it changed.
func (s *SQLStore) change(ctx context.Context, text string, args ...any) (n int64, err error) {
	err = s.db.Single(ctx, func(ctx context.Context, e db.Execer) error {
		res, err := e.ExecContext(ctx, s.sql(text), args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

func (s *SQLStore) tombstone() int64 {
	if s.Tombstone <= 0 {
		return DefaultTombstone.Microseconds()
	}
	return s.Tombstone.Microseconds()
}

// On SQLite the single writer keeps everybody waiting meanwhile, so a transaction purges few records, or gives few pages
// back.
const (
	purgeChunk  = 20
	shrinkChunk = 10
)

// Purge implements Store. On SQLite it also gives room that is no longer needed back to the file system.
func (s *SQLStore) Purge(ctx context.Context, limit int) (int, error) {
	total := 0
	for _, st := range []struct {
		text string
		args []any
	}{
		{sqlBury, []any{s.tombstone()}},
		{sqlVanished, nil},
		{sqlForgetSteps, []any{s.tombstone()}},
		{sqlForgetTombs, nil},
		{sqlForgetReleased, []any{s.tombstone()}},
		{sqlForgetAbandoned, []any{s.tombstone()}},
	} {
		n, err := s.purge(ctx, limit, st.text, st.args...)
		if st.text != sqlForgetSteps {
			total += n
		}
		if err != nil {
			return total, fmt.Errorf("purge idempotency records: %w", err)
		}
	}
	for range limit / shrinkChunk {
		if n, err := s.db.Shrink(ctx, shrinkChunk); err != nil {
			return total, fmt.Errorf("purge idempotency records: %w", err)
		} else if n == 0 {
			break
		}
	}
	return total, nil
}

// purge changes at most limit records. It does not matter if a crash undoes some of it.
func (s *SQLStore) purge(ctx context.Context, limit int, text string, args ...any) (total int, err error) {
	chunk := limit
	if s.db.Engine() != db.PostgreSQL {
		chunk = min(limit, purgeChunk)
	}
	for total < limit && ctx.Err() == nil {
		all := append(append(make([]any, 0, 2+len(args)), s.at()), args...)
		n, err := s.db.ExecRelaxed(ctx, s.sql(text), append(all, min(chunk, limit-total))...)
		total += int(n)
		if err != nil {
			return total, err
		}
		if int(n) < chunk {
			break
		}
	}
	return total, nil
}

// Erase implements Store.
func (s *SQLStore) Erase(ctx context.Context, subject string) (int, error) {
	return s.erase(subject, func(args ...any) (int64, error) { return s.change(ctx, sqlErase, args...) })
}

// EraseTx does what Erase does in a transaction of the same database, so that what answers hold of somebody goes together with the
// record that they are about, or stays with it.
func (s *SQLStore) EraseTx(ctx context.Context, tx *sql.Tx, subject string) (int, error) {
	return s.erase(subject, func(args ...any) (int64, error) {
		res, err := tx.ExecContext(ctx, s.sql(sqlErase), args...)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	})
}

// erase runs sqlErase for the subject under each secret.
func (s *SQLStore) erase(subject string, run func(args ...any) (int64, error)) (total int, err error) {
	for _, secret := range s.secrets {
		n, err := run(s.at(), s.tombstone(), SubjectDigest(secret, subject))
		if err != nil {
			return total, fmt.Errorf("erase idempotency answers: %w", err)
		}
		total += int(n)
	}
	return total, nil
}

// Expire implements Store.
func (s *SQLStore) Expire(ctx context.Context, d Digest) error {
	n, err := s.change(ctx, sqlExpire, s.at(), s.tombstone(), d[:])
	if err != nil {
		return fmt.Errorf("expire idempotency answer: %w", err)
	}
	if n > 0 {
		return nil
	}
	if _, err := s.Show(ctx, d); err != nil {
		return err
	}
	return ErrStale
}

// Show implements Store.
func (s *SQLStore) Show(ctx context.Context, d Digest) (Entry, error) {
	r, _, err := s.read(ctx, s.db.Read(), d)
	if errors.Is(err, sql.ErrNoRows) {
		return Entry{}, ErrNoRecord
	}
	if err != nil {
		return Entry{}, fmt.Errorf("read idempotency record: %w", err)
	}
	return r.entry(d), nil
}

// List implements Store; pages are ordered by digest.
func (s *SQLStore) List(ctx context.Context, f Filter) (Page, error) {
	text, args, err := f.query()
	if err != nil {
		return Page{}, err
	}
	rows, err := s.db.Read().QueryContext(ctx, text, args...)
	if err != nil {
		return Page{}, fmt.Errorf("list idempotency records: %w", err)
	}
	defer rows.Close()
	var page Page
	for rows.Next() {
		var k []byte
		var r record
		if err := rows.Scan(r.dest(append(make([]any, 0, maxColumns), &k))...); err != nil {
			return Page{}, fmt.Errorf("list idempotency records: %w", err)
		}
		var d Digest
		copy(d[:], k)
		page.Entries = append(page.Entries, r.entry(d))
	}
	if err := rows.Err(); err != nil {
		return Page{}, fmt.Errorf("list idempotency records: %w", err)
	}
	if limit := f.limit(); len(page.Entries) > limit {
		page.Entries = page.Entries[:limit]
		page.Next = page.Entries[limit-1].Digest.String()
	}
	return page, nil
}

func (f Filter) query() (string, []any, error) {
	after, err := f.after()
	if err != nil {
		return "", nil, err
	}
	var (
		args  []any
		where []string
	)
	cond := func(text string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(text, len(args)))
	}
	cond("k > $%d", after)
	if prefix, _ := hex.DecodeString(f.Prefix); len(prefix) > 0 {
		cond("k >= $%d", prefix)
		cond("k <= $%d", slices.Concat(prefix, bytes.Repeat([]byte{0xff}, len(Digest{}))))
	}
	if f.Method != "" {
		cond("method = $%d", f.Method)
	}
	if !f.ClaimedBefore.IsZero() {
		cond("claimed_at < $%d", f.ClaimedBefore.UnixMicro())
	}
	if len(f.States) > 0 {
		var list []string
		for _, st := range f.States {
			args = append(args, string(st))
			list = append(list, fmt.Sprintf("$%d", len(args)))
		}
		where = append(where, "state IN ("+strings.Join(list, ", ")+")")
	}
	args = append(args, f.limit()+1)
	return fmt.Sprintf("SELECT k, %s FROM idempotency WHERE %s ORDER BY k LIMIT $%d", columns, strings.Join(where, " AND "), len(args)), args, nil
}

// Stats implements Store. On PostgreSQL the number of records is the planner's estimate.
func (s *SQLStore) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	size := sqlSizeSQLite
	if s.db.Engine() == db.PostgreSQL {
		size = sqlSizePostgres
	}
	if err := s.db.Read().QueryRowContext(ctx, size).Scan(&st.Records, &st.Bytes); err != nil {
		return Stats{}, fmt.Errorf("count idempotency records: %w", err)
	}
	rows, err := s.db.Read().QueryContext(ctx, s.sql(sqlOpen), s.at(), GivenUp.Microseconds())
	if err != nil {
		return Stats{}, fmt.Errorf("count idempotency claims: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			state                   State
			n, oldest, vanished, at int64
		)
		if err := rows.Scan(&state, &n, &oldest, &vanished, &at); err != nil {
			return Stats{}, fmt.Errorf("count idempotency claims: %w", err)
		}
		age := time.Duration(max(at-oldest, 0)) * time.Microsecond
		if state == Uncertain {
			st.Uncertain, st.OldestUncertain = n, age
		} else {
			st.Open, st.OldestOpen, st.Abandoned = n, age, vanished
		}
	}
	if err := rows.Err(); err != nil {
		return Stats{}, fmt.Errorf("count idempotency claims: %w", err)
	}
	return st, nil
}
