package idempotent

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecretKey_IsTheMacOfItsSecret(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"0123456789abcdef", strings.Repeat("s", 64), strings.Repeat("long", 40)} {
		k := newSecretKey([]byte(secret))
		for _, parts := range [][]string{{"p", "/m", "k"}, {"pm", "", strings.Repeat("k", 255)}, {"p", "/m", "k"}, {}} {
			require.Equal(t, mac([]byte(secret), parts...), k.mac(parts...))
		}
	}
}
