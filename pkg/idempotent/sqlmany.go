package idempotent

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// found is a record and when it was read; the zero value stands for one that is not there.
type found struct {
	record
	now int64
}

func (f *found) there() bool { return f.state != "" }

// row is where a found record is read to. Its bytes are those of the connection, until the next row.
type row struct {
	found

	fingerprint, owner, body sql.RawBytes
}

// decisive appends where the columns of that name go, and the time.
func (r *row) decisive(to []any) []any {
	return append(to, &r.fingerprint, (*string)(&r.state), &r.fence, &r.owner, &r.lease, &r.expires, &r.answer.OK, &r.body,
		&r.answer.Resource, &r.trace, &r.claimed, &r.earlier, &r.now)
}

// keep copies the row to f, its bytes in one piece.
func (r *row) keep(f *found) {
	*f = r.found
	all := make([]byte, 0, len(r.fingerprint)+len(r.owner)+len(r.body))
	all = append(append(append(all, r.fingerprint...), r.owner...), r.body...)
	owner, body := len(r.fingerprint), len(r.fingerprint)+len(r.owner)
	f.fingerprint, f.owner = all[:owner:owner], all[owner:body:body]
	if r.body != nil {
		f.answer.Body = all[body:]
	}
}

// claimed is a claim for a record that nobody has.
type claimed struct {
	Claim
	digest Digest
}

// settled is an answer for a grant.
type settled struct {
	Grant
	Answer
}

// together sets up what callers do together. How many statements of a kind run at once is a compromise: with one, each
// waits for the one before; with many, few callers share one. Reads are over soon, so one at a time. On SQLite those who
// write share commits anyway (db.Exec), and there is no round trip that is worth waiting for.
func (s *SQLStore) together() {
	claims, completes := 2, 2
	crowded := func() bool { return s.db.Busy() >= crowd }
	if s.db.Engine() != db.PostgreSQL {
		claims, completes, crowded = 0, 0, nil
		s.met = &met{}
	}
	s.reads = combiner[Digest, found]{limit: 1, pace: readPace, crowded: crowded, ask: s.readMany, free: s.freeRecords}
	s.claims = combiner[claimed, bool]{limit: claims, pace: writePace, crowded: crowded, ask: s.insertMany}
	s.completes = combiner[settled, bool]{limit: completes, pace: writePace, crowded: crowded, ask: s.completeMany}
}

// A statement costs a multiple of a row in it. While so many others work with the database, each waits longer for its turn
// than it would for company.
const (
	crowd     = 8
	readPace  = 2 * time.Millisecond
	writePace = time.Millisecond
)

// readMany reads records. Whoever asks for the same gets the same, whose bytes nobody changes.
func (s *SQLStore) readMany(ctx context.Context, digests []Digest) ([]found, error) {
	out := s.newRecords(len(digests))
	if len(digests) == 1 {
		err := s.db.Each(ctx, func(scan db.Scanner) error {
			var r row
			if err := scan.Scan(r.decisive(make([]any, 0, maxColumns))...); err != nil {
				return err
			}
			r.keep(&out[0])
			return nil
		}, s.sql(sqlDecide), s.at(), digests[0][:])
		return out, err
	}
	heads := make([]uint64, len(digests)) // to compare few with all
	for i := range digests {
		heads[i] = binary.NativeEndian.Uint64(digests[i][:])
	}
	var k sql.RawBytes
	var r row
	dest := r.decisive(append(make([]any, 0, maxColumns), &k))
	read := func(scan db.Scanner) error {
		if err := scan.Scan(dest...); err != nil {
			return err
		}
		if len(k) != len(Digest{}) {
			return nil
		}
		head, first := binary.NativeEndian.Uint64(k), -1
		for i, h := range heads { // a key may be asked for more than once
			if h != head || digests[i] != Digest(k) {
				continue
			}
			if first < 0 {
				r.keep(&out[i])
				first = i
			} else {
				out[i] = out[first]
			}
		}
		return nil
	}
	for rest := digests; len(rest) > 0; {
		text, args, n := s.manyQuery(rest)
		if err := s.db.Each(ctx, read, text, args...); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return out, nil
}

// newRecords returns n records that are not there, until they are freed.
func (s *SQLStore) newRecords(n int) []found {
	if room, _ := s.records.Get().(*[]found); room != nil && n <= cap(*room) {
		return (*room)[:n]
	}
	room := enough
	if n > enough {
		room = max(n, maxTogether)
	}
	return make([]found, n, room)
}

func (s *SQLStore) freeRecords(all []found) {
	clear(all)
	s.records.Put(&all)
}

// The time is asked for once: to make it a number costs PostgreSQL as much as to find a record.
const sqlReadMany = `SELECT k, ` + decisive + `, (SELECT {now}) FROM idempotency WHERE k `

// manyQuery reads as many of the digests as fit: all, as an array, on PostgreSQL; on SQLite, where the number of
// parameters is part of the statement, in lists of few lengths, filled up with the last.
func (s *SQLStore) manyQuery(digests []Digest) (text string, args []any, n int) {
	if s.db.Engine() == db.PostgreSQL {
		keys := make([][]byte, len(digests))
		for i := range digests {
			keys[i] = digests[i][:]
		}
		return s.sql(sqlReadMany) + "= ANY($2)", []any{s.at(), keys}, len(digests)
	}
	size := 128
	for _, fits := range []int{4, 16, 48} {
		if len(digests) <= fits {
			size = fits
			break
		}
	}
	var b strings.Builder
	b.WriteString(s.sql(sqlReadMany) + "IN (")
	args = append(make([]any, 0, size+1), s.at())
	for i := range size {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+2)
		args = append(args, digests[min(i, len(digests)-1)][:])
	}
	return b.String() + ")", args, min(size, len(digests))
}

