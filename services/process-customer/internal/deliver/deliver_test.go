package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *enginetest.World {
	t.Helper()
	t.Parallel()
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Settle()
	return w
}

func erp(w *enginetest.World) *deliver.Deliverer {
	for _, d := range w.Deliverers {
		if d.System() == "erp" {
			return d
		}
	}
	return nil
}

func backlog(t *testing.T, w *enginetest.World) store.Backlog {
	t.Helper()
	all, err := w.Store.Read().Backlogs(t.Context())
	require.NoError(t, err)
	for _, b := range all {
		if b.System == "erp" {
			return b
		}
	}
	return store.Backlog{}
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	t.Run("ten edits are one write of the fields that differ", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "0"})
		w.Settle()
		for i := range 10 {
			w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: fmt.Sprint(i + 1)})
		}
		var sent []source.Write
		w.ERP.BeforeUpsert(func(_ golden.Object, writes []source.Write) { sent = append(sent, writes...) })
		w.Settle()
		w.Check()
		require.Len(t, sent, 1)
		require.Equal(t, golden.Values{golden.Phone: "10"}, sent[0].Values)
	})
	t.Run("an edit that is taken in while an older value is on its way wins in the end", func(t *testing.T) {
		w := setup(t)
		erpID := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		sfID := w.Twin(w.Golden(w.ERP, golden.Customer, erpID).ID, w.SF).Ref.RecordID
		w.Clock.Advance(time.Minute)
		w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.Phone: "2"})
		w.SF.BeforeUpsert(func(golden.Object, []source.Write) {
			w.SF.BeforeUpsert(nil)
			w.Clock.Advance(time.Minute)
			w.SF.Edit(golden.Customer, sfID, golden.Values{golden.Phone: "3"})
			changes := w.SF.Changes()
			last := changes[len(changes)-1]
			_, err := w.Intake.Take(context.Background(), "salesforce", intake.Batch{Changes: []source.Change{last}})
			require.NoError(t, err)
		})
		w.Settle()
		w.Check()
		rec, _ := w.SF.Record(golden.Customer, sfID)
		require.Equal(t, "3", rec.Values[golden.Phone], "Salesforce checks no versions: 2 was written over 3 and 3 came back")
	})
	t.Run("an edit that is taken in after the write and before its answer wins in the end", func(t *testing.T) {
		w := setup(t)
		erpID := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Street: "A 1", golden.City: "Köln", golden.Website: "w"})
		w.SF.AfterUpsert(func(_ golden.Object, _ []source.Write, results []source.Result) {
			w.SF.AfterUpsert(nil)
			w.Clock.Advance(time.Minute)
			w.SF.Edit(golden.Customer, results[0].RecordID, golden.Values{golden.City: "Bonn", golden.Website: ""})
			require.NoError(t, w.Read(context.Background()))
		})
		w.Settle()
		w.Check()
		rec := w.Twin(w.Golden(w.ERP, golden.Customer, erpID).ID, w.SF)
		require.Equal(t, "Köln", rec.Values[golden.City], "the ERP decides addresses")
		require.Empty(t, rec.Values[golden.Website], "Salesforce decides websites, and somebody cleared it")
	})
	t.Run("a mark made while a delivery is under way outlives it", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		w.ERP.AfterUpsert(func(golden.Object, []source.Write, []source.Result) {
			w.ERP.AfterUpsert(nil)
			w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "3"})
			require.NoError(t, w.Read(context.Background()))
		})
		require.NoError(t, w.Read(t.Context()))
		_, err := erp(w).Step(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, backlog(t, w).Pending)
		w.Settle()
		w.Check()
	})
	t.Run("a lost acknowledgement makes no second record", func(t *testing.T) {
		w := setup(t)
		w.ERP.LoseAcks(3, nil)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Customer), 1)
	})
	t.Run("an uncertain outcome is written again, not parked", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, id)
		w.ERP.Uncertain(string(g.ID), 2)
		w.ERP.Uncertain(w.Twin(g.ID, w.ERP).Ref.RecordID, 2)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		w.Settle()
		w.Check()
		require.Empty(t, w.Dead())
	})
	t.Run("one refused record of a batch is parked and the others arrive", func(t *testing.T) {
		w := setup(t)
		var ids []string
		for i := range 5 {
			ids = append(ids, w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)}))
		}
		require.NoError(t, w.Read(t.Context()))
		bad := w.Golden(w.SF, golden.Customer, ids[2])
		w.ERP.Refuse(string(bad.ID), -1, sourcetest.Permanent())
		w.Settle()
		require.Len(t, w.ERP.Records(golden.Customer), 4)
		dead := w.Dead()
		require.Len(t, dead, 1)
		require.Equal(t, bad.ID, dead[0].GoldenID)
		require.Equal(t, "RECORD_REFUSED", dead[0].Reason)
		require.EqualValues(t, 1, w.Line("salesforce").Parked)
		require.Contains(t, w.Events(bad.ID), "parked")

		w.ERP.Refuse(string(bad.ID), 0, nil)
		n, err := w.Desk().Retry(t.Context(), []string{dead[0].ID}, "", deadletter.SameStep)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		w.Settle()
		w.Check()
		require.Empty(t, w.Dead())
		line := w.Line("salesforce")
		require.Zero(t, line.Parked+line.Retrying)
		n, err = w.Desk().Retry(t.Context(), []string{dead[0].ID}, "", deadletter.SameStep)
		require.NoError(t, err)
		require.Zero(t, n, "it is settled")
	})
	t.Run("a later change that arrives resolves the dead letter", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		g := w.Golden(w.SF, golden.Customer, id)
		w.ERP.Refuse(string(g.ID), 1, sourcetest.Permanent())
		w.Settle()
		letter := w.Dead()[0]
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "1"})
		w.Settle()
		w.Check()
		got, err := w.Store.Read().DeadLetter(t.Context(), letter.ID)
		require.NoError(t, err)
		require.Equal(t, store.DeadResolved, got.State)
		require.Zero(t, w.Line("salesforce").Parked)
	})
	t.Run("a letter that is discarded refuses what it held", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), -1, sourcetest.Permanent())
		w.Settle()
		got, err := w.Desk().Discard(t.Context(), w.Dead()[0].ID, "not wanted in the ERP")
		require.NoError(t, err)
		require.Equal(t, store.DeadDiscarded, got.State)
		line := w.Line("salesforce")
		require.EqualValues(t, 1, line.Refused)
		require.True(t, line.Balanced())
		again, err := w.Desk().Discard(t.Context(), got.ID, "twice")
		require.NoError(t, err)
		require.Equal(t, "not wanted in the ERP", again.Note)
		_, err = w.Desk().Discard(t.Context(), "d_none", "x")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
	t.Run("a record that is hidden from us is not taken for a deleted one, and its delivery becomes a dead letter", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		customer := w.Golden(w.SF, golden.Customer, id).ID
		w.SF.Hide(golden.Customer, id, true)
		w.ERP.Edit(golden.Customer, w.Twin(customer, w.ERP).Ref.RecordID, golden.Values{golden.Phone: "+41 1"})
		w.Settle()
		require.Len(t, w.Dead(), 1)
		require.Equal(t, sourcetest.ReasonRecordUnknown, w.Dead()[0].Reason)
		require.NotContains(t, w.Events(customer), "deleted")
		w.SF.Hide(golden.Customer, id, false)
		_, err := w.Desk().Retry(t.Context(), nil, "salesforce", deadletter.SameStep)
		require.NoError(t, err)
		w.Settle()
		w.Check()
		rec, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "+41 1", rec.Values[golden.Phone])
	})
	t.Run("a record that was deleted is found out however often its delivery was tried before", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		customer := w.Golden(w.SF, golden.Customer, id).ID
		w.SF.Refuse(id, 6, sourcetest.Transient())
		w.ERP.Edit(golden.Customer, w.Twin(customer, w.ERP).Ref.RecordID, golden.Values{golden.Phone: "+41 1"})
		require.NoError(t, w.Read(t.Context()))
		for range 6 {
			require.NoError(t, w.Deliver(t.Context()))
			w.Clock.Advance(time.Hour)
		}
		rec, _ := w.SF.Record(golden.Customer, id)
		require.NotEqual(t, "+41 1", rec.Values[golden.Phone], "it is still to be written")
		w.SF.Drop(1)
		w.SF.Delete(golden.Customer, id)
		w.Settle()
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{id})
		require.NoError(t, err)
		require.True(t, rows[0].Deleted)
		require.Empty(t, w.Dead())
	})
	t.Run("a record that is locked for now is tried again with growing waits", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), 2, sourcetest.Transient())
		require.NoError(t, w.Deliver(t.Context()))
		require.EqualValues(t, 1, backlog(t, w).Retrying)
		calls := w.ERP.Calls(sourcetest.OpUpsert)
		require.NoError(t, w.Deliver(t.Context()))
		require.Equal(t, calls, w.ERP.Calls(sourcetest.OpUpsert), "not before it is due")
		w.Settle()
		w.Check()
		require.Contains(t, w.Events(w.Golden(w.SF, golden.Customer, id).ID), "failed")
	})
	t.Run("an unclassified failure of one record becomes a dead letter after some attempts", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), -1, fault.New(fault.Internal, "BUG", "a defect"))
		w.Settle()
		require.Len(t, w.Dead(), 1)
		require.Equal(t, 5, w.Dead()[0].Attempts)
	})
	t.Run("a conflict is read, taken in and written again over the newer version", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1", golden.Website: "https://a.example"})
		w.Settle()
		erpID := w.Twin(w.Golden(w.SF, golden.Customer, id).ID, w.ERP).Ref.RecordID
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.City: "Köln"}) // not read yet
		require.NoError(t, w.Deliver(t.Context()))
		rec, _ := w.ERP.Record(golden.Customer, erpID)
		require.Equal(t, "2", rec.Values[golden.Phone])
		require.Equal(t, 1, w.ERP.Calls(sourcetest.OpFetch))
		w.Settle()
		w.Check()
		sf, _ := w.SF.Record(golden.Customer, id)
		require.Equal(t, "Köln", sf.Values[golden.City])
	})
	t.Run("a record that was deleted meanwhile is noticed and left alone", func(t *testing.T) {
		w := setup(t)
		w.Deleting = true
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		w.ERP.Hold()
		w.ERP.Delete(golden.Customer, w.Twin(w.Golden(w.SF, golden.Customer, id).ID, w.ERP).Ref.RecordID)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		w.Settle()
		require.Empty(t, w.ERP.Records(golden.Customer))
		require.Empty(t, w.Dead())
		w.ERP.Release(nil)
		w.Settle()
		w.Check()
	})
	t.Run("a system that is away costs no attempts and is not hammered", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.SetDown(sourcetest.Unreachable())
		for range 20 {
			require.NoError(t, w.Deliver(t.Context()))
		}
		require.Equal(t, 1, w.ERP.Calls(sourcetest.OpUpsert))
		require.Equal(t, fault.ReasonUnavailable, erp(w).Status().Reason)
		claimed := claim(t, w)
		require.Len(t, claimed, 1)
		require.Zero(t, claimed[0].Attempt)
		w.ERP.SetDown(nil)
		w.Clock.Advance(5 * time.Minute)
		w.Settle()
		w.Check()
		require.Empty(t, erp(w).Status().Reason)
	})
	t.Run("a used up quota pauses the target for as long as it says", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Fail(sourcetest.OpUpsert, fault.New(fault.Exhausted, "REQUEST_LIMIT_EXCEEDED", "no calls left").WithRetryAfter(10*time.Minute))
		require.NoError(t, w.Deliver(t.Context()))
		w.Clock.Advance(9 * time.Minute)
		require.NoError(t, w.Deliver(t.Context()))
		require.Equal(t, 1, w.ERP.Calls(sourcetest.OpUpsert))
		w.Clock.Advance(2 * time.Minute)
		require.NoError(t, w.Deliver(t.Context()))
		require.Len(t, w.ERP.Records(golden.Customer), 1)
	})
	t.Run("a quota that foresees when work may go on is shown, and asked again before", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		foreseen := w.Clock.Now().Add(3 * time.Hour).UTC().Truncate(time.Second)
		w.ERP.Fail(sourcetest.OpUpsert, fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "kept for others").
			WithRetryAfter(5*time.Minute).WithMeta("resume_time", foreseen.Format(time.RFC3339)))
		require.NoError(t, w.Deliver(t.Context()))
		status := erp(w).Status()
		require.Equal(t, "API_BUDGET_EXHAUSTED", status.Reason)
		require.Equal(t, foreseen, status.Resume)
		require.WithinDuration(t, w.Clock.Now().Add(5*time.Minute), status.PausedUntil, time.Second)
		require.EqualValues(t, 1, backlog(t, w).Pending, "what waits is not done")
		require.Zero(t, status.Written)
		w.Clock.Advance(5 * time.Minute)
		require.NoError(t, w.Deliver(t.Context()))
		require.Zero(t, erp(w).Status().Resume)
		require.Len(t, w.ERP.Records(golden.Customer), 1)
	})
	t.Run("a call that is refused as a whole is divided until the culprit stands alone", func(t *testing.T) {
		w := setup(t)
		for i := range 32 {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
		}
		require.NoError(t, w.Read(t.Context()))
		bad := &picky{System: w.ERP, culprit: "Customer 7"}
		d := deliverTo(t, w, bad)
		for {
			n, err := d.Step(t.Context())
			require.NoError(t, err)
			if n == 0 {
				break
			}
		}
		require.Len(t, w.ERP.Records(golden.Customer), 31)
		require.Len(t, w.Dead(), 1)
		require.LessOrEqual(t, bad.calls, 11, "two for each halving")
	})
	t.Run("a system that fails at everything is left alone after a few calls", func(t *testing.T) {
		w := setup(t)
		for i := range 64 {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
		}
		require.NoError(t, w.Read(t.Context()))
		broken := &picky{System: w.ERP, broken: true}
		_, err := deliverTo(t, w, broken).Step(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, broken.calls, 8)
		require.Empty(t, w.Dead())
		require.EqualValues(t, 64, backlog(t, w).Pending)
	})
	t.Run("a contact waits for its customer and is woken by it", func(t *testing.T) {
		w := setup(t)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		anna := w.SF.Create(golden.Contact, acme, golden.Values{golden.LastName: "Arndt"})
		require.NoError(t, w.Read(t.Context()))
		g := w.Golden(w.SF, golden.Customer, acme)
		w.ERP.Refuse(string(g.ID), 1, sourcetest.Transient())
		require.NoError(t, w.Deliver(t.Context()))
		require.Empty(t, w.ERP.Records(golden.Contact))
		require.EqualValues(t, 2, backlog(t, w).Pending, "the contact waits, nothing is lost")
		w.Clock.Advance(2 * time.Second) // enough for the customer, not for the contact
		require.NoError(t, w.Deliver(t.Context()), "the customer wakes the contact")
		require.Equal(t, w.Twin(g.ID, w.ERP).Ref.RecordID, w.Twin(w.Golden(w.SF, golden.Contact, anna).ID, w.ERP).ParentID)
	})
	t.Run("a contact of a customer that the system has deleted is written when it comes back", func(t *testing.T) {
		w := setup(t)
		w.Deleting = true
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		erpID := w.Twin(w.Golden(w.SF, golden.Customer, acme).ID, w.ERP).Ref.RecordID
		w.ERP.Delete(golden.Customer, erpID)
		w.Settle()
		anna := w.SF.Create(golden.Contact, acme, golden.Values{golden.LastName: "Arndt"})
		w.Settle()
		require.Empty(t, w.ERP.Records(golden.Contact))
		require.Contains(t, w.Events(w.Golden(w.SF, golden.Contact, anna).ID), "skipped")
		w.ERP.Undelete(golden.Customer, erpID)
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Contact), 1)
	})
	t.Run("nothing is written while a system is being read", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		setFeed(t, w, "salesforce", func(f *store.Feed) { f.State = store.FeedScanning })
		require.NoError(t, w.Deliver(t.Context()))
		require.Zero(t, w.ERP.Calls(sourcetest.OpUpsert))
		setFeed(t, w, "salesforce", func(f *store.Feed) { f.State = store.FeedLive })
		setFeed(t, w, "erp", func(f *store.Feed) { f.Complete = false })
		require.NoError(t, w.Deliver(t.Context()))
		require.Zero(t, w.ERP.Calls(sourcetest.OpUpsert), "what it has is not known yet")
	})
	t.Run("a system that rewrites a value is not written for ever", func(t *testing.T) {
		w := setup(t)
		erpID := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "de 100 000 001"})
		w.Settle()
		shout := &shouting{System: w.SF}
		w.Wrap(nil, func(s source.System) source.System {
			if s.Name() == "salesforce" {
				return shout
			}
			return s
		})
		w.Start()
		w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.TaxID: "at 200 000 002"})
		w.Settle()
		require.LessOrEqual(t, shout.writes, 4)
		g := w.Golden(w.ERP, golden.Customer, erpID)
		require.Equal(t, "at 200 000 002", g.Values[golden.TaxID], "the master decides")
		require.Equal(t, "AT 200 000 002", w.Twin(g.ID, w.SF).Values[golden.TaxID])
	})
}

