package remote

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// The kinds of records in the tables of this package; the first two are those of package erp.
const (
	objectOrder   erp.Object = 10
	objectProduct erp.Object = 11
)

// writeState is how far the write under a name has come.
type writeState int64

const (
	stateFree      writeState = 0
	stateClaimed   writeState = 1 // nothing was sent
	stateSent      writeState = 2 // sent, no answer noted
	stateUncertain writeState = 3 // sent, and its sender gave up
	stateMade      writeState = 4 // the record exists, its steps are not all done
	stateDone      writeState = 5
)

// claim is the right to write under some names until its lease ends.
type claim struct {
	object erp.Object
	// names are hashes, sorted; primary is the one the mark comes from.
	names   []string
	primary string
	mark    string
	fence   map[string]int64
	// pending is true when something was sent under the primary name before and is not settled; sent says when, first when it
	// was the first time.
	pending     bool
	sent, first time.Time
	// until is when the lease ends.
	until time.Time
	// state, record and print are what is known under the primary name.
	state  writeState
	record string
	print  []byte
	// closed is true when the names were let go of or are to stay as they are.
	closed bool
}

// hashed is how a name is stored: references may be personal data.
func hashed(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// markOf derives a mark from a name.
func markOf(object erp.Object, name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "mark/v1/%d/%s", object, name))
	return base32.StdEncoding.EncodeToString(sum[:15])[:20]
}

// repeatFor is for how long a write that is sent again is the same request for an ERP that remembers requests: it forgets them
// after a while (SAP's gateway after 6 h unless told otherwise), and would then refuse them for ever.
const repeatFor = 6 * time.Hour

// randomName is a name nobody else has.
func randomName() string { return rand.Text() }

// claims gives out claims. Writers of one process wait for each other in memory, those of other processes at the table.
type claims struct {
	db    *db.DB
	now   func() time.Time
	owner string
	lease time.Duration
	wait  time.Duration
	locks locks
}

// ask is what one write wants to claim: the primary name first.
type ask struct {
	names []string
}

// taking is the claim or why there is none.
type taking struct {
	claim *claim
	err   error
}

// take claims the names of one write.
func (c *claims) take(ctx context.Context, object erp.Object, names ...string) (*claim, func(), error) {
	got, unlock, err := c.takeAll(ctx, object, []ask{{names: names}})
	if err != nil {
		return nil, nil, err
	}
	if got[0].err != nil {
		unlock()
		return nil, nil, got[0].err
	}
	return got[0].claim, unlock, nil
}

// takeAll claims the names of writes that have none in common. It waits for other writers, for a while; who is not served
// by then gets an error of its own. Unlock must be called when the claims are set or dropped.
func (c *claims) takeAll(ctx context.Context, object erp.Object, asks []ask) (out []taking, unlock func(), err error) {
	out = make([]taking, len(asks))
	var all []string
	for i, a := range asks {
		sorted := slices.Compact(slices.Sorted(slices.Values(a.names)))
		out[i].claim = &claim{object: object, primary: a.names[0], names: sorted, mark: markOf(object, a.names[0])}
		for _, n := range sorted {
			all = append(all, fmt.Sprintf("%d/%s", object, n))
		}
	}
	slices.Sort(all)
	if unlock, err = c.locks.lock(ctx, slices.Compact(all)); err != nil {
		return nil, nil, busy()
	}
	for until := c.now().Add(c.wait); ; {
		left, err := c.try(ctx, out)
		if err != nil {
			unlock()
			return nil, nil, err
		}
		if left == 0 {
			return out, unlock, nil
		}
		late := !c.now().Before(until)
		if !late {
			late = pause(ctx, 50*time.Millisecond) != nil
		}
		if late {
			for i := range out {
				if out[i].err == nil && out[i].claim.fence == nil {
					out[i].err = busy()
				}
			}
			return out, unlock, nil
		}
	}
}

func busy() error {
	return fault.New(fault.Conflict, backend.ReasonInProgress, "another call writes under the same reference; try again").
		WithRetryAfter(time.Second)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return busy()
	case <-t.C:
		return nil
	}
}

