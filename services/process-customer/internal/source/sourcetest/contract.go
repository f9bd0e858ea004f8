package sourcetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// People act in a system behind the back of Selfsame.
type People interface {
	// Create makes a record without an external id and returns its id.
	Create(obj golden.Object, parentID string, values golden.Values) string
	// Edit changes the given fields of a live record.
	Edit(obj golden.Object, id string, values golden.Values)
	// Delete deletes a live record.
	Delete(obj golden.Object, id string)
}

// contractTimeout bounds one step against a real system.
const contractTimeout = 20 * time.Second

// Contract checks that a system keeps the promises of source.System. Setup returns a system that may hold records
// already, and people who act in it; it is called once per subtest.
func Contract(t *testing.T, setup func(t *testing.T) (source.System, People)) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, source.System, People){
		"a write by external id creates the record once":                          createOnce,
		"a write by record id changes the named fields and keeps the rest":        updateNamed,
		"an empty value clears the field":                                         clearField,
		"what was written is read back as it was":                                 readBack,
		"one refused record does not stop the others":                             refuseOne,
		"a contact is written under its customer":                                 writeContact,
		"a record is found by its external id, and not once it is deleted":        findByID,
		"removing twice is removing once":                                         removeTwice,
		"fetching names what is unknown":                                          fetchMissing,
		"listing returns every live record and no deleted one":                    listLive,
		"the first batch comes at once and later changes follow":                  watchNow,
		"a stored token goes on where it ended":                                   watchResume,
		"a deletion comes up the feed":                                            watchDelete,
		"a token that is none is refused":                                         watchBadToken,
		"watching ends when the caller goes and when the callback has had enough": watchEnds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sys, people := setup(t)
			check(t, sys, people)
		})
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), contractTimeout)
	t.Cleanup(cancel)
	return ctx
}

func newID(t *testing.T, obj golden.Object) string {
	t.Helper()
	id, err := golden.DeriveID(obj, t.Name())
	require.NoError(t, err)
	return string(id)
}

func upsertOne(t *testing.T, sys source.System, obj golden.Object, w source.Write) source.Result {
	t.Helper()
	w.Ref.System, w.Ref.Object = sys.Name(), obj
	results, err := sys.Upsert(deadline(t), obj, []source.Write{w})
	require.NoError(t, err)
	require.Len(t, results, 1)
	return results[0]
}

func fetchOne(t *testing.T, sys source.System, obj golden.Object, id string) source.Record {
	t.Helper()
	recs, missing, err := sys.Fetch(deadline(t), obj, []string{id})
	require.NoError(t, err)
	require.Empty(t, missing)
	require.Len(t, recs, 1)
	require.Equal(t, golden.Ref{System: sys.Name(), Object: obj, RecordID: id}, recs[0].Ref)
	return recs[0]
}

func createOnce(t *testing.T, sys source.System, _ People) {
	id := newID(t, golden.Customer)
	w := source.Write{ExternalID: id, Values: golden.Values{golden.Name: "Acme"}}
	first := upsertOne(t, sys, golden.Customer, w)
	require.NoError(t, first.Err)
	require.True(t, first.Created)
	again := upsertOne(t, sys, golden.Customer, w)
	require.NoError(t, again.Err)
	require.False(t, again.Created)
	require.Equal(t, first.RecordID, again.RecordID)
	require.Equal(t, id, fetchOne(t, sys, golden.Customer, first.RecordID).ExternalID)
}

func updateNamed(t *testing.T, sys source.System, people People) {
	id := people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "+49 30 1"})
	ext := newID(t, golden.Customer)
	res := upsertOne(t, sys, golden.Customer, source.Write{
		Ref: golden.Ref{RecordID: id}, ExternalID: ext, Values: golden.Values{golden.Phone: "+49 30 2"},
	})
	require.NoError(t, res.Err)
	require.False(t, res.Created)
	require.Equal(t, id, res.RecordID)
	rec := fetchOne(t, sys, golden.Customer, id)
	require.Equal(t, "Acme", rec.Values[golden.Name])
	require.Equal(t, "+49 30 2", rec.Values[golden.Phone])
	require.Equal(t, ext, rec.ExternalID)
}

func clearField(t *testing.T, sys source.System, people People) {
	id := people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Website: "https://acme.example"})
	res := upsertOne(t, sys, golden.Customer, source.Write{Ref: golden.Ref{RecordID: id}, Values: golden.Values{golden.Website: ""}})
	require.NoError(t, res.Err)
	value, carried := fetchOne(t, sys, golden.Customer, id).Values[golden.Website]
	require.True(t, carried)
	require.Empty(t, value)
}

// sample returns a value for every customer field that sys takes.
func sample(sys source.System) golden.Values {
	all := golden.Values{
		golden.Name: "Müller & Söhne GmbH", golden.TaxID: "DE123456788", golden.Email: "info@mueller.example",
		golden.Phone: "+49 30 901820", golden.Website: "https://mueller.example", golden.Street: "Hauptstr. 1\nHof 2",
		golden.City: "Köln", golden.PostalCode: "50667", golden.Region: "NW", golden.Country: "DE", golden.Segment: "Industry",
	}
	out := golden.Values{}
	for _, field := range sys.Fields(golden.Customer) {
		if value, ok := all[field]; ok {
			out[field] = value
		}
	}
	return out
}

