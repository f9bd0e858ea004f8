package feed_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/feed"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *enginetest.World {
	t.Helper()
	t.Parallel()
	return enginetest.NewWith(t, storetest.Schema.Open(t, "sqlite"), func(o *sourcetest.Options) { o.PageSize = 3 })
}

func sf(w *enginetest.World) *feed.Feed { return w.Feeds[0] }

func state(t *testing.T, w *enginetest.World) store.Feed {
	t.Helper()
	f, err := w.Store.Read().Feed(t.Context(), "salesforce")
	require.NoError(t, err)
	return f
}

func acquire(t *testing.T, f *feed.Feed) {
	t.Helper()
	ok, err := f.Acquire(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
}

func step(t *testing.T, f *feed.Feed) bool {
	t.Helper()
	more, err := f.Step(t.Context())
	require.NoError(t, err)
	return more
}

func request(t *testing.T, w *enginetest.World, system string) {
	t.Helper()
	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		started, err := tx.RequestScan(ctx, system)
		require.True(t, started)
		return err
	}))
}

func TestScan(t *testing.T) {
	t.Parallel()
	t.Run("the position is known before the first page is read", func(t *testing.T) {
		w := setup(t)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Before"})
		acquire(t, sf(w))
		require.True(t, step(t, sf(w)))
		require.Zero(t, w.SF.Calls(sourcetest.OpList))
		require.NotEmpty(t, state(t, w).Token)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "During"})
		w.Settle()
		w.Check()
		require.Equal(t, "During", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])
	})
	t.Run("it goes on where it was after a restart", func(t *testing.T) {
		w := setup(t)
		for i := range 10 {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
		}
		acquire(t, sf(w))
		for range 4 { // position, begin, two pages
			require.True(t, step(t, sf(w)))
		}
		require.EqualValues(t, 6, state(t, w).Scanned)
		w.Start()
		require.NoError(t, w.Recover(t.Context()))
		w.Settle()
		w.Check()
		require.EqualValues(t, 10, state(t, w).Scanned)
		require.EqualValues(t, 10, w.Line("salesforce").Received-w.Line("salesforce").Echoes-w.Line("salesforce").Unchanged)
	})
	t.Run("a page that the system has forgotten begins its kind again", func(t *testing.T) {
		w := setup(t)
		for i := range 5 {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i)})
		}
		acquire(t, sf(w))
		for range 3 {
			step(t, sf(w))
		}
		w.SF.Fail(sourcetest.OpList, fault.New(fault.Invalid, fault.ReasonPageTokenInvalid, "forgotten"))
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Customer), 5)
	})
	t.Run("a resync finds what the feed has lost, deletions too, and counts nothing twice", func(t *testing.T) {
		w := setup(t)
		w.Deleting = true
		a := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Edited"})
		b := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Deleted"})
		w.Settle()
		erpB := w.Twin(w.Golden(w.SF, golden.Customer, b).ID, w.ERP).Ref.RecordID
		w.SF.Drop(3)
		w.SF.Edit(golden.Customer, a, golden.Values{golden.Phone: "1"})
		w.SF.Delete(golden.Customer, b)
		c := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Made"})
		w.Settle()
		require.Empty(t, w.Golden(w.SF, golden.Customer, a).Values[golden.Phone], "nobody can know")
		request(t, w, "salesforce")
		w.Settle()
		w.Check()
		require.Equal(t, "1", w.Golden(w.SF, golden.Customer, a).Values[golden.Phone])
		require.Equal(t, "Made", w.Golden(w.SF, golden.Customer, c).Values[golden.Name])
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{b})
		require.NoError(t, err)
		require.True(t, rows[0].Deleted)
		rec, _ := w.ERP.Record(golden.Customer, erpB)
		require.False(t, rec.Deleted, "deletions are not passed on")
		f := state(t, w)
		require.Equal(t, store.FeedLive, f.State)
		require.EqualValues(t, 2, f.Epoch)
	})
}

