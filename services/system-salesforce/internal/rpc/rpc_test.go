package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// crm is a table of accounts that understands the list's own query and notes the writes.
type crm struct {
	rows      []rest.Record
	queries   []string
	updated   []rest.Record
	upserted  []rest.Record
	updateErr error
	upsertErr error
	refuse    *rest.Refusal
	// fates of records that are not returned, by id; late are records that are returned from the second read on.
	fates map[string]rest.Fate
	late  []rest.Record
	asked []string
	// masters are what records were merged into, by id.
	masters map[string]string
	user    string
}

func (c *crm) User(context.Context) string { return c.user }

func (c *crm) Masters(_ context.Context, _ string, ids []string) (map[string]string, error) {
	if c.masters == nil {
		return nil, fault.New(fault.Precondition, "INVALID_FIELD", "no such column")
	}
	out := map[string]string{}
	for _, id := range ids {
		if into := c.masters[rest.FullID(id)]; into != "" {
			out[rest.FullID(id)] = into
		}
	}
	return out, nil
}

func (c *crm) Fates(_ context.Context, _ string, ids []string) ([]rest.Fate, error) {
	c.asked = append(c.asked, ids...)
	out := make([]rest.Fate, len(ids))
	for i, id := range ids {
		out[i] = c.fates[rest.FullID(id)]
	}
	c.rows = append(c.rows, c.late...)
	return out, nil
}

func (c *crm) Usage() rest.Usage { return rest.Usage{Used: 1, Limit: 2, Own: 3} }

func (c *crm) Retrieve(_ context.Context, _ string, ids, _ []string) ([]rest.Record, error) {
	out := make([]rest.Record, len(ids))
	for i, id := range ids {
		for _, r := range c.rows {
			if r["Id"] == rest.FullID(id) {
				out[i] = r
			}
		}
	}
	return out, nil
}