// row is one row of remote_write.
type row struct {
	name, mark, owner, record string
	state                     writeState
	fence, lease, sent, first int64
	print                     []byte
}

// try takes what can be taken, in one transaction, and returns how many still wait.
func (c *claims) try(ctx context.Context, list []taking) (left int, err error) {
	fences := make([]map[string]int64, len(list))
	errs := make([]error, len(list))
	err = c.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		left = 0
		for i := range list {
			fences[i], errs[i] = nil, nil
			if list[i].err != nil || list[i].claim.fence != nil {
				continue
			}
			fence, why, err := c.tryOne(ctx, tx, list[i].claim)
			if err != nil {
				return err
			}
			fences[i], errs[i] = fence, why
			if fence == nil && why == nil {
				left++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("claim names: %w", err)
	}
	for i := range list {
		if fences[i] != nil {
			list[i].claim.fence = fences[i]
		}
		if errs[i] != nil {
			list[i].err = errs[i]
		}
	}
	return left, nil
}

// tryOne takes all names of one write or none: nil without a reason means that another one has them.
func (c *claims) tryOne(ctx context.Context, tx *sql.Tx, cl *claim) (fence map[string]int64, why, err error) {
	now := db.Micros(c.now())
	rows, err := c.rows(ctx, tx, cl)
	if err != nil {
		return nil, nil, err
	}
	if len(rows) != len(cl.names) {
		return nil, nil, nil // its holder removed one between our two statements
	}
	for _, r := range rows {
		if (r.state == stateClaimed || r.state == stateSent) && r.lease > now {
			return nil, nil, nil
		}
		// Something of another record was sent under this name and nobody knows what became of it.
		if r.unsettled() && r.mark != cl.mark {
			return nil, uncertain("a write under one of the references is not settled"), nil
		}
	}
	p := rows[cl.primary]
	cl.pending, cl.sent, cl.state = p.unsettled(), db.FromMicros(p.sent), p.state
	cl.record, cl.print, cl.first = p.record, p.print, time.Time{}
	if cl.pending {
		cl.first = db.FromMicros(p.first)
	}
	cl.until = db.FromMicros(now).Add(c.lease)
	fence = make(map[string]int64, len(rows))
	for _, name := range cl.names {
		r := rows[name]
		fence[name] = r.fence + 1
		next := r.state
		switch next {
		case stateFree:
			next = stateClaimed
		case stateUncertain:
			next = stateSent
		}
		if _, err := tx.ExecContext(ctx, `UPDATE remote_write SET mark = $1, state = $2, owner = $3, fence = $4, lease = $5, updated = $6
			WHERE object = $7 AND name = $8`, cl.mark, int64(next), c.owner, fence[name],
			db.Micros(c.now().Add(c.lease)), now, int64(cl.object), name); err != nil {
			return nil, nil, fmt.Errorf("claim a name: %w", err)
		}
	}
	return fence, nil, nil
}

func (r row) unsettled() bool { return r.state == stateSent || r.state == stateUncertain }

// rows makes and locks the rows of the names.
func (c *claims) rows(ctx context.Context, tx *sql.Tx, cl *claim) (map[string]row, error) {
	for _, name := range cl.names {
		if _, err := tx.ExecContext(ctx, `INSERT INTO remote_write (object, name, mark, state, owner, fence, lease, sent, record_id, fingerprint, updated)
			VALUES ($1, $2, '', 0, '', 0, 0, 0, '', $3, 0) ON CONFLICT (object, name) DO NOTHING`, int64(cl.object), name, []byte{}); err != nil {
			return nil, fmt.Errorf("make a name: %w", err)
		}
	}
	lock := ""
	if c.db.Engine() == db.PostgreSQL {
		lock = " FOR UPDATE"
	}
	args := []any{int64(cl.object)}
	marks := make([]string, len(cl.names))
	for i, name := range cl.names {
		args = append(args, name)
		marks[i] = fmt.Sprintf("$%d", i+2)
	}
	out := make(map[string]row, len(cl.names))
	rows, err := tx.QueryContext(ctx, "SELECT name, mark, state, owner, fence, lease, sent, first_sent, record_id, fingerprint FROM remote_write WHERE object = $1 AND name IN ("+
		strings.Join(marks, ",")+") ORDER BY name"+lock, args...)
	if err != nil {
		return nil, fmt.Errorf("lock names: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.name, &r.mark, &r.state, &r.owner, &r.fence, &r.lease, &r.sent, &r.first, &r.record, &r.print); err != nil {
			return nil, fmt.Errorf("lock names: %w", err)
		}
		out[r.name] = r
	}
	return out, rows.Err()
}

// errFenced means that the claim's lease ended and somebody else has the names.
var errFenced = fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "the write took too long and somebody else has taken it over; the same call later finds out")

