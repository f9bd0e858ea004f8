package bulk

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

// dying is a process of which nothing is left once it dies: it ends ctx and every call fails from then on.
type dying struct {
	cancel context.CancelFunc
	dead   bool
}

func (d *dying) die() error {
	d.dead = true
	d.cancel()
	return errCut
}

func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	// crash runs a load in a process that dies as told, then goes on with it in another. It returns false if the first one lived.
	crash := func(t *testing.T, o *org, arm func(c *Client, d *dying)) bool {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dir := t.TempDir()
		d := &dying{cancel: cancel}
		var got outcomes
		one := func(opt *Options) { opt.Jobs = 1 }
		c := o.client(dir, twoJobs, one)
		arm(c, d)
		_, err := c.Upsert(ctx, leadSpec("the load"), leads(parcel), got.sink)
		if !d.dead {
			require.NoError(t, err)
			return false
		}
		o.wire.set(nil, nil)
		c = o.client(dir, twoJobs, one)
		left, err := read(c.folder("the load"))
		require.NoError(t, err)
		next := leads(parcel)
		got = outcomes{} // who heard them died as well
		if left != nil {
			next = nil // what is kept is enough
		}
		sum, err := c.Upsert(t.Context(), Spec{Load: "the load", Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: leadColumns}, next, got.sink)
		if fault.ReasonOf(err) == ReasonUnknown {
			t.Fatal("the load is unknown")
		}
		require.NoError(t, err)
		require.Zero(t, got.each(t, parcel, Succeeded), "every row is reported once")
		require.True(t, sum.Balanced())
		require.Equal(t, int64(parcel), sum.Created, "all rows were made by jobs of this load, none was loaded twice")
		require.Equal(t, parcel, o.processed(), "no row was processed twice")
		require.Equal(t, parcel, o.live("Lead"))
		left, err = read(c.folder("the load"))
		require.NoError(t, err)
		require.Nil(t, left)
		return true
	}
	for n := 1; n <= 12; n += stride() {
		t.Run(fmt.Sprintf("before call %d", n), func(t *testing.T) {
			t.Parallel()
			o := setup(t)
			crash(t, o, func(_ *Client, d *dying) {
				o.wire.set(func(i int, _ *http.Request) error {
					if i >= n {
						return d.die()
					}
					return nil
				}, nil)
			})
		})
		t.Run(fmt.Sprintf("after call %d, whose answer nobody sees", n), func(t *testing.T) {
			t.Parallel()
			o := setup(t)
			crash(t, o, func(_ *Client, d *dying) {
				o.wire.set(func(i int, _ *http.Request) error {
					if i > n {
						return errCut
					}
					return nil
				}, func(i int, _ *http.Request, _ *http.Response) error {
					if i >= n {
						return d.die()
					}
					return nil
				})
			})
		})
	}
	died, tried := 0, 0
	for n := 1; n <= 20; n += stride() {
		tried++
		t.Run(fmt.Sprintf("around writing the journal, at %d", n), func(t *testing.T) {
			o := setup(t)
			writes := 0
			if crash(t, o, func(c *Client, d *dying) {
				c.crash = func() error {
					if writes++; writes >= n {
						return d.die()
					}
					return nil
				}
			}) {
				died++
			}
		})
	}
	require.Greater(t, died*4, tried*3, "most steps are written down")
}

func TestAJobIsAbortedFromOutside(t *testing.T) {
	t.Parallel()
	t.Run("what was processed is reported, the rest is not processed and not sent again", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.bulk(`{"hold":"processing","hold_after":400}`)
		var got outcomes
		c := o.client(t.TempDir())
		type end struct {
			sum Ledger
			err error
		}
		ended := make(chan end, 1)
		go func() {
			sum, err := c.Upsert(context.Background(), leadSpec("x"), leads(1500), got.sink)
			ended <- end{sum, err}
		}()
		require.Eventually(t, func() bool { return o.processed() == 400 }, time.Minute, 5*time.Millisecond)
		_, err := c.Upsert(t.Context(), leadSpec("x"), leads(1), got.sink)
		require.Equal(t, ReasonRunning, fault.ReasonOf(err))
		o.do("PATCH", "/services/data/v66.0/jobs/ingest/"+o.jobs()[0]["id"].(string), `{"state":"Aborted"}`)
		e := <-ended
		require.NoError(t, e.err)
		require.Equal(t, Ledger{Rows: 1500, Created: 400, NotProcessed: 1100, Jobs: 1, Rounds: 1}, e.sum)
		require.Len(t, got.by, 1500)
		require.Equal(t, 400, o.live("Lead"))
		require.Len(t, o.jobs(), 1)
		require.Equal(t, ReasonJobAborted, got.one(t, leadKey(1499)).Refusal.Reason)
	})
	t.Run("a job that somebody else aborts stays aborted", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.bulk(`{"hold":"queued"}`)
		o.wire.set(func(_ int, r *http.Request) error {
			if r.Method == http.MethodGet {
				for _, j := range o.jobs() {
					if j["state"] == "UploadComplete" {
						o.do("PATCH", "/services/data/v66.0/jobs/ingest/"+j["id"].(string), `{"state":"Aborted"}`)
					}
				}
			}
			return nil
		}, nil)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(30), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 30, NotProcessed: 30, Jobs: 1, Rounds: 1}, sum)
		require.Zero(t, got.each(t, 30, NotProcessed))
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	o := setup(t)
	dir := t.TempDir()
	now := time.Now()
	c := o.client(dir, func(opt *Options) { opt.Now = func() time.Time { return now } })
	n, err := c.Sweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Zero(t, n)
	o.do("POST", "/services/data/v66.0/jobs/ingest", `{"object":"Lead","operation":"upsert","externalIdFieldName":"Selfsame_Id__c"}`)
	o.do("POST", "/services/data/v66.0/jobs/ingest", `{"object":"Lead","operation":"insert"}`)
	// A process that died between making a job and uploading: its job is known and stays.
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	o.wire.set(func(_ int, r *http.Request) error {
		if r.Method == http.MethodPut {
			return d.die()
		}
		return nil
	}, nil)
	_, err = c.Upsert(ctx, leadSpec("kept"), leads(5), func(Outcome) error { return nil })
	require.Error(t, err)
	o.wire.set(nil, nil)

	n, err = c.Sweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Zero(t, n, "it is young")
	now = now.Add(2 * time.Hour)
	n, err = c.Sweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	states := map[string]int{}
	for _, j := range o.jobs() {
		states[fmt.Sprint(j["operation"], " ", j["state"])]++
	}
	require.Equal(t, map[string]int{"upsert Aborted": 1, "upsert Open": 1, "insert Open": 1}, states)
	sum, err := c.Upsert(t.Context(), Spec{Load: "kept"}, nil, func(Outcome) error { return nil })
	require.NoError(t, err)
	require.Equal(t, int64(5), sum.Created)
}

