package intake_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func setup(t *testing.T) *enginetest.World {
	t.Helper()
	t.Parallel()
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	w.Settle()
	return w
}

// snapshot makes a change that shows a record of Salesforce.
func snapshot(id, record string, version int64, at time.Time, values golden.Values) source.Change {
	ref := golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: record}
	return source.Change{ID: id, Ref: ref, Version: version, CommitTime: at, Record: &source.Record{Ref: ref, Values: values, Version: version, EventTime: at}}
}

func take(t *testing.T, w *enginetest.World, changes ...source.Change) map[string]int {
	t.Helper()
	out, err := w.Intake.Take(t.Context(), "salesforce", intake.Batch{Changes: changes})
	require.NoError(t, err)
	return out.Counts
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTake(t *testing.T) {
	t.Parallel()
	t.Run("a change that comes twice counts once", func(t *testing.T) {
		w := setup(t)
		c := snapshot("1", "001A", 10, noon, golden.Values{golden.Name: "Acme"})
		require.Equal(t, map[string]int{store.Retrying: 1, intake.Duplicate: 1}, take(t, w, c, c))
		require.Equal(t, map[string]int{intake.Duplicate: 1}, take(t, w, c))
		line := w.Line("salesforce")
		require.EqualValues(t, 1, line.Received)
		require.EqualValues(t, 2, line.Duplicates)
		require.True(t, line.Balanced())
	})
	t.Run("an older version that comes later is superseded", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("2", "001A", 20, noon.Add(time.Minute), golden.Values{golden.Name: "New"}))
		require.Equal(t, map[string]int{store.Superseded: 1}, take(t, w, snapshot("1", "001A", 10, noon, golden.Values{golden.Name: "Old"})))
		require.Equal(t, "New", w.Golden(w.SF, golden.Customer, "001A").Values[golden.Name])
	})
	t.Run("two changes in one version both count, and an old reading of the first does not take the second back", func(t *testing.T) {
		t.Parallel()
		w := enginetest.NewWith(t, storetest.Schema.Open(t, "sqlite"), func(o *sourcetest.Options) { o.ClockStep = time.Hour })
		w.Settle()
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "One"})
		rec, _ := w.SF.Record(golden.Customer, id)
		take(t, w, snapshot("1", id, rec.Version, noon, golden.Values{golden.Name: "One"}))
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Name: "Two"})
		require.Equal(t, map[string]int{store.Retrying: 1}, take(t, w, snapshot("2", id, rec.Version, noon, golden.Values{golden.Name: "Two"})))
		require.Equal(t, "Two", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])
		require.Equal(t, map[string]int{store.Unchanged: 1}, take(t, w, snapshot("3", id, rec.Version, noon, golden.Values{golden.Name: "One"})))
		require.Equal(t, "Two", w.Golden(w.SF, golden.Customer, id).Values[golden.Name])
	})
	t.Run("a record that is as known says nothing, whatever its version", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("1", "001A", 10, noon, golden.Values{golden.Name: "Acme"}))
		require.Equal(t, map[string]int{store.Unchanged: 1}, take(t, w, snapshot("2", "001A", 11, noon, golden.Values{golden.Name: "Acme"})))
	})
	t.Run("a field that did not change keeps the time at which it did", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("1", "001A", 10, noon, golden.Values{golden.Name: "Acme", golden.Phone: "1"}))
		take(t, w, snapshot("2", "001A", 20, noon.Add(time.Hour), golden.Values{golden.Name: "Acme", golden.Phone: "2"}))
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{"001A"})
		require.NoError(t, err)
		require.Equal(t, noon, rows[0].Claims[golden.Name][0].EventTime)
		require.Equal(t, noon.Add(time.Hour), rows[0].Claims[golden.Phone][0].EventTime)
	})
	t.Run("an address is claimed as a whole when a part of it changes", func(t *testing.T) {
		w := setup(t)
		take(t, w, snapshot("1", "001A", 10, noon, golden.Values{golden.Name: "Acme", golden.Street: "A 1", golden.City: "Köln", golden.Region: ""}))
		take(t, w, snapshot("2", "001A", 20, noon.Add(time.Hour), golden.Values{golden.Name: "Acme", golden.Street: "B 2", golden.City: "Köln", golden.Region: ""}))
		rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{"001A"})
		require.NoError(t, err)
		require.Equal(t, noon.Add(time.Hour), rows[0].Claims[golden.City][0].EventTime)
	})
	t.Run("a record without a value says nothing when it is new and clears when it had one", func(t *testing.T) {
		w := setup(t)
		erp := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"})
		w.Settle()
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001"})
		w.Settle()
		require.Equal(t, "1", w.Golden(w.ERP, golden.Customer, erp).Values[golden.Phone])
		w.SF.Edit(golden.Customer, sf, golden.Values{golden.Phone: ""})
		w.Settle()
		w.Check()
		rec, _ := w.ERP.Record(golden.Customer, erp)
		require.Empty(t, rec.Values[golden.Phone])
	})
}

