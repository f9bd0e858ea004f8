package bulk

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// filled returns an org with n leads.
func filled(t *testing.T, n int, change ...func(*sandbox.Config)) *org {
	t.Helper()
	o := setup(t, change...)
	sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(n), func(Outcome) error { return nil })
	require.NoError(t, err)
	require.Equal(t, int64(n), sum.Created)
	o.wire.set(nil, nil)
	return o
}

// table collects what a query gives.
type table struct {
	columns []string
	rows    [][]string
}

func (b *table) sink(columns []string, rows [][]string) error {
	b.columns = append([]string{}, columns...)
	for _, r := range rows {
		b.rows = append(b.rows, append([]string{}, r...))
	}
	return nil
}

// keys requires that every lead came once, and says whether they came in order.
func (b *table) keys(t *testing.T, n int) (ordered bool) {
	t.Helper()
	require.Equal(t, []string{"Selfsame_Id__c", "LastName"}, b.columns)
	seen := map[string]bool{}
	ordered = true
	for i, r := range b.rows {
		require.False(t, seen[r[0]], "%s came twice", r[0])
		seen[r[0]] = true
		ordered = ordered && r[0] == leadKey(i)
	}
	require.Len(t, b.rows, n)
	return ordered
}

const allLeads = "SELECT Selfsame_Id__c, LastName FROM Lead ORDER BY Selfsame_Id__c"

