package idempotent

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// transactional is a store in the database of the effect. A call whose whole effect is a transaction there needs no
// claim: its answer is inserted in that transaction, and of two calls with one key the second finds the answer of the
// first, or loses the insert and with it everything it did.
type transactional interface {
	// unmet says, without asking, that a key is nearly surely new, and where its answer belongs. What it takes for new by mistake
	// costs a transaction that is rolled back.
	unmet(c Claim) (Digest, bool)
	// peek reads; Absent if there is nothing, InProgress also for a record that a claim could take.
	peek(ctx context.Context, c Claim) (Result, error)
	// insert stores an answer under a key that nobody used. ErrStale if somebody did.
	insert(ctx context.Context, tx db.Execer, c Claim, d Digest, a Answer) error
	// insertAlone does that in a transaction of its own.
	insertAlone(ctx context.Context, c Claim, d Digest, a Answer) error
}

// transact serves a call to a method whose effect is one transaction. It reports false if there is a claim to be respected: then
// the call goes the ordinary way.
func (a *attempt) transact(ctx context.Context) (resp any, done bool, err error) {
	end, release, mayWait := time.Time{}, func() {}, true
	defer func() { release() }()
	digest, unmet := Digest{}, false
	if a.server.Optimistic {
		if ctx.Err() != nil {
			return nil, true, a.storeDown(ctx, ctx.Err()) // nobody asks the store, so nobody else notices
		}
		digest, unmet = a.server.tx.unmet(a.claim)
	}
	for ; ; unmet = false {
		res := Result{Outcome: Absent, Digest: digest}
		if !unmet {
			if res, err = a.look(ctx); err != nil {
				return nil, true, a.storeDown(ctx, err)
			}
		}
		switch res.Outcome {
		case Absent:
		case InProgress, InDoubt:
			return nil, false, nil
		default:
			resp, err = a.reply(ctx, res)
			return resp, true, err
		}
		leave, running := a.server.flights.enter(res.Digest, a.claim.Fingerprint)
		if leave != nil {
			defer leave()
			return a.commit(ctx, res.Digest, unmet)
		}
		if !a.same(running) {
			resp, err = a.reply(ctx, Result{Outcome: Mismatch, Digest: res.Digest})
			return resp, true, err
		}
		if end.IsZero() && mayWait {
			var free func()
			if end, free, mayWait = a.mayWait(ctx); mayWait {
				release = free
			}
		}
		left := time.Until(end)
		if !mayWait || left <= 0 {
			resp, err = a.reply(ctx, Result{Outcome: InProgress, Digest: res.Digest})
			return resp, true, err
		}
		if err := a.server.flights.wait(ctx, res.Digest, left, left); err != nil {
			return nil, true, a.storeDown(ctx, err)
		}
		a.note.waited = true
	}
}

// same reports whether the request is the one that is executed at the moment, by its fingerprint.
func (a *attempt) same(running []byte) bool {
	return bytes.Equal(a.claim.Fingerprint, running) || a.compareAs(running) && bytes.Equal(a.claim.Fingerprint, running)
}

func (a *attempt) look(ctx context.Context) (Result, error) {
	res, err := a.ask(ctx, a.server.tx.peek)
	if err == nil && res.Outcome == Mismatch && a.compareAs(res.Fingerprint) {
		return a.ask(ctx, a.server.tx.peek)
	}
	return res, err
}

// commit runs the handler, whose transaction holds the answer. It reports false if it met a claim that is to be respected:
// then nothing was done. Unmet says that nobody looked before: then a refusal of the handler may be of what the key did earlier, and
// is no answer until somebody has looked.
func (a *attempt) commit(ctx context.Context, d Digest, unmet bool) (_ any, done bool, _ error) {
	a.direct = true
	a.grant = a.claim.grant(d, 1, false)
	a.note.executing(a.grant)
	resp, err := a.run(ctx)
	if err == nil && a.completed.Load() {
		a.stream.flush(false)
		return resp, true, nil
	}
	afterwards, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err == nil {
		a.server.Log.ErrorContext(ctx, "handler of a transactional method did not store its answer in its transaction",
			slog.String(telemetry.KeyMethod, a.method))
	} else {
		res, lookErr := a.outcome(afterwards, errors.Is(err, ErrStale))
		switch {
		case lookErr != nil && unmet:
			return nil, true, a.unread(lookErr)
		case lookErr != nil || res.Outcome == Absent:
		case res.Outcome == InProgress || res.Outcome == InDoubt: // a claim, and what we did is rolled back
			a.direct = false
			a.completed.Store(false)
			return nil, false, nil
		default:
			// Another call was faster, or only the end of our own commit was not heard.
			resp, err = a.reply(afterwards, res)
			return resp, true, err
		}
	}
	resp, err = a.settleDirect(afterwards, resp, err)
	return resp, true, err
}