func readBack(t *testing.T, sys source.System, _ People) {
	values := sample(sys)
	res := upsertOne(t, sys, golden.Customer, source.Write{ExternalID: newID(t, golden.Customer), Values: values})
	require.NoError(t, res.Err)
	rec := fetchOne(t, sys, golden.Customer, res.RecordID)
	require.Empty(t, rec.Values.Changed(golden.Customer, values))
	require.NotZero(t, rec.Version)
	require.False(t, rec.EventTime.IsZero())
	if res.Record != nil {
		require.Empty(t, res.Record.Values.Changed(golden.Customer, values))
		require.Equal(t, rec.Version, res.Version)
	}
}

func refuseOne(t *testing.T, sys source.System, _ People) {
	id := newID(t, golden.Customer)
	results, err := sys.Upsert(deadline(t), golden.Customer, []source.Write{
		{Ref: golden.Ref{System: sys.Name(), Object: golden.Customer}, ExternalID: id, Values: golden.Values{golden.Name: "Acme"}},
		{Ref: golden.Ref{System: sys.Name(), Object: golden.Customer}, ExternalID: id + ".x", Values: golden.Values{golden.Phone: "1"}},
	})
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.NoError(t, results[0].Err)
	require.Error(t, results[1].Err)
	require.False(t, fault.Retryable(results[1].Err), "a customer without a name never becomes one with a name")
	require.True(t, source.OutcomeKnown(results[1].Err))
}

func writeContact(t *testing.T, sys source.System, people People) {
	parent := people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	res := upsertOne(t, sys, golden.Contact, source.Write{
		ExternalID: newID(t, golden.Contact), ParentID: parent,
		Values: golden.Values{golden.FirstName: "Anna", golden.LastName: "Arndt", golden.Email: "anna@acme.example"},
	})
	require.NoError(t, res.Err)
	rec := fetchOne(t, sys, golden.Contact, res.RecordID)
	require.Equal(t, parent, rec.ParentID)
	require.Equal(t, "Arndt", rec.Values[golden.LastName])
	_, known := rec.Values[golden.Parent]
	require.False(t, known, "a system does not know golden ids")
}

func fetchMissing(t *testing.T, sys source.System, people People) {
	id := people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	const unknown = "001999999999999AAA"
	recs, missing, err := sys.Fetch(deadline(t), golden.Customer, []string{id, unknown})
	require.NoError(t, err)
	require.Len(t, recs, 1)
	require.Equal(t, []string{unknown}, missing)
}

func listLive(t *testing.T, sys source.System, people People) {
	want := map[string]bool{}
	for range 5 {
		want[people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})] = true
	}
	gone := people.Create(golden.Customer, "", golden.Values{golden.Name: "Gone"})
	people.Delete(golden.Customer, gone)
	token := ""
	for {
		recs, next, err := sys.List(deadline(t), golden.Customer, token)
		require.NoError(t, err)
		for _, r := range recs {
			require.NotEqual(t, gone, r.Ref.RecordID)
			require.False(t, r.Deleted)
			delete(want, r.Ref.RecordID)
		}
		if token = next; token == "" {
			break
		}
	}
	require.Empty(t, want)
}

func findByID(t *testing.T, sys source.System, _ People) {
	ext := newID(t, golden.Customer)
	found, err := sys.Find(deadline(t), golden.Customer, []string{ext})
	require.NoError(t, err)
	require.Empty(t, found)
	res := upsertOne(t, sys, golden.Customer, source.Write{ExternalID: ext, Values: golden.Values{golden.Name: "Acme"}})
	require.NoError(t, res.Err)
	found, err = sys.Find(deadline(t), golden.Customer, []string{ext, "c_aaaaaaaaaaaaaaaaaaaaaaaaaa"})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, []string{res.RecordID, ext, "Acme"}, []string{found[0].Ref.RecordID, found[0].ExternalID, found[0].Values[golden.Name]})
	_, err = sys.Remove(deadline(t), golden.Customer, []string{res.RecordID})
	require.NoError(t, err)
	found, err = sys.Find(deadline(t), golden.Customer, []string{ext})
	require.NoError(t, err)
	require.Empty(t, found)
}

func removeTwice(t *testing.T, sys source.System, people People) {
	a, b := people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"}), people.Create(golden.Customer, "", golden.Values{golden.Name: "Stays"})
	for again := range 2 {
		results, err := sys.Remove(deadline(t), golden.Customer, []string{a})
		require.NoError(t, err)
		require.Len(t, results, 1)
		require.NoError(t, results[0].Err, "%d", again)
		require.Equal(t, a, results[0].RecordID)
	}
	fetchOne(t, sys, golden.Customer, b)
	recs, missing, err := sys.Fetch(deadline(t), golden.Customer, []string{a})
	require.NoError(t, err)
	require.True(t, len(missing) == 1 || (len(recs) == 1 && recs[0].Deleted), "%v %v", recs, missing)
}
