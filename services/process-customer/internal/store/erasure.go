package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// States of erasures and their steps.
const (
	Erasing = "ERASING"
	Erased  = "DONE"

	StepWaiting = "WAITING"
	StepDone    = "DONE"
	// StepRefused: the system refuses it; it is tried again now and then.
	StepRefused = "REFUSED"
)

// Names of secrets.
const (
	secretTombstones = "erasure"
	secretReceipts   = "receipt"
)

// Erasure is a request to erase what is known of a golden record.
type Erasure struct {
	ID       string
	GoldenID golden.ID
	Object   golden.Object
	// Systems are those whose records and words are erased; none means all, and the golden record itself.
	Systems         []string
	State, Actor    string
	Requested, Done time.Time
	// Answered is true when stored answers are erased; Answers is how many there were.
	Answered bool
	Answers  int64
	// Refused counts changes that came in later.
	Refused   int64
	Receipt   string
	Signature []byte
	Steps     []ErasureStep
}

// ErasureStep is one record of one system that has to go.
type ErasureStep struct {
	ErasureID string
	Hash      []byte
	Ref       golden.Ref
	// ExternalID is set instead of a record id: whatever carries it has to go.
	ExternalID    string
	State, Reason string
	Attempts      int
	Due, Done     time.Time
}

// RecordKey is what a record of a system is tombstoned under, GoldenKey a golden record.
func RecordKey(ref golden.Ref) string {
	return ref.System + "/" + string(ref.Object) + "/" + ref.RecordID
}

// GoldenKey is what a golden record is tombstoned under.
func GoldenKey(id golden.ID) string { return "golden/" + string(id) }

// secretOf returns a secret of 32 bytes, nil when nobody has made it.
func (r Reader) secretOf(ctx context.Context, name string) ([]byte, error) {
	var out []byte
	err := r.query(ctx, "read secret", "SELECT value FROM secret WHERE name = $1", []any{name}, func(rows *sql.Rows) error { return rows.Scan(&out) })
	return out, err
}

// makeSecret returns a secret, made by the first caller.
func (t *Tx) makeSecret(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	if _, err := t.exec(ctx, "keep secret", "INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, fresh); err != nil {
		return nil, err
	}
	return t.secretOf(ctx, name)
}

// ReceiptSeed returns the seed of the key that signs receipts, made by the first caller.
func (t *Tx) ReceiptSeed(ctx context.Context) ([]byte, error) {
	return t.makeSecret(ctx, secretReceipts)
}

// ReadReceiptSeed returns the same, nil while there is none.
func (r Reader) ReadReceiptSeed(ctx context.Context) ([]byte, error) {
	return r.secretOf(ctx, secretReceipts)
}

// HashOf returns the keyed hash of a key, as tombstones have it.
func (t *Tx) HashOf(ctx context.Context, key string) ([]byte, error) {
	secret, err := t.makeSecret(ctx, secretTombstones)
	return keyed(secret, key), err
}

func keyed(secret []byte, key string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(key))
	return m.Sum(nil)
}

// Tombs are the erasures that keys belong to, with what names of what was erased are replaced by.
type Tombs struct {
	// Erasure is by key; a key that was not erased has none.
	Erasure map[string]string
	secret  []byte
}

// Name returns a name that stands for another one and cannot be turned back.
func (t Tombs) Name(of string) string {
	return "erased/" + hex.EncodeToString(keyed(t.secret, of)[:16])
}

// Tombs returns which of the keys were erased. It costs one look while nothing ever was.
func (r Reader) Tombs(ctx context.Context, keys []string) (Tombs, error) {
	out := Tombs{Erasure: map[string]string{}}
	var err error
	if out.secret, err = r.secretOf(ctx, secretTombstones); err != nil || out.secret == nil {
		return out, err
	}
	byHash := map[string]string{}
	var hashes [][]byte
	for _, k := range keys {
		h := keyed(out.secret, k)
		if _, twice := byHash[string(h)]; !twice {
			byHash[string(h)] = k
			hashes = append(hashes, h)
		}
	}
	err = chunks(r, hashes, func(hashes [][]byte) error {
		return r.query(ctx, "read tombstones", "SELECT hash, erasure_id FROM tombstone WHERE hash "+r.among(0, len(hashes)), bound(r, nil, hashes),
			func(rows *sql.Rows) error {
				var hash []byte
				var id string
				err := rows.Scan(&hash, &id)
				out.Erasure[byHash[string(hash)]] = id
				return err
			})
	})
	return out, err
}

// Bury leaves tombstones. One that is there stays.
func (t *Tx) Bury(ctx context.Context, erasureID string, keys []string, now time.Time) error {
	secret, err := t.makeSecret(ctx, secretTombstones)
	if err != nil {
		return err
	}
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{keyed(secret, k), erasureID, db.Micros(now)}
	}
	return t.insert(ctx, "leave tombstones", "INSERT INTO tombstone (hash, erasure_id, at_us)", "ON CONFLICT (hash) DO NOTHING", rows)
}

const erasureColumns = "id, golden_id, object, systems, state, actor, requested_us, done_us, answered, answers, refused, receipt, signature"

