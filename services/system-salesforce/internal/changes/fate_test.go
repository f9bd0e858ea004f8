package changes

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

const (
	hidden = "001000000000008AAA"
	binned = "001000000000009AAA"
)

// count returns the sum of a counter.
func count(t *testing.T, reader *sdkmetric.ManualReader, name string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == name {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					n += p.Value
				}
			}
		}
	}
	return n
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	t.Run("a record that is not returned and not known as deleted is no deletion", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		reader := sdkmetric.NewManualReader()
		m, err := newMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), o.ServerTime)
		require.NoError(t, err)
		w.metrics = m
		o.bin = map[string]bool{binned: true}
		o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", hidden, binned), event("CREATE", "r2", hidden), event("UPDATE", "r3", acme))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"DELETED " + binned, "UPDATED " + acme}, kinds(out))
		require.Equal(t, [][]string{{hidden, binned}}, o.asked, "one question for all of them")
		require.EqualValues(t, 1, count(t, reader, "selfsame.salesforce.cdc.unreadable"))
	})
	t.Run("a batch of nothing but unreadable records still moves the position", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", hidden))}
		out := run(t, w, "", 2)
		require.Empty(t, out[1].GetChanges())
		require.NotEqual(t, out[0].GetResumeToken(), out[1].GetResumeToken())
	})
	t.Run("an event that tells of the deletion needs no other witness", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", hidden), event("DELETE", "r2", hidden), event("GAP_DELETE", "r3", binned))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"DELETED " + hidden, "DELETED " + hidden, "DELETED " + binned}, kinds(out))
		require.Empty(t, o.asked)
	})
	t.Run("a record that came back after its deletion and cannot be read is not deleted", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.batches[accounts] = []pubsub.Batch{batch(event("DELETE", "r1", hidden), event("UNDELETE", "r2", hidden))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"DELETED " + hidden}, kinds(out), "what the event says, and nothing about the return")
		require.Equal(t, [][]string{{hidden}}, o.asked)
	})
	t.Run("a record that can be read a moment later is sent", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.appear = row(hidden, "Late")
		o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", hidden))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"CREATED " + hidden}, kinds(out))
		require.Equal(t, "Late", out.GetChanges()[0].GetAccount().GetName())
	})
	t.Run("an object that knows no deletion has none, and a refused login ends the stream", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.askErr = fault.New(fault.Precondition, rest.ReasonNotWritable, "no such column")
		o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", hidden))}
		require.Empty(t, run(t, w, "", 2)[1].GetChanges())
		o.askErr = fault.New(fault.Unavailable, auth.ReasonLoginRefused, "no")
		err := w.Watch(t.Context(), "", nil, func(*salesforcev1.WatchChangesResponse) error { return nil })
		require.Equal(t, auth.ReasonLoginRefused, fault.ReasonOf(err))
	})
	t.Run("a range that is read again leaves an unreadable record out too", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		o.updated, o.bin = []string{acme, hidden, binned}, map[string]bool{binned: true}
		changes, lost := until(t, w)
		require.Equal(t, []string{"UPDATED " + acme, "DELETED " + binned}, kinds(&salesforcev1.WatchChangesResponse{Changes: changes}))
		require.True(t, lost[len(lost)-1].GetDone())
	})
	t.Run("the recycle bin of an org is asked", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		ids := x.accounts(3, "a ")
		x.remove("Account", ids[0])
		said, err := x.crm.IsDeleted(t.Context(), "Account", append(ids[:2:2], "001000000000077AAA"))
		require.NoError(t, err)
		require.Equal(t, map[string]bool{rest.FullID(ids[0]): true, rest.FullID(ids[1]): false}, said)
	})
}
