package fold_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/steward"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// pair is a world with two customers that both systems have.
type pair struct {
	*enginetest.World
	a, b       string    // records of Salesforce
	idA, idB   golden.ID // their golden records
	erpA, erpB string
	steward    *steward.Desk
}

func newPair(t *testing.T) *pair {
	t.Helper()
	return newPairWith(t, survive.Default())
}

func newPairWith(t *testing.T, rules *survive.Rules) *pair {
	t.Helper()
	return newPairOf(t, rules, func(*sourcetest.Options) {})
}

func newPairOf(t *testing.T, rules *survive.Rules, change func(*sourcetest.Options)) *pair {
	t.Helper()
	w := enginetest.NewWith(t, storetest.Schema.Open(t, "sqlite"), change)
	w.Rules = rules
	w.Start()
	w.Deleting = true // two live records of one customer are what a merge leaves behind
	w.Settle()
	p := &pair{World: w}
	p.a = w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme GmbH", golden.TaxID: "DE100000001", golden.Phone: "1"})
	p.b = w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme Berlin", golden.TaxID: "DE100000002", golden.Website: "b.example"})
	w.SF.Create(golden.Contact, p.b, golden.Values{golden.LastName: "Lang", golden.Email: "ada@b.example"})
	w.Settle()
	p.idA, p.idB = w.Golden(w.SF, golden.Customer, p.a).ID, w.Golden(w.SF, golden.Customer, p.b).ID
	p.erpA, p.erpB = w.Twin(p.idA, w.ERP).Ref.RecordID, w.Twin(p.idB, w.ERP).Ref.RecordID
	p.steward = steward.New(w.Store, w.Folder, w.Wake)
	return p
}

