package intake_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// TestLetterVersions is about a record that could not be taken in: only a look at it that is not older closes its dead letter.
func TestLetterVersions(t *testing.T) {
	t.Parallel()
	good := func(phone string) golden.Values { return golden.Values{golden.Name: "Acme", golden.Phone: phone} }
	endless := golden.Values{golden.Name: "Acme", golden.Website: strings.Repeat("x", 9000)}
	t.Run("an older reading leaves the letter of a newer one open", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("3", "001A", 30, noon.Add(2*time.Minute), endless))
		require.Len(t, w.Dead(), 1)
		require.EqualValues(t, 30, w.Dead()[0].Version)
		take(t, w, snapshot("2", "001A", 20, noon.Add(time.Minute), good("2"))) // held back on its way
		require.Len(t, w.Dead(), 1, "nobody knows what the record holds now")
		take(t, w, snapshot("4", "001A", 40, noon.Add(3*time.Minute), good("4")))
		require.Empty(t, w.Dead())
		require.EqualValues(t, 0, w.Line("salesforce").Parked)
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("the same version that can be taken in now closes it", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("3", "001A", 30, noon, endless))
		take(t, w, snapshot("3b", "001A", 30, noon, good("3"))) // after somebody mended what could not take it in
		require.Empty(t, w.Dead())
	})
	t.Run("an older one that is unreadable too does not make the letter older", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("3", "001A", 30, noon, endless))
		take(t, w, snapshot("2", "001A", 20, noon, endless))
		require.EqualValues(t, 30, w.Dead()[0].Version)
		require.Equal(t, 2, w.Dead()[0].Attempts)
		take(t, w, snapshot("2b", "001A", 25, noon, good("2")))
		require.Len(t, w.Dead(), 1)
	})
	t.Run("within one batch the newest reading decides", func(t *testing.T) {
		w := setup(t)
		require.Equal(t, map[string]int{store.Parked: 1, store.Retrying: 1}, take(t, w,
			snapshot("2", "001A", 20, noon, good("2")), snapshot("3", "001A", 30, noon, endless)))
		require.Len(t, w.Dead(), 1)
		require.Equal(t, map[string]int{store.Parked: 1, store.Retrying: 1}, take(t, w,
			snapshot("4", "001A", 40, noon, endless), snapshot("5", "001A", 50, noon, good("5"))))
		require.Empty(t, w.Dead())
	})
}

func TestReturned(t *testing.T) {
	t.Parallel()
	t.Run("a deleted record that is shown in the very version in which it is known to be gone is asked about", func(t *testing.T) {
		w := setup(t)
		w.Deleting = true
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		rec, _ := w.SF.Record(golden.Customer, sf)
		w.SF.Delete(golden.Customer, sf)
		w.Settle()
		known := func() store.Known {
			all, err := w.Store.Read().Known(t.Context(), "salesforce", golden.Customer, []string{sf})
			require.NoError(t, err)
			return all[sf]
		}
		require.True(t, known().Deleted)
		back := snapshot("x", sf, known().Version, noon, rec.Values)
		require.Equal(t, map[string]int{store.Unchanged: 1}, take(t, w, back), "it is gone")
		require.True(t, known().Deleted)
		w.SF.SetDown(sourcetest.Unreachable())
		back.ID = "y"
		_, err := w.Intake.Take(t.Context(), "salesforce", intake.Batch{Changes: []source.Change{back}})
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "without an answer nothing is decided")
		w.SF.SetDown(sourcetest.Permanent())
		_, err = w.Intake.Take(t.Context(), "salesforce", intake.Batch{Changes: []source.Change{back}})
		require.Error(t, err, "whatever the reason is")
		require.Empty(t, w.Dead(), "it says nothing about the change")
	})
}
