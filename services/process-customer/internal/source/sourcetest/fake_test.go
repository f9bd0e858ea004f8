package sourcetest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]sourcetest.Options{
		"plain": {BatchSize: 2, PageSize: 2}, "salesforce": sourcetest.Salesforce(nil), "erp": sourcetest.ERP(nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Contract(t, func(*testing.T) (source.System, sourcetest.People) {
				f := sourcetest.New(opts)
				return f, f
			})
		})
	}
}

func write(externalID, name string) []source.Write {
	return []source.Write{{ExternalID: externalID, Values: golden.Values{golden.Name: name}}}
}

func ids(changes []source.Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.ID
	}
	return out
}

func TestWriteFaults(t *testing.T) {
	t.Parallel()
	const ext = "c_aaaaaaaaaaaaaaaaaaaaaaaaaa"

	t.Run("a lost acknowledgement leaves the write standing and its repetition finds it", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.Salesforce(nil))
		f.LoseAcks(1, nil)
		_, err := f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.False(t, source.OutcomeKnown(err))
		res, err := f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
		require.NoError(t, err)
		require.False(t, res[0].Created)
		require.Equal(t, map[string]int{ext: 1}, f.Creates())
		require.Equal(t, 2, f.Writes(res[0].RecordID))
		require.Empty(t, f.Duplicates())
	})
	t.Run("a system that is down does nothing", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.ERP(nil))
		f.SetDown(sourcetest.Unreachable())
		_, err := f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
		require.True(t, fault.Retryable(err))
		require.Zero(t, f.TotalWrites())
		f.SetDown(nil)
		_, err = f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
		require.NoError(t, err)
		require.Equal(t, 2, f.Calls(sourcetest.OpUpsert))
	})
	t.Run("a record is refused as often as asked, found by its golden id", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.ERP(nil))
		f.Refuse(ext, 2, sourcetest.Transient())
		for range 2 {
			res, err := f.Upsert(t.Context(), golden.Customer, write(ext+".x", "Acme"))
			require.NoError(t, err)
			require.True(t, fault.Retryable(res[0].Err))
		}
		res, err := f.Upsert(t.Context(), golden.Customer, write(ext+".x", "Acme"))
		require.NoError(t, err)
		require.NoError(t, res[0].Err)
		require.Equal(t, 2, f.Refused())
	})
	t.Run("an uncertain record was written", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.Salesforce(nil))
		f.Uncertain(ext, 1)
		res, err := f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
		require.NoError(t, err)
		require.Equal(t, fault.Uncertain, fault.KindOf(res[0].Err))
		_, found := f.Holder(golden.Customer, ext)
		require.True(t, found)
	})
	t.Run("another version than expected conflicts", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.ERP(nil))
		id := f.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		f.Touch(golden.Customer, id)
		w := source.Write{Ref: golden.Ref{RecordID: id}, Values: golden.Values{golden.Name: "Acme AG"}, ExpectedVersion: 1}
		res, err := f.Upsert(t.Context(), golden.Customer, []source.Write{w})
		require.NoError(t, err)
		require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(res[0].Err))
		w.ExpectedVersion = 2
		res, err = f.Upsert(t.Context(), golden.Customer, []source.Write{w})
		require.NoError(t, err)
		require.NoError(t, res[0].Err)
		require.Equal(t, int64(3), res[0].Version)
	})
	t.Run("a write that changes nothing is no change where the system skips it", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.ERP(nil))
		for range 2 {
			_, err := f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
			require.NoError(t, err)
		}
		require.Equal(t, 1, f.TotalWrites())
		require.Len(t, f.Changes(), 1)
	})
	t.Run("an external id that another record has is refused", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.Salesforce(nil))
		_, err := f.Upsert(t.Context(), golden.Customer, write(ext, "Acme"))
		require.NoError(t, err)
		id := f.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		res, err := f.Upsert(t.Context(), golden.Customer, []source.Write{{Ref: golden.Ref{RecordID: id}, ExternalID: ext}})
		require.NoError(t, err)
		require.Equal(t, sourcetest.ReasonExternalIDUsed, fault.ReasonOf(res[0].Err))
	})
	t.Run("the caller that goes away during the write gets no answer and the write stands", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.Salesforce(nil))
		ctx, cancel := context.WithCancel(t.Context())
		f.AfterUpsert(func(golden.Object, []source.Write, []source.Result) { cancel() })
		_, err := f.Upsert(ctx, golden.Customer, write(ext, "Acme"))
		require.Equal(t, fault.Canceled, fault.KindOf(err))
		require.Equal(t, 1, f.TotalWrites())
	})
}

