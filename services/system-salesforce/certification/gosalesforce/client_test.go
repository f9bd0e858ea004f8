package gosalesforce_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/k-capehart/go-salesforce/v3"
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/worldtest"
)

func TestClient(t *testing.T) {
	worldtest.Run(t, []worldtest.Case{
		{Capability: "login-jwt", Run: loginJWT},
		{Capability: "login-client-credentials", Run: loginClientCredentials},
		{Capability: "login-password", Run: loginPassword},
		{Capability: "login-session", Run: loginSession},
		{Capability: "relogin", Run: relogin},
		{Capability: "query", Run: query},
		{Capability: "records", Run: records},
		{Capability: "refusal", Run: refusal},
		{Capability: "collections", Run: collections},
		{Capability: "composite", Run: composite},
		{Capability: "compression", Run: compression},
		{Capability: "bulk-load", Run: bulkLoad},
		{Capability: "bulk-query", Run: bulkQuery},
		{Capability: "publish-rest", Run: publish},
	})
}

type account struct {
	Id             string
	Name           string
	Selfsame_Id__c string
}

// connect logs in with a JWT bearer assertion.
func connect(t *testing.T, w *worldtest.World, options ...salesforce.Option) *salesforce.Salesforce {
	t.Helper()
	sf, err := salesforce.Init(salesforce.Creds{
		Domain: w.URL, Username: w.Username, ConsumerKey: w.ClientID, ConsumerRSAPem: w.KeyPEM,
	}, options...)
	require.NoError(t, err)
	return sf
}

// usable asks for something that only a session gets.
func usable(t *testing.T, sf *salesforce.Salesforce) {
	t.Helper()
	var rows []account
	require.NoError(t, sf.Query("SELECT Id, Name FROM Organization", &rows))
	require.Len(t, rows, 1)
}

func loginJWT(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	require.Equal(t, w.URL, sf.GetInstanceUrl())
	usable(t, sf)
	_, err := salesforce.Init(salesforce.Creds{Domain: w.URL, Username: w.Username, ConsumerKey: "unknown", ConsumerRSAPem: w.KeyPEM})
	require.ErrorContains(t, err, "400")
}

func loginClientCredentials(t *testing.T, w *worldtest.World) {
	sf, err := salesforce.Init(salesforce.Creds{Domain: w.URL, ConsumerKey: w.ClientID, ConsumerSecret: w.ClientSecret})
	require.NoError(t, err)
	require.Equal(t, salesforce.AuthFlowClientCredentials, sf.GetAuthFlow())
	usable(t, sf)
}

func loginPassword(t *testing.T, w *worldtest.World) {
	creds := salesforce.Creds{
		Domain: w.URL, ConsumerKey: w.ClientID, ConsumerSecret: w.ClientSecret,
		Username: w.Username, Password: w.Password, SecurityToken: w.SecurityToken,
	}
	sf, err := salesforce.Init(creds)
	require.NoError(t, err)
	require.Equal(t, salesforce.AuthFlowUsernamePassword, sf.GetAuthFlow())
	usable(t, sf)
	creds.Password = "wrong"
	_, err = salesforce.Init(creds)
	require.ErrorContains(t, err, "400")
}

func loginSession(t *testing.T, w *worldtest.World) {
	s := w.Session(t)
	sf, err := salesforce.Init(salesforce.Creds{Domain: s.Instance, AccessToken: s.Token})
	require.NoError(t, err)
	usable(t, sf)
	_, err = salesforce.Init(salesforce.Creds{Domain: s.Instance, AccessToken: s.Token + "x"})
	require.Error(t, err)
}

func relogin(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	before := sf.GetAccessToken()
	w.ExpireSessions(t)
	usable(t, sf)
	require.NotEqual(t, before, sf.GetAccessToken())
}

func query(t *testing.T, w *worldtest.World) {
	const n = 2100
	w.Accounts(t, "Page", n)
	var rows []account
	require.NoError(t, connect(t, w).Query("SELECT Id, Name FROM Account WHERE Name LIKE 'Page %' ORDER BY Name", &rows))
	require.Len(t, rows, n)
	for i, r := range rows {
		require.Equal(t, fmt.Sprintf("Page %05d", i), r.Name)
	}
}

