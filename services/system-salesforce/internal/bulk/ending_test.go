package bulk

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// inState waits until the org has one ingest job, in a state.
func (o *org) inState(state string) {
	o.t.Helper()
	require.Eventually(o.t, func() bool { jobs := o.jobs(); return len(jobs) == 1 && jobs[0]["state"] == state }, time.Minute, 5*time.Millisecond)
}

// files are the names of all files below a folder.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			out = append(out, e.Name())
		}
		return err
	}))
	return out
}

func TestALoadThatEndsEarlyLeavesNoJobBehind(t *testing.T) {
	t.Parallel()
	for _, hold := range []struct{ name, plan, state string }{
		{"queued", `{"hold":"queued"}`, "UploadComplete"}, {"being processed", `{"hold":"processing","hold_after":200}`, "InProgress"},
	} {
		t.Run("a job that is "+hold.name+" is aborted when the caller goes", func(t *testing.T) {
			t.Parallel()
			o := setup(t)
			o.bulk(hold.plan)
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			var got outcomes
			ended := make(chan error, 1)
			go func() {
				_, err := o.client(dir).Upsert(ctx, leadSpec(""), leads(600), got.sink)
				ended <- err
			}()
			o.inState(hold.state)
			if hold.state == "InProgress" {
				require.Eventually(t, func() bool { return o.processed() == 200 }, time.Minute, 5*time.Millisecond)
			}
			cancel()
			require.Error(t, <-ended)
			require.Equal(t, "Aborted", o.jobs()[0]["state"])
			written := o.live("Lead")
			require.Equal(t, o.processed(), written)
			require.Len(t, got.by, 600)
			states := map[State]int{}
			for key := range got.by {
				states[got.one(t, key).State]++
			}
			require.Equal(t, 600-written, states[NotProcessed])
			require.Equal(t, written, states[Succeeded])
			require.Empty(t, files(t, dir))
			// What held the job lets go: the old values do not come any more.
			o.bulk(`{}`)
			_, err := o.client(dir).Upsert(t.Context(), leadSpec(""), leads(600), got.sink)
			require.NoError(t, err)
			require.Equal(t, 600+written, o.processed())
		})
	}
	t.Run("it ends before the caller's time is up, and says what became of the rows", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.bulk(`{"hold":"queued"}`)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a quarter of it is kept for ending the job
		defer cancel()
		var got outcomes
		_, err := o.client(t.TempDir()).Upsert(ctx, leadSpec(""), leads(20), got.sink)
		require.Error(t, err)
		require.Equal(t, fault.Timeout, fault.KindOf(err))
		require.NoError(t, ctx.Err(), "there is time left")
		require.Equal(t, "Aborted", o.jobs()[0]["state"])
		require.Zero(t, got.each(t, 20, NotProcessed))
		require.Equal(t, rest.Retry, got.one(t, leadKey(1)).Refusal.Class)
		require.True(t, got.one(t, leadKey(1)).Refusal.Retryable)
	})
	t.Run("a caller that hears nothing any more has its job aborted too", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		n := 0
		_, err := o.client(t.TempDir(), twoJobs).Upsert(t.Context(), leadSpec(""), leads(parcel), func(Outcome) error {
			n++
			return errEnd
		})
		require.ErrorIs(t, err, errEnd)
		require.Equal(t, 1, n)
		for _, j := range o.jobs() {
			require.Contains(t, []any{"Aborted", "JobComplete"}, j["state"])
		}
	})
	t.Run("a job that cannot be ended makes its rows uncertain, is kept in mind and ended later", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.bulk(`{"hold":"queued"}`)
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		closed := false
		o.wire.set(func(_ int, r *http.Request) error {
			if closed {
				return errCut
			}
			if r.Method == http.MethodGet {
				closed = true
				cancel()
				return errCut
			}
			return nil
		}, nil)
		c := o.client(dir, func(opt *Options) { opt.Ending = 50 * time.Millisecond })
		var got outcomes
		_, err := c.Upsert(ctx, leadSpec(""), leads(10), got.sink)
		require.Error(t, err)
		require.Zero(t, got.each(t, 10, Uncertain))
		require.Positive(t, got.one(t, leadKey(1)).Refusal.RetryAfter, "the caller waits until the job is ended")
		require.Equal(t, rest.Unknown, got.one(t, leadKey(1)).Refusal.Class)
		require.Equal(t, []string{journalFile}, files(t, dir), "the rows are gone, the job is known")
		require.Error(t, c.EndLeftovers(t.Context()))
		o.wire.set(nil, nil)
		c.o.Ending = time.Minute
		require.NoError(t, c.EndLeftovers(t.Context()))
		require.Equal(t, "Aborted", o.jobs()[0]["state"])
		require.Empty(t, files(t, dir))
	})
}

func TestAJobOfADeadProcess(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.bulk(`{"hold":"queued"}`)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{cancel: cancel}
	first := o.client(dir, func(opt *Options) { opt.Ending = time.Millisecond })
	ended := make(chan error, 1)
	go func() {
		_, err := first.Upsert(ctx, leadSpec(""), leads(10), func(Outcome) error { return nil })
		ended <- err
	}()
	o.inState("UploadComplete")
	// What a killed process leaves: its folder as it is now.
	left := t.TempDir()
	require.NoError(t, os.CopyFS(left, os.DirFS(dir)))
	require.Contains(t, files(t, left), journalFile)
	o.wire.set(func(int, *http.Request) error { return d.die() }, nil)
	require.Error(t, <-ended)
	o.wire.set(nil, nil)
	require.Equal(t, "UploadComplete", o.jobs()[0]["state"])

	second := o.client(left)
	require.Equal(t, []string{journalFile}, files(t, left), "the rows are removed at once")
	require.NoError(t, second.EndLeftovers(t.Context()))
	require.Equal(t, "Aborted", o.jobs()[0]["state"])
	require.Empty(t, files(t, left))
	require.Zero(t, o.live("Lead"))
}

func TestRowsCarryWhenTheyMayComeAgain(t *testing.T) {
	t.Parallel()
	o := setup(t)
	api := &poor{err: fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "the allowance is used up").WithRetryAfter(7 * time.Minute)}
	var got outcomes
	_, err := o.client(t.TempDir(), func(opt *Options) { opt.API, opt.Patience = api, time.Minute }).Upsert(t.Context(), leadSpec(""), leads(5), got.sink)
	require.Equal(t, 7*time.Minute, fault.RetryAfter(err))
	require.Zero(t, got.each(t, 5, NotProcessed))
	why := got.one(t, leadKey(0)).Refusal
	require.Equal(t, 7*time.Minute, why.RetryAfter)
	require.Equal(t, rest.WaitForQuota, why.Class)
	require.True(t, why.Retryable)
}

// poor has no allowance.
type poor struct{ err error }

// Exchange implements API.
func (p *poor) Exchange(context.Context, rest.Exchange) (*http.Response, error) { return nil, p.err }