func TestAFolderOfAnotherProcess(t *testing.T) {
	t.Parallel()
	o := setup(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	o.wire.set(func(int, *http.Request) error { return d.die() }, nil)
	c := o.client(dir)
	c.crash = func() error { return nil }
	_, err := c.Upsert(ctx, leadSpec("named"), leads(5), func(Outcome) error { return nil })
	require.Error(t, err)
	// While its rows are read a load has no journal; then there is nothing to go on with.
	_, err = c.Upsert(t.Context(), leadSpec("half"), func() (Row, error) { return Row{}, errEnd }, func(Outcome) error { return nil })
	require.ErrorIs(t, err, errEnd)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, c.folder("named"), filepath.Join(dir, entries[0].Name()))
	_, err = New(Options{})
	require.Error(t, err)
}

func TestAProcessThatGoesOnReportsEverything(t *testing.T) {
	t.Parallel()
	o := setup(t)
	dir := t.TempDir()
	rows := func() func() (Row, error) {
		var all []Row
		for i := range 100 {
			all = append(all, Row{Values: []any{"n", "c", leadKey(i)}})
		}
		all[3].Values[0] = nil          // Salesforce refuses it
		all[50].Values[2] = leadKey(51) // of two rows
		all[70].Values[2] = nil
		return rowsOf(all...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	results := 0
	o.wire.set(func(_ int, r *http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/successfulResults") {
			if results++; results == 2 {
				return d.die()
			}
		}
		return nil
	}, nil)
	small := func(opt *Options) { opt.PartRows, opt.Jobs = 40, 1 }
	var first, second outcomes
	_, err := o.client(dir, small).Upsert(ctx, leadSpec("x"), rows(), first.sink)
	require.Error(t, err)
	require.Equal(t, 43, first.total, "three that were refused and the first part")
	o.wire.set(nil, nil)
	sum, err := o.client(dir, small).Upsert(t.Context(), leadSpec("x"), nil, second.sink)
	require.NoError(t, err)
	require.Equal(t, Ledger{Rows: 100, Created: 96, Failed: 1, Refused: 3, Jobs: 3, Rounds: 1}, sum)
	require.Equal(t, 100, second.total)
	said := func(list []Outcome) (out []string) {
		for _, o := range list {
			out = append(out, fmt.Sprint(o.Index, o.State, o.ID, o.Created, o.Round, o.Refusal.Kind, o.Refusal.Reason, o.Refusal.Fields, o.Refusal.Retryable))
		}
		return out
	}
	for key, told := range first.by {
		require.ElementsMatch(t, said(told), said(second.by[key]), "the same was said of %s", key)
	}
}

func TestLeftovers(t *testing.T) {
	t.Parallel()
	o := setup(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	o.wire.set(func(int, *http.Request) error { return d.die() }, nil)
	_, err := o.client(dir).Upsert(ctx, leadSpec("old"), leads(5), func(Outcome) error { return nil })
	require.Error(t, err)
	now := time.Now()
	c := o.client(dir, func(opt *Options) { opt.Now = func() time.Time { return now } })
	n, err := c.drop(forgotten)
	require.NoError(t, err)
	require.Zero(t, n)
	now = now.Add(forgotten + time.Minute)
	n, err = c.drop(forgotten)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestTend_TellsOfFailures(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
	require.NoError(t, err)
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	dir := t.TempDir()
	c := setup(t).client(dir, func(opt *Options) { opt.Meter = tel.Meter })
	removal, err := telemetry.NewRemoval(tel.Meter.Meter(scope), "bulk leftovers", tendEvery)
	require.NoError(t, err)
	failures := func() string {
		return telemetrytest.Sample(tel.Metrics, `selfsame_retention_failures_total{selfsame_rows="bulk leftovers"}`)
	}
	c.tend(t.Context(), removal)
	require.Equal(t, "0", failures())
	require.NoError(t, os.RemoveAll(dir))
	c.tend(t.Context(), removal)
	require.Equal(t, "1", failures())
}
