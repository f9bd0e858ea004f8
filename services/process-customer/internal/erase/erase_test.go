package erase_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/erase"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// person is a customer in both systems whose every value has a word that must be found nowhere afterwards.
type person struct {
	*enginetest.World
	t       *testing.T
	desk    *erase.Desk
	id      golden.ID
	sf, erp string
	kept    *idempotent.SQLStore // stored answers; two are about the person
	erased  []string             // whose stored answers were erased
	answers error                // why they cannot be
	dumps   func() string
}

const secretWord = "Zaphod"

// reason is what a careless operator writes.
const reason = secretWord + " asked for it"

// reasons are what can be read of why somebody was erased, and whether there is more that cannot be read any more.
func (p *person) reasons() (notes []string, erased bool) {
	p.t.Helper()
	list, err := p.Store.Read().Audit(p.t.Context(), store.AuditFilter{Operators: true, Kind: "erasure_requested"}, true, 0, 100)
	require.NoError(p.t, err)
	require.NotEmpty(p.t, list, "the trail says that it was asked for")
	for _, e := range list {
		erased = erased || e.Erased
		if e.Note != "" {
			notes = append(notes, e.Note)
		}
	}
	return notes, erased
}

func newPerson(t *testing.T, d *db.DB) *person {
	t.Helper()
	p := &person{World: enginetest.New(t, d), t: t}
	p.Settle()
	p.sf = p.SF.Create(golden.Customer, "", golden.Values{golden.Name: secretWord, golden.TaxID: "DE100000001", golden.Phone: "1", golden.Email: secretWord + "@a.example"})
	p.Settle()
	p.id = p.World.Golden(p.SF, golden.Customer, p.sf).ID
	p.erp = p.Twin(p.id, p.ERP).Ref.RecordID
	p.SF.Edit(golden.Customer, p.sf, golden.Values{golden.Website: "https://" + secretWord})
	p.Settle()
	var err error
	p.kept, err = idempotent.NewSQLStore(d, []byte("0123456789abcdef"), nil)
	require.NoError(t, err)
	for i, subject := range []golden.ID{p.id, p.id, "c_other"} {
		res, err := p.kept.Begin(t.Context(), idempotent.Claim{
			Scope: idempotent.Scope{Key: fmt.Sprint(i)}, Fingerprint: []byte("f"), Owner: []byte("o"), Lease: time.Minute, Retention: time.Hour,
		})
		require.NoError(t, err)
		require.NoError(t, p.kept.Complete(t.Context(), res.Grant, idempotent.Answer{OK: true, Body: []byte(secretWord), Subject: string(subject)}))
	}
	p.open(p.Systems, p.Store)
	p.dumps = func() string { return dump(t, d) }
	return p
}

// open makes a desk, as a process that was started again does.
func (p *person) open(systems []source.System, st erase.Store) {
	p.desk = erase.New(erase.Deps{
		Store: st, Folder: p.Folder, Systems: systems, Now: p.Clock.Now, Telemetry: telemetry.Discard(),
		AnswersTx: func(ctx context.Context, tx *sql.Tx, subject string) (int, error) {
			if p.answers != nil {
				return 0, p.answers
			}
			p.erased = append(p.erased, subject)
			return p.kept.EraseTx(ctx, tx, subject)
		},
	})
}

func (p *person) erase(systems ...string) store.Erasure {
	p.t.Helper()
	out, err := p.desk.Erase(p.t.Context(), erase.Request{ID: p.id, Systems: systems, Reason: reason})
	require.NoError(p.t, err)
	require.Len(p.t, out, 1)
	return out[0]
}

// finish carries erasures out until nothing is due.
func (p *person) finish() {
	p.t.Helper()
	for range 20 {
		n, err := p.desk.Round(p.t.Context())
		require.NoError(p.t, err)
		if n == 0 {
			return
		}
	}
	require.Fail(p.t, "it does not end")
}

func (p *person) state() store.Erasure {
	p.t.Helper()
	e, err := p.Store.Read().Erasure(p.t.Context(), string(p.id))
	require.NoError(p.t, err)
	return e
}

func (p *person) receipt() (out erase.Receipt) {
	p.t.Helper()
	require.NoError(p.t, json.Unmarshal([]byte(p.state().Receipt), &out))
	return out
}