func (r Reader) erasures(ctx context.Context, where string, args []any) ([]Erasure, error) {
	var out []Erasure
	err := r.query(ctx, "read erasures", "SELECT "+erasureColumns+" FROM erasure WHERE "+where, args, func(rows *sql.Rows) error {
		var e Erasure
		var systems string
		var requested, done int64
		err := rows.Scan(&e.ID, &e.GoldenID, &e.Object, &systems, &e.State, &e.Actor, &requested, &done, &e.Answered, &e.Answers, &e.Refused, &e.Receipt, &e.Signature)
		e.Requested, e.Done = db.FromMicros(requested), db.FromMicros(done)
		if systems != "" {
			e.Systems = strings.Split(systems, ",")
		}
		out = append(out, e)
		return err
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	at := map[string]int{}
	var ids []string
	for i := range out {
		at[out[i].ID] = i
		ids = append(ids, out[i].ID)
	}
	err = chunks(r, ids, func(ids []string) error {
		steps, err := r.steps(ctx, "erasure_id "+r.among(0, len(ids))+" ORDER BY system, object, hash", bound(r, nil, ids))
		for _, s := range steps {
			e := &out[at[s.ErasureID]]
			e.Steps = append(e.Steps, s)
		}
		return err
	})
	return out, err
}

// Erasure returns an erasure by its id, or the newest one of a golden record; ErrNotFound when there is none.
func (r Reader) Erasure(ctx context.Context, id string) (Erasure, error) {
	found, err := r.erasures(ctx, "id = $1 OR golden_id = $1 ORDER BY requested_us DESC, id LIMIT 1", []any{id})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("erasure %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Erasure{}, err
	}
	return found[0], nil
}

// ErasureOf returns the erasure of a golden record from some systems; ErrNotFound when there is none.
func (r Reader) ErasureOf(ctx context.Context, id golden.ID, systems []string) (Erasure, error) {
	found, err := r.erasures(ctx, "golden_id = $1 AND systems = $2", []any{string(id), joined(systems)})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("erasure of %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Erasure{}, err
	}
	return found[0], nil
}

func joined(systems []string) string {
	out := slices.Clone(systems)
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

// ListErasures returns erasures, oldest first, after (requested, id); only those not done when open is true.
func (r Reader) ListErasures(ctx context.Context, open bool, requested time.Time, id string, limit int) ([]Erasure, error) {
	return r.erasures(ctx, "(requested_us, id) > ($1, $2) AND (NOT $3 OR state = 'ERASING') ORDER BY requested_us, id LIMIT $4",
		[]any{db.Micros(requested), id, open, limit})
}

// ErasedSince returns the golden records whose erasure was asked for at or after a time.
func (r Reader) ErasedSince(ctx context.Context, since time.Time) ([]golden.ID, error) {
	var out []golden.ID
	err := r.query(ctx, "read erasures", "SELECT golden_id FROM erasure WHERE requested_us >= $1", []any{db.Micros(since)}, func(rows *sql.Rows) error {
		var id golden.ID
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}

// OpenErasures counts the erasures that are not done, those that a system refuses, and tells when the oldest was asked for.
func (r Reader) OpenErasures(ctx context.Context) (open, refused int64, oldest time.Time, err error) {
	var us sql.NullInt64
	err = r.query(ctx, "count erasures", `SELECT COUNT(*), MIN(requested_us), (SELECT COUNT(*) FROM erasure_step WHERE state = 'REFUSED') FROM erasure
		WHERE state = 'ERASING'`, nil, func(rows *sql.Rows) error { return rows.Scan(&open, &us, &refused) })
	return open, refused, db.FromMicros(us.Int64), err
}

// PutErasure stores a new erasure with its steps.
func (t *Tx) PutErasure(ctx context.Context, e Erasure) error {
	err := t.insert(ctx, "write erasure", "INSERT INTO erasure ("+erasureColumns+")", "", [][]any{{
		e.ID, string(e.GoldenID), string(e.Object), joined(e.Systems), e.State, e.Actor, db.Micros(e.Requested), 0, false, 0, 0, "", nil,
	}})
	if err != nil {
		return err
	}
	rows := make([][]any, len(e.Steps))
	for i, s := range e.Steps {
		rows[i] = []any{e.ID, s.Hash, s.Ref.System, string(s.Ref.Object), s.Ref.RecordID, s.ExternalID, StepWaiting, "", 0, db.Micros(e.Requested), 0, 0}
	}
	return t.insert(ctx, "write erasure steps", "INSERT INTO erasure_step ("+stepColumns+", lease_until_us)", "", rows)
}

// Reopen has a record deleted that was seen again after its erasure. It reports whether that is new.
func (t *Tx) Reopen(ctx context.Context, erasureID string, ref golden.Ref, now time.Time) (bool, error) {
	hash, err := t.HashOf(ctx, RecordKey(ref))
	if err != nil {
		return false, err
	}
	n, err := t.exec(ctx, "reopen erasure", "INSERT INTO erasure_step ("+stepColumns+`, lease_until_us)
		VALUES ($1, $2, $3, $4, $5, '', 'WAITING', '', 0, $6, 0, 0) ON CONFLICT (erasure_id, hash) DO UPDATE SET record_id = excluded.record_id,
		state = 'WAITING', attempts = 0, due_us = excluded.due_us, done_us = 0 WHERE erasure_step.state = 'DONE'`,
		erasureID, hash, ref.System, string(ref.Object), ref.RecordID, db.Micros(now))
	if err != nil || n == 0 {
		return false, err
	}
	_, err = t.exec(ctx, "reopen erasure", "UPDATE erasure SET state = 'ERASING', done_us = 0, receipt = '', signature = NULL WHERE id = $1", erasureID)
	return true, err
}

// CountRefused adds to the changes refused because of erasures.
func (t *Tx) CountRefused(ctx context.Context, n map[string]int64) error {
	var errs []error
	for id, k := range n {
		_, err := t.exec(ctx, "count refused changes", "UPDATE erasure SET refused = refused + $2 WHERE id = $1", id, k)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