// set moves the names of claims to a state in the caller's transaction; errFenced when one has been taken over.
func (c *claims) set(ctx context.Context, tx *sql.Tx, to writeState, record string, print []byte, list ...*claim) error {
	now := db.Micros(c.now())
	if print == nil {
		print = []byte{}
	}
	for _, cl := range list {
		for _, name := range cl.names {
			sent, lease := db.Micros(cl.sent), db.Micros(c.now().Add(c.lease))
			if to == stateSent {
				sent = now
			}
			if to != stateSent && to != stateClaimed {
				lease = 0
			}
			var res sql.Result
			var err error
			if to == stateFree {
				res, err = tx.ExecContext(ctx, "DELETE FROM remote_write WHERE object = $1 AND name = $2 AND owner = $3 AND fence = $4",
					int64(cl.object), name, c.owner, cl.fence[name])
			} else {
				res, err = tx.ExecContext(ctx, `UPDATE remote_write SET state = $1, sent = $2, lease = $3, record_id = $4, fingerprint = $5, updated = $6,
					first_sent = $7 WHERE object = $8 AND name = $9 AND owner = $10 AND fence = $11`,
					int64(to), sent, lease, record, print, now, db.Micros(cl.first), int64(cl.object), name, c.owner, cl.fence[name])
			}
			if err != nil {
				return fmt.Errorf("note a write: %w", err)
			}
			if n, err := res.RowsAffected(); err != nil {
				return fmt.Errorf("note a write: %w", err)
			} else if n != 1 {
				return errFenced
			}
		}
	}
	return nil
}

// mark is set in a transaction of its own.
func (c *claims) move(ctx context.Context, to writeState, record string, print []byte, list ...*claim) error {
	if len(list) == 0 {
		return nil
	}
	now := db.FromMicros(db.Micros(c.now()))
	for _, cl := range list {
		if to == stateSent && (cl.first.IsZero() || now.Sub(cl.first) >= repeatFor) {
			cl.first = now
		}
	}
	err := c.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return c.set(ctx, tx, to, record, print, list...) })
	if err == nil && to == stateSent {
		for _, cl := range list {
			cl.sent, cl.until = c.now(), now.Add(c.lease)
		}
	}
	return err
}

// over tells whether a claim's lease has ended, so that somebody else may have the names: nothing may be sent any more. A dry run
// has claimed nothing.
func (c *claims) over(cl *claim) bool { return cl.fence != nil && !c.now().Before(cl.until) }

// drop gives names back after a call that sent nothing or was refused. What was sent before under them stays noted.
func (c *claims) drop(ctx context.Context, cl *claim) error {
	to := stateFree
	switch {
	case cl.pending:
		to = stateUncertain
	case cl.state == stateMade || cl.state == stateDone:
		to = cl.state
	}
	return c.move(ctx, to, cl.record, cl.print, cl)
}

// refused notes that a write was answered with an error that says that it was not executed. When it did not even arrive, or met a record
// that somebody else was writing, what was sent before it, and may still arrive, is as open as it was before.
func (cl *claim) refused(err error, before claim) {
	cl.pending = before.pending && (fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Exhausted) || fault.ReasonOf(err) == backend.ReasonLocked)
	if cl.pending {
		cl.sent, cl.first = before.sent, before.first
	}
}

func uncertain(text string) error {
	return fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "%s; the same call later finds out", text)
}