func records(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	one, err := sf.InsertOne("Account", map[string]any{"Name": "One"})
	require.NoError(t, err)
	require.True(t, one.Success)
	require.NoError(t, sf.UpdateOne("Account", map[string]any{"Id": one.Id, "Name": "Uno"}))
	first, err := sf.UpsertOne("Account", "Selfsame_Id__c", map[string]any{"Selfsame_Id__c": "go-1", "Name": "Two"})
	require.NoError(t, err)
	require.True(t, first.Success)
	second, err := sf.UpsertOne("Account", "Selfsame_Id__c", account{Name: "Deux", Selfsame_Id__c: "go-1"})
	require.NoError(t, err)
	require.Equal(t, first.Id, second.Id)
	var rows []account
	require.NoError(t, sf.Query("SELECT Id, Name FROM Account WHERE Name IN ('Uno', 'Deux') ORDER BY Name", &rows))
	require.Equal(t, []account{{Id: first.Id, Name: "Deux"}, {Id: one.Id, Name: "Uno"}}, rows)
	require.NoError(t, sf.DeleteOne("Account", account{Id: one.Id}))
	rows = nil
	require.NoError(t, sf.Query("SELECT Id FROM Account WHERE Name = 'Uno'", &rows))
	require.Empty(t, rows)
}

func refusal(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	_, err := sf.InsertOne("Account", map[string]any{"Industry": "Energy"})
	require.ErrorContains(t, err, "REQUIRED_FIELD_MISSING")
	_, err = sf.InsertOne("Account", map[string]any{"Name": "A", "Colour__c": "red"})
	require.ErrorContains(t, err, "INVALID_FIELD")
	require.ErrorContains(t, sf.DeleteOne("Account", account{Id: "001000000000000AAA"}), "NOT_FOUND")
	var rows []account
	require.ErrorContains(t, sf.Query("SELECT FROM", &rows), "MALFORMED_QUERY")
}

func collections(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	made, err := sf.InsertCollection("Account", []map[string]any{{"Name": "C1"}, {"Industry": "Energy"}, {"Name": "C3"}}, 200)
	require.NoError(t, err)
	require.True(t, made.HasSalesforceErrors)
	require.Equal(t, []bool{true, false, true}, successes(made))
	require.Equal(t, "REQUIRED_FIELD_MISSING", made.Results[1].Errors[0].StatusCode)
	changed, err := sf.UpdateCollection("Account", []account{{Id: made.Results[0].Id, Name: "U1"}, {Id: made.Results[2].Id, Name: "U3"}}, 1)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, successes(changed))
	up, err := sf.UpsertCollection("Account", "Selfsame_Id__c", []account{{Name: "New", Selfsame_Id__c: "go-c1"}, {Name: "New", Selfsame_Id__c: "go-c2"}}, 200)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, successes(up))
	gone, err := sf.DeleteCollection("Account", []account{{Id: made.Results[0].Id}, {Id: up.Results[0].Id}}, 200)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, successes(gone))
	var rows []account
	require.NoError(t, sf.Query("SELECT Id, Name FROM Account WHERE Name IN ('U1', 'U3', 'New') ORDER BY Name", &rows))
	require.Equal(t, []account{{Id: up.Results[1].Id, Name: "New"}, {Id: made.Results[2].Id, Name: "U3"}}, rows)
}

func successes(r salesforce.SalesforceResults) []bool {
	var out []bool
	for _, one := range r.Results {
		out = append(out, one.Success)
	}
	return out
}

func composite(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	made, err := sf.InsertComposite("Account", []map[string]any{{"Name": "X1"}, {"Name": "X2"}, {"Name": "X3"}}, 2, true)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, true}, successes(made))
	changed, err := sf.UpdateComposite("Account", []account{{Id: made.Results[0].Id, Name: "Y1"}}, 200, false)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, successes(changed))
	up, err := sf.UpsertComposite("Account", "Selfsame_Id__c", []account{{Name: "Y2", Selfsame_Id__c: "go-x1"}}, 200, true)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, successes(up))
	gone, err := sf.DeleteComposite("Account", []account{{Id: made.Results[1].Id}, {Id: made.Results[2].Id}}, 200, true)
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, successes(gone))
	bad, err := sf.InsertComposite("Account", []map[string]any{{"Name": "X4"}, {"Industry": "Energy"}}, 200, false)
	require.NoError(t, err)
	require.True(t, bad.HasSalesforceErrors)
	require.Equal(t, []bool{true, false}, successes(bad))
	var rows []account
	require.NoError(t, sf.Query("SELECT Name FROM Account WHERE Name LIKE 'X_' OR Name LIKE 'Y_' ORDER BY Name", &rows))
	require.Equal(t, []account{{Name: "X4"}, {Name: "Y1"}, {Name: "Y2"}}, rows)
}

