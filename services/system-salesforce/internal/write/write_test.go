package write

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// org is a table of contacts by external id whose calls can be made to fail.
type org struct {
	CRM   // calls that no test makes
	rows  map[string]rest.Record
	calls []string // "upsert C-1 C-2"
	// locked is how often a record is found locked.
	locked map[string]int
	// fail is what the next calls end with, after their effect.
	fail []error
	now  func() time.Time
	// meddle runs before the next conditional update takes effect.
	meddle func()
}

func newOrg() *org {
	return &org{rows: map[string]rest.Record{}, locked: map[string]int{}, now: time.Now}
}

func (o *org) note(call string, keys ...string) error {
	o.calls = append(o.calls, call+" "+strings.Join(keys, " "))
	if len(o.fail) == 0 {
		return nil
	}
	err := o.fail[0]
	o.fail = o.fail[1:]
	return err
}

func (o *org) put(key string, fields rest.Record) rest.Result {
	if o.locked[key] > 0 {
		o.locked[key]--
		return rest.Result{Refused: &rest.Refusal{Kind: fault.Conflict, Reason: rest.ReasonLocked, Class: rest.Retry, Retryable: true}}
	}
	row, ok := o.rows[key]
	if !ok {
		row = rest.Record{"Id": rest.FullID(fmt.Sprintf("003%012d", len(o.rows)+1)), "Selfsame_Id__c": key, "CreatedDate": stamp(o.now())}
		o.rows[key] = row
	}
	for k, v := range fields {
		if k != "id" {
			row[k] = v
		}
	}
	row["SystemModstamp"] = stamp(o.now())
	return rest.Result{ID: row["Id"].(string), Created: !ok}
}

// stamp is a time as this org keeps it: in whole seconds.
func stamp(t time.Time) string {
	return t.UTC().Truncate(time.Second).Format("2006-01-02T15:04:05.000-0700")
}

func (o *org) Upsert(_ context.Context, _, field string, records []rest.Record) ([]rest.Result, error) {
	out := make([]rest.Result, len(records))
	keys := make([]string, len(records))
	for i, r := range records {
		keys[i] = r[field].(string)
		out[i] = o.put(keys[i], r)
	}
	return out, o.note("upsert", keys...)
}

func (o *org) UpsertOne(_ context.Context, _, _, key string, fields rest.Record) (rest.Result, error) {
	return o.put(key, fields), o.note("upsert one", key)
}

func (o *org) keyOf(id string) string {
	for k, r := range o.rows {
		if r["Id"] == rest.FullID(id) {
			return k
		}
	}
	return ""
}

func (o *org) UpdateOne(_ context.Context, _, id string, fields rest.Record, c rest.Condition) (rest.Result, error) {
	if o.meddle != nil {
		o.meddle()
		o.meddle = nil
	}
	key := o.keyOf(id)
	changed, err := mapping.Time(o.rows[key]["SystemModstamp"])
	if err != nil {
		return rest.Result{}, err
	}
	if !c.Unmodified.IsZero() && changed.After(c.Unmodified) {
		return rest.Result{Refused: &rest.Refusal{Kind: fault.Conflict, Reason: fault.ReasonETagMismatch, Class: rest.Conflicted}}, o.note("update one", key)
	}
	return o.put(key, fields), o.note("update one", key)
}

func (o *org) Query(_ context.Context, soql string) ([]rest.Record, error) {
	var out []rest.Record
	_, list, _ := strings.Cut(soql, " IN (")
	for key, row := range o.rows {
		if strings.Contains(list, rest.Quote(key)) {
			out = append(out, row)
		}
	}
	return out, o.note("query")
}

func (o *org) Retrieve(_ context.Context, _ string, ids, _ []string) ([]rest.Record, error) {
	out := make([]rest.Record, len(ids))
	for i, id := range ids {
		out[i] = o.rows[o.keyOf(id)]
	}
	return out, o.note("retrieve")
}

func (o *org) Repeat(context.Context, int, string) bool { return true }

func (o *org) ServerTime() time.Time { return o.now().Truncate(time.Second) }

func contact(t *testing.T) *mapping.Object {
	t.Helper()
	m, err := mapping.Default()
	require.NoError(t, err)
	return m.Contact
}

