package ledger_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/ledger"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// busy returns a world with every kind of end: delivered, coalesced, refused, and one delivery that waits.
func busy(t *testing.T, d *db.DB) *enginetest.World {
	t.Helper()
	w := enginetest.New(t, d)
	w.Settle()
	acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	for _, phone := range []string{"1", "2", "3"} {
		require.NoError(t, w.Read(t.Context()))
		w.SF.Edit(golden.Customer, acme, golden.Values{golden.Phone: phone})
	}
	w.Settle()
	bad := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Refused"})
	require.NoError(t, w.Read(t.Context()))
	w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, bad).ID), -1, sourcetest.Permanent())
	w.Settle()
	w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Waits"})
	require.NoError(t, w.Read(t.Context()))
	return w
}

func TestRead(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		w := busy(t, d)
		book, err := ledger.Read(t.Context(), w.Store.Read())
		require.NoError(t, err)
		require.True(t, book.Balanced(), "%+v", book)
		require.NotEmpty(t, book.In)
		require.Len(t, book.Out, 2)
		erp := book.Out[0]
		require.Equal(t, "erp", erp.System)
		require.EqualValues(t, 1, erp.Parked)
		require.EqualValues(t, 1, erp.Pending)
		require.Positive(t, erp.Delivered)
		require.Positive(t, erp.Coalesced)

		for name, plant := range map[string]struct {
			sql  string
			line string
			off  int64
		}{
			"a change that vanished":           {"DELETE FROM inbox WHERE change_id = (SELECT MIN(change_id) FROM inbox WHERE system = 'salesforce')", "in/salesforce", 1},
			"a delivery that vanished":         {"DELETE FROM pending WHERE system = 'erp'", "out/erp", 1},
			"a delivery that nobody asked for": {"UPDATE ledger_total SET count = count + 2 WHERE system = 'salesforce' AND state = 'out:delivered'", "out/salesforce", -2},
		} {
			_, off := planted(t, w, plant.sql)
			require.Equal(t, map[string]int64{plant.line: plant.off}, off, name)
		}
	})
}

// planted edits the database by hand, reads the ledger and takes the edit back.
func planted(t *testing.T, w *enginetest.World, sql string) (ledger.Book, map[string]int64) {
	t.Helper()
	var book ledger.Book
	err := w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		res, err := tx.SQL().ExecContext(ctx, sql)
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		book, err = ledger.Read(ctx, tx.Reader)
		require.NoError(t, err)
		return context.Canceled
	})
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, book.Balanced())
	return book, book.Off()
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := busy(t, storetest.Schema.Open(t, "sqlite"))
	var log bytes.Buffer
	tel, err := telemetry.Start(t.Context(), "test", telemetry.DefaultConfig(), telemetry.WithLogWriter(&log))
	require.NoError(t, err)
	defer func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) }()
	watch, err := ledger.NewWatch(w.Store.Read, tel)
	require.NoError(t, err)
	_, at := watch.Last()
	require.True(t, at.IsZero())
	now := time.Unix(1, 0)
	require.NoError(t, watch.Look(t.Context(), now))
	require.NotContains(t, log.String(), "does not balance")
	require.NoError(t, w.Store.Tx(t.Context(), func(_ context.Context, tx *store.Tx) error {
		tx.AddTotals("received", map[string]int64{"salesforce": 1})
		return nil
	}))
	require.NoError(t, watch.Look(t.Context(), now))
	require.Contains(t, log.String(), "ledger does not balance")
	book, at := watch.Last()
	require.Equal(t, now, at)
	require.False(t, book.Balanced())
}
