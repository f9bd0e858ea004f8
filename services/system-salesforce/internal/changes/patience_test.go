package changes

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// outOfBudget is a call that has to wait an hour.
func outOfBudget() error {
	return fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "wait").WithRetryAfter(time.Hour)
}

// follow watches until a response satisfies enough, and returns the responses with the greatest silence between two of them.
func follow(t *testing.T, w *Watcher, enough func(*salesforcev1.WatchChangesResponse) bool) (out []*salesforcev1.WatchChangesResponse, silence time.Duration) {
	t.Helper()
	last := time.Now()
	err := w.Watch(t.Context(), "", nil, func(r *salesforcev1.WatchChangesResponse) error {
		silence, last = max(silence, time.Since(last)), time.Now()
		out = append(out, r)
		if enough(r) {
			return errStop
		}
		return nil
	})
	require.ErrorIs(t, err, errStop)
	return out, silence
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	t.Run("a stream that waits for the allowance says so, why and until when, and its position does not move", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := setup(t)
			o.errs = []error{outOfBudget()}
			o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", acme))}
			out, silence := follow(t, w, func(r *salesforcev1.WatchChangesResponse) bool { return len(r.GetChanges()) > 0 })
			require.LessOrEqual(t, silence, sayAgain)
			require.Greater(t, len(out), 100)
			for _, r := range out[1 : len(out)-1] {
				require.Equal(t, "API_BUDGET_EXHAUSTED", r.GetWaiting().GetReason())
				require.Equal(t, o.ServerTime().Add(time.Hour), r.GetWaiting().GetResumeTime().AsTime())
				require.Equal(t, out[0].GetResumeToken(), r.GetResumeToken())
			}
			last := out[len(out)-1]
			require.Nil(t, last.GetWaiting())
			require.NotEqual(t, out[0].GetResumeToken(), last.GetResumeToken())
		})
	})
	t.Run("so does a stream that waits while it reads a range again", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := overflowing(t)
			refused := false
			o.listErr = func(time.Time, time.Time) error {
				if !refused {
					refused = true
					return outOfBudget()
				}
				return nil
			}
			o.updated, o.deleted = []string{acme}, []rest.Deletion{}
			waited := 0
			_, silence := follow(t, w, func(r *salesforcev1.WatchChangesResponse) bool {
				if r.GetWaiting() != nil {
					waited++
				}
				return len(r.GetLost()) > 0 && r.GetLost()[0].GetDone()
			})
			require.Greater(t, waited, 100)
			require.LessOrEqual(t, silence, sayAgain)
		})
	})
	t.Run("the time of the position is that of the object furthest behind", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		late := event("UPDATE", "r1", acme)
		late.Committed = started.Add(-time.Minute)
		o.batches[accounts] = []pubsub.Batch{batch(late)}
		out := run(t, w, "", 2)
		require.Equal(t, o.ServerTime(), out[0].GetPositionTime().AsTime())
		require.Equal(t, late.Committed, out[1].GetPositionTime().AsTime())
	})
}
