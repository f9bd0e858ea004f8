package conf_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
)

func TestSecret_Resolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("one\n"), 0o600))
	inFile := conf.Secret("file:" + file)
	got, err := inFile.Resolve()
	require.NoError(t, err)
	require.Equal(t, "one", got)
	require.NoError(t, os.WriteFile(file, []byte("two"), 0o600))
	got, err = inFile.Resolve()
	require.NoError(t, err)
	require.Equal(t, "two", got, "a file that was replaced is read anew")

	t.Setenv("A_SECRET_OF_THIS_TEST", "three")
	got, err = conf.Secret("env:A_SECRET_OF_THIS_TEST").Resolve()
	require.NoError(t, err)
	require.Equal(t, "three", got)
	got, err = conf.Secret("four").Resolve()
	require.NoError(t, err)
	require.Equal(t, "four", got)

	_, err = conf.Secret("env:NO_SUCH_SECRET_OF_THIS_TEST").Resolve()
	require.ErrorContains(t, err, "NO_SUCH_SECRET_OF_THIS_TEST")
	_, err = conf.Secret("file:" + file + ".gone").Resolve()
	require.Error(t, err)
}