// gone checks that nothing is left in the systems and that no word is left here.
func (p *person) gone() {
	p.t.Helper()
	require.Empty(p.t, p.SF.Records(golden.Customer))
	require.Empty(p.t, p.ERP.Records(golden.Customer))
	require.NotContains(p.t, p.dumps(), secretWord)
	for _, system := range []string{"salesforce", "erp"} {
		require.True(p.t, p.Line(system).Balanced(), "%+v", p.Line(system))
	}
	out, err := p.Store.Read().Outflows(p.t.Context())
	require.NoError(p.t, err)
	for _, o := range out {
		require.True(p.t, o.Balanced(), "%+v", o)
	}
	r, err := audit.Walk(p.t.Context(), p.Store.Read(), audit.Cursor{}, 10_000)
	require.NoError(p.t, err)
	require.Empty(p.t, r.Problems, "the trail holds without the values")
	require.True(p.t, r.Done)
}

// dump is every text of every table that is not sealed.
func dump(t *testing.T, d *db.DB) string {
	t.Helper()
	var out strings.Builder
	for _, query := range []string{
		"SELECT record_id || shadow || claims || external_id FROM source_record", "SELECT body FROM golden", "SELECT value FROM match_key", "SELECT sent FROM intent",
		"SELECT message || note || record_id FROM dead_letter", "SELECT fields || reason FROM event", "SELECT record_id || change_id FROM inbox",
	} {
		rows, err := d.Read().QueryContext(t.Context(), query)
		require.NoError(t, err)
		for rows.Next() {
			var text sql.NullString
			require.NoError(t, rows.Scan(&text))
			out.WriteString(text.String + "\n")
		}
		require.NoError(t, errors.Join(rows.Err(), rows.Close()))
	}
	return out.String()
}

func TestErase(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		p := newPerson(t, d)
		before := len(p.Events(p.id))
		require.Positive(t, before)
		first := p.erase()
		require.Equal(t, store.Erasing, first.State)
		require.NotContains(t, p.dumps(), secretWord, "here it is gone at once")
		require.Equal(t, first.ID, p.erase().ID, "asking again is asking once")
		notes, erased := p.reasons()
		require.Equal(t, []string{reason}, notes, "while it is under way, people can see why")
		require.False(t, erased)
		p.finish()
		p.gone()
		notes, erased = p.reasons()
		require.Empty(t, notes, "and afterwards not: who was careless may have named the person")
		require.True(t, erased)
		e := p.state()
		require.Equal(t, store.Erased, e.State)
		require.Equal(t, []string{string(p.id)}, p.erased, "stored answers, too")
		for _, s := range e.Steps {
			require.Equal(t, store.StepDone, s.State)
			require.Empty(t, s.Ref.RecordID+s.ExternalID, "what is gone is not named any more")
		}
		key, err := p.desk.PublicKey(t.Context())
		require.NoError(t, err)
		require.True(t, ed25519.Verify(key, []byte(e.Receipt), e.Signature))
		receipt := p.receipt()
		require.EqualValues(t, 2, receipt.Answers)
		require.Len(t, receipt.Steps, 4, "two records, and two looks for what was made without our knowledge")

		// The trail says that it happened, and the values in it cannot be read.
		require.Equal(t, "erasure_done", p.Events(p.id)[len(p.Events(p.id))-1])
		entries, err := p.Store.Read().Audit(t.Context(), store.AuditFilter{GoldenID: p.id}, true, 0, 100)
		require.NoError(t, err)
		unreadable := 0
		for _, x := range entries {
			require.Empty(t, x.Changes)
			if x.Erased {
				unreadable++
			}
		}
		require.Positive(t, unreadable)

		// Everything that ever came in comes in again.
		for _, sys := range []*sourcetest.Fake{p.SF, p.ERP} {
			for i, c := range sys.Changes() {
				c.ID = "replay-" + c.ID
				for range 2 { // and again
					_, err := p.Intake.Take(t.Context(), sys.Name(), intake.Batch{Changes: []source.Change{c}})
					require.NoError(t, err, "%d", i)
				}
			}
		}
		p.Settle()
		p.finish()
		p.Settle()
		p.gone()
		require.Positive(t, p.state().Refused)
		require.Equal(t, store.Erased, p.state().State)
		require.Positive(t, p.Line("salesforce").Refused)
		require.Positive(t, p.Line("salesforce").Duplicates)
	})
}

