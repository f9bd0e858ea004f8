package idempotent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// lateFor is how long a claim need not be written if nobody asks for it.
const lateFor = 10 * time.Millisecond

// late holds the claims of a SQLite file that are granted but not written. Most attempts are over within milliseconds, and what is
// stored then is the answer, in one statement and one commit instead of two.
//
// Only a claim that may simply be executed again is held back (Claim.Takeover): the one thing that its record is good for after a
// crash is to say so. Nobody but this process stores anything in the file, so while the process lives nobody can miss what it knows:
// whoever is about to read or change the record of a digest has its claim written first, and an attempt that lasts is written after
// lateFor. Of a process that died its last claims are not known, as of a machine they never were: their keys are new ones.
//
// Writing a claim never takes a record from anybody: an insert that finds one changes nothing, and the attempt, whose owner it does
// not name, is stale.
type late struct {
	mu    sync.Mutex
	of    map[Digest]*lateClaim
	after time.Duration // lateFor
	armed bool          // a timer will write what lasts
	// failed says that the last attempt to write was refused: then nothing is granted that cannot be written first.
	failed bool
}

func newLate() *late { return &late{of: map[Digest]*lateClaim{}, after: lateFor} }

// lateClaim is a claim that is not written, or the place of somebody who is just about to insert a record.
type lateClaim struct {
	claimed

	at    int64     // when it was claimed, by the store's clock
	since time.Time // the same
	// busy, if not nil, is closed when whoever inserts the record is done.
	busy chan struct{}
}

// addLate notes a claim under a digest that nobody has. It reports false if somebody has it, or if the claim has to be written first.
func (s *SQLStore) addLate(c Claim, d Digest) (*lateClaim, bool) {
	w := s.late
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[d] != nil || w.failed {
		return nil, false
	}
	l := &lateClaim{claimed: claimed{c, d}, at: s.at(), since: time.Now()}
	w.of[d] = l
	if !w.armed {
		w.armed = true
		time.AfterFunc(w.after, s.writeLasting)
	}
	return l, true
}

// drop forgets a claim that was not granted, unless somebody writes it already.
func (w *late) drop(l *lateClaim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.busy == nil && w.of[l.digest] == l {
		delete(w.of, l.digest)
	}
}