func (c *crm) Query(_ context.Context, soql string) ([]rest.Record, error) {
	c.queries = append(c.queries, soql)
	rows := slices.Clone(c.rows)
	key := func(r rest.Record) string {
		t, err := mapping.Time(r["SystemModstamp"])
		if err != nil {
			panic(err)
		}
		return soqlTime(t.UnixMilli()) + " " + r["Id"].(string)
	}
	slices.SortFunc(rows, func(a, b rest.Record) int { return strings.Compare(key(a), key(b)) })
	var at, id string
	if _, where, ok := strings.Cut(soql, "SystemModstamp >= "); ok {
		at, _, _ = strings.Cut(where, " ")
	} else if _, where, ok := strings.Cut(soql, "SystemModstamp > "); ok {
		at, _, _ = strings.Cut(where, " ")
		_, id, _ = strings.Cut(soql, "Id > '")
		id, _, _ = strings.Cut(id, "'")
	}
	if !strings.Contains(soql, "LIMIT") {
		return nil, nil // reading back shows nothing
	}
	var limit int
	if _, err := fmt.Sscanf(soql[strings.Index(soql, "LIMIT"):], "LIMIT %d", &limit); err != nil {
		return nil, err
	}
	var out []rest.Record
	for _, r := range rows {
		after := key(r) > at+" "+id
		if id == "" {
			after = key(r) >= at
		}
		if after && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (c *crm) Update(_ context.Context, _ string, records []rest.Record) ([]rest.Result, error) {
	c.updated = append(c.updated, records...)
	return c.results(records, c.updateErr, false)
}

func (c *crm) Upsert(_ context.Context, _, field string, records []rest.Record) ([]rest.Result, error) {
	if field != "Selfsame_Id__c" {
		return nil, fmt.Errorf("upsert by %s", field)
	}
	c.upserted = append(c.upserted, records...)
	return c.results(records, c.upsertErr, true)
}

func (c *crm) UpdateOne(ctx context.Context, object, id string, fields rest.Record, _ rest.Condition) (rest.Result, error) {
	row := maps.Clone(fields)
	row["id"] = id
	out, err := c.Update(ctx, object, []rest.Record{row})
	if err != nil {
		return rest.Result{}, err
	}
	return out[0], nil
}

func (c *crm) UpsertOne(ctx context.Context, object, field, value string, fields rest.Record) (rest.Result, error) {
	row := maps.Clone(fields)
	row[field] = value
	out, err := c.Upsert(ctx, object, field, []rest.Record{row})
	if err != nil {
		return rest.Result{}, err
	}
	return out[0], nil
}

var errNotMade = errors.New("no test makes this call")

func (c *crm) Row(context.Context, string, string, []string) (rest.Record, rest.Validators, error) {
	return nil, rest.Validators{}, errNotMade
}

func (c *crm) Composite(context.Context, bool, []rest.Part) ([]rest.PartResult, error) {
	return nil, errNotMade
}

func (c *crm) Remove(_ context.Context, ids []string) ([]rest.Result, error) {
	return make([]rest.Result, len(ids)), c.updateErr
}

func (c *crm) Publish(context.Context, string, []rest.Record) ([]rest.Result, error) {
	return nil, errNotMade
}

func (c *crm) Repeat(context.Context, int, string) bool { return true }

func (c *crm) ServerTime() time.Time { return now }

// nobody describes nothing: what every org has needs no description.
type nobody struct{}

func (nobody) Schema(context.Context, string) (*mapping.Schema, error) {
	return nil, fault.New(fault.Unavailable, fault.ReasonUnavailable, "away")
}

func (nobody) Renew(_ context.Context, _ string, doubted *mapping.Schema) *mapping.Schema {
	return doubted
}

func (nobody) Forget(string) {}

func (c *crm) results(records []rest.Record, err error, created bool) ([]rest.Result, error) {
	if err != nil {
		return nil, err
	}
	out := make([]rest.Result, len(records))
	for i, r := range records {
		if out[i] = (rest.Result{ID: fmt.Sprint(r["Name"]), Created: created}); r["Name"] == "bad" {
			out[i] = rest.Result{Refused: c.refuse}
		}
	}
	return out, nil
}

func setup(t *testing.T) (*crm, *accounts) {
	t.Helper()
	m, err := mapping.Default()
	require.NoError(t, err)
	c := &crm{}
	return c, &accounts{Server: &Server{CRM: c, Mapping: m, Describe: nobody{}, Writer: write.New(write.Options{CRM: c}), Now: func() time.Time { return now }}}
}

func account(i int, at time.Time) rest.Record {
	stamp := at.Format("2006-01-02T15:04:05.000-0700")
	return rest.Record{"Id": rest.FullID(fmt.Sprintf("001%012d", i)), "Name": fmt.Sprint(i), "CreatedDate": stamp, "SystemModstamp": stamp}
}

// pages lists everything; between pages it calls change.
func pages(t *testing.T, s *accounts, size int32, change func(page int)) (names []string) {
	t.Helper()
	req := &salesforcev1.ListAccountsRequest{PageSize: size}
	for page := 0; ; page++ {
		require.Less(t, page, 100, "the list does not end")
		resp, err := s.ListAccounts(t.Context(), req)
		require.NoError(t, err)
		for _, a := range resp.GetAccounts() {
			names = append(names, a.GetName())
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return names
		}
		change(page)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	old := now.Add(-24 * time.Hour)
	t.Run("many records of one millisecond neither block the list nor fall out of it", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		var want []string
		for i := range 25 {
			c.rows = append(c.rows, account(i, old))
			want = append(want, fmt.Sprint(i))
		}
		require.Equal(t, want, pages(t, s, 4, func(int) {}))
	})
	t.Run("a record that changes while the pages are read appears again at the end", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		for i := range 10 {
			c.rows = append(c.rows, account(i, old.Add(time.Duration(i)*time.Second)))
		}
		got := pages(t, s, 3, func(page int) {
			if page == 1 {
				c.rows[0] = account(0, now)
				c.rows[0]["Name"] = "0 again"
			}
		})
		require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0 again"}, got)
	})
	t.Run("a record that gets the last page's own millisecond is not missed", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.rows = []rest.Record{account(5, old), account(7, now), account(8, now), account(9, now)}
		got := pages(t, s, 3, func(page int) {
			if page == 0 {
				c.rows = append(c.rows, account(6, now)) // lower id than the last one of the page
			}
		})
		require.Subset(t, got, []string{"5", "6", "7", "8", "9"})
	})
	t.Run("more new records of one millisecond than a page holds do not stop the list", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		for i := range 10 {
			c.rows = append(c.rows, account(i, now))
		}
		require.Len(t, pages(t, s, 3, func(int) {}), 10)
	})
	t.Run("a token of another list is refused", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.rows = []rest.Record{account(1, old), account(2, old)}
		resp, err := s.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{PageSize: 1})
		require.NoError(t, err)
		_, err = (&contacts{Server: s.Server}).ListContacts(t.Context(), &salesforcev1.ListContactsRequest{PageToken: resp.GetNextPageToken()})
		require.Equal(t, fault.ReasonPageTokenInvalid, fault.ReasonOf(err))
	})
	t.Run("a record that cannot be read fails the call instead of being left out", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.rows = []rest.Record{{"Id": "001", "SystemModstamp": "2026-05-01T12:00:00.000+0000", "CreatedDate": "yesterday"}}
		_, err := s.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{})
		require.Equal(t, fault.Internal, fault.KindOf(err))
	})
}