func TestHidden(t *testing.T) {
	t.Parallel()
	for name, resync := range map[string]func(w *enginetest.World){
		"asked for": func(w *enginetest.World) { request(t, w, "salesforce") },
		"because of a lost position": func(w *enginetest.World) {
			w.SF.ExpireTokens()
		},
	} {
		t.Run("a resync "+name+" does not delete what it cannot read", func(t *testing.T) {
			w := setup(t)
			w.Deleting = true
			hidden := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Hidden AG"})
			person := w.SF.Create(golden.Contact, hidden, golden.Values{golden.LastName: "Arndt"})
			gone := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Gone AG"})
			w.Settle()
			before := w.Golden(w.SF, golden.Customer, hidden)
			w.SF.Hide(golden.Customer, hidden, true)
			w.SF.Hide(golden.Contact, person, true)
			w.SF.Drop(1)
			w.SF.Delete(golden.Customer, gone)
			resync(w)
			w.Settle()
			require.EqualValues(t, 2, state(t, w).Epoch)
			rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{hidden, gone})
			require.NoError(t, err)
			dead := map[string]bool{}
			for _, r := range rows {
				dead[r.Ref.RecordID] = r.Deleted
			}
			require.Equal(t, map[string]bool{hidden: false, gone: true}, dead)
			rows, err = w.Store.Read().Sources(t.Context(), "salesforce", golden.Contact, []string{person})
			require.NoError(t, err)
			require.False(t, rows[0].Deleted)
			require.Equal(t, before.Values, w.Golden(w.SF, golden.Customer, hidden).Values)
			require.NotContains(t, w.Events(before.ID), "deleted")

			w.SF.Hide(golden.Customer, hidden, false)
			w.SF.Hide(golden.Contact, person, false)
			w.SF.Edit(golden.Customer, hidden, golden.Values{golden.Phone: "+41 2"})
			w.Settle()
			w.Check()
			require.Equal(t, "+41 2", w.Golden(w.SF, golden.Customer, hidden).Values[golden.Phone], "it goes on where it was")
		})
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	t.Run("an expired position leads to a scan, never to going on from now", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "1"})
		w.SF.ExpireTokens()
		w.Settle()
		w.Check()
		require.Equal(t, "1", w.Golden(w.SF, golden.Customer, id).Values[golden.Phone])
		require.EqualValues(t, 2, state(t, w).Epoch)
	})
	t.Run("an overflow leads to a scan", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		w.SF.Drop(1)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.SF.Overflow("")
		w.Settle()
		w.Check()
		require.Equal(t, "Acme", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("a stretch that the system finds again by itself is reported and leads to no scan", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		before := state(t, w)
		reader := metric.NewManualReader()
		tel := telemetry.Discard()
		tel.Meter = metric.NewMeterProvider(metric.WithReader(reader))
		f, err := feed.New(feed.Deps{Store: w.Store, Intake: w.Intake, System: finding{w.SF}, Owner: before.Owner, Now: w.Clock.Now, Telemetry: tel})
		require.NoError(t, err)
		acquire(t, f)
		require.NoError(t, f.Watch(t.Context(), nil))
		after := state(t, w)
		require.Equal(t, "found", after.Token, "its position is stored")
		require.Equal(t, before.Epoch, after.Epoch)
		require.Equal(t, store.ScanDone, after.Scan)
		require.EqualValues(t, 1, sum(t, reader, "selfsame.cdc.gaps"))
	})
	t.Run("the position moves with the effect of the changes", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		before := state(t, w)
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		acquire(t, sf(w))
		require.False(t, step(t, sf(w)))
		require.NoError(t, sf(w).Watch(t.Context(), func(source.Batch) bool { return true }))
		after := state(t, w)
		require.NotEqual(t, before.Token, after.Token)
		require.EqualValues(t, 1, w.Line("salesforce").Received)
		require.Equal(t, after.LastCommit, w.SF.Records(golden.Customer)[0].EventTime.Truncate(time.Microsecond))
	})
	t.Run("a process that lost its lease moves nothing", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		old := sf(w)
		acquire(t, old)
		w.Clock.Advance(time.Hour)
		w.Start()
		acquire(t, sf(w))
		w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		before := state(t, w)
		require.ErrorIs(t, old.Watch(t.Context(), nil), store.ErrFenced)
		require.Equal(t, before.Token, state(t, w).Token)
		require.Zero(t, w.Line("salesforce").Received)
		w.Settle()
		w.Check()
	})
}

