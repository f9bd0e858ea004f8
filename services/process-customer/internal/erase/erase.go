// Package erase forgets a person: here at once, and in every system as soon as it can be reached.
//
// The problem: what is known of a person is in many places, and comes back: by an event of yesterday, a write of ours that
// was lost and arrives after all, a record that somebody undeletes. The invariants: from the transaction of the request on
// nothing of it is stored here but keyed hashes, and whatever comes in about them is refused ([store.Reader.Tombs]); a
// record that is seen again is deleted again; the erasure ends, with a signed receipt, only when every system has said that
// the record is gone. Every step can be repeated: a process that dies anywhere is followed by one that goes on.
//
// The package does not decide who has to be forgotten, and it does not reach what systems keep beside the record: backups,
// field histories, recycle bins. A record is therefore written over before it is deleted.
package erase

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Reasons of refused calls.
const (
	ReasonUnknown     = "CUSTOMER_UNKNOWN"
	ReasonSystem      = "SYSTEM_UNKNOWN"
	ReasonHasContacts = "HAS_CONTACTS"
)

// maxContacts bounds the contacts that are erased with their customer in one transaction.
const maxContacts = 1000

// Store is what is needed of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Deps are what a Desk needs. All are required but Also, Forget, and one of Answers and AnswersTx.
type Deps struct {
	Store   Store
	Folder  *fold.Folder
	Systems []source.System
	// AnswersTx erases the stored answers that hold a subject's data in the transaction that notes it, and returns how many there
	// were. It is nil where they are in another store: there Answers does so, and returns how many also when it fails on the way.
	AnswersTx func(ctx context.Context, tx *sql.Tx, subject string) (int, error)
	Answers   func(ctx context.Context, subject string) (int, error)
	// Also erases what other packages keep in the same database, in the transaction of the request.
	Also []func(ctx context.Context, tx *sql.Tx, id golden.ID) error
	// Forget drops what this process remembers of a golden record.
	Forget    func(id golden.ID)
	Now       func() time.Time
	Telemetry *telemetry.Telemetry
	// Marked is called after deliveries were marked.
	Marked func()
}

// Desk erases. It is safe for concurrent use.
type Desk struct {
	d       Deps
	systems map[string]source.System
}

// New returns a desk.
func New(d Deps) *Desk {
	desk := &Desk{d: d, systems: map[string]source.System{}}
	for _, s := range d.Systems {
		desk.systems[s.Name()] = s
	}
	if desk.d.Forget == nil {
		desk.d.Forget = func(golden.ID) {}
	}
	if desk.d.Marked == nil {
		desk.d.Marked = func() {}
	}
	return desk
}

// Request is what shall be erased.
type Request struct {
	ID golden.ID
	// Systems are those whose records and words are erased; none means all, and the golden record itself.
	Systems []string
	// Contacts says that the contacts of a customer are erased, too.
	Contacts bool
	// Reason is kept in the trail of what operators did, until the erasure has ended: a person wrote it, and may have named the
	// one that is to be forgotten.
	Reason string
}