// seen remembers whether an answer was compressed.
type seen struct{ compressed int }

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.Header.Get("Content-Encoding") == "gzip" {
		s.compressed++
	}
	return resp, err
}

func compression(t *testing.T, w *worldtest.World) {
	s := &seen{}
	sf := connect(t, w, salesforce.WithCompressionHeaders(true), salesforce.WithRoundTripper(s))
	w.Accounts(t, "Small", 300)
	made, err := sf.InsertCollection("Account", []map[string]any{{"Name": "Zipped"}}, 200)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, successes(made))
	var rows []account
	require.NoError(t, sf.Query("SELECT Id, Name FROM Account WHERE Name LIKE 'Small %'", &rows))
	require.Len(t, rows, 300)
	require.Positive(t, s.compressed, "no answer was compressed")
}

func bulkLoad(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	before, err := sf.InsertOne("Account", map[string]any{"Name": "Before", "Selfsame_Id__c": "go-b0"})
	require.NoError(t, err)
	jobs, err := sf.UpsertBulk("Account", "Selfsame_Id__c", []map[string]any{
		{"Selfsame_Id__c": "go-b0", "Name": "After", "Description": "a \"quoted\", text\nin two lines"},
		{"Selfsame_Id__c": "go-b1", "Name": "Loaded", "Description": ""},
		{"Selfsame_Id__c": "go-b2", "Name": "", "Description": ""},
	}, 1000, true)
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	got, err := sf.GetJobResults(jobs[0])
	require.NoError(t, err)
	require.Equal(t, "JobComplete", got.State)
	require.Equal(t, 1, got.NumberRecordsFailed)
	require.Len(t, got.SuccessfulRecords, 2)
	for _, r := range got.SuccessfulRecords {
		if r["Selfsame_Id__c"] == "go-b0" {
			require.Equal(t, before.Id, r["sf__Id"])
			require.Equal(t, "false", r["sf__Created"])
		} else {
			require.Equal(t, "true", r["sf__Created"])
		}
	}
	require.Len(t, got.FailedRecords, 1)
	require.Equal(t, "go-b2", got.FailedRecords[0]["Selfsame_Id__c"])
	require.Contains(t, got.FailedRecords[0]["sf__Error"], "REQUIRED_FIELD_MISSING")
	var rows []struct{ Description string }
	require.NoError(t, sf.Query("SELECT Description FROM Account WHERE Selfsame_Id__c = 'go-b0'", &rows))
	require.Equal(t, "a \"quoted\", text\nin two lines", rows[0].Description)

	jobs, err = sf.DeleteBulk("Account", []map[string]any{{"Id": before.Id}}, 1000, true)
	require.NoError(t, err)
	got, err = sf.GetJobResults(jobs[0])
	require.NoError(t, err)
	require.Len(t, got.SuccessfulRecords, 1)
}

func bulkQuery(t *testing.T, w *worldtest.World) {
	const n = 250
	w.Accounts(t, `Bulk, "query"`, n)
	sf := connect(t, w)
	const soql = "SELECT Id, Name FROM Account WHERE Name LIKE 'Bulk, %'"
	file := filepath.Join(t.TempDir(), "accounts.csv")
	require.NoError(t, sf.QueryBulkExport(soql, file))
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, n+1)
	require.Equal(t, []string{"Id", "Name"}, rows[0])
	slices.SortFunc(rows[1:], func(a, b []string) int { return slices.Compare(a[1:], b[1:]) })
	require.Equal(t, `Bulk, "query" 00249`, rows[n][1])

	it, err := sf.QueryBulkIterator(soql)
	require.NoError(t, err)
	var all []account
	for it.Next() {
		var page []account
		require.NoError(t, it.Decode(&page))
		all = append(all, page...)
	}
	require.NoError(t, it.Error())
	require.Len(t, all, n)
}

func publish(t *testing.T, w *worldtest.World) {
	sf := connect(t, w)
	got, err := sf.InsertOne("CarMaintenance__e", map[string]any{"Mileage__c": 95443, "WorkDescription__c": "Replaced front brakes " + time.Now().Format(time.RFC3339)})
	require.NoError(t, err)
	require.True(t, got.Success)
	b, err := json.Marshal(got)
	require.NoError(t, err)
	require.Regexp(t, `^e\d\d`, got.Id, "%s", b)
}