// shouting is a Salesforce that turns tax ids into upper case.
type shouting struct {
	source.System
	writes int
}

func (s *shouting) Upsert(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	for i := range writes {
		if v, ok := writes[i].Values[golden.TaxID]; ok {
			s.writes++
			writes[i].Values[golden.TaxID] = golden.Canonical(obj, golden.Country, v)
		}
	}
	return s.System.Upsert(ctx, obj, writes)
}

// picky refuses a whole call because of one record, or every call.
type picky struct {
	source.System
	culprit string
	broken  bool
	calls   int
}

func (p *picky) Upsert(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	p.calls++
	if p.broken {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "internal error")
	}
	for _, w := range writes {
		if w.Values[golden.Name] == p.culprit {
			return nil, fault.InvalidField("upserts", "", "is wrong somewhere")
		}
	}
	return p.System.Upsert(ctx, obj, writes)
}

func deliverTo(t *testing.T, w *enginetest.World, sys source.System) *deliver.Deliverer {
	t.Helper()
	d, err := deliver.New(deliver.Deps{
		Store: w.Store, Folder: w.Folder, System: sys, Now: w.Clock.Now, Telemetry: telemetry.Discard(),
		Reread: func(context.Context, string, []source.Change) error { return nil },
	})
	require.NoError(t, err)
	return d
}

func claim(t *testing.T, w *enginetest.World) (out []store.Claimed) {
	t.Helper()
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		var err error
		out, err = tx.Claim(ctx, "erp", golden.Customer, w.Clock.Now().Add(time.Hour), time.Nanosecond, 10)
		return err
	}))
	return out
}

func setFeed(t *testing.T, w *enginetest.World, system string, change func(*store.Feed)) {
	t.Helper()
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		f, err := tx.Feed(ctx, system)
		if err != nil {
			return err
		}
		change(&f)
		_, err = tx.SaveFeed(ctx, f)
		return err
	}))
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("it works until it is told to stop and leaves nothing behind", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
			w.Settle()
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
			require.NoError(t, w.Read(t.Context()))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- erp(w).Run(ctx) }()
			synctest.Wait() // it has nothing left to do and waits
			require.Len(t, w.ERP.Records(golden.Customer), 1)
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Second"})
			require.NoError(t, w.Read(t.Context())) // wakes it
			synctest.Wait()
			require.Len(t, w.ERP.Records(golden.Customer), 2)
			cancel()
			require.NoError(t, <-done)
		})
	})
}