// Erase forgets a golden record in one transaction and leaves to Run what the systems have to do. Asking again returns what
// was begun.
func (d *Desk) Erase(ctx context.Context, req Request) ([]store.Erasure, error) {
	for _, s := range req.Systems {
		if d.systems[s] == nil {
			return nil, fault.New(fault.NotFound, ReasonSystem, "no such system is configured")
		}
	}
	var out []store.Erasure
	err := d.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = nil
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		have, err := tx.ErasureOf(ctx, req.ID, req.Systems)
		if err == nil {
			out = []store.Erasure{have}
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		out, err = d.begin(ctx, tx, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("erase: %w", err)
	}
	for _, e := range out {
		d.d.Forget(e.GoldenID)
	}
	d.d.Marked()
	return out, nil
}

// begin is the transaction of a request.
func (d *Desk) begin(ctx context.Context, tx *store.Tx, req Request) ([]store.Erasure, error) {
	found, err := tx.Goldens(ctx, []golden.ID{req.ID})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, ReasonUnknown, "there is no such record")
	}
	ids := []golden.ID{req.ID}
	if req.ID.Object() == golden.Customer && len(req.Systems) == 0 {
		children, err := tx.ListChildren(ctx, req.ID, "", maxContacts+1)
		if err != nil {
			return nil, err
		}
		if len(children) > 0 && (!req.Contacts || len(children) > maxContacts) {
			return nil, fault.New(fault.Precondition, ReasonHasContacts, "the customer has %d contacts: erase them, too, or first", len(children))
		}
		for _, c := range children {
			ids = append(ids, c.ID)
		}
	}
	now := d.d.Now()
	var out []store.Erasure
	var events []store.Event
	for _, id := range ids {
		e, err := d.one(ctx, tx, id, req.Systems, now)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		events = append(events, store.Event{At: now, GoldenID: id, Kind: "erased", ChangeID: e.ID, Fields: req.Systems, Traceparent: telemetry.Traceparent(ctx)})
	}
	events = append(events, store.Event{
		At: now, Kind: "erasure_requested", System: store.ErasureSystem, RecordID: out[0].ID, ChangeID: out[0].ID, Note: req.Reason,
		Traceparent: telemetry.Traceparent(ctx),
	})
	return out, tx.AddEvents(ctx, events)
}

// one erases one golden record.
func (d *Desk) one(ctx context.Context, tx *store.Tx, id golden.ID, systems []string, now time.Time) (store.Erasure, error) {
	e := store.Erasure{
		ID: "e_" + strings.ToLower(rand.Text()), GoldenID: id, Object: id.Object(), Systems: slices.Clone(systems), State: store.Erasing,
		Actor: caller.From(ctx).Name, Requested: now,
	}
	ids, err := d.family(ctx, tx, id)
	if err != nil {
		return e, err
	}
	rows, err := tx.SourcesOf(ctx, ids)
	if err != nil {
		return e, err
	}
	var refs []golden.Ref
	var keys []string
	for _, row := range rows {
		if d.systems[row.Ref.System] == nil || (len(systems) > 0 && !slices.Contains(systems, row.Ref.System)) {
			continue
		}
		refs, keys = append(refs, row.Ref), append(keys, store.RecordKey(row.Ref))
		if err := d.step(ctx, tx, &e, store.ErasureStep{Ref: row.Ref}, store.RecordKey(row.Ref)); err != nil {
			return e, err
		}
	}
	for name, sys := range d.systems {
		if len(sys.Fields(id.Object())) == 0 || (len(systems) > 0 && !slices.Contains(systems, name)) {
			continue
		}
		// A creation of ours may have been made without anybody having heard of it.
		s := store.ErasureStep{Ref: golden.Ref{System: name, Object: id.Object()}, ExternalID: source.ExternalIDOf(id, "")}
		if err := d.step(ctx, tx, &e, s, "find/"+name+"/"+string(id)); err != nil {
			return e, err
		}
	}
	slices.SortFunc(e.Steps, func(a, b store.ErasureStep) int {
		return strings.Compare(a.Ref.System+a.Ref.RecordID, b.Ref.System+b.Ref.RecordID)
	})
	if len(systems) == 0 {
		for _, of := range ids {
			keys = append(keys, store.GoldenKey(of))
		}
	}
	if err := tx.Bury(ctx, e.ID, keys, now); err != nil {
		return e, err
	}
	if err := tx.PutErasure(ctx, e); err != nil {
		return e, err
	}
	if len(systems) == 0 {
		return e, d.whole(ctx, tx, ids, refs, now)
	}
	return e, d.part(ctx, tx, id, systems, rows, refs, now)
}

