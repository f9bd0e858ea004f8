// Package worldtest tells a Go case where the sandbox is, who may log in, and lets it
// arrange what the case is about: sessions of other programs, many records,
// faults.
//
// It speaks plain HTTP, so that no certified client certifies itself.
package worldtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// World is the sandbox that a case runs against.
type World struct {
	URL          string // REST and logins
	PubSub       string // gRPC in plain text
	PubSubTLS    string // gRPC over TLS; empty when the sandbox has none
	ClientID     string
	ClientSecret string
	Username     string
	Password     string
	// SecurityToken is what a client adds to the password.
	SecurityToken string
	KeyPEM        string // private key of the app
}

// Case is one capability of one client.
type Case struct {
	Capability string
	Run        func(t *testing.T, w *World)
}

// Run runs the cases, one after the other, each as a subtest with the name of
// its capability. Without a sandbox in the environment it skips the test:
// "make certify" starts one.
func Run(t *testing.T, cases []Case) {
	t.Helper()
	if os.Getenv("CERTIFY_URL") == "" {
		t.Skip("no sandbox: run make certify")
	}
	key, err := os.ReadFile(os.Getenv("CERTIFY_KEY"))
	require.NoError(t, err)
	w := &World{
		URL: os.Getenv("CERTIFY_URL"), PubSub: os.Getenv("CERTIFY_PUBSUB"), PubSubTLS: os.Getenv("CERTIFY_PUBSUB_TLS"),
		ClientID: os.Getenv("CERTIFY_CLIENT_ID"), ClientSecret: os.Getenv("CERTIFY_CLIENT_SECRET"),
		Username: os.Getenv("CERTIFY_USERNAME"), Password: os.Getenv("CERTIFY_PASSWORD"), SecurityToken: os.Getenv("CERTIFY_SECURITY_TOKEN"), KeyPEM: string(key),
	}
	for _, c := range cases {
		t.Run(c.Capability, func(t *testing.T) { c.Run(t, w) })
	}
}

// Session is a login of another program.
type Session struct {
	Token    string
	Instance string
	Org      string
	User     string
}

// Session logs in with a JWT bearer assertion.
func (w *World) Session(t *testing.T) Session {
	t.Helper()
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {w.assertion(t)}}
	resp, err := http.PostForm(w.URL+"/services/oauth2/token", form)
	require.NoError(t, err)
	defer resp.Body.Close()
	var got struct {
		AccessToken string `json:"access_token"`
		InstanceURL string `json:"instance_url"`
		ID          string `json:"id"`
	}
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&got))
	parts := strings.Split(got.ID, "/")
	require.Greater(t, len(parts), 2)
	return Session{Token: got.AccessToken, Instance: got.InstanceURL, Org: parts[len(parts)-2], User: parts[len(parts)-1]}
}

func (w *World) assertion(t *testing.T) string {
	t.Helper()
	block, _ := pem.Decode([]byte(w.KeyPEM))
	require.NotNil(t, block)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	claims, err := json.Marshal(map[string]any{
		"iss": w.ClientID, "sub": w.Username, "aud": "https://login.salesforce.com", "exp": time.Now().Add(time.Minute).Unix(),
	})
	require.NoError(t, err)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	sign, err := rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign)
}

// Call sends a JSON request as the other program and decodes the answer into
// out if out is not nil.
func (w *World) Call(t *testing.T, s Session, method, path string, body, out any) {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, r)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300, "%s %s: %s", method, path, text)
	if out != nil {
		require.NoError(t, json.Unmarshal(text, out))
	}
}

// perCall is how many records a collection holds.
const perCall = 200

// Accounts creates n accounts named prefix and a number.
func (w *World) Accounts(t *testing.T, prefix string, n int) {
	t.Helper()
	s := w.Session(t)
	for from := 0; from < n; from += perCall {
		var records []any
		for i := from; i < min(n, from+perCall); i++ {
			records = append(records, map[string]any{"attributes": map[string]string{"type": "Account"}, "Name": fmt.Sprintf("%s %05d", prefix, i)})
		}
		var got []struct{ Success bool }
		w.Call(t, s, http.MethodPost, "/services/data/v62.0/composite/sobjects", map[string]any{"allOrNone": true, "records": records}, &got)
		require.Len(t, got, len(records))
		for _, r := range got {
			require.True(t, r.Success)
		}
	}
}

// ExpireSessions ends every session that exists now.
func (w *World) ExpireSessions(t *testing.T) {
	t.Helper()
	w.Call(t, Session{}, http.MethodPut, "/__sandbox__/faults", map[string]any{"expire_sessions": true}, nil)
}

// Context ends after a time that is enough for every case, and with the test.
func Context(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