func TestEraseTrouble(t *testing.T) {
	t.Parallel()
	// The fast tests look at what is most likely to break.
	run := func(name string, often bool, fn func(t *testing.T)) {
		if often || !testing.Short() {
			t.Run(name, fn)
		}
	}
	fresh := func(t *testing.T) *person {
		t.Helper()
		t.Parallel()
		return newPerson(t, storetest.Schema.Open(t, "sqlite"))
	}
	run("an undelete does not resurrect", true, func(t *testing.T) {
		p := fresh(t)
		p.erase()
		p.finish()
		p.SF.Undelete(golden.Customer, p.sf)
		require.NoError(t, p.Read(t.Context()))
		require.Equal(t, store.Erasing, p.state().State, "it is not done any more, and says so")
		require.Empty(t, p.state().Receipt)
		p.finish()
		p.Settle()
		p.gone()
		require.Equal(t, store.Erased, p.state().State)
	})
	run("an edit on its way is refused, and the record goes all the same", false, func(t *testing.T) {
		p := fresh(t)
		p.SF.Edit(golden.Customer, p.sf, golden.Values{golden.Phone: secretWord})
		p.erase()
		p.Settle()
		require.NotContains(t, p.dumps(), secretWord)
		p.finish()
		p.Settle()
		p.gone()
	})
	run("a write that was under way makes nothing that stays", true, func(t *testing.T) {
		p := fresh(t)
		id := p.SF.Create(golden.Customer, "", golden.Values{golden.Name: secretWord + " second", golden.Email: "b@b.example"})
		require.NoError(t, p.Read(t.Context()))
		p.id = p.World.Golden(p.SF, golden.Customer, id).ID
		p.ERP.BeforeUpsert(func(golden.Object, []source.Write) {
			p.ERP.BeforeUpsert(nil)
			p.erase()
			p.finish() // before the write arrives
		})
		p.Settle()
		p.finish()
		p.Settle()
		p.finish()
		require.Len(t, p.ERP.Records(golden.Customer), 1, "the first customer stays")
		require.NotContains(t, p.dumps(), secretWord+" second")
		require.Equal(t, store.Erased, p.state().State)
	})
	run("an erasure in one system does not wait for stored answers that another cannot reach", true, func(t *testing.T) {
		p := fresh(t)
		first := p.id
		p.erase()
		p.Clock.Advance(time.Second)
		id := p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Second", golden.Email: "b@b.example"})
		p.Settle()
		p.id = p.World.Golden(p.SF, golden.Customer, id).ID
		p.erase("salesforce")
		p.answers = errors.New("not reached")
		require.Eventually(t, func() bool {
			_, err := p.desk.Round(t.Context())
			return errors.Is(err, p.answers) && p.state().State == store.Erased
		}, time.Minute, time.Millisecond)
		p.id, p.answers = first, nil
		require.Equal(t, store.Erasing, p.state().State)
		p.finish()
		require.Equal(t, store.Erased, p.state().State)
		require.Equal(t, []string{string(first)}, p.erased)
	})
	run("stored answers that are elsewhere are counted over all attempts", true, func(t *testing.T) {
		p := fresh(t)
		lost := errors.New("the connection is lost")
		attempts := 0
		desk := erase.New(erase.Deps{
			Store: p.Store, Folder: p.Folder, Systems: p.Systems, Now: p.Clock.Now, Telemetry: telemetry.Discard(),
			Answers: func(context.Context, string) (int, error) {
				attempts++
				return []int{0, 2, 3}[attempts-1], []error{lost, lost, nil}[attempts-1]
			},
		})
		p.erase()
		for attempts < 3 {
			if _, err := desk.Round(t.Context()); err != nil {
				require.ErrorIs(t, err, lost)
				require.Equal(t, store.Erasing, p.state().State)
			}
		}
		require.Equal(t, store.Erased, p.state().State)
		require.EqualValues(t, 5, p.receipt().Answers)
	})
	run("a system that is down is waited for, and one that refuses is said", false, func(t *testing.T) {
		p := fresh(t)
		p.ERP.SetDown(sourcetest.Unreachable())
		p.SF.Refuse(p.sf, -1, sourcetest.Permanent())
		p.erase()
		p.finish()
		open, refused, oldest, err := p.Store.Read().OpenErasures(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, open)
		require.EqualValues(t, 2, refused, "the record, by its id and by ours")
		require.False(t, oldest.IsZero())
		require.Len(t, p.SF.Records(golden.Customer), 1)
		p.ERP.SetDown(nil)
		p.SF.Refuse(p.sf, 0, nil)
		p.Clock.Advance(2 * time.Hour)
		p.finish()
		require.Equal(t, store.Erased, p.state().State)
		p.Settle()
		p.gone()
	})
	run("what a record holds is written over before it is deleted", false, func(t *testing.T) {
		p := fresh(t)
		p.erase()
		p.finish()
		p.SF.Undelete(golden.Customer, p.sf) // out of the recycle bin
		rec, ok := p.SF.Record(golden.Customer, p.sf)
		require.True(t, ok)
		require.Equal(t, "Erased", rec.Values[golden.Name])
		require.Empty(t, rec.Values[golden.Email])
	})
	run("contacts are erased with their customer, if it is said", false, func(t *testing.T) {
		p := fresh(t)
		p.SF.Create(golden.Contact, p.sf, golden.Values{golden.LastName: secretWord + " Beeblebrox"})
		p.Settle()
		_, err := p.desk.Erase(t.Context(), erase.Request{ID: p.id, Reason: "x"})
		require.Equal(t, erase.ReasonHasContacts, fault.ReasonOf(err))
		require.Len(t, p.ERP.Records(golden.Contact), 1, "nothing was done")
		out, err := p.desk.Erase(t.Context(), erase.Request{ID: p.id, Contacts: true, Reason: "x"})
		require.NoError(t, err)
		require.Len(t, out, 2)
		p.finish()
		p.Settle()
		p.gone()
		require.Empty(t, p.SF.Records(golden.Contact))
		require.Empty(t, p.ERP.Records(golden.Contact))
	})
	run("a call that made the customer makes it not again", false, func(t *testing.T) {
		p := fresh(t)
		id, err := golden.DeriveID(golden.Customer, "key")
		require.NoError(t, err)
		make := func() error {
			return p.Intake.Create(t.Context(), id, golden.Values{golden.Name: "Called"}, func(context.Context, *store.Tx, golden.ID, bool) error { return nil })
		}
		require.NoError(t, make())
		p.Settle()
		p.id = id
		p.erase()
		p.finish()
		require.Equal(t, intake.ReasonErased, fault.ReasonOf(make()))
	})
	run("erasing one system leaves nothing parked, and what the other said itself", false, func(t *testing.T) {
		p := fresh(t)
		p.ERP.Edit(golden.Customer, p.erp, golden.Values{golden.Name: "Own word"})
		p.Settle()
		p.ERP.Refuse(p.erp, 1, sourcetest.Permanent())
		p.SF.Edit(golden.Customer, p.sf, golden.Values{golden.Phone: "2"})
		p.Settle()
		require.Len(t, p.Dead(), 1)
		require.Positive(t, p.Line("salesforce").Parked)
		p.erase("salesforce")
		p.finish()
		p.Settle()
		require.Empty(t, p.Dead())
		for _, system := range []string{"salesforce", "erp"} {
			require.Zero(t, p.Line(system).Parked+p.Line(system).Retrying, system)
			require.True(t, p.Line(system).Balanced())
		}
		require.Empty(t, p.SF.Records(golden.Customer))
		require.Equal(t, "Own word", p.World.Golden(p.ERP, golden.Customer, p.erp).Values[golden.Name])
	})
	run("what is not known is not erased", false, func(t *testing.T) {
		p := fresh(t)
		_, err := p.desk.Erase(t.Context(), erase.Request{ID: "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", Reason: "x"})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = p.desk.Erase(t.Context(), erase.Request{ID: p.id, Systems: []string{"moon"}, Reason: "x"})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
	run("one customer goes and the others stay", false, func(t *testing.T) {
		p := fresh(t)
		other := p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Arthur", golden.TaxID: "DE100000002"})
		p.Settle()
		p.erase()
		p.finish()
		p.Settle()
		p.Check()
		require.Equal(t, "Arthur", p.World.Golden(p.SF, golden.Customer, other).Values[golden.Name])
		// A new record of the same name is a new customer.
		p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Trillian", golden.TaxID: "DE100000001"})
		p.Settle()
		p.Check()
		require.Len(t, p.ERP.Records(golden.Customer), 2)
	})
}

// TestEraseCrash kills the process at every point of an erasure; another one ends it.
func TestEraseCrash(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, at int) int {
		p := newPerson(t, storetest.Schema.Open(t, "sqlite"))
		killer := enginetest.NewKiller(at)
		var systems []source.System
		for _, s := range p.Systems {
			systems = append(systems, killer.System(s))
		}
		p.open(systems, killer.Store(engine.Store(p.Store)))
		_, err := p.desk.Erase(t.Context(), erase.Request{ID: p.id, Reason: "x"})
		for range 5 {
			if err == nil {
				_, err = p.desk.Round(t.Context())
			}
		}
		require.Equal(t, at > 0, killer.Dead(), "%v", err)
		p.open(p.Systems, p.Store)
		p.erase() // whoever asked and was not answered asks again
		p.Clock.Advance(time.Hour)
		p.finish()
		p.Settle()
		p.finish()
		p.gone()
		require.Equal(t, store.Erased, p.state().State)
		require.EqualValues(t, 2, p.receipt().Answers, "killed at %d", at)
		return killer.Passed()
	}
	if testing.Short() {
		run(t, 7) // in the middle of the first system
		return
	}
	points := run(t, 0)
	require.Greater(t, points, 12)
	for at := 1; at <= points; at++ {
		run(t, at)
	}
}