func row(key, parent string) Row {
	return Row{ExternalID: key, Fields: map[string]any{"AccountId": parent, "LastName": key}}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	t.Run("records of one parent go side by side, and outcomes come in the order given", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		out := New(Options{CRM: o}).Batch(t.Context(), contact(t), []Row{row("1", "b"), row("2", "a"), row("3", "b"), row("4", "a")})
		require.Equal(t, []string{"upsert 2 4 1 3"}, o.calls)
		for i, key := range []string{"1", "2", "3", "4"} {
			require.Equal(t, o.rows[key]["Id"], out[i].ID)
			require.True(t, out[i].Created)
		}
	})
	t.Run("only what was locked is sent again, and not for ever", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		o.locked = map[string]int{"2": 2, "3": 99}
		out := New(Options{CRM: o, LockRounds: 3}).Batch(t.Context(), contact(t), []Row{row("1", ""), row("2", ""), row("3", "")})
		require.Equal(t, []string{"upsert 1 2 3", "upsert 2 3", "upsert 2 3", "upsert one 3"}, o.calls)
		require.True(t, out[0].Written())
		require.True(t, out[1].Written())
		require.Equal(t, rest.ReasonLocked, out[2].Refused.Reason)
	})
	t.Run("many go in calls of 200", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		var rows []Row
		for i := range 401 {
			rows = append(rows, row(fmt.Sprint(i), ""))
		}
		New(Options{CRM: o}).Batch(t.Context(), contact(t), rows)
		require.Len(t, o.calls, 3)
		require.Len(t, o.rows, 401)
	})
	lost := fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "lost")
	t.Run("a call without an answer is settled record by record by what reading back shows", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		o.locked = map[string]int{"2": 1} // the call was taken, but not this record of it
		o.fail = []error{lost}
		out := New(Options{CRM: o}).Batch(t.Context(), contact(t), []Row{row("1", ""), row("2", "")})
		require.True(t, out[0].Written())
		require.Equal(t, o.rows["1"]["Id"], out[0].ID)
		require.True(t, fault.Is(out[1].Failed, fault.Uncertain), "a record that is not there may still come")
	})
	t.Run("a record that shows other values is not taken for written", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		o.put("1", rest.Record{"LastName": "old", "AccountId": nil})
		o.locked = map[string]int{"1": 1}
		o.fail = []error{lost}
		out := New(Options{CRM: o}).Batch(t.Context(), contact(t), []Row{row("1", "")})
		require.True(t, fault.Is(out[0].Failed, fault.Uncertain))
	})
	t.Run("while reading back fails, too, the record stays uncertain", func(t *testing.T) {
		t.Parallel()
		o := newOrg()
		o.fail = []error{lost, fault.New(fault.Unavailable, fault.ReasonUnavailable, "away")}
		out := New(Options{CRM: o}).Batch(t.Context(), contact(t), []Row{row("1", "")})
		require.True(t, fault.Is(out[0].Failed, fault.Uncertain))
	})
}

func TestConditional(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, o *org, match string) Outcome {
		t.Helper()
		r := row("1", "")
		r.Fields["LastName"], r.Match = "mine", match
		return New(Options{CRM: o}).Batch(t.Context(), contact(t), []Row{r})[0]
	}
	start := func(t *testing.T) (*org, string) {
		o := newOrg()
		o.put("1", rest.Record{"LastName": "old"})
		etag, err := contact(t).Etag(o.rows["1"])
		require.NoError(t, err)
		return o, etag
	}
	t.Run("a change in the very second that was read is seen, although the org's times are whole seconds", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, etag := start(t)
			o.put("1", rest.Record{"LastName": "theirs"}) // same second, same version
			out := write(t, o, etag)
			require.Equal(t, fault.ReasonETagMismatch, out.Refused.Reason)
			require.NotEmpty(t, out.Etag)
			require.Equal(t, "theirs", o.rows["1"]["LastName"])
		})
	})
	t.Run("a change between the comparison and the write is seen", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, etag := start(t)
			o.meddle = func() { o.put("1", rest.Record{"LastName": "theirs"}) }
			out := write(t, o, etag)
			require.Equal(t, fault.ReasonETagMismatch, out.Refused.Reason)
			require.Equal(t, "theirs", o.rows["1"]["LastName"])
			now, err := contact(t).Etag(o.rows["1"])
			require.NoError(t, err)
			require.Equal(t, now, out.Etag)
		})
	})
	t.Run("an unchanged record is written", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, etag := start(t)
			require.True(t, write(t, o, etag).Written())
			require.Equal(t, "mine", o.rows["1"]["LastName"])
		})
	})
	t.Run("a conditional write that got no answer is settled by reading back, not taken for a conflict", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, etag := start(t)
			o.fail = []error{nil, fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "lost")}
			require.True(t, write(t, o, etag).Written())
		})
	})
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got any
		same      bool
	}{
		{"a", "a", true},
		{" a ", "a", true},
		{"a", "b", false},
		{"a", nil, false},
		{"", nil, true},
		{nil, nil, true},
		{nil, "a", false},
		{json.Number("1.50"), json.Number("1.5"), true},
		{json.Number("1"), nil, false},
		{json.Number("1"), "1", false},
		{true, true, true},
		{true, false, false},
		{"2026-02-03T04:05:06.000Z", "2026-02-03T04:05:06.000+0000", true},
		{"001Hs00004abcdE", "001Hs00004abcdEIAQ", true},
	} {
		require.Equal(t, c.same, same(c.want, c.got), "%v %v", c.want, c.got)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	keys := make([]string, 400)
	for i := range keys {
		keys[i] = strings.Repeat("ü", 79) + fmt.Sprint(i)
	}
	var got []string
	parts := 0
	for part := range lists(keys) {
		parts++
		got = append(got, part...)
		require.Less(t, len(rest.QuoteAll(part)), 16_000)
	}
	require.Equal(t, keys, got)
	require.Greater(t, parts, 4)
}

