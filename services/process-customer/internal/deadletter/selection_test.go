package deadletter_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// refused returns a world in which the ERP has refused n customers of the CRM for good, and their ids there.
func refused(t *testing.T, d *db.DB, n int) (*enginetest.World, []string) {
	t.Helper()
	w := enginetest.New(t, d)
	w.Settle()
	var ids []string
	for i := range n {
		ids = append(ids, w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Company %c", 'A'+i)}))
	}
	require.NoError(t, w.Read(t.Context()))
	for _, id := range ids {
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, id).ID), 1, sourcetest.Permanent())
	}
	w.Settle()
	require.Len(t, w.Dead(), n)
	return w, ids
}

func mends(t *testing.T, w *enginetest.World) {
	t.Helper()
	w.Settle()
	w.Check()
	require.Empty(t, w.Dead())
	require.Zero(t, w.Line("salesforce").Parked)
}

func TestRedriveSelection(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		w, _ := refused(t, d, 5)
		desk := w.Desk()
		sel, err := desk.Preview(t.Context(), store.LetterFilter{System: "erp"})
		require.NoError(t, err)
		require.Len(t, sel.Letters, 5)
		require.Equal(t, []deadletter.Group{{Direction: "deliver", System: "erp", Reason: sel.Letters[0].Reason, Letters: 5}}, sel.Groups())

		// One more is parked, one is settled by hand, after the operator has looked.
		_, err = desk.Discard(t.Context(), sel.Letters[0].ID, "not wanted")
		require.NoError(t, err)
		late := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Late"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Refuse(string(w.Golden(w.SF, golden.Customer, late).ID), 1, sourcetest.Permanent())
		w.Settle()

		p, err := desk.RedriveSelection(t.Context(), sel.Token, deadletter.SameStep)
		require.NoError(t, err)
		require.Equal(t, deadletter.Progress{Done: 4, Skipped: 1}, p, "what was previewed is what is redriven")
		w.Settle()
		require.Len(t, w.Dead(), 1, "the late one was not shown, so it was not touched")
		p, err = desk.RedriveSelection(t.Context(), sel.Token, deadletter.SameStep)
		require.NoError(t, err)
		require.Zero(t, p, "a second time there is nothing left to do")

		sel, err = desk.Preview(t.Context(), store.LetterFilter{})
		require.NoError(t, err)
		p, err = desk.DiscardSelection(t.Context(), sel.Token, "enough")
		require.NoError(t, err)
		require.Equal(t, deadletter.Progress{Done: 1}, p)
		require.Empty(t, w.Dead())
		require.EqualValues(t, 2, w.Line("salesforce").Refused)
		require.True(t, w.Line("salesforce").Balanced())
	})
}

func TestRedriveSelection_Refuses(t *testing.T) {
	t.Parallel()
	w, ids := refused(t, storetest.Schema.Open(t, "sqlite"), 2)
	desk := w.Desk()
	_, err := desk.RedriveSelection(t.Context(), "s_unknown", deadletter.SameStep)
	require.Equal(t, "SELECTION_UNKNOWN", fault.ReasonOf(err))

	none, err := desk.Preview(t.Context(), store.LetterFilter{Reason: "NOBODY_HAS_THIS"})
	require.NoError(t, err)
	require.Empty(t, none.Token)

	// A letter that was parked again since it was shown may have another cause: it is not the one that was shown.
	sel, err := desk.Preview(t.Context(), store.LetterFilter{})
	require.NoError(t, err)
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		l := sel.Letters[0]
		l.ID, l.Attempts = "d_again", 1
		return tx.Park(ctx, []store.DeadLetter{l})
	}))
	p, err := desk.RedriveSelection(t.Context(), sel.Token, deadletter.SameStep)
	require.NoError(t, err)
	require.Equal(t, deadletter.Progress{Done: 1, Skipped: 1}, p)

	sel, err = desk.Preview(t.Context(), store.LetterFilter{})
	require.NoError(t, err)
	w.Clock.Advance(2 * time.Hour)
	_, err = desk.DiscardSelection(t.Context(), sel.Token, "late")
	require.Equal(t, "SELECTION_UNKNOWN", fault.ReasonOf(err), "a selection ends")
	n := 0
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err = tx.TrimSelections(ctx, w.Clock.Now(), 10)
		return err
	}))
	require.Equal(t, 2, n)
	require.NotEmpty(t, ids)
}

