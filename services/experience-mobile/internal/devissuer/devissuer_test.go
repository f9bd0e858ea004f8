package devissuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/devissuer"
)

func write(t *testing.T, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return name
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ecKey)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		file   string
		public any
		alg    jose.SignatureAlgorithm
	}{
		"an RSA key":          {write(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), rsaKey.Public(), jose.RS256},
		"an EC key":           {write(t, "EC PRIVATE KEY", ecDER), ecKey.Public(), jose.ES256},
		"an EC key as PKCS 8": {write(t, "PRIVATE KEY", pkcs8), ecKey.Public(), jose.ES256},
	} {
		t.Run(name+" signs tokens that its public half verifies", func(t *testing.T) {
			t.Parallel()
			issuer, err := devissuer.New(devissuer.Options{URL: "http://issuer", Audience: "a", KeyFile: c.file})
			require.NoError(t, err)
			token, err := issuer.Token("s", "x y", 0)
			require.NoError(t, err)
			parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{c.alg})
			require.NoError(t, err)
			var claims map[string]any
			require.NoError(t, parsed.Claims(c.public, &claims))
			require.Equal(t, "http://issuer", claims["iss"])
			require.Equal(t, "x y", claims["scope"])
		})
	}
	t.Run("other files are refused without quoting them", func(t *testing.T) {
		t.Parallel()
		wrong, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalECPrivateKey(wrong)
		require.NoError(t, err)
		text := filepath.Join(t.TempDir(), "text.pem")
		require.NoError(t, os.WriteFile(text, []byte("planted secret"), 0o600))
		for _, file := range []string{write(t, "EC PRIVATE KEY", der), write(t, "PRIVATE KEY", []byte("planted secret")), text, "no-such-file"} {
			_, err := devissuer.New(devissuer.Options{KeyFile: file})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "planted secret")
		}
	})
}