func TestOwnWrites(t *testing.T) {
	t.Parallel()
	const us, other = "005000000000001AAA", "005000000000002AAA"
	for name, c := range map[string]struct {
		user, by string
		want     bool
	}{
		"what we changed last is our own":              {us, us, true},
		"also where one of the ids is short":           {us, us[:15], true},
		"what somebody else changed last is not":       {us, other, false},
		"nothing is while it is not known who we are":  {"", us, false},
		"nothing is that does not say who changed it":  {us, "", false},
		"and nothing that nobody known has changed is": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, s := setup(t)
			x.user = c.user
			row := account(1, now)
			row["LastName"], row["LastModifiedById"] = "X", c.by
			x.rows = []rest.Record{row}
			ids := []string{row["Id"].(string)}
			listed, err := s.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{})
			require.NoError(t, err)
			read, err := s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: ids})
			require.NoError(t, err)
			persons := &contacts{Server: s.Server}
			people, err := persons.ListContacts(t.Context(), &salesforcev1.ListContactsRequest{})
			require.NoError(t, err)
			person, err := persons.BatchGetContacts(t.Context(), &salesforcev1.BatchGetContactsRequest{Ids: ids})
			require.NoError(t, err)
			require.Equal(t, []bool{c.want, c.want, c.want, c.want}, []bool{
				listed.GetAccounts()[0].GetOwnWrite(), read.GetAccounts()[0].GetOwnWrite(), people.GetContacts()[0].GetOwnWrite(), person.GetContacts()[0].GetOwnWrite(),
			})
			require.Contains(t, x.queries[0], "LastModifiedById")
		})
	}
}

func upsert(id, external, name string, mask ...string) *salesforcev1.AccountUpsert {
	u := &salesforcev1.AccountUpsert{Account: &salesforcev1.Account{Id: id, ExternalId: external, Name: name}}
	if len(mask) > 0 {
		u.UpdateMask = &fieldmaskpb.FieldMask{Paths: mask}
	}
	return u
}

func outcomes(results []*salesforcev1.WriteResult) (out []string) {
	for _, r := range results {
		text := strings.TrimPrefix(r.GetOutcome().String(), "OUTCOME_") + " " + r.GetId() + r.GetError().GetReason()
		if r.GetError().GetUncertain() {
			text += "?"
		}
		out = append(out, text)
	}
	return out
}