func TestGraph(t *testing.T) {
	t.Parallel()
	object := contact(t)
	t.Run("what an inner answer calls written is not believed when its transaction was rolled back", func(t *testing.T) {
		t.Parallel()
		crm := &composite{answers: [][]rest.PartResult{{{ID: "x"}, {Refused: &rest.Refusal{Reason: rest.ReasonRequired}}}}}
		out, err := New(Options{CRM: crm}).Graph(t.Context(), []Node{{Ref: "a", Object: object, ExternalID: "1"}, {Ref: "b", Object: object, ExternalID: "2", References: map[string]string{"ReportsToId": "a"}}})
		require.NoError(t, err)
		require.Equal(t, rest.ReasonRolledBack, out[0].Refused.Reason)
		require.Empty(t, out[0].ID)
		require.Equal(t, rest.ReasonRequired, out[1].Refused.Reason)
		require.Equal(t, "@{a.id}", crm.parts[1].Body["ReportsToId"])
	})
	t.Run("a lock is waited for with all its neighbours", func(t *testing.T) {
		t.Parallel()
		crm := &composite{answers: [][]rest.PartResult{{{Refused: &rest.Refusal{Reason: rest.ReasonLocked}}}, {{ID: "x"}}}}
		out, err := New(Options{CRM: crm}).Graph(t.Context(), []Node{{Ref: "a", Object: object, ExternalID: "1"}})
		require.NoError(t, err)
		require.True(t, out[0].Written())
	})
}

func TestGraphReadBack(t *testing.T) {
	t.Parallel()
	object := contact(t)
	lost := fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "lost")
	graph := []Node{
		{Ref: "boss", Object: object, ExternalID: "1", Fields: map[string]any{"LastName": "Boss"}},
		{Ref: "clerk", Object: object, ExternalID: "2", Fields: map[string]any{"LastName": "Clerk"}, References: map[string]string{"ReportsToId": "boss"}},
	}
	run := func(t *testing.T, nodes []Node, fill func(o *org)) ([]Outcome, error) {
		t.Helper()
		o := newOrg()
		fill(o)
		return New(Options{CRM: silent{o, lost}}).Graph(t.Context(), nodes)
	}
	id := func(o *org, key string) any { return o.rows[key]["Id"] }
	t.Run("records that show all values and references were written", func(t *testing.T) {
		t.Parallel()
		out, err := run(t, graph, func(o *org) {
			o.put("1", rest.Record{"LastName": "Boss"})
			o.put("2", rest.Record{"LastName": "Clerk", "ReportsToId": id(o, "1")})
		})
		require.NoError(t, err)
		require.True(t, out[0].Written() && out[1].Written())
	})
	for name, parent := range map[string]any{"nothing": nil, "another record": "003000000000099AAA"} {
		t.Run("a record that refers to "+name+" leaves the whole graph uncertain", func(t *testing.T) {
			t.Parallel()
			out, err := run(t, graph, func(o *org) {
				o.put("1", rest.Record{"LastName": "Boss"})
				o.put("2", rest.Record{"LastName": "Clerk", "ReportsToId": parent})
			})
			require.True(t, fault.Is(err, fault.Uncertain))
			for _, o := range out {
				require.True(t, fault.Is(o.Failed, fault.Uncertain))
			}
		})
	}
	bare := []Node{{Ref: "boss", Object: object, ExternalID: "1"}, {Ref: "clerk", Object: object, ExternalID: "2", References: map[string]string{"ReportsToId": "boss"}}}
	t.Run("a record without a value to look for proves nothing by being there", func(t *testing.T) {
		t.Parallel()
		out, err := run(t, bare[:1], func(o *org) { o.put("1", nil) })
		require.True(t, fault.Is(err, fault.Uncertain))
		require.False(t, out[0].Written())
	})
	t.Run("a reference alone proves the record that has it", func(t *testing.T) {
		t.Parallel()
		out, err := run(t, []Node{graph[0], bare[1]}, func(o *org) {
			o.put("1", rest.Record{"LastName": "Boss"})
			o.put("2", rest.Record{"ReportsToId": id(o, "1")})
		})
		require.NoError(t, err)
		require.True(t, out[1].Written())
	})
}

// silent is an org whose composite calls get no answer.
type silent struct {
	*org
	err error
}

func (s silent) Composite(context.Context, bool, []rest.Part) ([]rest.PartResult, error) {
	return nil, s.err
}

// composite answers composite calls.
type composite struct {
	CRM
	parts   []rest.Part
	answers [][]rest.PartResult
}

func (c *composite) Composite(_ context.Context, all bool, parts []rest.Part) ([]rest.PartResult, error) {
	if !all {
		return nil, errors.New("not all or none")
	}
	c.parts = slices.Clone(parts)
	next := c.answers[0]
	c.answers = c.answers[1:]
	return next, nil
}

func (c *composite) Repeat(context.Context, int, string) bool { return true }
