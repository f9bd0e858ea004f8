package deliver_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// How the transactions of an unsure store end.
const (
	stored  = "stored, and nobody says so"
	lost    = "not stored, and nobody says so"
	refused = "refused"
	fine    = "fine"
)

// unsure is a database of which the next transactions end as planned.
type unsure struct {
	engine.Store
	next []string
}

// Tx runs a transaction.
func (s *unsure) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	end := fine
	if len(s.next) > 0 {
		end, s.next = s.next[0], s.next[1:]
	}
	away := fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the database does not answer")
	switch end {
	case refused:
		return away
	case lost:
		err := s.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			if err := fn(ctx, tx); err != nil {
				return err
			}
			return away
		})
		if fault.KindOf(err) == fault.Unavailable {
			return uncertain()
		}
		return err
	}
	err := s.Store.Tx(ctx, fn)
	if err == nil && end == stored {
		return uncertain()
	}
	return err
}

// TestGiveBack is about what was noted to be sent and was not. A person who types the same is heard.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, before func(w *enginetest.World)) (w *enginetest.World, s *unsure, id golden.ID) {
		t.Helper()
		w = setup(t)
		s = &unsure{}
		w.Wrap(func(st engine.Store) engine.Store { s.Store = st; return s }, nil)
		w.Start()
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"})
		w.Settle()
		if before != nil {
			before(w)
		}
		id = w.Golden(w.SF, golden.Customer, sf).ID
		w.SF.Edit(golden.Customer, sf, golden.Values{golden.Phone: "2"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.Edit(golden.Customer, w.Twin(id, w.ERP).Ref.RecordID, golden.Values{golden.Phone: "2"})
		return w, s, id
	}
	said := func(t *testing.T, w *enginetest.World, id golden.ID) string {
		t.Helper()
		rows, err := w.Store.Read().Sources(t.Context(), "erp", golden.Customer, []string{w.Twin(id, w.ERP).Ref.RecordID})
		require.NoError(t, err)
		require.Len(t, rows, 1)
		if claims := rows[0].Claims[golden.Phone]; len(claims) > 0 {
			return claims[0].Value
		}
		return ""
	}
	step := func(t *testing.T, w *enginetest.World) (int, error) {
		t.Helper()
		return erp(w).Step(t.Context(), store.LevelSync)
	}
	for name, ends := range map[string][]string{
		"the claim was stored without an answer":               {stored},
		"the claim was not stored":                             {lost},
		"taking it back fails at first":                        {stored, refused},
		"whether it was taken back is not known either":        {stored, stored},
		"nor is it stored that it was taken back, for a while": {stored, lost, refused},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, id := begin(t, nil)
			writes := w.ERP.TotalWrites()
			s.next = ends
			_, err := step(t, w)
			require.Equal(t, fault.Uncertain, fault.KindOf(err))
			for range len(ends) - 1 {
				if len(s.next) > 0 {
					_, err = step(t, w)
					require.Error(t, err)
				}
			}
			if len(ends) == 1 {
				require.NoError(t, w.Read(t.Context()))
				require.Equal(t, "2", said(t, w, id), "nothing of ours was on its way")
			}
			require.Equal(t, writes, w.ERP.TotalWrites())
			n, err := step(t, w)
			require.NoError(t, err)
			require.Equal(t, 1, n, "nobody waits for the end of a lease")
			w.Settle()
			w.Check()
			require.Equal(t, "2", said(t, w, id))
		})
	}
	t.Run("a process that dies leaves a note of which nobody knows", func(t *testing.T) {
		w, s, id := begin(t, nil)
		s.next = []string{stored, refused}
		_, err := step(t, w)
		require.Equal(t, fault.Uncertain, fault.KindOf(err))
		w.Start() // it has no memory of what it did not send
		require.NoError(t, w.Read(t.Context()))
		require.Empty(t, said(t, w, id), "it may have been ours")
		w.Settle()
		w.Check()
	})
	t.Run("what was not sent because something else could not be noted", func(t *testing.T) {
		w, s, id := begin(t, func(w *enginetest.World) {
			w.ERP.Fail(sourcetest.OpUpsert, sourcetest.Unreachable())
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Beta", golden.TaxID: "DE100000002"})
			require.NoError(t, w.Turn(t.Context()))
			w.Clock.Advance(time.Hour)
		})
		s.next = []string{fine, refused} // it is looked for first, as it may have been made
		_, err := step(t, w)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.NoError(t, w.Read(t.Context()))
		require.Equal(t, "2", said(t, w, id))
		n, err := step(t, w)
		require.NoError(t, err)
		require.Equal(t, 2, n, "nobody waits for the end of a lease")
		w.Settle()
		w.Check()
	})
}