func TestQuery(t *testing.T) {
	t.Parallel()
	t.Run("pages are read in order, or side by side", func(t *testing.T) {
		t.Parallel()
		const n = 2500
		o := filled(t, n)
		c := o.client(t.TempDir())
		for _, tc := range []struct {
			q     Query
			pages int
		}{{Query{}, 1}, {Query{PageRows: 1000}, 3}, {Query{PageRows: 100, Parallel: 5}, 25}, {Query{PageRows: 1250, Parallel: 9}, 2}, {Query{Parallel: 3}, 1}} {
			var got table
			tc.q.SOQL = allLeads
			stats, err := c.Query(t.Context(), tc.q, got.sink)
			require.NoError(t, err, "%+v", tc.q)
			require.Equal(t, QueryStats{Rows: n, Pages: tc.pages}, stats, "%+v", tc.q)
			if ordered := got.keys(t, n); tc.q.Parallel <= 1 {
				require.True(t, ordered)
			}
		}
	})
	t.Run("values come as they are, and null as nothing", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.do("POST", "/services/data/v66.0/sobjects/Account", `{"Name":"a, \"b\"\r\nc","AnnualRevenue":123456789012345}`)
		var got table
		_, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: "SELECT Name, AnnualRevenue, Phone FROM Account"}, got.sink)
		require.NoError(t, err)
		require.Equal(t, []string{"Name", "AnnualRevenue", "Phone"}, got.columns)
		require.Equal(t, "a, \"b\"\r\nc", got.rows[0][0])
		require.Equal(t, "123456789012345.0", got.rows[0][1])
		require.Empty(t, got.rows[0][2])
	})
	t.Run("deleted records are read when asked for", func(t *testing.T) {
		t.Parallel()
		o := filled(t, 3)
		id := o.soql("SELECT Id FROM Lead LIMIT 1")[0]["Id"].(string)
		o.do("DELETE", "/services/data/v66.0/sobjects/Lead/"+id, "")
		for all, want := range map[bool]int64{false: 2, true: 3} {
			stats, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: "SELECT Id FROM Lead", All: all}, func([]string, [][]string) error { return nil })
			require.NoError(t, err)
			require.Equal(t, want, stats.Rows)
		}
	})
	t.Run("a page that breaks off is read again, and no row comes twice", func(t *testing.T) {
		t.Parallel()
		for _, parallel := range []int{1, 4} {
			const n = 4000
			o := filled(t, n)
			o.faults(`{"rules":[{"effect":"truncate","path_contains":"/results","count":3}]}`)
			var got table
			stats, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: allLeads, PageRows: 1500, Parallel: parallel}, got.sink)
			require.NoError(t, err)
			require.Equal(t, QueryStats{Rows: n, Pages: 3}, stats)
			got.keys(t, n)
		}
	})
	t.Run("a page with fewer rows than it says is read again, and refused if that does not help", func(t *testing.T) {
		t.Parallel()
		o := filled(t, 100)
		times := 2
		o.wire.set(nil, func(_ int, r *http.Request, resp *http.Response) error {
			if times == 0 || !strings.HasSuffix(r.URL.Path, "/results") {
				return nil
			}
			times--
			return edit(resp, func(s string) string { return strings.Join(strings.SplitAfter(s, "\n")[:50], "") })
		})
		var got table
		_, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: allLeads}, got.sink)
		require.NoError(t, err)
		require.True(t, got.keys(t, 100))
		times = -1
		_, err = o.client(t.TempDir()).Query(t.Context(), Query{SOQL: allLeads}, func([]string, [][]string) error { return nil })
		require.Equal(t, fault.Internal, fault.KindOf(err))
	})
	t.Run("any lost answer is coped with", func(t *testing.T) {
		t.Parallel()
		for n := 1; n <= 6; n++ {
			o := filled(t, 600)
			o.wire.set(nil, func(i int, _ *http.Request, _ *http.Response) error {
				if i == n {
					return errCut
				}
				return nil
			})
			var got table
			_, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: allLeads, PageRows: 300}, got.sink)
			require.NoError(t, err, "call %d", n)
			require.True(t, got.keys(t, 600))
		}
	})
	t.Run("a query that cannot run is refused", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		none := func([]string, [][]string) error { return nil }
		c := o.client(t.TempDir())
		_, err := c.Query(t.Context(), Query{SOQL: "SELECT"}, none)
		require.Error(t, err)
		require.False(t, fault.Retryable(err), "%v", err)
		_, err = c.Query(t.Context(), Query{SOQL: "SELECT COUNT(Id) FROM Lead"}, none)
		require.Error(t, err)
		require.NotContains(t, fmt.Sprint(err), "COUNT", "the text of the query stays out of errors")
	})
	t.Run("an error of the sink ends the query", func(t *testing.T) {
		t.Parallel()
		o := filled(t, 2000)
		for _, parallel := range []int{1, 3} {
			_, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: allLeads, PageRows: 500, Parallel: parallel}, func([]string, [][]string) error {
				return fault.Wrap(fault.Unavailable, "GONE", errEnd, "gone")
			})
			require.ErrorIs(t, err, errEnd)
		}
	})
	t.Run("a query that nobody waits for any more is aborted", func(t *testing.T) {
		t.Parallel()
		o := filled(t, 10)
		o.bulk(`{"hold":"queued"}`)
		ctx, cancel := context.WithCancel(t.Context())
		o.wire.set(func(_ int, r *http.Request) error {
			if r.Method == http.MethodGet {
				cancel()
			}
			return nil
		}, nil)
		_, err := o.client(t.TempDir(), func(opt *Options) { opt.Poll.Min = time.Minute }).Query(ctx, Query{SOQL: allLeads}, func([]string, [][]string) error { return nil })
		require.Error(t, err)
		require.Contains(t, o.do("GET", "/services/data/v66.0/jobs/query", ""), `"state":"Aborted"`)
	})
	t.Run("a result that is gone says so", func(t *testing.T) {
		t.Parallel()
		o := filled(t, 1000)
		o.wire.set(func(_ int, r *http.Request) error {
			if strings.Contains(r.URL.RawQuery, "locator") {
				id := strings.Split(r.URL.Path, "/")[6]
				o.do("DELETE", "/services/data/v66.0/jobs/query/"+id, "")
			}
			return nil
		}, nil)
		_, err := o.client(t.TempDir()).Query(t.Context(), Query{SOQL: allLeads, PageRows: 500}, func([]string, [][]string) error { return nil })
		require.Equal(t, ReasonResultGone, fault.ReasonOf(err))
	})
}
