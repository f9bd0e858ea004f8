package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// signed makes an assertion of claims as they are.
func signed(t testing.TB, key *rsa.PrivateKey, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Whatever claims are signed, the verifier answers and lets in only a user that
// exists, through an app that exists. Without a valid signature it lets in
// nobody.
func FuzzAssertions(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(f, err)
	v := &Verifier{
		Keys: map[string]*rsa.PublicKey{"app": &key.PublicKey}, Users: []User{{ID: "1", Username: "a@b"}},
		Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
	f.Add(`{"alg":"RS256"}`, `{"iss":"app","sub":"a@b","aud":"https://login.salesforce.com","exp":1800000100}`)
	f.Add(`{"alg":"RS256","typ":"JWT"}`, `{"iss":"app","sub":"A@B","aud":["x","https://test.salesforce.com/"],"exp":"1800000100000","jti":"1"}`)
	f.Add(`{"alg":"none"}`, `{"iss":"app","sub":"a@b","aud":null,"exp":{}}`)
	f.Add(`[]`, `{"exp":1e999}`)
	f.Add("", "\x00")
	f.Fuzz(func(t *testing.T, header, claims string) {
		good := signed(t, key, header, claims)
		u, app, refusal := v.Verify(good)
		if refusal == nil && (u.ID != "1" || app != "app") {
			t.Fatalf("%s %s let in %+v through %q", header, claims, u, app)
		}
		if refusal != nil && (refusal.Code == "" || refusal.Description == "") {
			t.Fatalf("%s %s was refused without a reason", header, claims)
		}
		for _, bad := range []string{good + "AAAA", good[:len(good)-40], header + "." + claims, claims, ".."} {
			if _, _, refusal := v.Verify(bad); refusal == nil {
				t.Fatalf("%q was let in", bad)
			}
		}
	})
}
