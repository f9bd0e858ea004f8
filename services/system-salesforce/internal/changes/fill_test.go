package changes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// overflowing returns an org whose feed says once that it lost count of accounts.
func overflowing(t *testing.T) (*org, *Watcher) {
	t.Helper()
	o, w := setup(t)
	o.batches[accounts] = []pubsub.Batch{batch(event("GAP_OVERFLOW", "r1", "000000000000000AAA"))}
	return o, w
}

// until watches until a response ends a range or tells to read everything again, and returns all changes.
func until(t *testing.T, w *Watcher) (out []*salesforcev1.Change, lost []*salesforcev1.LostRange) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	err := w.Watch(ctx, "", nil, func(r *salesforcev1.WatchChangesResponse) error {
		out, lost = append(out, r.GetChanges()...), append(lost, r.GetLost()...)
		if n := len(lost); n > 0 && lost[n-1].GetDone() || len(out) > 0 && out[len(out)-1].GetKind() == salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW {
			return errStop
		}
		return nil
	})
	require.ErrorIs(t, err, errStop)
	return out, lost
}

func TestFill(t *testing.T) {
	t.Parallel()
	t.Run("deletions come before what lives, and what came back is not deleted", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		gone := "001000000000009AAA"
		o.deleted = []rest.Deletion{{ID: gone, At: started}, {ID: bolt, At: started}}
		o.updated = []string{bolt, acme, acme}
		o.rows[bolt]["LastModifiedById"], o.rows[acme]["LastModifiedById"] = integrationUser, "005000000000002AAA"
		changes, lost := until(t, w)
		require.Equal(t, []string{"DELETED " + gone, "UPDATED " + acme, "UPDATED " + bolt}, kinds(&salesforcev1.WatchChangesResponse{Changes: changes}))
		require.Equal(t, "Acme", changes[1].GetAccount().GetName())
		require.False(t, changes[1].GetOwnWrite())
		require.True(t, changes[2].GetOwnWrite(), "a record that our user wrote last is a hint at an echo, as an event is")
		require.EqualValues(t, 3, lost[1].GetSent())
		require.Equal(t, started.Add(-overlap), lost[0].GetFrom().AsTime())
		require.Equal(t, started.Add(2*time.Minute), lost[0].GetUntil().AsTime(), "a whole minute to come")
		require.Equal(t, []string{"deleted 01T11:30+32m0s", "updated 01T11:30+32m0s"}, o.listed)
	})
	t.Run("a window that holds too much is halved", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		o.listErr = func(from, until time.Time) error {
			if until.Sub(from) > 10*time.Minute {
				return fault.New(fault.Precondition, rest.ReasonPeriodTooLarge, "too many")
			}
			return nil
		}
		until(t, w)
		require.Equal(t, []string{
			"deleted 01T11:30+8m0s", "deleted 01T11:38+8m0s", "deleted 01T11:46+8m0s", "deleted 01T11:54+8m0s",
			"updated 01T11:30+8m0s", "updated 01T11:38+8m0s", "updated 01T11:46+8m0s", "updated 01T11:54+8m0s",
		}, o.listed)
	})
	t.Run("a minute that has not passed is waited for when Salesforce does not list it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := overflowing(t)
			o.updated = []string{acme}
			began := time.Now()
			o.listErr = func(_, until time.Time) error {
				if started.Add(2 * time.Second).Add(time.Since(began)).Before(until) {
					return fault.New(fault.Precondition, rest.ReasonPeriodInvalid, "not yet")
				}
				return nil
			}
			changes, lost := until(t, w)
			require.Len(t, changes, 1)
			require.True(t, lost[1].GetDone())
			require.Less(t, time.Since(began), 5*time.Minute)
		})
	})
	t.Run("live records that cannot be listed by period are read in the order of their change", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		calls := 0
		o.listErr = func(time.Time, time.Time) error {
			if calls++; calls > 1 {
				return fault.New(fault.Precondition, rest.ReasonRefused, "not for this object")
			}
			return nil
		}
		changes, _ := until(t, w)
		require.Equal(t, []string{"UPDATED " + acme, "UPDATED " + bolt}, kinds(&salesforcev1.WatchChangesResponse{Changes: changes}))
		require.Contains(t, o.queries[0], "SystemModstamp >= 2026-05-01T11:30:00.000Z AND SystemModstamp < 2026-05-01T12:02:00.000Z ORDER BY SystemModstamp ASC, Id ASC LIMIT 2000")
	})
	t.Run("deletions that cannot be listed have everything read again", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		o.listErr = func(time.Time, time.Time) error {
			return fault.New(fault.Precondition, rest.ReasonRefused, "not for this object")
		}
		changes, lost := until(t, w)
		require.Equal(t, []string{"OVERFLOW "}, kinds(&salesforcev1.WatchChangesResponse{Changes: changes}))
		require.Len(t, lost, 1, "the range is not called done")
	})
	t.Run("a list that is forbidden ends the stream", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		o.listErr = func(time.Time, time.Time) error { return fault.New(fault.Forbidden, rest.ReasonAccess, "no") }
		err := w.Watch(t.Context(), "", nil, func(*salesforcev1.WatchChangesResponse) error { return nil })
		require.Equal(t, rest.ReasonAccess, fault.ReasonOf(err))
	})
}

func TestMetrics_Silence(t *testing.T) {
	t.Parallel()
	x := begin(t, settings{watchdog: 400 * time.Millisecond})
	c := newConsumer()
	x.accounts(3, "a ")
	x.agree(c)
	// The stream that has just ended here may still be open over there, and take the first one.
	x.faults(rule("freeze_stream", map[string]any{"topic": accounts, "count": 2}))
	x.accounts(3, "b ")
	x.agree(c)
	var all metricdata.ResourceMetrics
	require.NoError(t, x.metrics.Collect(t.Context(), &all))
	silent := int64(0)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == "selfsame.cdc.reconnects" {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					if cause, _ := p.Attributes.Value("cause"); cause.AsString() == "silent" {
						silent += p.Value
					}
				}
			}
		}
	}
	require.Positive(t, silent, "the watchdog has opened the stream again")
}
