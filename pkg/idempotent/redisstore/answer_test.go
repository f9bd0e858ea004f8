package redisstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse_RefusesDamage(t *testing.T) {
	t.Parallel()
	whole := "\x00\x00\x00\x01f" + "\x00\x00\x00\x012" + "\x00\x00\x00\x011" + "\x00\x00\x00\x01r" + "\x00\x00\x00\x01t" + "\x00\x00\x00\x013" + "\x00\x00\x00\x014" + "body"
	a, err := parse(whole)
	require.NoError(t, err)
	require.Equal(t, stored{fingerprint: "f", fence: 2, ok: true, resource: "r", trace: "t", claimed: 3, expires: 4, body: "body"}, a)
	for n := range len(whole) - len("body") {
		_, err := parse(whole[:n])
		require.ErrorIs(t, err, errStored, "cut after %d bytes", n)
	}
	_, err = parse("\x00\x00\x00\x01f" + "\x00\x00\x00\x01x" + whole[10:])
	require.ErrorIs(t, err, errStored)
}
