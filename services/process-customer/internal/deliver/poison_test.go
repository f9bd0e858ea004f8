package deliver_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deadletter"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// TestPoison has a full batch of marks of which one can never be written: the others are, and at once.
func TestPoison(t *testing.T) {
	t.Parallel()
	n := 200
	if testing.Short() {
		n = 20
	}
	for _, whole := range []bool{false, true} {
		name, reason := "one bad record never blocks 199 good ones", "RECORD_REFUSED"
		if whole {
			name, reason = "nor does one for which the system refuses every call that it is in", fault.ReasonValidationFailed
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
				w := enginetest.New(t, d)
				w.Settle()
				bad := &picky{System: w.ERP}
				var ids []string
				for i := range n {
					ids = append(ids, w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)}))
				}
				require.NoError(t, w.Read(t.Context()))
				id := w.Golden(w.SF, golden.Customer, ids[n/3]).ID
				if whole {
					bad.culprit = fmt.Sprintf("Customer %d", n/3)
				} else {
					w.ERP.Refuse(string(id), -1, sourcetest.Permanent())
				}
				require.EqualValues(t, n, backlog(t, w).Pending)

				// One step claims and settles them all; it is not the patience of many steps that brings the others through.
				did, err := enginetest.Step(t.Context(), deliverTo(t, w, bad))
				require.NoError(t, err)
				require.Equal(t, n, did)
				require.Len(t, w.ERP.Records(golden.Customer), n-1)
				_, there := w.ERP.Holder(golden.Customer, string(id))
				require.False(t, there)
				dead := w.Dead()
				require.Len(t, dead, 1)
				require.Equal(t, id, dead[0].GoldenID)
				require.Equal(t, reason, dead[0].Reason)
				require.NotEmpty(t, dead[0].Message)
				require.Zero(t, backlog(t, w).Pending)
				w.Settle()
				line := w.Line("salesforce")
				require.True(t, line.Balanced())
				require.EqualValues(t, 1, line.Parked)
				require.Zero(t, line.Retrying)

				bad.culprit = ""
				w.ERP.Refuse(string(id), 0, nil)
				redriven, err := w.Desk().Retry(t.Context(), []string{dead[0].ID}, "", deadletter.SameStep)
				require.NoError(t, err)
				require.Equal(t, 1, redriven)
				w.Settle()
				w.Check()
				require.Empty(t, w.Dead())
				require.Len(t, w.ERP.Records(golden.Customer), n)
				require.Empty(t, w.ERP.Duplicates())
				line = w.Line("salesforce")
				require.Zero(t, line.Parked+line.Retrying+line.Refused)
			})
		})
	}
}