func TestFeedFaults(t *testing.T) {
	t.Parallel()

	t.Run("changes can be repeated, held back, put in another order and dropped", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.Options{Name: "x"})
		id := f.Create(golden.Customer, "", golden.Values{golden.Name: "A"})
		f.Repeat(1)
		f.Touch(golden.Customer, id)
		f.Repeat(0)
		f.Hold()
		f.Touch(golden.Customer, id)
		f.Touch(golden.Customer, id)
		require.Equal(t, []string{"x-1", "x-2", "x-2"}, ids(f.Changes()))
		f.Release(sourcetest.Reversed)
		f.Drop(1)
		f.Touch(golden.Customer, id)
		f.Replay(2)
		require.Equal(t, []string{"x-1", "x-2", "x-2", "x-4", "x-3", "x-4", "x-3"}, ids(f.Changes()))
		rec, _ := f.Record(golden.Customer, id)
		require.Equal(t, int64(5), rec.Version)
	})
	t.Run("a change carries the record as it was, or as it is when snapshots are late", func(t *testing.T) {
		t.Parallel()
		for late, want := range map[bool]string{false: "A", true: "B"} {
			f := sourcetest.New(sourcetest.Options{LateSnapshots: late})
			id := f.Create(golden.Customer, "", golden.Values{golden.Name: "A"})
			f.Edit(golden.Customer, id, golden.Values{golden.Name: "B"})
			require.Equal(t, want, f.Changes()[0].Record.Values[golden.Name])
		}
	})
	t.Run("expired tokens are refused and the open stream ends in good order", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := sourcetest.New(sourcetest.Options{})
			tokens := make(chan string, 1)
			done := make(chan error, 1)
			go func() {
				done <- f.Watch(t.Context(), "", func(b source.Batch) error { tokens <- b.Token; return nil })
			}()
			token := <-tokens
			f.ExpireTokens()
			require.NoError(t, <-done)
			err := f.Watch(t.Context(), token, nil)
			require.Equal(t, fault.Precondition, fault.KindOf(err))
			require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
		})
	})
	t.Run("an overflow names the object and no record", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.Options{})
		f.Overflow(golden.Contact)
		c := f.Changes()[0]
		require.True(t, c.Overflow)
		require.Equal(t, golden.Ref{System: "fake", Object: golden.Contact}, c.Ref)
	})
	t.Run("streams end with the error of the system that went down", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := sourcetest.New(sourcetest.Options{})
			done := make(chan error, 1)
			go func() { done <- f.Watch(t.Context(), "", func(source.Batch) error { return nil }) }()
			synctest.Wait()
			f.SetDown(sourcetest.Unreachable())
			require.True(t, fault.Retryable(<-done))
		})
	})
	t.Run("versions of a coarse clock can be shared by two changes", func(t *testing.T) {
		t.Parallel()
		at := time.UnixMilli(1_700_000_000_000)
		f := sourcetest.New(sourcetest.Salesforce(func() time.Time { return at }))
		id := f.Create(golden.Customer, "", golden.Values{golden.Name: "A"})
		f.Edit(golden.Customer, id, golden.Values{golden.Name: "B"})
		rec, _ := f.Record(golden.Customer, id)
		require.Equal(t, at.UnixMilli(), rec.Version)
	})
	t.Run("a deleted record is a tombstone or missing, and comes back with its values", func(t *testing.T) {
		t.Parallel()
		f := sourcetest.New(sourcetest.ERP(nil))
		id := f.Create(golden.Customer, "", golden.Values{golden.Name: "A"})
		f.Delete(golden.Customer, id)
		recs, _, err := f.Fetch(t.Context(), golden.Customer, []string{id})
		require.NoError(t, err)
		require.True(t, recs[0].Deleted)
		require.Empty(t, recs[0].Values)
		f.Undelete(golden.Customer, id)
		rec, _ := f.Record(golden.Customer, id)
		require.Equal(t, "A", rec.Values[golden.Name])
	})
}
