package write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// jobs notes what it is given and answers with every state in turn.
type jobs struct {
	spec bulk.Spec
	rows []bulk.Row
	// kept are the keys of a load that a process left; it is gone on with, without reading.
	kept []string
}

func (j *jobs) Kept(string) bool { return j.kept != nil }

func (j *jobs) Upsert(_ context.Context, s bulk.Spec, next func() (bulk.Row, error), sink func(bulk.Outcome) error) (bulk.Ledger, error) {
	j.spec = s
	for _, key := range j.kept {
		if err := sink(bulk.Outcome{Key: key, State: bulk.Succeeded}); err != nil {
			return bulk.Ledger{}, err
		}
	}
	for j.kept == nil {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return bulk.Ledger{}, nil
		}
		if err != nil {
			return bulk.Ledger{}, err
		}
		j.rows = append(j.rows, r)
		if err := sink(bulk.Outcome{Key: r.Values[0].(string), State: bulk.State(len(j.rows)%5 + 1), ID: "x"}); err != nil {
			return bulk.Ledger{}, err
		}
	}
	return bulk.Ledger{}, nil
}

// leaving is a Salesforce whose callers go away before it answers.
type leaving struct{}

func (leaving) Exchange(context.Context, rest.Exchange) (*http.Response, error) {
	return nil, fault.New(fault.Canceled, fault.ReasonCanceled, "the call was cancelled")
}

// begun is the way of the one stream that was counted.
func begun(t *testing.T, m metricdata.ResourceMetrics) string {
	t.Helper()
	for _, scope := range m.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if sum, ok := metric.Data.(metricdata.Sum[int64]); ok && metric.Name == "selfsame.salesforce.loads" {
				require.Len(t, sum.DataPoints, 1)
				way, _ := sum.DataPoints[0].Attributes.Value("selfsame.transport")
				return way.AsString()
			}
		}
	}
	return ""
}