// family returns a golden record with those that were merged into it.
func (d *Desk) family(ctx context.Context, tx *store.Tx, id golden.ID) ([]golden.ID, error) {
	out := []golden.ID{id}
	for i := 0; i < len(out); i++ {
		merged, err := tx.MergedInto(ctx, out[i])
		if err != nil {
			return nil, err
		}
		for _, m := range merged {
			if !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out, nil
}

func (d *Desk) step(ctx context.Context, tx *store.Tx, e *store.Erasure, s store.ErasureStep, key string) error {
	var err error
	s.ErasureID, s.State = e.ID, store.StepWaiting
	s.Hash, err = tx.HashOf(ctx, key)
	e.Steps = append(e.Steps, s)
	return err
}

// whole forgets everything about golden records.
func (d *Desk) whole(ctx context.Context, tx *store.Tx, ids []golden.ID, refs []golden.Ref, now time.Time) error {
	if err := tx.Scrub(ctx, ids, refs, now); err != nil {
		return err
	}
	for _, id := range ids {
		for _, also := range d.d.Also {
			if err := also(ctx, tx.SQL(), id); err != nil {
				return err
			}
		}
	}
	return nil
}

// part forgets the words of some systems: the golden record lives on what the others say. Of each record a tombstone
// without values stays, so that it is not made again there.
func (d *Desk) part(ctx context.Context, tx *store.Tx, id golden.ID, systems []string, rows []*store.Source, refs []golden.Ref, now time.Time) error {
	if err := tx.ScrubWords(ctx, []golden.ID{id}, now); err != nil {
		return err
	}
	if err := tx.ScrubRecords(ctx, refs, now); err != nil {
		return err
	}
	for _, s := range systems {
		if err := tx.ScrubSystem(ctx, id, s); err != nil {
			return err
		}
	}
	tombs, err := tx.Tombs(ctx, nil)
	if err != nil {
		return err
	}
	var stubs []*store.Source
	for _, row := range rows {
		if !slices.Contains(refs, row.Ref) {
			continue
		}
		stubs = append(stubs, &store.Source{
			Ref:      golden.Ref{System: row.Ref.System, Object: row.Ref.Object, RecordID: tombs.Name(store.RecordKey(row.Ref))},
			GoldenID: row.GoldenID, Version: row.Version, EventTime: now, Deleted: true,
		})
	}
	if err := tx.PutSources(ctx, stubs); err != nil {
		return err
	}
	unit, err := d.d.Folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
	if err != nil {
		return err
	}
	if err := unit.LoadGoldens(ctx, []golden.ID{id}); err != nil {
		return err
	}
	unit.Remerge(id, "erasure")
	if err := unit.Flush(ctx); err != nil {
		return err
	}
	return tx.Settle(ctx, []golden.ID{id}) // nothing is held by the letters that were closed
}

// Receipt is what an erasure ends with: the document that is signed.
type Receipt struct {
	Erasure   string        `json:"erasure"`
	Record    string        `json:"record"`
	Object    string        `json:"object"`
	Systems   []string      `json:"systems,omitempty"`
	Requested time.Time     `json:"requested"`
	Completed time.Time     `json:"completed"`
	Steps     []ReceiptStep `json:"steps"`
	Answers   int64         `json:"stored_answers"`
}

// ReceiptStep is one record that is gone.
type ReceiptStep struct {
	System string    `json:"system"`
	Object string    `json:"object"`
	Gone   time.Time `json:"gone"`
}

// sign returns the receipt of an erasure and its signature.
func sign(e store.Erasure, seed []byte) (text string, signature []byte, err error) {
	r := Receipt{
		Erasure: e.ID, Record: string(e.GoldenID), Object: string(e.Object), Systems: e.Systems, Requested: e.Requested.UTC(), Completed: e.Done.UTC(), Answers: e.Answers,
	}
	for _, s := range e.Steps {
		r.Steps = append(r.Steps, ReceiptStep{System: s.Ref.System, Object: string(s.Ref.Object), Gone: s.Done.UTC()})
	}
	b, err := json.Marshal(r)
	if err != nil {
		return "", nil, fmt.Errorf("write receipt: %w", err)
	}
	return string(b), ed25519.Sign(ed25519.NewKeyFromSeed(seed), b), nil
}

// PublicKey returns the key that receipts are checked with; nil while there is none.
func (d *Desk) PublicKey(ctx context.Context) ([]byte, error) {
	seed, err := d.d.Store.Read().ReadReceiptSeed(ctx)
	if err != nil || seed == nil {
		return nil, err
	}
	key, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return key, nil
}