func TestRun(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, body func(t *testing.T, w *enginetest.World, f *feed.Feed)) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
			f, err := feed.New(feed.Deps{
				Store: w.Store, Intake: w.Intake, System: w.SF, Owner: "me", Now: time.Now, Telemetry: telemetry.Discard(),
			})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			var failed atomic.Value
			done := make(chan struct{})
			go func() {
				defer close(done)
				if err := f.Run(ctx); err != nil {
					failed.Store(err)
				}
			}()
			body(t, w, f)
			cancel()
			<-done
			require.Nil(t, failed.Load())
			got, err := w.Store.Read().Feed(context.WithoutCancel(t.Context()), "salesforce")
			require.NoError(t, err)
			require.True(t, got.LeaseUntil.IsZero(), "it gives the feed back")
		})
	}
	t.Run("it scans, follows, and stops when told", func(t *testing.T) {
		run(t, func(t *testing.T, w *enginetest.World, _ *feed.Feed) {
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Before"})
			synctest.Wait()
			require.Equal(t, store.FeedLive, state(t, w).State)
			id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "After"})
			synctest.Wait()
			require.Equal(t, "After", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])
		})
	})
	t.Run("a system that does not answer is shown as failing and found again", func(t *testing.T) {
		run(t, func(t *testing.T, w *enginetest.World, _ *feed.Feed) {
			synctest.Wait()
			w.SF.SetDown(sourcetest.Unreachable())
			synctest.Wait()
			f := state(t, w)
			require.Equal(t, store.FeedFailing, f.State)
			require.Equal(t, fault.ReasonUnavailable, f.Reason)
			w.SF.SetDown(nil)
			<-time.After(time.Minute)
			synctest.Wait()
			f = state(t, w)
			require.Equal(t, store.FeedLive, f.State)
			require.Empty(t, f.Reason)
		})
	})
	t.Run("a scan that is asked for begins at once, and by the lease when another process was asked", func(t *testing.T) {
		run(t, func(t *testing.T, w *enginetest.World, f *feed.Feed) {
			synctest.Wait()
			require.EqualValues(t, 1, state(t, w).Epoch)
			request(t, w, "salesforce")
			f.Poke()
			synctest.Wait()
			require.EqualValues(t, 2, state(t, w).Epoch)
			request(t, w, "salesforce")
			<-time.After(15 * time.Second)
			synctest.Wait()
			require.EqualValues(t, 3, state(t, w).Epoch)
		})
	})
}

// script is a system whose stream says what is written.
type script struct {
	source.System
	batches []source.Batch
}

func (s script) Watch(_ context.Context, _ string, fn func(source.Batch) error) error {
	for _, b := range s.batches {
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

func TestPosition(t *testing.T) {
	t.Parallel()
	watch := func(t *testing.T, w *enginetest.World, batches ...source.Batch) store.Feed {
		t.Helper()
		f, err := feed.New(feed.Deps{
			Store: w.Store, Intake: w.Intake, System: script{w.SF, batches}, Owner: state(t, w).Owner, Now: w.Clock.Now, Telemetry: telemetry.Discard(),
		})
		require.NoError(t, err)
		acquire(t, f)
		require.NoError(t, f.Watch(t.Context(), nil))
		return state(t, w)
	}
	t.Run("a system that waits for its allowance is live, says why and until when, and its position does not move", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		resume, stands := w.Clock.Now().Add(time.Hour).UTC(), w.Clock.Now().Add(-time.Minute).UTC()
		waiting := source.Batch{Token: "t1", Waiting: source.Waiting{Reason: "API_BUDGET_EXHAUSTED", Resume: resume}}
		f := watch(t, w, source.Batch{Token: "t1", Position: stands}, waiting)
		require.Equal(t, store.FeedLive, f.State)
		require.Equal(t, "API_BUDGET_EXHAUSTED", f.Reason)
		require.True(t, resume.Equal(f.Resume))
		require.True(t, stands.Equal(f.Position))
		f = watch(t, w, waiting, source.Batch{Token: "t2"})
		require.Empty(t, f.Reason)
		require.True(t, f.Resume.IsZero(), "what has gone on does not wait")
	})
	t.Run("what the system says of its position counts, and a scan does not move it", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		stands := w.Clock.Now().Add(-50 * time.Hour).UTC()
		require.True(t, stands.Equal(watch(t, w, source.Batch{Token: "t1", Position: stands}).Position))
		request(t, w, "salesforce")
		f := sf(w)
		acquire(t, f)
		for range 3 {
			require.True(t, step(t, f))
		}
		require.True(t, stands.Equal(state(t, w).Position))
	})
	t.Run("a system that does not say it stands at its newest change, or at now when it has nothing", func(t *testing.T) {
		w := setup(t)
		w.Settle()
		require.WithinDuration(t, w.Clock.Now(), watch(t, w, source.Batch{Token: "t1"}).Position, time.Second)
	})
}

// finding is a system that lost count of a stretch and told the changes in it all the same.
type finding struct{ source.System }

func (finding) Watch(_ context.Context, _ string, fn func(source.Batch) error) error {
	lost := source.Lost{Object: golden.Customer, Cause: "overflow", From: time.Unix(0, 0), Until: time.Unix(60, 0)}
	if err := fn(source.Batch{Token: "looking", Lost: []source.Lost{lost}}); err != nil {
		return err
	}
	lost.Done = true
	return fn(source.Batch{Token: "found", Lost: []source.Lost{lost}})
}

func sum(t *testing.T, reader *metric.ManualReader, name string) (total int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == name {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					total += p.Value
				}
			}
		}
	}
	return total
}