func TestEcho(t *testing.T) {
	t.Parallel()
	t.Run("what was acknowledged comes back as an echo and moves nothing", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		writes := w.SF.TotalWrites() + w.ERP.TotalWrites()
		g := w.Golden(w.SF, golden.Customer, id)
		w.SF.Touch(golden.Customer, id)
		w.Settle()
		require.Equal(t, writes, w.SF.TotalWrites()+w.ERP.TotalWrites())
		require.Equal(t, g.Version, w.Golden(w.SF, golden.Customer, id).Version)
		rows, err := w.Store.Read().SourcesOf(t.Context(), []golden.ID{g.ID})
		require.NoError(t, err)
		for _, r := range rows {
			if r.Ref.System == "erp" {
				require.Empty(t, r.Claims[golden.Phone], "an echo is nobody's word")
			}
		}
	})
	t.Run("the echo of a write whose answer was lost is known by what was sent", func(t *testing.T) {
		w := setup(t)
		w.ERP.LoseAcks(1, nil)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		require.NoError(t, w.Turn(t.Context()))
		require.NoError(t, w.Read(t.Context())) // the ERP's change comes before the write is repeated
		g := w.Golden(w.SF, golden.Customer, id)
		rows, err := w.Store.Read().SourcesOf(t.Context(), []golden.ID{g.ID})
		require.NoError(t, err)
		require.Len(t, rows, 2)
		require.Empty(t, rows[0].Claims[golden.Phone], "%s", rows[0].Ref.System)
		require.NotEmpty(t, rows[0].Claims[golden.ERPNumber], "what the ERP added is its own word")
		w.Settle()
		w.Check()
		require.Len(t, w.ERP.Records(golden.Customer), 1)
	})
	t.Run("an edit between a write and its echo is not swallowed", func(t *testing.T) {
		w := setup(t)
		erp := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		sf := w.Twin(w.Golden(w.ERP, golden.Customer, erp).ID, w.SF).Ref.RecordID
		w.ERP.Edit(golden.Customer, erp, golden.Values{golden.Phone: "2"})
		w.SF.AfterUpsert(func(golden.Object, []source.Write, []source.Result) {
			w.SF.AfterUpsert(nil)
			w.Clock.Advance(time.Minute)
			w.SF.Edit(golden.Customer, sf, golden.Values{golden.Phone: "3"})
		})
		w.Settle()
		w.Check()
		rec, _ := w.ERP.Record(golden.Customer, erp)
		require.Equal(t, "3", rec.Values[golden.Phone])
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	t.Run("a deleted record is not written again until it comes back", func(t *testing.T) {
		w := setup(t)
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, sf)
		erp := w.Twin(g.ID, w.ERP).Ref.RecordID
		w.SF.Delete(golden.Customer, sf)
		w.Deleting = true
		w.Settle()
		w.ERP.Edit(golden.Customer, erp, golden.Values{golden.Phone: "2"})
		w.Settle()
		require.Empty(t, w.SF.Records(golden.Customer))
		after := w.Golden(w.SF, golden.Customer, sf)
		require.False(t, after.Deleted, "the ERP still has it")
		require.Equal(t, "Acme", after.Values[golden.Name], "deleting a record changes no value")
		require.Equal(t, "2", after.Values[golden.Phone])

		w.SF.Undelete(golden.Customer, sf)
		w.Settle()
		w.Check()
		require.Contains(t, w.Events(g.ID), "undeleted")
	})
	for name, size := range map[string]int{"in one batch": 10, "in two": 1} {
		t.Run("a deletion that is told after it was undone in the same moment, "+name, func(t *testing.T) {
			t.Parallel()
			w := enginetest.NewWith(t, storetest.Schema.Open(t, "sqlite"), func(o *sourcetest.Options) { o.BatchSize, o.LateSnapshots, o.ClockStep = size, false, time.Second })
			sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
			w.Settle()
			w.Clock.Advance(time.Hour)
			w.SF.Hold()
			w.SF.Delete(golden.Customer, sf)
			w.SF.Undelete(golden.Customer, sf)
			w.SF.Release(sourcetest.Reversed)
			w.Settle()
			rows, err := w.Store.Read().Sources(t.Context(), "salesforce", golden.Customer, []string{sf})
			require.NoError(t, err)
			require.False(t, rows[0].Deleted)
			w.Check()
		})
	}
	t.Run("a customer that no system has is deleted, and a namesake is a new one", func(t *testing.T) {
		w := setup(t)
		w.Deleting = true
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001"})
		w.Settle()
		g := w.Golden(w.SF, golden.Customer, sf)
		w.ERP.Delete(golden.Customer, w.Twin(g.ID, w.ERP).Ref.RecordID)
		w.SF.Delete(golden.Customer, sf)
		w.Settle()
		require.True(t, w.Golden(w.SF, golden.Customer, sf).Deleted)
		again := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001"})
		w.Settle()
		w.Check()
		require.NotEqual(t, g.ID, w.Golden(w.SF, golden.Customer, again).ID)
		require.Len(t, w.ERP.Records(golden.Customer), 1)
	})
	t.Run("the news of a deletion may come before the news of the creation", func(t *testing.T) {
		w := setup(t)
		ref := golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: "001A"}
		require.Equal(t, map[string]int{store.Unchanged: 1}, take(t, w, source.Change{ID: "2", Ref: ref, Deleted: true, Version: 20, CommitTime: noon}))
		require.Equal(t, map[string]int{store.Superseded: 1}, take(t, w, snapshot("1", "001A", 10, noon, golden.Values{golden.Name: "Acme"})))
		counts, err := w.Store.Read().CountGoldens(t.Context())
		require.NoError(t, err)
		require.Zero(t, counts[golden.Customer])
	})
	t.Run("where versions leave it open, the system is asked whether a record lives", func(t *testing.T) {
		w := setup(t)
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		rec, _ := w.SF.Record(golden.Customer, sf)
		gone := source.Change{ID: "x", Ref: rec.Ref, Deleted: true, Version: rec.Version, CommitTime: noon}
		require.Equal(t, map[string]int{store.Unchanged: 1}, take(t, w, gone), "it lives")
		w.SF.SetDown(sourcetest.Unreachable())
		gone.ID = "y"
		_, err := w.Intake.Take(t.Context(), "salesforce", intake.Batch{Changes: []source.Change{gone}})
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "without an answer nothing is decided")
	})
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	t.Run("records that match are one customer and get its id", func(t *testing.T) {
		w := setup(t)
		erp := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Müller GmbH", golden.TaxID: "DE 100 000 001"})
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Mueller", golden.TaxID: "DE100000001"})
		w.Settle()
		w.Check()
		g := w.Golden(w.SF, golden.Customer, sf)
		require.Equal(t, g.ID, w.Golden(w.ERP, golden.Customer, erp).ID)
		require.Contains(t, w.Events(g.ID), "linked")
		require.Len(t, w.SF.Records(golden.Customer), 1)
	})
	t.Run("duplicates inside one system are one customer, each with an id of its own", func(t *testing.T) {
		w := setup(t)
		a := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "1"})
		w.Clock.Advance(time.Minute)
		b := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.TaxID: "DE100000001", golden.Phone: "2"})
		w.Settle()
		w.Check()
		require.Equal(t, w.Golden(w.SF, golden.Customer, a).ID, w.Golden(w.SF, golden.Customer, b).ID)
		rec, _ := w.SF.Record(golden.Customer, a)
		require.Equal(t, "2", rec.Values[golden.Phone], "they agree with each other")
	})
	t.Run("a database that was lost finds the same ids in the systems", func(t *testing.T) {
		w := setup(t)
		sf := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		w.Settle()
		id := w.Golden(w.SF, golden.Customer, sf).ID
		writes := w.SF.TotalWrites() + w.ERP.TotalWrites()
		fresh := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
		fresh.SF, fresh.ERP = w.SF, w.ERP
		fresh.Wrap(nil, nil)
		fresh.Start()
		fresh.Settle()
		fresh.Check()
		require.Equal(t, id, fresh.Golden(w.SF, golden.Customer, sf).ID)
		require.Equal(t, writes, w.SF.TotalWrites()+w.ERP.TotalWrites())
	})
	t.Run("the customer of a contact is read when only the contact was heard of", func(t *testing.T) {
		w := setup(t)
		w.SF.Drop(1)
		acme := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
		anna := w.SF.Create(golden.Contact, acme, golden.Values{golden.LastName: "Arndt", golden.Email: "anna@acme.example"})
		w.Settle()
		w.Check()
		require.Equal(t, string(w.Golden(w.SF, golden.Customer, acme).ID), w.Golden(w.SF, golden.Contact, anna).Values[golden.Parent])
	})
	t.Run("a contact whose customer is nowhere gets it when it comes", func(t *testing.T) {
		w := setup(t)
		ref := golden.Ref{System: "salesforce", Object: golden.Contact, RecordID: "003A"}
		contact := source.Change{ID: "1", Ref: ref, Version: 1, CommitTime: noon, Record: &source.Record{
			Ref: ref, ParentID: "001A", Version: 1, EventTime: noon, Values: golden.Values{golden.LastName: "Arndt"},
		}}
		take(t, w, contact)
		require.Empty(t, w.Golden(w.SF, golden.Contact, "003A").Values[golden.Parent])
		take(t, w, snapshot("2", "001A", 1, noon, golden.Values{golden.Name: "Acme"}))
		require.Equal(t, string(w.Golden(w.SF, golden.Customer, "001A").ID), w.Golden(w.SF, golden.Contact, "003A").Values[golden.Parent])
	})
}