func TestRedriveSelection_Pieces(t *testing.T) {
	t.Parallel()
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Settle()
	var letters []store.DeadLetter
	for i := range 450 {
		letters = append(letters, store.DeadLetter{
			ID: fmt.Sprintf("d_%03d", i), Direction: store.DirectionIntake, Ref: golden.Ref{System: "gone", RecordID: fmt.Sprint(i)}, Attempts: 1, Parked: w.Clock.Now(),
		})
	}
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.Park(ctx, letters) }))
	sel, err := w.Desk().Preview(t.Context(), store.LetterFilter{})
	require.NoError(t, err)
	var left []int
	for more := true; more; {
		p, err := w.Desk().DiscardSelection(t.Context(), sel.Token, "gone")
		require.NoError(t, err)
		left = append(left, p.Left)
		more = p.Left > 0
	}
	require.Equal(t, []int{250, 50, 0}, left)
}

func TestRetry_Modes(t *testing.T) {
	t.Parallel()
	t.Run("from the start, what the systems hold now is read first", func(t *testing.T) {
		t.Parallel()
		w, ids := refused(t, storetest.Schema.Open(t, "sqlite"), 1)
		w.SF.Drop(1)
		w.SF.Edit(golden.Customer, ids[0], golden.Values{golden.Name: "Better name"}) // nobody hears of it
		n, err := w.Desk().Retry(t.Context(), []string{w.Dead()[0].ID}, "", deadletter.FromStart)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, "Better name", w.Golden(w.SF, golden.Customer, ids[0]).Values[golden.Name])
		mends(t, w)
	})
	t.Run("without the system nothing is settled", func(t *testing.T) {
		t.Parallel()
		w, _ := refused(t, storetest.Schema.Open(t, "sqlite"), 1)
		w.SF.SetDown(sourcetest.Unreachable())
		_, err := w.Desk().Retry(t.Context(), nil, "erp", deadletter.FromStart)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Len(t, w.Dead(), 1)
	})
	t.Run("under the current rules, the golden record is computed again", func(t *testing.T) {
		t.Parallel()
		w, ids := refused(t, storetest.Schema.Open(t, "sqlite"), 1)
		id := w.Golden(w.SF, golden.Customer, ids[0]).ID
		require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SQL().ExecContext(ctx, "UPDATE golden SET body = '{}' WHERE id = $1", string(id)) // as under other rules
			return err
		}))
		_, err := w.Desk().Retry(t.Context(), nil, "erp", deadletter.CurrentRules)
		require.NoError(t, err)
		require.Equal(t, "Company A", w.Golden(w.SF, golden.Customer, ids[0]).Values[golden.Name])
		mends(t, w)
	})
	t.Run("the trail says who, how and why", func(t *testing.T) {
		t.Parallel()
		w, _ := refused(t, storetest.Schema.Open(t, "sqlite"), 1)
		ada := caller.With(t.Context(), caller.Identity{Name: "ada"})
		_, err := w.Desk().Retry(ada, nil, "erp", deadletter.CurrentRules)
		require.NoError(t, err)
		got, err := w.Store.Read().Audit(t.Context(), store.AuditFilter{Actor: "ada", Kind: "retried"}, true, 0, 10)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, "current rules", got[0].Note)
	})
}

// TestRedrive_Crash lets the process die at every point of a redrive, and go on with the same selection afterwards.
func TestRedrive_Crash(t *testing.T) {
	t.Parallel()
	points, step := 0, 1
	if testing.Short() {
		step = 5
	}
	for at := 0; at <= points; at += step {
		d, err := storetest.Schema.Private(t.Context())
		require.NoError(t, err)
		w, _ := refused(t, d, 2)
		bad := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: strings.Repeat("x", 9000)})
		w.Settle()
		w.SF.Drop(1)
		w.SF.Edit(golden.Customer, bad, golden.Values{golden.Name: "Short"})
		sel, err := w.Desk().Preview(t.Context(), store.LetterFilter{})
		require.NoError(t, err)
		killer := enginetest.NewKiller(at)
		w.Wrap(func(s engine.Store) engine.Store { return killer.Store(s) }, killer.System)
		w.Start()
		mortal := deadletter.New(deadletter.Deps{
			Store: killer.Store(w.Store), Folder: w.Folder, Systems: w.Systems, Take: w.Intake.Take, Now: w.Clock.Now, Marked: w.Wake,
		})
		_, err = mortal.RedriveSelection(t.Context(), sel.Token, deadletter.FromStart)
		if at == 0 {
			require.NoError(t, err)
			points = killer.Passed()
			require.Greater(t, points, 4)
		} else {
			require.ErrorIs(t, err, enginetest.ErrKilled)
		}
		w.Wrap(nil, nil)
		w.Start()
		for more := true; more; {
			p, err := w.Desk().RedriveSelection(t.Context(), sel.Token, deadletter.FromStart)
			require.NoError(t, err)
			more = p.Left > 0
		}
		mends(t, w)
		require.True(t, w.Line("salesforce").Balanced())
		require.NoError(t, d.Close())
	}
}
