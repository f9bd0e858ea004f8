package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
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
		_, err := enginetest.Step(t.Context(), erp(w))
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
	t.Run("nothing is written while a system is read for the first time", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		setFeed(t, w, "salesforce", func(f *store.Feed) { f.State, f.Complete = store.FeedScanning, false })
		require.NoError(t, w.Deliver(t.Context()))
		require.Zero(t, w.ERP.Calls(sourcetest.OpUpsert))
		setFeed(t, w, "salesforce", func(f *store.Feed) { f.State = store.FeedLive })
		setFeed(t, w, "erp", func(f *store.Feed) { f.Complete = false })
		require.NoError(t, w.Deliver(t.Context()))
		require.Zero(t, w.ERP.Calls(sourcetest.OpUpsert), "what it has is not known yet")
	})
	for name, again := range map[string]store.Feed{
		"":                                    {State: store.FeedScanning, Scan: store.ScanRunning},
		", also where an operator stopped it": {State: store.FeedPaused, Scan: store.ScanRunning},
		", also while its scan fails":         {State: store.FeedFailing, Scan: store.ScanRunning},
	} {
		t.Run("a system that is read again is not written to, the others are"+name, func(t *testing.T) {
			w := setup(t)
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
			w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Zeta"})
			require.NoError(t, w.Read(t.Context()))
			setFeed(t, w, "salesforce", func(f *store.Feed) { f.State, f.Scan = again.State, again.Scan })
			require.NoError(t, w.Deliver(t.Context()))
			require.Len(t, w.ERP.Records(golden.Customer), 2, "what Salesforce says reaches the ERP")
			require.Len(t, w.SF.Records(golden.Customer), 1, "what the ERP says has to wait: it may be there already")
			setFeed(t, w, "salesforce", func(f *store.Feed) { f.State, f.Scan = store.FeedLive, store.ScanDone })
			require.NoError(t, w.Deliver(t.Context()))
			require.Len(t, w.SF.Records(golden.Customer), 2)
		})
	}
	t.Run("nothing is written while a system is read again where all wait together", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		d, err := deliver.New(deliver.Deps{
			Store: w.Store, Folder: w.Folder, System: w.ERP, Now: w.Clock.Now, Telemetry: telemetry.Discard(), Together: true,
			Reread: func(context.Context, string, []source.Change) error { return nil },
		})
		require.NoError(t, err)
		w.Leave("a system that is not configured any more")
		setFeed(t, w, "salesforce", func(f *store.Feed) { f.State, f.Scan = store.FeedScanning, store.ScanRunning })
		n, err := enginetest.Step(t.Context(), d)
		require.NoError(t, err)
		require.Zero(t, n)
		setFeed(t, w, "salesforce", func(f *store.Feed) { f.State, f.Scan = store.FeedLive, store.ScanDone })
		n, err = enginetest.Step(t.Context(), d)
		require.NoError(t, err)
		require.Equal(t, 1, n)
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
		out, err = tx.Claim(ctx, "erp", golden.Customer, store.LevelSync, w.Clock.Now().Add(time.Hour), time.Nanosecond, 10)
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
