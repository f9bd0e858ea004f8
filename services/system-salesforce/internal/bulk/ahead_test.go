package bulk

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFirstJobIsMadeAhead(t *testing.T) {
	t.Parallel()
	t.Run("while rows are still being read", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		asked := make(chan struct{})
		o.wire.set(func(int, *http.Request) error {
			select {
			case <-asked:
			default:
				close(asked)
			}
			return nil
		}, nil)
		next, n := leads(2000), 0
		var got outcomes
		sum, err := o.client(t.TempDir(), twoJobs).Upsert(t.Context(), leadSpec(""), func() (Row, error) {
			if n++; n == 3 {
				<-asked // or the load waits for ever
			}
			return next()
		}, got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 2000, Succeeded))
		require.True(t, sum.Balanced())
		require.Len(t, o.jobs(), sum.Jobs, "no job was made twice")
	})
	t.Run("and aborted if the rows cannot be read to their end", func(t *testing.T) {
		t.Parallel()
		for _, load := range []string{"", "the load"} {
			o := setup(t)
			next, n := leads(100), 0
			dir := t.TempDir()
			_, err := o.client(dir).Upsert(t.Context(), leadSpec(load), func() (Row, error) {
				if n++; n == 50 {
					return Row{}, errEnd
				}
				return next()
			}, func(Outcome) error { return nil })
			require.ErrorIs(t, err, errEnd)
			require.Len(t, o.jobs(), 1)
			require.Equal(t, "Aborted", o.jobs()[0]["state"])
			require.Empty(t, files(t, dir))
			require.Zero(t, o.live("Lead"))
		}
	})
	t.Run("and aborted if no row is left to be sent", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		twice := Row{Values: []any{"Name", "Company", leadKey(0)}}
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), rowsOf(twice, twice), got.sink)
		require.NoError(t, err)
		require.Equal(t, int64(2), sum.Refused)
		require.Zero(t, sum.Jobs)
		require.Len(t, o.jobs(), 1)
		require.Equal(t, "Aborted", o.jobs()[0]["state"])
	})
	t.Run("not before there is a row", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		_, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), rowsOf(), func(Outcome) error { return nil })
		require.NoError(t, err)
		require.Empty(t, o.jobs())
	})
	t.Run("a lost answer costs another job, whose rows are sent once", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.wire.set(nil, func(n int, _ *http.Request, _ *http.Response) error {
			if n == 1 {
				return errCut
			}
			return nil
		})
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(300), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 300, Succeeded))
		require.Equal(t, int64(300), sum.Created)
		require.Equal(t, 300, o.processed())
		require.Len(t, o.jobs(), 2, "the first has no rows, and the sweep finds it")
	})
	t.Run("one that is gone when its rows come costs another job", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		next, n := leads(300), 0
		var got outcomes
		_, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), func() (Row, error) {
			if n++; n == 300 {
				for len(o.jobs()) == 0 {
					continue
				}
				job := "/services/data/v66.0/jobs/ingest/" + o.jobs()[0]["id"].(string)
				o.do("PATCH", job, `{"state":"Aborted"}`)
				o.do("DELETE", job, "")
			}
			return next()
		}, got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 300, Succeeded))
		require.Equal(t, 300, o.processed())
	})
}

func TestJobsAreWrittenDownBeforeTheyAreReleased(t *testing.T) {
	t.Parallel()
	o := setup(t)
	dir := t.TempDir()
	var released, known atomic.Int32
	o.wire.set(func(_ int, r *http.Request) error {
		if r.Method != http.MethodPatch {
			return nil
		}
		released.Add(1)
		found, err := filepath.Glob(filepath.Join(dir, "*", journalFile))
		if err != nil || len(found) != 1 {
			return nil
		}
		data, err := os.ReadFile(found[0])
		var j journal
		if err != nil || json.Unmarshal(data, &j) != nil {
			return nil
		}
		j.all(func(p *part) {
			if p.Job == filepath.Base(r.URL.Path) && p.Step != settled {
				known.Add(1)
			}
		})
		return nil
	}, nil)
	_, err := o.client(dir, twoJobs).Upsert(t.Context(), leadSpec(""), leads(parcel), func(Outcome) error { return nil })
	require.NoError(t, err)
	require.Positive(t, released.Load())
	require.Equal(t, released.Load(), known.Load(), "a process that comes after a crash finds every job that may run")
}
