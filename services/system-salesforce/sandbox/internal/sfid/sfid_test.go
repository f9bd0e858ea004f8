package sfid

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChecksumIsThatOfSalesforce(t *testing.T) {
	t.Parallel()
	id, ok := Normal("001D000000IqhSL")
	require.True(t, ok)
	require.Equal(t, "001D000000IqhSLIAZ", id)
}

func TestNormalRepairsCaseAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	id, ok := Normal(strings.ToUpper("001D000000IqhSLIAZ"))
	require.True(t, ok)
	require.Equal(t, "001D000000IqhSLIAZ", id)
	for _, bad := range []string{"", "001", "001D000000IqhS!", "001D000000IqhSLI", "001D000000IqhSLZZZ", "001D000000IqhSL IAZ"} {
		_, ok := Normal(bad)
		require.False(t, ok, bad)
	}
}

func TestNumbersComeBackInOrder(t *testing.T) {
	t.Parallel()
	last := ""
	for _, n := range []int{0, 1, 35, 36, 61, 62, 3843, 3844, 1_000_000} {
		id := New("a00", n)
		require.Len(t, id, 18)
		require.Greater(t, id, last)
		last = id
		got, ok := Number(id)
		require.True(t, ok)
		require.Equal(t, n, got)
	}
	_, ok := Number("001D000000IqhSLIAZ")
	require.False(t, ok)
}
