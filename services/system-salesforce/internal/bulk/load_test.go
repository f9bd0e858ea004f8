package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestUpsert(t *testing.T) {
	t.Parallel()
	t.Run("every row has one outcome and the ledger balances", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.do("POST", "/services/data/v66.0/sobjects/Account", `{"Name":"Before","Selfsame_Id__c":"S-1","Phone":"1","AccountNumber":"7"}`)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), Spec{Object: "Account", ExternalID: "Selfsame_Id__c"}, rowsOf(
			Row{Fields: map[string]any{"Selfsame_Id__c": "S-1", "Name": "After, \"quoted\"\r\nin two lines", "Phone": nil}},
			Row{Fields: map[string]any{"Selfsame_Id__c": "S-2", "Name": "New", "AnnualRevenue": json.Number("123456789012345678"), "NumberOfEmployees": 12}},
			Row{Fields: map[string]any{"Selfsame_Id__c": "S-3", "Industry": "Energy"}},
			Row{Fields: map[string]any{"Selfsame_Id__c": "", "Name": "No key"}},
			Row{Fields: map[string]any{"Selfsame_Id__c": "S-5", "Name": "#N/A"}},
		), got.sink)
		require.NoError(t, err)
		require.True(t, sum.Balanced())
		require.Equal(t, Ledger{Rows: 5, Created: 1, Updated: 1, Failed: 1, Refused: 2, Jobs: 1, Rounds: 1}, sum)

		first := got.one(t, "S-1")
		require.Equal(t, Succeeded, first.State)
		require.False(t, first.Created)
		require.True(t, got.one(t, "S-2").Created)
		require.Equal(t, "001", got.one(t, "S-2").ID[:3])
		failed := got.one(t, "S-3")
		require.Equal(t, Failed, failed.State)
		require.Equal(t, rest.ReasonRequired, failed.Refusal.Reason)
		require.Equal(t, []string{"Name"}, failed.Refusal.Fields)
		require.False(t, failed.Refusal.Retryable)
		require.Equal(t, ReasonKeyMissing, got.one(t, "").Refusal.Reason)
		require.Equal(t, int64(3), got.one(t, "").Index)
		require.Equal(t, ReasonValue, got.one(t, "S-5").Refusal.Reason)

		rows := o.soql("SELECT Name, Phone, AccountNumber, AnnualRevenue, NumberOfEmployees FROM Account ORDER BY Selfsame_Id__c")
		require.Len(t, rows, 2)
		require.Equal(t, "After, \"quoted\"\r\nin two lines", rows[0]["Name"])
		require.Nil(t, rows[0]["Phone"], "nil sets null")
		require.Equal(t, "7", rows[0]["AccountNumber"], "a field that a row does not have stays as it is")
		require.InDelta(t, 123456789012345678, rows[1]["AnnualRevenue"], 0)
		require.InDelta(t, 12, rows[1]["NumberOfEmployees"], 0)
	})
	t.Run("the file may have any delimiter and line ending", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		c := o.client(t.TempDir())
		for _, d := range []Delimiter{Comma, Semicolon, Pipe, Tab, Caret, Backquote} {
			for _, e := range []LineEnding{LF, CRLF} {
				var got outcomes
				name := "a" + string(d.sign()) + " \"b\"\n" + string(e)
				s := Spec{Object: "Account", ExternalID: "Selfsame_Id__c", Delimiter: d, LineEnding: e}
				sum, err := c.Upsert(t.Context(), s, rowsOf(
					Row{Fields: map[string]any{"Selfsame_Id__c": "k" + string(d.sign()) + string(e), "Name": name}},
					Row{Fields: map[string]any{"Selfsame_Id__c": "no" + string(d.sign()) + string(e), "Phone": "1"}},
				), got.sink)
				require.NoError(t, err)
				require.Equal(t, int64(1), sum.Created, "%s %s", d, e)
				require.Equal(t, int64(1), sum.Failed, "%s %s", d, e)
				require.Equal(t, name, o.soql("SELECT Name FROM Account WHERE Id = '" + got.one(t, "k"+string(d.sign())+string(e)).ID + "'")[0]["Name"])
			}
		}
	})
	t.Run("a load takes few calls, whatever its size", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		c := o.client(t.TempDir(), func(opt *Options) { opt.Poll.Min, opt.Poll.Max = 200*time.Millisecond, time.Minute })
		sum, err := c.Upsert(t.Context(), leadSpec(""), leads(3000), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 3000, Created: 3000, Jobs: 1, Rounds: 1}, sum)
		require.Zero(t, got.each(t, 3000, Succeeded))
		require.LessOrEqual(t, len(o.wire.calls), 3000/150)
		require.Equal(t, 1, o.wire.count("Results"), "there is nothing in the other files")
	})
	t.Run("a large load is cut into jobs that run side by side", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		c := o.client(t.TempDir(), func(opt *Options) { opt.PartRows, opt.Compress = 300, true })
		sum, err := c.Upsert(t.Context(), leadSpec(""), leads(1000), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 1000, Created: 1000, Jobs: 4, Rounds: 1}, sum)
		require.Zero(t, got.each(t, 1000, Succeeded))
		c = o.client(t.TempDir(), func(opt *Options) { opt.PartBytes = 10_000 })
		sum, err = c.Upsert(t.Context(), leadSpec(""), leads(1000), func(Outcome) error { return nil })
		require.NoError(t, err)
		require.Equal(t, int64(1000), sum.Updated)
		require.Greater(t, sum.Jobs, 3)
		require.Equal(t, 1000, o.live("Lead"))
	})
	t.Run("a load without rows makes no job", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		dir := t.TempDir()
		sum, err := o.client(dir).Upsert(t.Context(), leadSpec("empty"), leads(0), func(Outcome) error { return nil })
		require.NoError(t, err)
		require.Equal(t, Ledger{}, sum)
		require.Empty(t, o.wire.calls)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries, "nothing is left behind")
	})
	t.Run("rows with the same key are refused, all of them", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		row := func(key string) Row { return Row{Values: []any{"n", "c", key}} }
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), rowsOf(row("a"), row("Äb"), row("A"), row("c"), row("äB"), row("ä")), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 6, Created: 2, Refused: 4, Jobs: 1, Rounds: 1}, sum)
		for _, k := range []string{"a", "A", "Äb", "äB"} {
			r := got.one(t, k)
			require.Equal(t, Refused, r.State)
			require.Equal(t, ReasonKeyDuplicate, r.Refusal.Reason)
			require.Equal(t, fault.Invalid, r.Refusal.Kind)
		}
		require.Len(t, o.soql("SELECT Id FROM Lead"), 2)
		s := leadSpec("")
		s.CaseSensitive = true
		sum, err = o.client(t.TempDir()).Upsert(t.Context(), s, rowsOf(row("x"), row("x"), row("y")), func(Outcome) error { return nil })
		require.NoError(t, err)
		require.Equal(t, int64(2), sum.Refused)
	})
	t.Run("columns are those of all rows", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		i := 0
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), Spec{Object: "Lead", ExternalID: "Selfsame_Id__c"}, func() (Row, error) {
			r, err := leads(i + 1)()
			if i == 500 {
				return r, errors.New("unreachable")
			}
			if i++; i > 400 {
				return Row{}, fmt.Errorf("end: %w", errEnd)
			}
			fields := map[string]any{"Selfsame_Id__c": leadKey(i), "LastName": "x", "Company": "y"}
			if i%100 == 0 {
				fields[fmt.Sprintf("Column%d", i)] = "z"
			}
			if i == 200 {
				delete(fields, "Column200")
				fields["City"] = "Berlin"
			}
			return Row{Fields: fields}, err
		}, got.sink)
		require.ErrorIs(t, err, errEnd)
		require.Zero(t, sum)

		rows := make([]Row, 400)
		for i := range rows {
			rows[i].Fields = map[string]any{"Selfsame_Id__c": leadKey(i), "LastName": "x", "Company": "y"}
		}
		rows[200].Fields["City"] = "Berlin"
		rows[300].Fields["FirstName"] = "Ada"
		rows[300].Fields["LastName"] = nil
		rows[301].Fields["bad name"] = "Ada"
		rows[302].Fields["city"] = "Bonn"
		sum, err = o.client(t.TempDir()).Upsert(t.Context(), Spec{Object: "Lead", ExternalID: "Selfsame_Id__c"}, rowsOf(rows...), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 400, Created: 397, Failed: 1, Refused: 2, Jobs: 1, Rounds: 1}, sum)
		require.Equal(t, ReasonColumn, got.one(t, leadKey(301)).Refusal.Reason)
		require.Equal(t, ReasonColumn, got.one(t, leadKey(302)).Refusal.Reason)
		require.Equal(t, leadKey(200), o.soql("SELECT Selfsame_Id__c FROM Lead WHERE City = 'Berlin'")[0]["Selfsame_Id__c"])
	})
	t.Run("an error of the sink ends the load", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		n := 0
		_, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(300), func(Outcome) error {
			if n++; n == 100 {
				return fault.Wrap(fault.Unavailable, "GONE", errEnd, "the caller is gone")
			}
			return nil
		})
		require.ErrorIs(t, err, errEnd)
		require.Equal(t, 100, n)
	})
	t.Run("a specification that makes no sense is refused", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		c := o.client(t.TempDir())
		for name, s := range map[string]Spec{
			"no object":                 {ExternalID: "Selfsame_Id__c"},
			"a path as an object":       {Object: "../Lead", ExternalID: "Selfsame_Id__c"},
			"no external id":            {Object: "Lead"},
			"the id as the external id": {Object: "Lead", ExternalID: "id"},
			"a key among no columns":    {Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: []string{"LastName"}},
			"a column twice":            {Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: []string{"Selfsame_Id__c", "City", "city"}},
			"the id as a column":        {Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: []string{"Selfsame_Id__c", "Id"}},
			"an unknown parent":         {Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: []string{"Selfsame_Id__c"}, Parent: "City"},
			"an unknown delimiter":      {Object: "Lead", ExternalID: "Selfsame_Id__c", Delimiter: "DOT"},
			"an unknown line ending":    {Object: "Lead", ExternalID: "Selfsame_Id__c", LineEnding: "CR"},
		} {
			_, err := c.Upsert(t.Context(), s, leads(1), func(Outcome) error { return nil })
			require.Equal(t, ReasonSpec, fault.ReasonOf(err), name)
		}
		_, err := c.Upsert(t.Context(), Spec{Load: "x", Object: "Lead", ExternalID: "Selfsame_Id__c"}, nil, nil)
		require.Equal(t, ReasonUnknown, fault.ReasonOf(err))
		require.Empty(t, o.wire.calls)
		c = o.client(t.TempDir(), func(opt *Options) { opt.MaxSpool = 1000 })
		_, err = c.Upsert(t.Context(), leadSpec(""), leads(100), func(Outcome) error { return nil })
		require.Equal(t, ReasonTooLarge, fault.ReasonOf(err))
		require.Zero(t, o.wire.count("/batches"))
	})
}

