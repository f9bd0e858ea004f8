package certify

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/k-capehart/go-salesforce/v3"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
	"github.com/stretchr/testify/require"
)

const user = "robot@example.com"

// connect runs a sandbox and logs the client in.
func connect(t *testing.T) *salesforce.Salesforce {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	s, err := sandbox.New(sandbox.Config{
		Apps:  []sandbox.App{{ClientID: "app", PublicKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}},
		Users: []sandbox.User{{Username: user}},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	sf, err := salesforce.Init(salesforce.Creds{
		Domain: "http://" + s.HTTPAddr(), Username: user, ConsumerKey: "app",
		ConsumerRSAPem: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	require.NoError(t, err)
	return sf
}

type account struct {
	Id             string
	Name           string
	Selfsame_Id__c string
}

func TestGoSalesforce(t *testing.T) {
	t.Parallel()
	sf := connect(t)
	one, err := sf.InsertOne("Account", map[string]any{"Name": "One"})
	require.NoError(t, err)
	require.True(t, one.Success)
	require.NoError(t, sf.UpdateOne("Account", map[string]any{"Id": one.Id, "Name": "Uno"}))
	up, err := sf.UpsertOne("Account", "Selfsame_Id__c", map[string]any{"Selfsame_Id__c": "k1", "Name": "Two"})
	require.NoError(t, err)
	require.True(t, up.Success)

	results, err := sf.InsertCollection("Account", []map[string]any{{"Name": "Three"}, {"Industry": "Energy"}}, 200)
	require.NoError(t, err)
	require.True(t, results.HasSalesforceErrors)
	results, err = sf.UpsertCollection("Account", "Selfsame_Id__c", []map[string]any{
		{"Selfsame_Id__c": "k1", "Name": "Deux"}, {"Selfsame_Id__c": "k2", "Name": "Four"}}, 200)
	require.NoError(t, err)
	require.False(t, results.HasSalesforceErrors)
	require.Len(t, results.Results, 2)
	require.Equal(t, up.Id, results.Results[0].Id)

	var rows []account
	require.NoError(t, sf.Query("SELECT Id, Name, Selfsame_Id__c FROM Account WHERE Selfsame_Id__c != null ORDER BY Name", &rows))
	require.Equal(t, []account{{up.Id, "Deux", "k1"}, {results.Results[1].Id, "Four", "k2"}}, rows)

	require.NoError(t, sf.DeleteOne("Account", map[string]any{"Id": one.Id}))
	results, err = sf.DeleteCollection("Account", []map[string]any{{"Id": up.Id}}, 200)
	require.NoError(t, err)
	require.False(t, results.HasSalesforceErrors)
	rows = nil
	require.NoError(t, sf.Query("SELECT Id, Name, Selfsame_Id__c FROM Account ORDER BY Name", &rows))
	require.Len(t, rows, 2)
}
