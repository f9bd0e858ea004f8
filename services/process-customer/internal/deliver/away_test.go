package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

// TestAway is about a system that does not answer, or refuses everything.
func TestAway(t *testing.T) {
	t.Parallel()
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
			n, err := enginetest.Step(t.Context(), d)
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
		_, err := enginetest.Step(t.Context(), deliverTo(t, w, broken))
		require.NoError(t, err)
		require.LessOrEqual(t, broken.calls, 8)
		require.Empty(t, w.Dead())
		require.EqualValues(t, 64, backlog(t, w).Pending)
	})
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
