package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

// bulky takes many writes at once.
type bulky struct {
	source.System
	loads []int // sizes
	err   error // of the next load, before anything was written
	// silent is how many outcomes of the next load do not come although the records are written.
	silent int
}

func (b *bulky) Load(ctx context.Context, obj golden.Object, writes []source.Write) ([]source.Result, error) {
	b.loads = append(b.loads, len(writes))
	if err := b.err; err != nil {
		b.err = nil
		return nil, err
	}
	var out []source.Result
	for start := 0; start < len(writes); start += source.MaxWrites {
		results, err := b.Upsert(ctx, obj, writes[start:min(start+source.MaxWrites, len(writes))])
		if err != nil {
			return nil, err
		}
		out = append(out, results...)
	}
	for i := range b.silent {
		out[i] = source.Result{Err: fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "no outcome")}
	}
	b.silent = 0
	return out, nil
}

// deep has 60 customers that the ERP does not know yet, and a deliverer in batches of 10 and loads of 20 to 50.
func deep(t *testing.T) (*enginetest.World, *bulky, *deliver.Deliverer) {
	t.Helper()
	w := setup(t)
	for i := range 60 {
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
	}
	require.NoError(t, w.Read(t.Context()))
	b := &bulky{System: w.ERP}
	return w, b, inLoads(t, w, b)
}

// inLoads returns a deliverer in batches of 10 and loads of 20 to 50.
func inLoads(t *testing.T, w *enginetest.World, to source.System) *deliver.Deliverer {
	t.Helper()
	d, err := deliver.New(deliver.Deps{
		Config: deliver.Config{BatchSize: 10, BulkFrom: 20, BulkSize: 50}, Store: w.Store, Folder: w.Folder, System: to, Now: w.Clock.Now,
		Telemetry: telemetry.Discard(), Reread: func(ctx context.Context, system string, changes []source.Change) error {
			_, err := w.Intake.Take(ctx, system, intake.Batch{Changes: changes})
			return err
		},
	})
	require.NoError(t, err)
	return d
}

// drain delivers until nothing is due.
func drain(t *testing.T, d *deliver.Deliverer) {
	t.Helper()
	for range 1000 {
		n, err := enginetest.Step(t.Context(), d)
		require.NoError(t, err)
		if n == 0 {
			return
		}
	}
	require.Fail(t, "it does not come to an end")
}

func TestWave(t *testing.T) {
	t.Parallel()
	t.Run("a deep backlog goes as a load, a shallow one in batches", func(t *testing.T) {
		w, b, d := deep(t)
		drain(t, d)
		require.Equal(t, []int{50}, b.loads, "after one batch that was full")
		require.Equal(t, 2, w.ERP.Calls(sourcetest.OpUpsert), "one batch of 10; the fake takes a load in one call")
		require.Len(t, w.ERP.Records(golden.Customer), 60)
		require.Zero(t, backlog(t, w).Pending)
		for range 15 {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Late"})
		}
		require.NoError(t, w.Read(t.Context()))
		drain(t, d)
		require.Len(t, b.loads, 1)
		require.Len(t, w.ERP.Records(golden.Customer), 75)
	})
	t.Run("records that the system has already are written beside the load", func(t *testing.T) {
		w, b, d := deep(t)
		drain(t, d)
		for _, rec := range w.SF.Records(golden.Customer) {
			w.SF.Edit(golden.Customer, rec.Ref.RecordID, golden.Values{golden.Phone: "+49 30 1"})
		}
		require.NoError(t, w.Read(t.Context()))
		drain(t, d)
		require.Len(t, b.loads, 1, "a load knows records by external id only")
		for _, rec := range w.ERP.Records(golden.Customer) {
			require.Equal(t, "+49 30 1", rec.Values[golden.Phone])
		}
		require.Zero(t, backlog(t, w).Pending)
	})
	t.Run("outcomes that do not come are asked for again, and nothing is made twice", func(t *testing.T) {
		w, b, d := deep(t)
		b.silent = 30
		drain(t, d)
		require.EqualValues(t, 30, backlog(t, w).Pending)
		w.Clock.Advance(time.Hour)
		drain(t, d)
		require.Zero(t, backlog(t, w).Pending)
		require.Len(t, w.ERP.Records(golden.Customer), 60)
		require.Empty(t, w.Dead())
	})
	t.Run("a system that is away costs no attempts", func(t *testing.T) {
		w, b, d := deep(t)
		b.err = fault.New(fault.Unavailable, fault.ReasonUnavailable, "away")
		drain(t, d)
		require.Equal(t, fault.ReasonUnavailable, d.Status().Reason)
		require.EqualValues(t, 50, backlog(t, w).Pending)
		w.Clock.Advance(time.Hour)
		drain(t, d)
		require.Len(t, w.ERP.Records(golden.Customer), 60)
		require.Empty(t, w.Dead())
	})
	t.Run("a system that does not take the load gets its records in batches", func(t *testing.T) {
		w, b, d := deep(t)
		b.err = fault.New(fault.Unimplemented, "UNIMPLEMENTED", "an older service")
		drain(t, d)
		require.Len(t, w.ERP.Records(golden.Customer), 60)
		require.Zero(t, backlog(t, w).Pending)
	})
}