// take makes the caller the one who inserts the record of a digest, until done. With an owner only if the claim is the owner's and is
// not written; nil then says that there is nothing to do but what is always done. It waits for whoever is about to insert.
func (w *late) take(ctx context.Context, d Digest, owner []byte) (*lateClaim, error) {
	for {
		w.mu.Lock()
		l := w.of[d]
		switch {
		case l == nil || l.busy == nil && !bytes.Equal(l.Owner, owner):
			w.mu.Unlock()
			return nil, nil
		case l.busy == nil:
			l.busy = make(chan struct{})
			w.mu.Unlock()
			return l, nil
		}
		busy := l.busy
		w.mu.Unlock()
		if err := wait(ctx, busy); err != nil {
			return nil, err
		}
	}
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// done ends what take began. What could not be inserted stays to be written.
func (w *late) done(all []*lateClaim, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range all {
		if claim := !l.since.IsZero(); claim {
			w.failed = err != nil
		}
		if err == nil || l.since.IsZero() || errors.Is(err, db.ErrClosed) {
			delete(w.of, l.digest)
		}
		close(l.busy)
		l.busy = nil
	}
}

// inserting keeps the place of a record for a caller who is about to insert it, until done. A claim that is not written stands before.
func (s *SQLStore) inserting(ctx context.Context, d Digest) (done func(), err error) {
	w := s.late
	if w == nil {
		return func() {}, nil
	}
	for {
		if err := s.written(ctx, d); err != nil {
			return nil, err
		}
		w.mu.Lock()
		if w.of[d] == nil {
			l := &lateClaim{claimed: claimed{digest: d}, busy: make(chan struct{})}
			w.of[d] = l
			w.mu.Unlock()
			return func() { w.done([]*lateClaim{l}, nil) }, nil
		}
		w.mu.Unlock()
	}
}

// written writes the claim of a digest, if there is one that is not written.
func (s *SQLStore) written(ctx context.Context, d Digest) error {
	w := s.late
	if w == nil {
		return nil
	}
	w.mu.Lock()
	l := w.of[d]
	w.mu.Unlock()
	if l == nil {
		return nil
	}
	l, err := w.take(ctx, d, l.Owner)
	if l != nil {
		err = s.writeLate(ctx, []*lateClaim{l})
	}
	if err != nil {
		return fmt.Errorf("write a granted idempotency claim: %w", err)
	}
	return nil
}

// allWritten writes all claims that are not written.
func (s *SQLStore) allWritten(ctx context.Context) error {
	if s.late == nil {
		return nil
	}
	mine, others := s.late.takeAll(time.Now())
	err := s.writeLate(ctx, mine)
	for _, busy := range others {
		if err == nil {
			err = wait(ctx, busy)
		}
	}
	if err != nil {
		return fmt.Errorf("write granted idempotency claims: %w", err)
	}
	return nil
}

// takeAll takes all claims that are not younger, and says for whom to wait who are inserting already.
func (w *late) takeAll(until time.Time) (mine []*lateClaim, others []<-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.of {
		switch {
		case l.busy != nil:
			others = append(others, l.busy)
		case !l.since.After(until):
			l.busy = make(chan struct{})
			mine = append(mine, l)
		}
	}
	return mine, others
}

// writeLate inserts claims that the caller has taken. They survive the end of the process, as claims that are written at once do.
func (s *SQLStore) writeLate(ctx context.Context, claims []*lateClaim) error {
	if len(claims) == 0 {
		return nil
	}
	err := s.db.Relaxed(ctx, func(ctx context.Context, e db.Execer) error {
		for _, l := range claims {
			if _, err := e.ExecContext(ctx, s.sql(sqlInsert), claimArgs(l.at, l.digest, l.Claim)...); err != nil {
				return err
			}
		}
		return nil
	})
	s.late.done(claims, err)
	return err
}

// writeLasting writes the claims that have lasted, and comes again while there are others.
func (s *SQLStore) writeLasting() {
	w := s.late
	mine, _ := w.takeAll(time.Now().Add(-w.after))
	ctx, cancel := context.WithTimeout(context.Background(), togetherTime)
	defer cancel()
	err := s.writeLate(ctx, mine) // what fails is tried again, now and by whoever needs it
	again := w.after
	if err != nil {
		again = time.Second
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed = len(w.of) > 0 && !errors.Is(err, db.ErrClosed); w.armed {
		time.AfterFunc(again, s.writeLasting)
	}
}

// beginLate claims without writing. It reports false if there is, or may be, a record: that is for begin.
func (s *SQLStore) beginLate(ctx context.Context, c Claim, d Digest) (granted bool, err error) {
	l, ok := s.addLate(c, d)
	if !ok {
		return false, s.written(ctx, d)
	}
	f, err := s.reads.do(ctx, d)
	if err != nil || f != nil {
		s.late.drop(l)
		return false, err
	}
	return true, nil
}

const sqlAnswerLate = `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method, claimed_at, subject)
 VALUES ($2, $3, 'd', 1, $4, TRUE, $5, {now} + $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (k) DO NOTHING`

// completeLate stores the answer of a claim that is not written. It reports false if there is no such claim.
func (s *SQLStore) completeLate(ctx context.Context, g Grant, a Answer) (done bool, err error) {
	if s.late == nil {
		return false, nil
	}
	l, err := s.late.take(ctx, g.Digest, g.Owner)
	if l == nil {
		return false, err
	}
	n, err := s.db.Exec(ctx, s.sql(sqlAnswerLate), s.at(), g.Digest[:], l.Fingerprint, l.Owner, l.at+l.Lease.Microseconds(), g.Retention.Microseconds(),
		a.OK, a.Body, a.Resource, l.Trace, l.Scope.Method, l.at, s.subject(a.Subject))
	s.late.done([]*lateClaim{l}, err)
	if err == nil && n == 0 {
		err = ErrStale
	}
	return true, err
}

// writtenIn makes a transaction of the grant's handler begin with the claim, if that is not written. The claim stays to be written
// too, for the transaction may be rolled back.
func (s *SQLStore) writtenIn(ctx context.Context, e db.Execer, g Grant) error {
	if s.late == nil {
		return nil
	}
	s.late.mu.Lock()
	l := s.late.of[g.Digest]
	s.late.mu.Unlock()
	if l == nil || !bytes.Equal(l.Owner, g.Owner) {
		return nil
	}
	_, err := e.ExecContext(ctx, s.sql(sqlInsert), claimArgs(l.at, l.digest, l.Claim)...)
	return err
}