var errEnd = errors.New("the end of the test")

func TestRowsThatFail(t *testing.T) {
	t.Parallel()
	t.Run("rows that were locked are sent again, and only those", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		// The 200 rows of a transaction are tried ten times before those that are still locked fail.
		o.faults(`{"rules":[{"effect":"lock_row","object":"Lead","count":1850}]}`)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(600), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 600, Succeeded))
		require.True(t, sum.Balanced())
		require.Equal(t, int64(600), sum.Created)
		require.Equal(t, map[string]int64{rest.ReasonLocked: 50}, sum.Reasons)
		require.Equal(t, 2, sum.Rounds)
		require.Equal(t, 650, o.processed(), "only what failed was sent again")
	})
	t.Run("a row that stays locked fails in the end, and says that it may come again", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.faults(`{"rules":[{"effect":"lock_row","object":"Lead","probability":1}]}`)
		var got outcomes
		c := o.client(t.TempDir(), func(opt *Options) { opt.Rounds = 3 })
		sum, err := c.Upsert(t.Context(), leadSpec(""), leads(5), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 5, Failed))
		require.Equal(t, Ledger{Rows: 5, Failed: 5, Jobs: 3, Rounds: 3, Resent: 10, Reasons: map[string]int64{rest.ReasonLocked: 10}}, sum)
		require.True(t, got.one(t, leadKey(0)).Refusal.Retryable)
		require.Equal(t, 3, got.one(t, leadKey(0)).Round)
	})
	t.Run("a job that gives up because of locks is finished by jobs of one worker", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.faults(`{"rules":[{"effect":"lock_row","object":"Lead","count":2000}]}`)
		var got outcomes
		sum, err := o.client(t.TempDir(), func(opt *Options) { opt.Rounds = 8 }).Upsert(t.Context(), leadSpec(""), leads(1000), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 1000, Succeeded))
		require.Equal(t, int64(1000), sum.Created)
		require.Equal(t, 1000, o.live("Lead"))
		failed := 0
		for _, j := range o.jobs() {
			if j["state"] == "Failed" {
				failed++
				require.Contains(t, j["errorMessage"], "TooManyLockFailure")
			}
		}
		require.Equal(t, 1, failed)
	})
	t.Run("children of one parent do not lock each other out when they are grouped", func(t *testing.T) {
		t.Parallel()
		// Batches of one job, of 10,000 rows, are processed side by side.
		retries := func(parent string) (int, Ledger) {
			o := setup(t)
			for i := range 20 {
				o.do("POST", "/services/data/v66.0/sobjects/Account", fmt.Sprintf(`{"Name":"P","Selfsame_Id__c":"P-%d"}`, i))
			}
			o.bulk(`{"contention":true}`)
			i := 0
			s := Spec{Object: "Contact", ExternalID: "Selfsame_Id__c", Columns: []string{"Selfsame_Id__c", "LastName", "Account.Selfsame_Id__c"}, Parent: parent}
			sum, err := o.client(t.TempDir()).Upsert(t.Context(), s, func() (Row, error) {
				if i++; i > 12_000 {
					return Row{}, io.EOF
				}
				return Row{Values: []any{fmt.Sprintf("C-%d", i), "x", fmt.Sprintf("P-%d", i%20)}}, nil
			}, func(Outcome) error { return nil })
			require.NoError(t, err)
			require.Equal(t, int64(12_000), sum.Created)
			n := 0.0
			for _, j := range o.jobs() {
				n += j["retries"].(float64)
			}
			return int(n), sum
		}
		apart, sum := retries("")
		together, grouped := retries("Account.Selfsame_Id__c")
		require.Positive(t, apart+int(sum.Resent))
		require.Zero(t, together)
		require.Zero(t, grouped.Resent)
	})
	t.Run("a value that another record has is tried once more and then fails", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.wire.set(nil, func(_ int, r *http.Request, resp *http.Response) error {
			if !strings.HasSuffix(r.URL.Path, "/failedResults") {
				return nil
			}
			return edit(resp, func(s string) string {
				return strings.Replace(s, "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --", "DUPLICATE_VALUE:duplicate value found: Selfsame_Id__c duplicates value on record with id: 00Q000000000001:Selfsame_Id__c --", 1)
			})
		})
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), rowsOf(Row{Values: []any{nil, "c", "k"}}, Row{Values: []any{"n", "c", "l"}}), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 2, Created: 1, Failed: 1, Jobs: 2, Rounds: 2, Resent: 1, Reasons: map[string]int64{rest.ReasonDuplicateValue: 1}}, sum)
		require.Equal(t, rest.ReasonDuplicateValue, got.one(t, "k").Refusal.Reason)
	})
	t.Run("a column that does not exist leaves every row unprocessed and is named", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		s := Spec{Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: []string{"Selfsame_Id__c", "LastName", "Nope__c"}}
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), s, rowsOf(Row{Values: []any{"a", "n", "1"}}, Row{Values: []any{"b", "n", "1"}}), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 2, NotProcessed: 2, Jobs: 1, Rounds: 1}, sum)
		r := got.one(t, "a")
		require.Equal(t, NotProcessed, r.State)
		require.Equal(t, []string{"Nope__c"}, r.Refusal.Fields)
		require.False(t, r.Refusal.Retryable)
	})
	t.Run("an object that does not exist leaves every row unprocessed", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), Spec{Object: "Nope__c", ExternalID: "Key__c"}, rowsOf(Row{Fields: map[string]any{"Key__c": "a"}}), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 1, NotProcessed: 1, Rounds: 1}, sum)
		require.False(t, got.one(t, "a").Refusal.Retryable)
	})
	t.Run("a job that takes too long is tried again, and rows that stay unprocessed say so", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		o.bulk(`{"transaction_time":"301s"}`)
		var got outcomes
		c := o.client(t.TempDir(), func(opt *Options) { opt.Rounds = 2 })
		sum, err := c.Upsert(t.Context(), leadSpec(""), leads(3), got.sink)
		require.NoError(t, err)
		require.Zero(t, got.each(t, 3, NotProcessed))
		require.Equal(t, Ledger{Rows: 3, NotProcessed: 3, Jobs: 2, Rounds: 2, Resent: 3, Reasons: map[string]int64{ReasonJobFailed: 3}}, sum)
		require.True(t, got.one(t, leadKey(0)).Refusal.Retryable)
	})
	t.Run("rows beyond the daily allocation are not processed and not sent again", func(t *testing.T) {
		t.Parallel()
		o := setup(t, func(c *sandbox.Config) { c.Limits.BulkRows = 400 })
		var got outcomes
		sum, err := o.client(t.TempDir()).Upsert(t.Context(), leadSpec(""), leads(1000), got.sink)
		require.NoError(t, err)
		require.Equal(t, Ledger{Rows: 1000, Created: 400, NotProcessed: 600, Jobs: 1, Rounds: 1}, sum)
		exhausted := 0
		for _, list := range got.by {
			require.Len(t, list, 1)
			if list[0].State == NotProcessed {
				exhausted++
				require.Equal(t, fault.Exhausted, list[0].Refusal.Kind)
				require.Equal(t, ReasonAllocation, list[0].Refusal.Reason)
				require.True(t, list[0].Refusal.Retryable)
			}
		}
		require.Equal(t, 600, exhausted)
	})
}
