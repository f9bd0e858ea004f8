package deliver_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// TestRepeatedCreate is about a record that was created without anybody having heard of it, and edited by a person before
// we look again: the creation is not repeated over the edit.
func TestRepeatedCreate(t *testing.T) {
	t.Parallel()
	people := func(w *enginetest.World, sys *sourcetest.Fake) {
		rec := sys.Records(golden.Customer)[0]
		w.Clock.Advance(time.Minute)
		sys.Edit(golden.Customer, rec.Ref.RecordID, golden.Values{golden.Phone: "from a person"})
	}
	judge := func(t *testing.T, w *enginetest.World, sys *sourcetest.Fake) {
		t.Helper()
		require.Len(t, sys.Records(golden.Customer), 1)
		require.Equal(t, "from a person", sys.Records(golden.Customer)[0].Values[golden.Phone], "nobody had read it, and it was not written over")
		w.Settle()
		w.Check()
		for _, s := range []*sourcetest.Fake{w.SF, w.ERP} {
			require.Equal(t, "from a person", s.Records(golden.Customer)[0].Values[golden.Phone], s.Name())
		}
		require.Empty(t, w.Dead())
	}
	for name, lose := range map[string]func(w *enginetest.World, sys *sourcetest.Fake){
		"the answer was lost":       func(_ *enginetest.World, sys *sourcetest.Fake) { sys.LoseAcks(1, nil) },
		"the outcome was not known": func(_ *enginetest.World, sys *sourcetest.Fake) { sys.LoseAcks(1, uncertain()) },
		"nobody answered in time": func(_ *enginetest.World, sys *sourcetest.Fake) {
			sys.LoseAcks(1, fault.FromStatus(context.DeadlineExceeded))
		},
		"one record was not certain": func(w *enginetest.World, sys *sourcetest.Fake) { sys.Uncertain(string(only(t, w)), 1) },
	} {
		targets := []string{"erp", "salesforce"}
		if testing.Short() {
			targets = targets[:1]
			if name != "the answer was lost" {
				continue
			}
		}
		for _, target := range targets {
			t.Run(name+" of "+target, func(t *testing.T) {
				w := setup(t)
				from, to := w.SF, w.ERP
				if target == "salesforce" {
					from, to = w.ERP, w.SF
				}
				from.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
				require.NoError(t, w.Read(t.Context()))
				lose(w, to)
				require.NoError(t, w.Deliver(t.Context()))
				people(w, to)
				w.Clock.Advance(time.Hour)
				require.NoError(t, w.Deliver(t.Context())) // before the feed is read
				judge(t, w, to)
			})
		}
	}
	t.Run("the process died before it could store the answer", func(t *testing.T) {
		w := setup(t)
		var dead bool
		w.Wrap(func(s engine.Store) engine.Store { return &mortal{Store: s, dead: &dead} }, nil)
		w.Start()
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		require.NoError(t, w.Read(t.Context()))
		w.ERP.AfterUpsert(func(golden.Object, []source.Write, []source.Result) { dead = true })
		require.ErrorIs(t, w.Deliver(t.Context()), enginetest.ErrKilled)
		w.ERP.AfterUpsert(nil)
		w.Wrap(nil, nil)
		w.Start()
		require.NoError(t, w.Recover(t.Context()))
		people(w, w.ERP)
		require.NoError(t, w.Deliver(t.Context()))
		judge(t, w, w.ERP)
	})
	if testing.Short() {
		return
	}
	t.Run("what was not made is made, and looked for only then", func(t *testing.T) {
		w := setup(t)
		w.ERP.Fail(sourcetest.OpUpsert, sourcetest.Unreachable())
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		w.Check()
		require.Equal(t, 1, w.ERP.Calls(sourcetest.OpFind))
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Other", golden.TaxID: "DE100000009"})
		w.Settle()
		require.Equal(t, 1, w.ERP.Calls(sourcetest.OpFind), "a first attempt needs no look")
	})
	t.Run("while it cannot be looked up it is not written", func(t *testing.T) {
		w := setup(t)
		w.ERP.LoseAcks(1, nil)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		require.NoError(t, w.Read(t.Context()))
		require.NoError(t, w.Deliver(t.Context()))
		people(w, w.ERP)
		w.ERP.Fail(sourcetest.OpFind, sourcetest.Unreachable())
		w.Clock.Advance(time.Hour)
		writes := w.ERP.TotalWrites()
		require.NoError(t, w.Deliver(t.Context()))
		require.Equal(t, writes, w.ERP.TotalWrites())
		w.Clock.Advance(time.Hour)
		require.NoError(t, w.Deliver(t.Context()))
		judge(t, w, w.ERP)
	})
	t.Run("a record that is found and cannot be taken in is not looked for for ever", func(t *testing.T) {
		w := setup(t)
		w.ERP.LoseAcks(1, nil)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		require.NoError(t, w.Read(t.Context()))
		require.NoError(t, w.Deliver(t.Context()))
		w.ERP.Edit(golden.Customer, w.ERP.Records(golden.Customer)[0].Ref.RecordID, golden.Values{golden.Website: strings.Repeat("x", 9000)})
		for range 40 {
			w.Clock.Advance(time.Hour)
			require.NoError(t, w.Deliver(t.Context()))
		}
		require.Less(t, w.ERP.Calls(sourcetest.OpFind), 20)
		require.Len(t, w.Dead(), 2, "the reading and the delivery wait for a person")
	})
}

func uncertain() error {
	return fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "nobody knows what was written")
}

// only returns the one golden record there is.
func only(t *testing.T, w *enginetest.World) golden.ID {
	t.Helper()
	all, err := w.Store.Read().AllGoldens(context.Background(), "", 2)
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0].ID
}

// mortal is a database whose process dies when it is told.
type mortal struct {
	engine.Store
	dead *bool
}

func (m *mortal) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if *m.dead {
		return enginetest.ErrKilled
	}
	return m.Store.Tx(ctx, fn)
}
