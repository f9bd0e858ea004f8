package sandbox_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// Under concurrent writers every subscriber sees every commit once, and the
// events alone rebuild the final state.
func TestEventsRebuildTheState(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 100)
	s.next()
	const writers, rounds = 6, 15
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				// All writers meet on the same few keys.
				_, _ = o.try("PATCH", fmt.Sprintf("%s/sobjects/Account/Selfsame_Id__c/k%d", v62, i%5), fmt.Sprintf(`{"Name":"w%d-%d"}`, w, i))
				_, _ = o.try("GET", v62+"/query?q=SELECT+Name+FROM+Account", "")
			}
		})
	}
	state := map[string]string{}
	for n := 0; n < writers*rounds; {
		b := s.next()
		for _, e := range b.events {
			id := e.header["recordIds"].([]any)[0].(string)
			if name, ok := e.value["Name"].(string); ok {
				state[id] = name
			}
			require.NotEmpty(t, state[id])
		}
		n += len(b.events)
		if len(b.events) > 0 {
			s.request("", latest, "", len(b.events))
		}
	}
	wg.Wait()
	rows := o.soql("SELECT Id, Name FROM Account")["records"].([]any)
	require.Len(t, rows, 5)
	for _, r := range rows {
		m := r.(map[string]any)
		require.Equal(t, m["Name"], state[m["Id"].(string)])
	}
}

func TestKeysMayBeCertificatesInFiles(t *testing.T) {
	t.Parallel()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key().Public(), key())
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "app.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	setup(t, func(c *sandbox.Config) { c.Apps[0].PublicKeyPEM = file }) // logs in
}

func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]sandbox.Config{
		"a missing key file":     {Apps: []sandbox.App{{ClientID: "a", PublicKeyPEM: filepath.Join(t.TempDir(), "none")}}},
		"a long keepalive":       {KeepAlive: 271e9},
		"a bad organization":     {OrgID: "00D1"},
		"a bad user id":          {Users: []sandbox.User{{Username: "a", ID: "001000000000001AAA"}}},
		"the same user id twice": {Users: []sandbox.User{{Username: "a", ID: "005000000000001AAA"}, {Username: "b", ID: "005000000000001AAA"}}},
		"a missing schema file":  {SchemaFiles: []string{filepath.Join(t.TempDir(), "none")}},
		"an address in no form":  {HTTPListen: "nowhere"},
	} {
		_, err := sandbox.New(cfg)
		require.Error(t, err, name)
	}
}
