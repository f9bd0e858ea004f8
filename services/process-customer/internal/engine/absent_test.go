package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// halfRead returns a world that has read all of the ERP and two of the five customers that Salesforce has.
func halfRead(t *testing.T, d *db.DB) *enginetest.World {
	t.Helper()
	w := enginetest.NewWith(t, d, func(o *sourcetest.Options) { o.PageSize = 2 })
	for i := range 5 {
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
	}
	erp := w.Systems[1]
	require.Equal(t, "erp", erp.Name())
	w.Only(erp)
	w.Start()
	require.NoError(t, w.Read(t.Context()))
	w.Wrap(nil, nil)
	w.Start()
	sf := w.Feeds[0]
	held, err := sf.Acquire(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	for range 3 { // its position, the beginning of its scan, and one page
		_, err := sf.Step(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, scan(t, w).Scanned)
	return w
}

func scan(t *testing.T, w *enginetest.World) store.Feed {
	t.Helper()
	f, err := w.Store.Read().Feed(t.Context(), "salesforce")
	require.NoError(t, err)
	return f
}

func add(t *testing.T, w *enginetest.World, id golden.ID, name string) {
	t.Helper()
	require.NoError(t, w.Intake.Create(t.Context(), id, golden.Values{golden.Name: name},
		func(context.Context, *store.Tx, golden.ID, bool) error { return nil }))
}

func TestSystemTakenOutDuringItsFirstScanHoldsNothingUp(t *testing.T) {
	t.Parallel()
	const id = golden.ID("c_aaaaaaaaaaaaaaaaaaaaaaaaaa")
	written := func(w *enginetest.World) bool {
		require.NoError(t, w.Deliver(t.Context()))
		return len(w.ERP.Records(golden.Customer)) > 0
	}
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		w := halfRead(t, d)
		add(t, w, id, "New AG")
		require.False(t, written(w), "Salesforce may have it")

		w.Only(w.ERP)
		w.Start()
		require.False(t, written(w), "another process still reads Salesforce")
		w.Clock.Advance(time.Minute)
		require.True(t, written(w), "nobody reads it any more")
		add(t, w, "c_cccccccccccccccccccccccccc", "Meanwhile AG")
		for range 2 { // there is a mark for Salesforce that keeps waiting
			require.NoError(t, w.Turn(t.Context()))
		}
		require.Len(t, w.ERP.Records(golden.Customer), 4)

		w.Wrap(nil, nil)
		w.Start()
		add(t, w, "c_bbbbbbbbbbbbbbbbbbbbbbbbbb", "Newer AG")
		at := scan(t, w)
		w.Settle()
		w.Check()
		require.Equal(t, at.Epoch, scan(t, w).Epoch, "the scan went on")
		require.EqualValues(t, 5, scan(t, w).Scanned)
		require.Len(t, w.ERP.Records(golden.Customer), 8)
		require.Len(t, w.SF.Records(golden.Customer), 7, "what was delivered meanwhile has no mark for it")

		rec, err := reconcile.New(reconcile.Deps{
			Store: w.Store, Folder: w.Folder, Systems: w.Systems, Take: w.Intake.Take, Now: w.Clock.Now, Marked: w.Wake, Telemetry: telemetry.Discard(),
		})
		require.NoError(t, err)
		_, _, err = rec.Start(t.Context(), "salesforce", store.DepthDeep, true)
		require.NoError(t, err)
		more, err := rec.Step(t.Context())
		require.NoError(t, err)
		require.True(t, more)
		w.Settle()
		w.Check()
		require.Len(t, w.SF.Records(golden.Customer), 8, "a comparison finds it")
	})
}