func TestPoison(t *testing.T) {
	t.Parallel()
	t.Run("a change that cannot be taken in is parked and the ones behind it go on", func(t *testing.T) {
		w := setup(t)
		bad := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: strings.Repeat("x", 9000)})
		good := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Good"})
		w.Settle()
		require.Equal(t, "Good", w.Golden(w.SF, golden.Customer, good).Values[golden.Name])
		dead := w.Dead()
		require.Len(t, dead, 1)
		require.Equal(t, store.DirectionIntake, dead[0].Direction)
		require.Equal(t, intake.ReasonValueTooLong, dead[0].Reason)
		require.Equal(t, golden.Name, dead[0].Field)
		require.NotContains(t, dead[0].Message, "xxx", "no values in a dead letter")
		require.EqualValues(t, 1, w.Line("salesforce").Parked)

		w.SF.Edit(golden.Customer, bad, golden.Values{golden.Name: "Short"})
		w.Settle()
		w.Check()
		require.Empty(t, w.Dead(), "a later look at the record says all that the parked one would have said")
		require.EqualValues(t, 0, w.Line("salesforce").Parked)
	})
	t.Run("changes without a usable id or record are parked too", func(t *testing.T) {
		w := setup(t)
		ref := golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: "001A"}
		other := golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: "001B"}
		counts := take(t, w,
			source.Change{ID: "", Ref: ref, Deleted: true},
			source.Change{ID: "a\x00", Ref: ref, Deleted: true},
			source.Change{ID: "b", Ref: golden.Ref{System: "salesforce", Object: "order", RecordID: "1"}, Deleted: true},
			source.Change{ID: "c", Ref: golden.Ref{System: "erp", Object: golden.Customer, RecordID: "1"}, Deleted: true},
			source.Change{ID: "d", Ref: ref, Record: &source.Record{Ref: other}},
			source.Change{ID: "e", Ref: ref, Record: &source.Record{Ref: ref, Values: golden.Values{"shoe_size": "44"}}},
			source.Change{ID: "f", Ref: ref, Record: &source.Record{Ref: ref, Values: golden.Values{golden.Name: "a\x00b"}}},
			snapshot("g", "001B", 1, noon, golden.Values{golden.Name: "Good"}),
		)
		require.Equal(t, map[string]int{store.Parked: 7, store.Retrying: 1}, counts)
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("what the database refuses is found by taking the changes in one by one", func(t *testing.T) {
		w := setup(t)

		refusing := &refusingStore{Store: w.Store, refuse: "poison"}
		d := intake.Deps{Store: refusing, Folder: w.Folder, Systems: w.Systems, Now: w.Clock.Now, Telemetry: telemetry.Discard()}
		in, err := intake.New(d)
		require.NoError(t, err)
		out, err := in.Take(t.Context(), "salesforce", intake.Batch{Changes: []source.Change{
			snapshot("1", "001A", 1, noon, golden.Values{golden.Name: "A"}),
			snapshot("2", "poison", 1, noon, golden.Values{golden.Name: "B"}),
			snapshot("3", "001C", 1, noon, golden.Values{golden.Name: "C"}),
		}})
		require.NoError(t, err)
		require.Equal(t, map[string]int{store.Retrying: 2, store.Parked: 1}, out.Counts)
		require.Equal(t, intake.ReasonStoreRefused, w.Dead()[0].Reason)
		require.True(t, w.Line("salesforce").Balanced())
	})
	t.Run("a database that is away parks nothing", func(t *testing.T) {
		w := setup(t)
		away := &refusingStore{Store: w.Store, away: true}
		in, err := intake.New(intake.Deps{Store: away, Folder: w.Folder, Systems: w.Systems, Now: w.Clock.Now, Telemetry: telemetry.Discard()})
		require.NoError(t, err)
		_, err = in.Take(t.Context(), "salesforce", intake.Batch{Changes: []source.Change{snapshot("1", "001A", 1, noon, golden.Values{golden.Name: "A"})}})
		require.Error(t, err)
		require.Empty(t, w.Dead())
		require.Zero(t, w.Line("salesforce").Received)
	})
}