const sqlInsertMany = `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method, claimed_at)
 SELECT k, fp, 'c', 1, owner, recoverable, {now} + lease, {now} + keep, FALSE, NULL, '', trace, method, {now}
 FROM unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::boolean[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
 AS c (k, fp, owner, recoverable, lease, keep, trace, method)
 ON CONFLICT (k) DO NOTHING RETURNING k, owner`

// insertMany claims records that nobody has, and says which claims won.
func (s *SQLStore) insertMany(ctx context.Context, claims []claimed) ([]bool, error) {
	out := make([]bool, len(claims))
	if len(claims) == 1 {
		c := claims[0]
		run := s.db.Exec
		if c.Takeover {
			// An attempt that may simply be made again, as one is whose owner vanished, may be lost with the machine.
			run = s.db.ExecRelaxed
		}
		n, err := run(ctx, s.sql(sqlInsert), s.claimArgs(c.digest, c.Claim)...)
		out[0] = n > 0
		return out, err
	}
	order := sortedBy(claims, func(c claimed) Digest { return c.digest })
	var (
		k, fp, own   [][]byte
		recoverable  []bool
		lease, keep  []int64
		trace, names []string
	)
	for _, i := range order {
		c := &claims[i]
		k, fp, own = append(k, c.digest[:]), append(fp, c.Fingerprint), append(own, c.Owner)
		recoverable = append(recoverable, c.Takeover)
		lease, keep = append(lease, c.Lease.Microseconds()), append(keep, (c.Lease+c.Retention).Microseconds())
		trace, names = append(trace, c.Trace), append(names, c.Scope.Method)
	}
	won, err := s.returned(ctx, sqlInsertMany, s.at(), k, fp, own, recoverable, lease, keep, trace, names)
	for i, c := range claims {
		out[i] = won[place{c.digest, string(c.Owner)}]
	}
	return out, err
}

const sqlCompleteMany = `UPDATE idempotency i SET state = 'd', answer_ok = a.ok, answer = a.answer, resource = a.resource, subject = a.subject, expires_at = {now} + a.keep
 FROM unnest($2::bytea[], $3::bigint[], $4::bytea[], $5::boolean[], $6::bytea[], $7::text[], $8::bytea[], $9::bigint[])
 AS a (k, fence, owner, ok, answer, resource, subject, keep)
 WHERE i.k = a.k AND i.fence = a.fence AND i.owner = a.owner AND i.` + stateOfKey + ` = 'c' RETURNING i.k, i.owner`

// completeMany stores answers, and says which grants still held.
func (s *SQLStore) completeMany(ctx context.Context, answers []settled) ([]bool, error) {
	out := make([]bool, len(answers))
	if len(answers) == 1 {
		a := answers[0]
		// It says that it lost only after its group was committed: what made it lose is then certain.
		n, err := s.db.Exec(ctx, s.sql(sqlComplete), s.heldArgs(a.Grant, s.answerArgs(a.Answer, a.Retention)...)...)
		out[0] = n > 0
		return out, err
	}
	order := sortedBy(answers, func(a settled) Digest { return a.Digest })
	var (
		k, own, body, subject [][]byte
		fence, keep           []int64
		ok                    []bool
		resource              []string
	)
	for _, i := range order {
		a := &answers[i]
		k, own, fence = append(k, a.Digest[:]), append(own, a.Owner), append(fence, a.Fence)
		ok, body, resource = append(ok, a.OK), append(body, a.Body), append(resource, a.Resource)
		subject, keep = append(subject, s.subject(a.Subject)), append(keep, a.Retention.Microseconds())
	}
	done, err := s.returned(ctx, sqlCompleteMany, s.at(), k, fence, own, ok, body, resource, subject, keep)
	for i, a := range answers {
		out[i] = done[place{a.Digest, string(a.Owner)}]
	}
	return out, err
}

// sortedBy returns the order in which statements touch records, the same in every process, so that no two wait for each
// other.
func sortedBy[T any](all []T, digest func(T) Digest) []int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		dx, dy := digest(all[x]), digest(all[y])
		return bytes.Compare(dx[:], dy[:])
	})
	return order
}

type place struct {
	digest Digest
	owner  string
}

// returned runs a statement and collects which records, of which owners, it changed.
func (s *SQLStore) returned(ctx context.Context, text string, args ...any) (map[place]bool, error) {
	var out map[place]bool
	err := s.db.Single(ctx, func(ctx context.Context, e db.Execer) error {
		out = map[place]bool{}
		rows, err := e.QueryContext(ctx, s.sql(text), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k, own []byte
			if err := rows.Scan(&k, &own); err != nil {
				return err
			}
			p := place{owner: string(own)}
			copy(p.digest[:], k)
			out[p] = true
		}
		return rows.Err()
	})
	return out, err
}