// settleDirect ends an attempt without a claim whose transaction holds no answer.
func (a *attempt) settleDirect(ctx context.Context, resp any, err error) (any, error) {
	if fateOf(err, a.policy.successOnly) != fateDone {
		a.note.released() // nothing was committed
		if errors.Is(err, ErrStale) {
			return a.reply(ctx, Result{Outcome: InProgress, Digest: a.grant.Digest, Fence: 1})
		}
		a.stream.flush(true)
		return nil, err
	}
	kept, failed := a.answer(resp, err)
	if failed == nil {
		failed = tell(ctx, func() error { return a.server.tx.insertAlone(ctx, a.claim, a.grant.Digest, kept) })
	}
	switch {
	case errors.Is(failed, ErrStale):
		res, lookErr := a.look(ctx)
		if lookErr != nil {
			return nil, a.storeDown(ctx, lookErr)
		}
		return a.reply(ctx, res)
	case failed != nil && err == nil:
		a.note.outcome = outcomeStoreError
		return nil, fault.Wrap(fault.Unavailable, ReasonStoreUnavailable, failed,
			"the outcome could not be stored; repeat the call with the same key").WithRetryAfter(time.Second)
	}
	a.stream.flush(err != nil)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// outcome looks what became of the key. Whoever lost it to a transaction that is about to be committed waits for that.
func (a *attempt) outcome(ctx context.Context, lost bool) (Result, error) {
	end := time.Now().Add(a.server.Wait)
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		res, err := a.look(ctx)
		if err != nil || res.Outcome != Absent || !lost || time.Now().After(end) {
			return res, err
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return res, ctx.Err()
		case <-t.C:
		}
	}
}

const sqlAnswer = `INSERT INTO idempotency (k, fp, state, fence, owner, recoverable, lease_until, expires_at, answer_ok, answer, resource, trace, method, claimed_at, subject)
 VALUES ($2, $3, 'd', 1, $4, TRUE, {now}, {now} + $5, $6, $7, $8, $9, $10, {now}, $11)`

// unmet implements transactional. Nobody but this process stores anything in a SQLite file.
func (s *SQLStore) unmet(c Claim) (Digest, bool) {
	if s.met == nil || len(s.secrets) > 1 {
		return Digest{}, false
	}
	d := s.Digest(c.Scope)
	return d, !s.met.before(d)
}

func (s *SQLStore) peek(ctx context.Context, c Claim) (Result, error) {
	for _, secret := range s.secrets {
		d := c.Scope.Digest(secret)
		f, err := s.reads.do(ctx, d)
		if err != nil {
			return Result{}, fmt.Errorf("read idempotency record: %w", err)
		}
		if !f.there() {
			continue
		}
		res, step := c.decide(d, f.record, f.now)
		if step != stepNone {
			res.Outcome = InProgress
		}
		return res, nil
	}
	return Result{Outcome: Absent, Digest: s.Digest(c.Scope)}, nil
}

func (s *SQLStore) insert(ctx context.Context, e db.Execer, c Claim, d Digest, a Answer) error {
	_, err := e.ExecContext(ctx, s.sql(sqlAnswer), s.storeArgs(c, d, a)...)
	return lostTo(err)
}

// storeArgs are those of sqlAnswer, which has no ON CONFLICT: that costs more, and whoever loses rolls back anyway.
func (s *SQLStore) storeArgs(c Claim, d Digest, a Answer) []any {
	return []any{
		s.at(), d[:], c.Fingerprint, c.Owner, c.Retention.Microseconds(), a.OK, a.Body, a.Resource, c.Trace, c.Scope.Method, s.subject(a.Subject),
	}
}

// lostTo says that another call stored its answer first.
func lostTo(err error) error {
	if db.IsUnique(err) {
		return ErrStale
	}
	return err
}

func (s *SQLStore) insertAlone(ctx context.Context, c Claim, d Digest, a Answer) error {
	if len(s.secrets) > 1 {
		return s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return s.insertLocked(ctx, tx, c, d, a) })
	}
	return s.db.Single(ctx, func(ctx context.Context, e db.Execer) error { return s.insert(ctx, e, c, d, a) })
}

// insertLocked inserts while records may exist under several secrets.
func (s *SQLStore) insertLocked(ctx context.Context, tx *sql.Tx, c Claim, d Digest, a Answer) error {
	if len(s.secrets) > 1 {
		switch other, found, err := s.lockScope(ctx, tx, c.Scope); {
		case err != nil:
			return err
		case found && other != d:
			return ErrStale
		}
	}
	return s.insert(ctx, tx, c, d, a)
}

// CompleteTx stores resp as the answer of the current call inside the handler's own transaction, so that the effect and
// its answer are one. Ctx and tx are what db.Tx gave the handler. The handler must return resp and nil afterwards. It does
// nothing for a call without a key. An ErrStale, of CompleteTx or of db.Tx, means that another attempt was faster and the
// transaction is rolled back.
func (s *SQLStore) CompleteTx(ctx context.Context, tx *sql.Tx, resp proto.Message) error {
	c, _ := callFrom(ctx)
	a := c.attempt
	if a == nil {
		return nil
	}
	a.completed.Store(false) // the transaction may run again
	kept, err := a.answer(resp, nil)
	if err != nil {
		return err
	}
	switch {
	case a.direct && len(s.secrets) == 1:
		err = s.db.Last(ctx, tx, lostTo, s.sql(sqlAnswer), s.storeArgs(a.claim, a.grant.Digest, kept)...)
	case a.direct:
		err = s.insertLocked(ctx, tx, a.claim, a.grant.Digest, kept)
	default:
		err = s.held(ctx, tx, sqlComplete, a.grant, s.answerArgs(kept, a.grant.Retention)...)
	}
	if err != nil {
		return fmt.Errorf("complete idempotency claim: %w", err)
	}
	a.completed.Store(true)
	return nil
}
