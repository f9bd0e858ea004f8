package bulk

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// parcel is a load of two jobs, with which every step occurs twice.
const parcel = 500

func twoJobs(opt *Options) { opt.PartRows = parcel / 2 }

// stride leaves out most places of trouble in short runs.
func stride() int {
	if testing.Short() {
		return 4
	}
	return 1
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	// A load of two jobs without trouble takes 8 calls and some polls: whichever is hit, the load ends as if nothing had been.
	for _, kind := range []string{"the call does not arrive", "the answer is lost", "the service is not available"} {
		for n := 1; n <= 10; n += stride() {
			t.Run(fmt.Sprintf("%s at call %d", kind, n), func(t *testing.T) {
				t.Parallel()
				o := setup(t)
				var hit string
				cut := func(i int, r *http.Request) error {
					if i != n {
						return nil
					}
					hit = r.Method + " " + r.URL.Path
					return errCut
				}
				switch kind {
				case "the call does not arrive":
					o.wire.set(cut, nil)
				case "the answer is lost":
					o.wire.set(nil, func(i int, r *http.Request, _ *http.Response) error { return cut(i, r) })
				default:
					o.wire.set(nil, nil)
					o.faults(fmt.Sprintf(`{"rules":[{"effect":"error","status":503,"code":"SERVER_UNAVAILABLE","message":"x","path_contains":"/jobs/","after":%d,"count":1}]}`, n-1))
				}
				var got outcomes
				sum, err := o.client(t.TempDir(), twoJobs).Upsert(t.Context(), leadSpec(""), leads(parcel), got.sink)
				require.NoError(t, err, hit)
				require.Zero(t, got.each(t, parcel, Succeeded), hit)
				require.True(t, sum.Balanced())
				require.Equal(t, int64(parcel), sum.Created, "no row was written twice (%s)", hit)
				require.Equal(t, parcel, o.processed(), "no row was processed twice (%s)", hit)
				require.Equal(t, parcel, o.live("Lead"))
				require.Zero(t, sum.Resent)
			})
		}
	}
}

func TestAnAbsentServiceIsWaitedFor(t *testing.T) {
	t.Parallel()
	t.Run("every call may fail several times", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.wire.set(func(i int, _ *http.Request) error {
			if i%3 != 0 {
				return errCut
			}
			return nil
		}, nil)
		var got outcomes
		sum, err := o.client(t.TempDir(), twoJobs, func(opt *Options) { opt.Jobs = 1 }).Upsert(t.Context(), leadSpec(""), leads(parcel), got.sink)
		require.NoError(t, err)
		require.Equal(t, int64(parcel), sum.Created)
		require.Zero(t, got.each(t, parcel, Succeeded))
	})
	t.Run("an allowance that is used up is waited for and never taken for success", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.faults(`{"rules":[{"effect":"quota","path_contains":"/jobs/","after":2,"count":3}]}`)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(50), got.sink)
		require.NoError(t, err)
		require.Equal(t, int64(50), sum.Created)
		require.Zero(t, got.each(t, 50, Succeeded))
	})
	t.Run("patience ends, and rows that were not handed over say so", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.wire.set(func(int, *http.Request) error { return errCut }, nil)
		var got outcomes
		sum, err := o.client(t.TempDir(), func(opt *Options) { opt.Patience = 20 * time.Millisecond }).Upsert(t.Context(), leadSpec(""), leads(20), got.sink)
		require.True(t, fault.Retryable(err) || fault.Is(err, fault.Uncertain), "%v", err)
		require.Zero(t, got.each(t, 20, NotProcessed))
		require.True(t, sum.Balanced())
		require.True(t, got.one(t, leadKey(3)).Refusal.Retryable)
	})
	t.Run("rows of a released job whose end is not seen are uncertain", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.wire.set(func(_ int, r *http.Request) error {
			if r.Method == http.MethodGet {
				return errCut
			}
			return nil
		}, nil)
		var got outcomes
		sum, err := o.client(t.TempDir(), func(opt *Options) { opt.Patience, opt.Ending = 20*time.Millisecond, 50*time.Millisecond }).Upsert(t.Context(), leadSpec(""), leads(20), got.sink)
		require.Error(t, err)
		require.Zero(t, got.each(t, 20, Uncertain))
		require.Equal(t, Ledger{Rows: 20, Uncertain: 20, Jobs: 1, Rounds: 1}, sum)
	})
	t.Run("a session may end at any time", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.faults(`{"rules":[{"effect":"unauthorized","path_contains":"/jobs/","after":1,"count":1},{"effect":"unauthorized","path_contains":"Results","count":1}]}`)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(50), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 50, Created: 50, Jobs: 1, Rounds: 1}, sum)
		require.Zero(t, got.each(t, 50, Succeeded))
	})
}

func TestResultsThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	// spoil changes the first answers about some path.
	spoil := func(o *org, path string, times int, change func(string) string) {
		o.wire.set(nil, func(_ int, r *http.Request, resp *http.Response) error {
			if !strings.HasSuffix(r.URL.Path, path) || times == 0 {
				return nil
			}
			times--
			return edit(resp, change)
		})
	}
	half := func(s string) string { return s[:strings.LastIndex(s[:len(s)/2], "\n")+1] }
	t.Run("results that break off are read again, and no outcome comes twice", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.faults(`{"rules":[{"effect":"truncate","path_contains":"successfulResults","count":2}]}`)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(3000), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 3000, Succeeded))
		require.Equal(t, Ledger{Rows: 3000, Created: 3000, Jobs: 1, Rounds: 1}, sum)
	})
	t.Run("results that end early between two rows are found out by the count", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		spoil(o, "/successfulResults", 1, half)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(400), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 400, Succeeded))
		require.Equal(t, Ledger{Rows: 400, Created: 400, Jobs: 1, Rounds: 1}, sum)
		require.Equal(t, 2, o.wire.count("successfulResults"))
	})
	t.Run("rows that no result names are sent again, which finds their records", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		spoil(o, "/successfulResults", 3, half)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(400), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 400, Succeeded))
		require.Equal(t, map[string]int64{ReasonOutcomeMissing: sum.Resent}, sum.Reasons)
		require.Equal(t, sum.Resent, sum.Updated)
		require.Positive(t, sum.Updated)
		require.Equal(t, 400, o.live("Lead"))
	})
	t.Run("rows that are never named are uncertain in the end", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		spoil(o, "/successfulResults", -1, func(s string) string {
			head, _, _ := strings.Cut(s, "\n")
			return head + "\n"
		})
		var got outcomes
		sum, err := o.client(t.TempDir(), func(opt *Options) { opt.Rounds = 2 }).Upsert(t.Context(), leadSpec(""), leads(10), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 10, Uncertain))
		require.Equal(t, int64(10), sum.Uncertain)
		require.Equal(t, ReasonOutcomeMissing, got.one(t, leadKey(0)).Refusal.Reason)
	})
	t.Run("rows of others and rows that come twice change nothing", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		spoil(o, "/successfulResults", -1, func(s string) string {
			lines := strings.SplitAfter(s, "\n")
			return s + lines[1] + strings.Replace(lines[2], "L-0", "X-0", 1)
		})
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(10), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 10, Succeeded))
		require.Equal(t, int64(10), sum.Created)
	})
	t.Run("results that are no CSV leave the rows to another job", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		spoil(o, "/successfulResults", 3, func(string) string { return "<html>sorry</html>\n" })
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(10), got.sink)
		require.NoError(t, err)
		require.Equal(t, int64(10), sum.Updated)
		require.Zero(t, got.each(t, 10, Succeeded))
	})
	t.Run("an answer that is no JSON is asked for again", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		times := 0
		o.wire.set(nil, func(_ int, _ *http.Request, resp *http.Response) error {
			if times++; times%2 == 1 && times < 8 {
				return edit(resp, func(string) string { return "<html>" })
			}
			return nil
		})
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(10), got.sink)
		require.NoError(t, err)
		require.Equal(t, int64(10), sum.Created)
		require.Zero(t, got.each(t, 10, Succeeded))
	})
}

func TestAJobThatDisappears(t *testing.T) {
	t.Parallel()
	t.Run("its rows are loaded by another, which finds their records", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		deleted := false
		o.wire.set(func(_ int, r *http.Request) error {
			// Before its state is asked for the first time, the job ends and is deleted.
			for r.Method == http.MethodGet && !deleted {
				if j := o.jobs()[0]; j["state"] == "JobComplete" {
					o.do("DELETE", "/services/data/v66.0/jobs/ingest/"+j["id"].(string), "")
					deleted = true
				}
			}
			return nil
		}, nil)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(30), got.sink)
		require.NoError(t, err)
		require.True(t, deleted)
		require.Equal(t, Ledger{Rows: 30, Updated: 30, Jobs: 2, Rounds: 1}, sum)
		require.Zero(t, got.each(t, 30, Succeeded))
	})
}