func TestAlso(t *testing.T) {
	t.Parallel()
	beside := func(into *[]string, err error) func(context.Context, *store.Tx, []golden.Ref) error {
		return func(_ context.Context, _ *store.Tx, taken []golden.Ref) error {
			var ids []string
			for _, ref := range taken {
				ids = append(ids, ref.RecordID)
			}
			*into = append(*into, strings.Join(ids, " "))
			return err
		}
	}
	changes := func() []source.Change {
		return []source.Change{
			snapshot("1", "001A", 1, noon, golden.Values{golden.Name: "A"}),
			snapshot("2", "poison", 1, noon, golden.Values{golden.Name: "B"}),
			snapshot("3", "001C", 1, noon, golden.Values{golden.Name: "C"}),
		}
	}
	t.Run("it is told what was taken in", func(t *testing.T) {
		w := setup(t)
		var told []string
		batch := intake.Batch{Changes: append(changes()[:1], snapshot("2", "001B", 1, noon, golden.Values{golden.Name: strings.Repeat("x", 9000)})), Also: beside(&told, nil)}
		for range 2 {
			_, err := w.Intake.Take(t.Context(), "salesforce", batch)
			require.NoError(t, err)
		}
		require.Equal(t, []string{"001A", ""}, told, "not what was parked, nor what had come in before")
	})
	t.Run("it is told by each transaction", func(t *testing.T) {
		w := setup(t)
		in, err := intake.New(intake.Deps{
			Store: &refusingStore{Store: w.Store, refuse: "poison"}, Folder: w.Folder, Systems: w.Systems, Now: w.Clock.Now, Telemetry: telemetry.Discard(),
		})
		require.NoError(t, err)
		var told []string
		_, err = in.Take(t.Context(), "salesforce", intake.Batch{Changes: changes(), Also: beside(&told, nil)})
		require.NoError(t, err)
		require.Equal(t, []string{"001A poison 001C", "001A", "poison", "", "001C"}, told, "the first and the third are refused, and so is what they were told")
	})
	t.Run("nothing is taken in without it", func(t *testing.T) {
		w := setup(t)
		var told []string
		_, err := w.Intake.Take(t.Context(), "salesforce", intake.Batch{Changes: changes(), Also: beside(&told, store.ErrFenced)})
		require.ErrorIs(t, err, store.ErrFenced)
		require.Len(t, told, 1)
		require.Empty(t, w.Dead())
		require.Zero(t, w.Line("salesforce").Received)
	})
}

// refusingStore fails every transaction that stores a record with a certain id, as a database does that cannot hold a
// value, or every transaction when it is away.
type refusingStore struct {
	*store.Store
	refuse string
	away   bool
}

var errRefused = errors.New("value out of range")

func (s *refusingStore) Ping(ctx context.Context) error {
	if s.away {
		return errRefused
	}
	return s.Store.Ping(ctx)
}

func (s *refusingStore) Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return s.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if s.away {
			return errRefused
		}
		if err := fn(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Sources(ctx, "salesforce", golden.Customer, []string{s.refuse})
		if err == nil && len(rows) > 0 {
			return errRefused
		}
		return err
	})
}
