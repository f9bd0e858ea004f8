package deadletter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// setup returns a world with one change that could not be taken in.
func setup(t *testing.T) (*enginetest.World, string, store.DeadLetter) {
	t.Helper()
	t.Parallel()
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Settle()
	id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: strings.Repeat("x", 9000)})
	w.Settle()
	require.Len(t, w.Dead(), 1)
	return w, id, w.Dead()[0]
}

// What a desk does about deliveries is tested where deliveries are refused, in package deliver.
func TestIntakeLetters(t *testing.T) {
	t.Parallel()
	t.Run("a retry reads the record as it is now", func(t *testing.T) {
		w, id, letter := setup(t)
		w.SF.Drop(1)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Name: "Acme"}) // nobody hears of it
		n, err := w.Desk().Retry(t.Context(), nil, "salesforce", deadletter.SameStep)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		w.Settle()
		w.Check()
		require.Equal(t, "Acme", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])
		got, err := w.Store.Read().DeadLetter(t.Context(), letter.ID)
		require.NoError(t, err)
		require.Equal(t, store.DeadResolved, got.State)
		require.Zero(t, w.Line("salesforce").Parked)
	})
	t.Run("a record that is still wrong keeps its letter, with one attempt more each time", func(t *testing.T) {
		w, _, letter := setup(t)
		for range 2 {
			_, err := w.Desk().Retry(t.Context(), []string{letter.ID}, "", deadletter.SameStep)
			require.NoError(t, err)
		}
		require.Len(t, w.Dead(), 1)
		require.Equal(t, 3, w.Dead()[0].Attempts)
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("a record that cannot be read any more keeps its letter, and is not called deleted", func(t *testing.T) {
		w, id, letter := setup(t)
		w.SF.Hide(golden.Customer, id, true)
		n, err := w.Desk().Retry(t.Context(), []string{letter.ID}, "", deadletter.SameStep)
		require.NoError(t, err)
		require.Zero(t, n, "there was nothing to try with")
		require.Len(t, w.Dead(), 1)
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{id})
		require.NoError(t, err)
		for _, r := range rows {
			require.False(t, r.Deleted)
		}
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("a record that was deleted meanwhile settles it", func(t *testing.T) {
		w, id, _ := setup(t)
		w.SF.Drop(1)
		w.SF.Delete(golden.Customer, id)
		_, err := w.Desk().Retry(t.Context(), nil, "salesforce", deadletter.SameStep)
		require.NoError(t, err)
		require.Empty(t, w.Dead())
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("without the system nothing is settled", func(t *testing.T) {
		w, _, _ := setup(t)
		w.SF.SetDown(sourcetest.Unreachable())
		_, err := w.Desk().Retry(t.Context(), nil, "salesforce", deadletter.SameStep)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Len(t, w.Dead(), 1)
	})
	t.Run("giving it up refuses the change", func(t *testing.T) {
		w, _, letter := setup(t)
		_, err := w.Desk().Discard(t.Context(), letter.ID, "nonsense")
		require.NoError(t, err)
		line := w.Line("salesforce")
		require.EqualValues(t, 1, line.Refused)
		require.True(t, line.Balanced())
	})
}