func TestWrite(t *testing.T) {
	t.Parallel()
	const one, two = "001000000000001AAA", "001000000000002AAA"
	write := func(t *testing.T, s *accounts, upserts ...*salesforcev1.AccountUpsert) ([]*salesforcev1.WriteResult, error) {
		t.Helper()
		resp, err := s.BatchUpsertAccounts(t.Context(), &salesforcev1.BatchUpsertAccountsRequest{Upserts: upserts})
		return resp.GetResults(), err
	}
	t.Run("records with an id are updated, the others upserted, and outcomes come in the order sent", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.refuse = &rest.Refusal{Reason: rest.ReasonRequired, Text: "empty", Fields: []string{"Name"}}
		got, err := write(t, s, upsert("", "S-1", "a"), upsert(one, "", "b"), upsert("", "S-2", "bad"), upsert("", "", "c"),
			upsert(two, "S-3", "d", "name"), upsert("", "S-1", "e"), upsert(one[:15], "", "f"), upsert("", "S-4", "g", "nonsense"))
		require.NoError(t, err)
		require.Equal(t, []string{
			"CREATED a", "UPDATED b", "REFUSED FIELD_REQUIRED", "REFUSED EXTERNAL_ID_REQUIRED", "UPDATED d",
			"REFUSED DUPLICATE_IN_BATCH", "REFUSED DUPLICATE_IN_BATCH", "REFUSED FIELD_UNKNOWN",
		}, outcomes(got))
		require.Equal(t, "name", got[2].GetError().GetField())
		require.Equal(t, []rest.Record{{"id": one, "Name": "b"}, {"id": two, "Name": "d"}}, c.updated)
		require.Equal(t, []rest.Record{{"Selfsame_Id__c": "S-1", "Name": "a"}, {"Selfsame_Id__c": "S-2", "Name": "bad"}}, c.upserted)
	})
	t.Run("the key of an upsert is sent also when the mask leaves it out", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		_, err := write(t, s, upsert("", "S-1", "a", "name", "phone"))
		require.NoError(t, err)
		require.Equal(t, []rest.Record{{"Selfsame_Id__c": "S-1", "Name": "a", "Phone": nil}}, c.upserted)
	})
	away := fault.New(fault.Unavailable, "SALESFORCE_UNREACHABLE", "away").WithRetryAfter(time.Second)
	unsure := fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "unsure")
	t.Run("when the second call fails, the outcomes of the first are still told", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.upsertErr = away
		got, err := write(t, s, upsert("", "S-1", "a"), upsert(one, "", "b"))
		require.NoError(t, err)
		require.Equal(t, []string{"REFUSED SALESFORCE_UNREACHABLE", "UPDATED b"}, outcomes(got))
		require.True(t, got[0].GetError().GetRetryable())
		require.False(t, got[0].GetError().GetUncertain())
	})
	t.Run("when the first call fails, the second is made all the same", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.updateErr = away
		got, err := write(t, s, upsert("", "S-1", "a"), upsert(one, "", "b"))
		require.NoError(t, err)
		require.Equal(t, []string{"CREATED a", "REFUSED SALESFORCE_UNREACHABLE"}, outcomes(got))
	})
	t.Run("when it is certain that nothing was written, the whole call fails", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.updateErr, c.upsertErr = away, away
		_, err := write(t, s, upsert("", "S-1", "a"), upsert(one, "", "b"))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, time.Second, fault.RetryAfter(err))
	})
	t.Run("an uncertain call leaves its records uncertain", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.updateErr, c.upsertErr = away, unsure
		got, err := write(t, s, upsert("", "S-1", "a"), upsert(one, "", "b"))
		require.NoError(t, err)
		require.Equal(t, []string{"REFUSED OUTCOME_UNCERTAIN?", "REFUSED SALESFORCE_UNREACHABLE"}, outcomes(got))
	})
	t.Run("a call that Salesforce refuses as a whole is not blamed on the caller", func(t *testing.T) {
		t.Parallel()
		c, s := setup(t)
		c.upsertErr = fault.New(fault.NotFound, rest.ReasonNotFound, "no such field")
		_, err := write(t, s, upsert("", "S-1", "a"))
		require.Equal(t, fault.Precondition, fault.KindOf(err))
	})
}

func TestGet(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	c.rows = []rest.Record{account(1, now), account(2, now)}
	missing := "001000000000009AAA"
	c.fates = map[string]rest.Fate{missing: rest.Gone}
	resp, err := s.BatchGetAccounts(t.Context(), &salesforcev1.BatchGetAccountsRequest{Ids: []string{"001000000000002", missing, rest.FullID("001000000000001")}})
	require.NoError(t, err)
	require.Equal(t, "2", resp.GetAccounts()[0].GetName())
	require.Equal(t, "1", resp.GetAccounts()[1].GetName())
	require.Equal(t, []string{missing}, resp.GetMissingIds())
	_, err = s.GetAccount(t.Context(), &salesforcev1.GetAccountRequest{Id: missing})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	u, err := (&changes{Server: s.Server}).GetUsage(t.Context(), &salesforcev1.GetUsageRequest{})
	require.NoError(t, err)
	require.Equal(t, "used:1 limit:2 own_calls:3", strings.Join(strings.Fields(u.String()), " "))
}