func (p *pair) golden(t *testing.T, id golden.ID) *store.Golden {
	t.Helper()
	got, err := p.Store.Read().Goldens(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Len(t, got, 1)
	return got[0]
}

func (p *pair) records(t *testing.T, id golden.ID) []string {
	t.Helper()
	rows, err := p.Store.Read().SourcesOf(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	out := []string{}
	for _, r := range rows {
		if !r.Deleted {
			out = append(out, r.Ref.System+"/"+r.Ref.RecordID)
		}
	}
	return out
}

// contact is the golden contact of the one person.
func (p *pair) contact(t *testing.T) *store.Golden {
	t.Helper()
	recs := p.SF.Records(golden.Contact)
	require.Len(t, recs, 1)
	return p.Golden(p.SF, golden.Contact, recs[0].Ref.RecordID)
}

// record is what is known of a record of the ERP.
func (p *pair) record(t *testing.T, id string) *store.Source {
	t.Helper()
	rows, err := p.Store.Read().Sources(t.Context(), "erp", golden.Customer, []string{id})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	return rows[0]
}

func TestJoin(t *testing.T) {
	t.Parallel()

	t.Run("a merge in Salesforce makes one customer of two, with all their records", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		before := p.golden(t, p.idB).Values
		p.SF.Reparent(p.SF.Records(golden.Contact)[0].Ref.RecordID, p.a) // Salesforce moves the people over
		p.SF.Merge(golden.Customer, p.a, p.b, golden.Values{golden.Phone: "9"})
		p.Settle()
		p.Check()
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
		require.Equal(t, []string{"erp/" + p.erpA, "erp/" + p.erpB, "salesforce/" + p.a}, p.records(t, p.idA))
		for _, id := range []string{p.erpA, p.erpB} {
			rec, ok := p.ERP.Record(golden.Customer, id)
			require.True(t, ok)
			require.Equal(t, []string{"Acme GmbH", "9"}, []string{rec.Values[golden.Name], rec.Values[golden.Phone]})
		}
		require.Equal(t, string(p.idA), p.contact(t).Values[golden.Parent])
		require.Contains(t, p.Events(p.idB), "merged")
		require.Contains(t, p.Events(p.idA), "absorbed")

		// Taken back, both have what they had; the person stays where Salesforce has put her.
		p.SF.Undelete(golden.Customer, p.b)
		p.Settle()
		p.Check()
		require.Equal(t, before, p.golden(t, p.idB).Values)
		require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b}, p.records(t, p.idB))
		require.Empty(t, p.golden(t, p.idB).MergedInto)
		require.Equal(t, string(p.idA), p.contact(t).Values[golden.Parent])
	})
	t.Run("a duplicate merged away in the ERP moves its Salesforce record", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		p.ERP.Merge(golden.Customer, p.erpA, p.erpB, nil)
		p.Settle()
		p.Check()
		require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a, "salesforce/" + p.b}, p.records(t, p.idA))
	})
	t.Run("contacts that a merge in the ERP leaves behind are given to the survivor there", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		p.ERP.Merge(golden.Customer, p.erpA, p.erpB, nil) // as a foreign ERP does that does not keep our contacts
		p.Settle()
		p.Check()
		left := p.ERP.Records(golden.Contact)
		require.Len(t, left, 1)
		require.Equal(t, p.erpA, left[0].ParentID)
		require.Equal(t, string(p.idA), p.contact(t).Values[golden.Parent])
	})
	t.Run("a merge in the ERP that is told twice, late and after an edit of either is one merge", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		p.ERP.Hold()
		p.ERP.Edit(golden.Customer, p.erpB, golden.Values{golden.Phone: "5"}) // the last word about the one that goes
		p.ERP.Merge(golden.Customer, p.erpA, p.erpB, nil)
		p.ERP.Edit(golden.Customer, p.erpA, golden.Values{golden.Phone: "6"})
		p.ERP.Release(func(held []source.Change) { held[0], held[2] = held[2], held[0] })
		p.ERP.Replay(3)
		p.Settle()
		p.Check()
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
		require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a, "salesforce/" + p.b}, p.records(t, p.idA))
		require.Equal(t, "6", p.golden(t, p.idA).Values[golden.Phone])
		require.Len(t, slices.DeleteFunc(p.Events(p.idA), func(kind string) bool { return kind != "absorbed" }), 1)
		for _, id := range []string{p.a, p.b} {
			rec, ok := p.SF.Record(golden.Customer, id)
			require.True(t, ok)
			require.Equal(t, "6", rec.Values[golden.Phone], "both records that Salesforce has of it follow")
		}
		rows, err := p.Store.Read().Sources(t.Context(), "erp", golden.Customer, []string{p.erpB})
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Equal(t, p.erpA, rows[0].MergedInto, "what it said stays stored")
		require.NotEmpty(t, rows[0].Claims)
	})
	t.Run("a merge in the ERP that nobody told is found by reading everything, and taken back with its record", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		before := p.golden(t, p.idB).Values
		p.ERP.Drop(1)
		p.ERP.Merge(golden.Customer, p.erpA, p.erpB, nil)
		p.ERP.Overflow("")
		p.Settle()
		p.Check()
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
		p.ERP.Undelete(golden.Customer, p.erpB)
		p.Settle()
		p.Check()
		require.Empty(t, p.golden(t, p.idB).MergedInto)
		require.Equal(t, before, p.golden(t, p.idB).Values)
		require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b}, p.records(t, p.idB))
	})
	t.Run("a merge in the ERP that nobody told is found by comparing, and taken in as a merge", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		p.ERP.Drop(1)
		p.ERP.Merge(golden.Customer, p.erpA, p.erpB, nil)
		p.Settle()
		require.Empty(t, p.golden(t, p.idB).MergedInto)
		p.Clock.Advance(time.Hour)
		rec, err := reconcile.New(reconcile.Deps{
			Store: p.Store, Folder: p.Folder, Systems: p.Systems, Take: p.Intake.Take, Now: p.Clock.Now, Marked: p.Wake, Telemetry: telemetry.Discard(),
		})
		require.NoError(t, err)
		_, _, err = rec.Start(t.Context(), "erp", store.DepthDeep, true)
		require.NoError(t, err)
		did, err := rec.Step(t.Context())
		require.NoError(t, err)
		require.True(t, did)
		p.Settle()
		p.Check()
		require.Equal(t, p.erpA, p.record(t, p.erpB).MergedInto)
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
		require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a, "salesforce/" + p.b}, p.records(t, p.idA))
	})
	t.Run("a doubtful edit of a record that turns out to be merged away is the merge", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		p.ERP.Edit(golden.Customer, p.erpB, golden.Values{golden.Phone: "5"})
		p.Settle()
		row := p.record(t, p.erpB)
		p.ERP.Drop(1)
		p.ERP.Merge(golden.Customer, p.erpA, p.erpB, nil)
		_, err := p.Intake.Take(t.Context(), "erp", intake.Batch{Changes: []source.Change{{
			ID: "doubtful", Ref: row.Ref, Version: row.Version, CommitTime: row.EventTime, Record: &source.Record{
				Ref: row.Ref, ExternalID: row.ExternalID, Values: golden.Values{golden.Phone: "6"}, Version: row.Version, EventTime: row.EventTime,
			},
		}}})
		require.NoError(t, err)
		p.Settle()
		p.Check()
		require.Equal(t, p.erpA, p.record(t, p.erpB).MergedInto)
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
	})
	for _, system := range []string{"salesforce", "erp"} {
		t.Run("a merge in "+system+" that is told together with its end leaves two customers", func(t *testing.T) {
			t.Parallel()
			p := newPairOf(t, survive.Default(), func(o *sourcetest.Options) { o.LateSnapshots = false })
			values := func() []golden.Values { return []golden.Values{p.golden(t, p.idA).Values, p.golden(t, p.idB).Values} }
			before := values()
			sys, winner, loser := p.SF, p.a, p.b
			if system == "erp" {
				sys, winner, loser = p.ERP, p.erpA, p.erpB
			}
			for range 2 { // all of it is one batch
				sys.Merge(golden.Customer, winner, loser, nil)
				p.Clock.Advance(time.Second)
				sys.Undelete(golden.Customer, loser)
				p.Clock.Advance(time.Second)
			}
			p.Settle()
			p.Check()
			require.Empty(t, p.golden(t, p.idB).MergedInto)
			require.Equal(t, []string{"erp/" + p.erpA, "salesforce/" + p.a}, p.records(t, p.idA))
			require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + p.b}, p.records(t, p.idB))
			require.Equal(t, before, values())
			sys.Merge(golden.Customer, winner, loser, nil)
			p.Settle()
			require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto, "and it can still be one")
			sys.Undelete(golden.Customer, loser)
			p.Settle()
			p.Check()
			require.Equal(t, before, values())
		})
	}
	for name, change := range map[string]func(*sourcetest.Options){
		"the loser is known before the winner":                        func(*sourcetest.Options) {},
		"the loser is known before the winner, by a batch of its own": func(o *sourcetest.Options) { o.BatchSize = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPairOf(t, survive.Default(), change)
			p.SF.Hold()
			c := p.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme Holding", golden.TaxID: "DE100000009"})
			p.SF.Merge(golden.Customer, c, p.b, nil)
			p.SF.Release(slices.Reverse)
			p.Settle()
			p.Check()
			require.Equal(t, p.idB, p.Golden(p.SF, golden.Customer, c).ID)
			require.Equal(t, []string{"erp/" + p.erpB, "salesforce/" + c}, p.records(t, p.idB))
		})
	}
	t.Run("a winner that comes after its loser with the id of another customer joins the two", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		ref := golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: "001Winner"}
		at := p.Clock.Now()
		for _, c := range []source.Change{
			{ID: "loser", Ref: golden.Ref{System: ref.System, Object: ref.Object, RecordID: p.b}, Deleted: true, MergedInto: ref.RecordID, Version: at.UnixMilli(), CommitTime: at},
			{ID: "winner", Ref: ref, Version: at.UnixMilli(), CommitTime: at, Record: &source.Record{
				Ref: ref, ExternalID: source.ExternalIDOf(p.idA, ref.RecordID), Values: golden.Values{golden.Name: "Acme GmbH"}, Version: at.UnixMilli(), EventTime: at,
			}},
		} {
			require.Empty(t, p.golden(t, p.idB).MergedInto)
			_, err := p.Intake.Take(t.Context(), ref.System, intake.Batch{Changes: []source.Change{c}})
			require.NoError(t, err)
		}
		require.Equal(t, p.idA, p.golden(t, p.idB).MergedInto)
		require.Equal(t, []string{"erp/" + p.erpA, "erp/" + p.erpB, "salesforce/" + p.a, "salesforce/" + ref.RecordID}, p.records(t, p.idA))
	})
	t.Run("a person merges and takes it back, and a repeated request changes nothing", func(t *testing.T) {
		t.Parallel()
		p := newPair(t)
		before := []golden.Values{p.golden(t, p.idA).Values, p.golden(t, p.idB).Values}
		for range 2 {
			require.NoError(t, p.steward.Merge(t.Context(), p.idA, p.idB))
			p.Settle()
			p.Check()
		}
		require.Len(t, p.records(t, p.idA), 4)
		require.Empty(t, p.records(t, p.idB))
		require.Equal(t, string(p.idA), p.contact(t).Values[golden.Parent])
		require.Equal(t, "b.example", p.golden(t, p.idA).Values[golden.Website])
		require.True(t, fault.Is(p.steward.Merge(t.Context(), p.idB, p.idA), fault.Precondition), "one that is merged away takes nobody in")
		p.SF.Edit(golden.Customer, p.b, golden.Values{golden.Phone: "77"})
		p.Settle()
		require.Equal(t, "77", p.golden(t, p.idA).Values[golden.Phone])
		require.NoError(t, p.steward.Unmerge(t.Context(), p.idB))
		p.Settle()
		p.Check()
		before[1][golden.Phone] = "77" // an edit made meanwhile belongs to its record
		require.Equal(t, before[0], p.golden(t, p.idA).Values)
		require.Equal(t, before[1], p.golden(t, p.idB).Values)
		require.Equal(t, string(p.idB), p.contact(t).Values[golden.Parent])
		require.True(t, fault.Is(p.steward.Unmerge(t.Context(), p.idB), fault.Precondition))
	})
}