func TestStream(t *testing.T) {
	t.Parallel()
	feed := func(rows ...Row) func() (Row, error) {
		return func() (Row, error) {
			if len(rows) == 0 {
				return Row{}, io.EOF
			}
			r := rows[0]
			rows = rows[1:]
			return r, nil
		}
	}
	many := func(n int) []Row {
		var out []Row
		for i := range n {
			out = append(out, row(fmt.Sprint(i), "p"))
		}
		return out
	}
	t.Run("a record that comes again is written after the first one, not beside it", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		later := row("a", "")
		later.Fields["LastName"] = "later"
		var keys []string
		transport, err := New(Options{CRM: o}).Stream(t.Context(), Load{Object: contact(t)}, feed(row("A", ""), row("b", ""), later, row("c", "")), func(key string, out Outcome) error {
			keys = append(keys, key)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, Collections, transport)
		require.Equal(t, []string{"A", "b", "a", "c"}, keys)
		require.Equal(t, []string{"upsert A b", "upsert a c"}, o.calls)
	})
	t.Run("the number of records decides, announced or found", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			backlog int64
			rows    int
			want    Transport
		}{{0, 9, Collections}, {0, 10, Jobs}, {0, 11, Jobs}, {9, 5, Collections}, {10, 5, Jobs}, {5, 12, Collections}} {
			j := &jobs{}
			got := 0
			transport, err := New(Options{CRM: newOrg(), Bulk: j, BulkFrom: 10}).Stream(t.Context(), Load{Object: contact(t), Columns: []string{"AccountId", "LastName"}, Backlog: c.backlog},
				feed(many(c.rows)...), func(string, Outcome) error { got++; return nil })
			require.NoError(t, err)
			require.Equal(t, c.want, transport, c)
			require.Equal(t, c.rows, got)
			if c.want == Jobs {
				require.Len(t, j.rows, c.rows)
				require.Equal(t, "AccountId", j.spec.Parent)
			}
		}
	})
	t.Run("what is announced goes by collections where these are faster, the allowance is ample, and nobody is to find it again", func(t *testing.T) {
		t.Parallel()
		m, err := mapping.Default()
		require.NoError(t, err)
		const slow, fast = 50 * time.Millisecond, time.Millisecond
		for name, c := range map[string]struct {
			trip  time.Duration
			spare int64
			load  Load
			want  Transport
			room  int
		}{
			"slow calls":               {slow, 100, Load{Object: m.Account, Backlog: 2000}, Collections, 10},
			"calls that take no time":  {fast, 100, Load{Object: m.Account, Backlog: 2000}, Jobs, 10},
			"not known how slow":       {0, 100, Load{Object: m.Account, Backlog: 2000}, Jobs, 10},
			"more than that":           {slow, 100, Load{Object: m.Account, Backlog: 2001}, Jobs, 10},
			"nothing announced":        {slow, 100, Load{Object: m.Account}, Jobs, 10},
			"an allowance that is not": {slow, 9, Load{Object: m.Account, Backlog: 2000}, Jobs, 10},
			"a load with a name":       {slow, 100, Load{Object: m.Account, Backlog: 2000, Name: "l"}, Jobs, 10},
			"one call after the other": {slow, 100, Load{Object: m.Contact, Backlog: 2000}, Jobs, 10},
			"little room for calls":    {slow, 100, Load{Object: m.Account, Backlog: 2000}, Jobs, 2},
			"some room for calls":      {slow, 100, Load{Object: m.Account, Backlog: 2000}, Collections, 3},
		} {
			reader := sdk.NewManualReader()
			w := New(Options{
				CRM: newOrg(), Bulk: &jobs{}, BulkFrom: 10, SwiftTo: 2000, Together: sides(c.room), Meter: sdk.NewMeterProvider(sdk.WithReader(reader)),
				Trip: func() time.Duration { return c.trip }, Spare: func(calls int64) bool { return calls <= c.spare },
			})
			got := 0
			transport, err := w.Stream(t.Context(), c.load, feed(many(11)...), func(string, Outcome) error { got++; return nil })
			require.NoError(t, err)
			require.Equal(t, c.want, transport, name)
			require.Equal(t, 11, got)
			var m metricdata.ResourceMetrics
			require.NoError(t, reader.Collect(t.Context(), &m))
			require.Equal(t, c.want.String(), begun(t, m), name)
		}
	})
	t.Run("an object that the Bulk API does not take goes by collections, whatever the number", func(t *testing.T) {
		t.Parallel()
		m, err := mapping.Load([]byte("version: 1\nobjects:\n  contact: {bulk: false}\n"))
		require.NoError(t, err)
		j := &jobs{}
		transport, err := New(Options{CRM: newOrg(), Bulk: j, BulkFrom: 10}).Stream(t.Context(), Load{Object: m.Contact, Columns: []string{"AccountId", "LastName"}, Backlog: 5000},
			feed(many(12)...), func(string, Outcome) error { return nil })
		require.NoError(t, err)
		require.Equal(t, Collections, transport)
		require.Empty(t, j.rows)
	})
	t.Run("a job leaves alone what a row does not name, and clears what it names empty", func(t *testing.T) {
		t.Parallel()
		j := &jobs{}
		rows := []Row{{ExternalID: "1", Fields: map[string]any{"LastName": nil}}, {ExternalID: "2", Match: "x", Fields: map[string]any{}}}
		outcomes := map[string]Outcome{}
		_, err := New(Options{CRM: newOrg(), Bulk: j}).Stream(t.Context(), Load{Object: contact(t), Columns: []string{"AccountId", "LastName"}, Backlog: 5000}, feed(rows...),
			func(key string, o Outcome) error { outcomes[key] = o; return nil })
		require.NoError(t, err)
		require.Equal(t, []bulk.Row{{Values: []any{"1", bulk.Keep, nil}}}, j.rows)
		require.Equal(t, ReasonCondition, outcomes["2"].Refused.Reason)
	})
	t.Run("a load that is gone on with is told once, and must be the same load", func(t *testing.T) {
		t.Parallel()
		run := func(rows int) (int, error) {
			got := 0
			w := New(Options{CRM: newOrg(), Bulk: &jobs{kept: []string{"0", "1", "2"}}})
			_, err := w.Stream(t.Context(), Load{Object: contact(t), Columns: []string{"AccountId", "LastName"}, Backlog: 5000, Name: "l"}, feed(many(rows)...),
				func(string, Outcome) error { got++; return nil })
			return got, err
		}
		got, err := run(3)
		require.NoError(t, err)
		require.Equal(t, 3, got)
		_, err = run(4)
		require.Equal(t, ReasonLoadDiffers, fault.ReasonOf(err))
	})
	t.Run("a load that is gone on with must have the same records in the same order", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		run := func(rows []Row) error {
			b, err := bulk.New(bulk.Options{API: leaving{}, Dir: dir})
			require.NoError(t, err)
			_, err = New(Options{CRM: newOrg(), Bulk: b}).Stream(t.Context(), Load{Object: contact(t), Columns: []string{"AccountId", "LastName"}, Backlog: 5000, Name: "l"},
				feed(rows...), func(string, Outcome) error { return nil })
			return err
		}
		require.Equal(t, fault.Canceled, fault.KindOf(run(many(3))), "the caller leaves the load unfinished")
		changed := many(3)
		changed[1].Fields["LastName"] = "another"
		few, err := bulk.New(bulk.Options{API: leaving{}, Dir: dir})
		require.NoError(t, err)
		require.True(t, few.Kept("l"))
		require.False(t, few.Kept("m"))
		require.False(t, few.Kept(""))
		turned := many(3)
		slices.Reverse(turned)
		for name, rows := range map[string][]Row{"a value": changed, "the order": turned, "the number": many(4)} {
			err := run(rows)
			require.Equal(t, ReasonLoadDiffers, fault.ReasonOf(err), name)
			require.Equal(t, fault.Precondition, fault.KindOf(err), name)
		}
		require.Equal(t, fault.Canceled, fault.KindOf(run(many(3))), "its own records bring it to Salesforce")
	})
	t.Run("an unfinished load is found however few records come again, and whatever is announced", func(t *testing.T) {
		t.Parallel()
		for _, backlog := range []int64{0, 2} {
			got := map[string]bool{}
			w := New(Options{CRM: newOrg(), Bulk: &jobs{kept: []string{"0", "1", "2"}}, BulkFrom: 1000})
			transport, err := w.Stream(t.Context(), Load{Object: contact(t), Columns: []string{"AccountId", "LastName"}, Backlog: backlog, Name: "l"}, feed(many(3)...),
				func(key string, _ Outcome) error { got[key] = true; return nil })
			require.NoError(t, err)
			require.Equal(t, Jobs, transport)
			require.Len(t, got, 3)
		}
	})
	t.Run("every state of a job's row has its outcome", func(t *testing.T) {
		t.Parallel()
		require.True(t, fromBulk(bulk.Outcome{State: bulk.Succeeded}).Written())
		require.True(t, fault.Is(fromBulk(bulk.Outcome{State: bulk.Uncertain}).Failed, fault.Uncertain))
		require.Equal(t, rest.Retry, fromBulk(bulk.Outcome{State: bulk.NotProcessed, Refusal: rest.Refusal{Retryable: true}}).Refused.Class)
		require.Equal(t, rest.Reject, fromBulk(bulk.Outcome{State: bulk.NotProcessed}).Refused.Class, "a job that nobody will ever take")
		require.False(t, fromBulk(bulk.Outcome{State: bulk.Failed, Refusal: rest.Refusal{Reason: "X"}}).Written())
	})
	t.Run("an error of the source or of the listener ends the stream", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		_, err := New(Options{CRM: newOrg()}).Stream(t.Context(), Load{Object: contact(t)}, func() (Row, error) { return Row{}, broken }, func(string, Outcome) error { return nil })
		require.ErrorIs(t, err, broken)
		_, err = New(Options{CRM: newOrg()}).Stream(t.Context(), Load{Object: contact(t)}, feed(many(3)...), func(string, Outcome) error { return broken })
		require.ErrorIs(t, err, broken)
	})
}
