package simpleforce_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/simpleforce/simpleforce"
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/worldtest"
)

func TestClient(t *testing.T) {
	worldtest.Run(t, []worldtest.Case{
		{Capability: "login-soap", Run: login},
		{Capability: "login-session", Run: session},
		{Capability: "describe", Run: describe},
		{Capability: "query", Run: query},
		{Capability: "records", Run: records},
		{Capability: "refusal", Run: refusal},
		{Capability: "publish-rest", Run: publish},
	})
}

// connect takes over a session, so that the other cases do not depend on SOAP.
func connect(t *testing.T, w *worldtest.World) *simpleforce.Client {
	t.Helper()
	s := w.Session(t)
	c := simpleforce.NewClient(w.URL, simpleforce.DefaultClientID, simpleforce.DefaultAPIVersion)
	c.SetSidLoc(s.Token, s.Instance)
	return c
}

// usable asks for something that only a session gets.
func usable(t *testing.T, c *simpleforce.Client) {
	t.Helper()
	got, err := c.Query("SELECT Id FROM Organization")
	require.NoError(t, err)
	require.Equal(t, 1, got.TotalSize)
}

// said returns what the client writes to its log while f runs.
func said(f func()) string {
	var b bytes.Buffer
	log.SetOutput(&b)
	defer log.SetOutput(os.Stderr)
	f()
	return b.String()
}

func login(t *testing.T, w *worldtest.World) {
	c := simpleforce.NewClient(w.URL, simpleforce.DefaultClientID, simpleforce.DefaultAPIVersion)
	require.NoError(t, c.LoginPassword(w.Username, w.Password, w.SecurityToken))
	require.Equal(t, w.URL, c.GetLoc())
	usable(t, c)
	require.ErrorContains(t, c.LoginPassword(w.Username, "wrong", ""), "INVALID_LOGIN")
}

func session(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	usable(t, c)
	c.SetSidLoc(c.GetSid()+"x", c.GetLoc())
	_, err := c.Query("SELECT Id FROM Organization")
	require.ErrorContains(t, err, "INVALID_SESSION_ID")
}

func describe(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	all, err := c.DescribeGlobal()
	require.NoError(t, err)
	require.NotEmpty(t, (*all)["sobjects"])
	account := c.SObject("Account").Describe()
	require.NotNil(t, account)
	require.Equal(t, "Account", (*account)["name"])
	require.NotEmpty(t, (*account)["fields"])
}

func query(t *testing.T, w *worldtest.World) {
	const n = 2100
	w.Accounts(t, "Page", n)
	c := connect(t, w)
	page, err := c.Query("SELECT Id, Name FROM Account WHERE Name LIKE 'Page %' ORDER BY Name")
	require.NoError(t, err)
	require.Equal(t, n, page.TotalSize)
	require.False(t, page.Done)
	rows := page.Records
	for !page.Done {
		page, err = c.Query(page.NextRecordsURL)
		require.NoError(t, err)
		rows = append(rows, page.Records...)
	}
	require.Len(t, rows, n)
	for i := range rows {
		require.Equal(t, fmt.Sprintf("Page %05d", i), rows[i].StringField("Name"))
		require.Equal(t, "Account", rows[i].Type())
	}
}

func records(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	one := c.SObject("Account").Set("Name", "One").Create()
	require.NotNil(t, one)
	id := one.ID()
	require.NotEmpty(t, id)
	require.NotNil(t, c.SObject("Account").Set("Id", id).Set("Name", "Uno").Update())
	read := c.SObject("Account").Get(id)
	require.NotNil(t, read)
	require.Equal(t, "Uno", read.StringField("Name"))

	upsert := func(name string) *simpleforce.SObject {
		return c.SObject("Account").Set("ExternalIDField", "Selfsame_Id__c").Set("Selfsame_Id__c", "simple-1").Set("Name", name).Upsert()
	}
	first := upsert("Two")
	require.NotNil(t, first)
	second := upsert("Deux")
	require.NotNil(t, second)
	require.Equal(t, first.ID(), second.ID())
	child := c.SObject("Contact").Set("LastName", "Kim").Set("AccountId", first.ID()).Create()
	require.NotNil(t, child)
	account := c.SObject("Contact").Get(child.ID()).SObjectField("Account", "AccountId").Get()
	require.Equal(t, "Deux", account.StringField("Name"))

	require.NoError(t, c.SObject("Account").Set("Id", id).Delete())
	require.Nil(t, c.SObject("Account").Get(id))
}

func refusal(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	text := said(func() { require.Nil(t, c.SObject("Account").Set("Industry", "Energy").Create()) })
	require.Contains(t, text, "REQUIRED_FIELD_MISSING")
	_, err := c.Query("SELECT FROM")
	require.ErrorContains(t, err, "MALFORMED_QUERY")
	var known simpleforce.SalesforceError
	require.ErrorAs(t, c.SObject("Account").Set("Id", "001000000000000AAA").Delete(), &known)
	require.Equal(t, 404, known.HttpCode)
}

func publish(t *testing.T, w *worldtest.World) {
	got := connect(t, w).SObject("CarMaintenance__e").Set("Mileage__c", 95443).Create()
	require.NotNil(t, got)
	require.Regexp(t, `^e\d\d`, got.ID())
}
