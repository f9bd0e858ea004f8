package goforce_test

import (
	"fmt"
	"testing"

	"github.com/nimajalali/go-force/force"
	"github.com/nimajalali/go-force/sobjects"
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/worldtest"
)

func TestClient(t *testing.T) {
	worldtest.Run(t, []worldtest.Case{
		{Capability: "login-session", Run: session},
		{Capability: "describe", Run: describe},
		{Capability: "query", Run: query},
		{Capability: "records", Run: records},
		{Capability: "refusal", Run: refusal},
		{Capability: "publish-rest", Run: publish},
	})
}

type account struct {
	ID       string `force:"Id,omitempty"`
	Name     string `force:",omitempty"`
	Phone    string `force:",omitempty"`
	Key      string `force:"Selfsame_Id__c,omitempty"`
	Industry string `force:",omitempty"`
}

func (account) ApiName() string           { return "Account" }
func (account) ExternalIdApiName() string { return "Selfsame_Id__c" }

type found struct {
	sobjects.BaseQuery
	Records []account `force:"records"`
}

func connect(t *testing.T, w *worldtest.World) *force.ForceApi {
	t.Helper()
	s := w.Session(t)
	c, err := force.CreateWithAccessToken("v62.0", w.ClientID, s.Token, s.Instance)
	require.NoError(t, err)
	return c
}

func session(t *testing.T, w *worldtest.World) {
	limits, err := connect(t, w).GetLimits()
	require.NoError(t, err)
	require.Positive(t, (*limits)["DailyApiRequests"].Max)
}

func describe(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	all, err := c.DescribeSObjects()
	require.NoError(t, err)
	require.Contains(t, all, "Account")
	got, err := c.DescribeSObject(account{})
	require.NoError(t, err)
	require.Contains(t, got.AllFields, "Selfsame_Id__c")
	require.Equal(t, "Account", got.Name)
}

func query(t *testing.T, w *worldtest.World) {
	const n = 2100
	w.Accounts(t, "Page", n)
	c := connect(t, w)
	var page found
	require.NoError(t, c.Query(force.BuildQuery("Id, Name", "Account", []string{"Name LIKE 'Page %'"})+" ORDER BY Name", &page))
	require.InDelta(t, n, page.TotalSize, 0)
	rows := page.Records
	for !page.Done {
		next := page.NextRecordsUri
		page = found{}
		require.NoError(t, c.QueryNext(next, &page))
		rows = append(rows, page.Records...)
	}
	require.Len(t, rows, n)
	for i, r := range rows {
		require.Equal(t, fmt.Sprintf("Page %05d", i), r.Name)
	}
}

func records(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	made, err := c.InsertSObject(account{Name: "One", Phone: "1"})
	require.NoError(t, err)
	require.True(t, made.Success)
	require.NoError(t, c.UpdateSObject(made.Id, account{Name: "Uno"}))
	var got account
	require.NoError(t, c.GetSObject(made.Id, []string{"Id", "Name", "Phone"}, &got))
	require.Equal(t, account{ID: made.Id, Name: "Uno", Phone: "1"}, got)

	first, err := c.UpsertSObjectByExternalId("force-1", account{Name: "Two"})
	require.NoError(t, err)
	require.True(t, first.Success)
	_, err = c.UpsertSObjectByExternalId("force-1", account{Name: "Deux"})
	require.NoError(t, err)
	got = account{}
	require.NoError(t, c.GetSObjectByExternalId("force-1", []string{"Id", "Name"}, &got))
	require.Equal(t, account{ID: first.Id, Name: "Deux"}, got)

	require.NoError(t, c.DeleteSObject(made.Id, account{}))
	require.NoError(t, c.DeleteSObjectByExternalId("force-1", account{}))
	var rest found
	require.NoError(t, c.Query("SELECT Id FROM Account WHERE Name IN ('Uno', 'Deux')", &rest))
	require.Empty(t, rest.Records)
	require.NoError(t, c.QueryAll("SELECT Id FROM Account WHERE Name IN ('Uno', 'Deux')", &rest))
	require.Len(t, rest.Records, 2)
}

func refusal(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	_, err := c.InsertSObject(account{Industry: "Energy"})
	var many force.ApiErrors
	require.ErrorAs(t, err, &many)
	require.Equal(t, "REQUIRED_FIELD_MISSING", many[0].ErrorCode)
	require.Equal(t, []string{"Name"}, many[0].Fields)
	var page found
	require.ErrorContains(t, c.Query("SELECT FROM", &page), "MALFORMED_QUERY")
	require.ErrorContains(t, c.DeleteSObject("001000000000000AAA", account{}), "NOT_FOUND")
}

// maintenance is the platform event of the official samples.
type maintenance struct {
	Mileage float64 `force:"Mileage__c"`
}

func (maintenance) ApiName() string           { return "CarMaintenance__e" }
func (maintenance) ExternalIdApiName() string { return "" }

func publish(t *testing.T, w *worldtest.World) {
	got, err := connect(t, w).InsertSObject(maintenance{Mileage: 95443})
	require.NoError(t, err)
	require.True(t, got.Success)
	require.Regexp(t, `^e\d\d`, got.Id)
}
