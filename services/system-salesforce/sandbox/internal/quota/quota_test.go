package quota_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/quota"
)

func TestUseLeavesTheWindow(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	m := quota.New(10, 24*time.Hour, func() time.Time { return now })
	require.True(t, m.Take(6))
	now = now.Add(12 * time.Hour)
	require.True(t, m.Take(4))
	require.False(t, m.Take(1), "nothing is left")
	limit, left := m.Usage()
	require.EqualValues(t, 10, limit)
	require.EqualValues(t, 0, left)

	now = now.Add(12*time.Hour + time.Minute)
	_, left = m.Usage()
	require.EqualValues(t, 6, left, "the first use has left the window, the second has not")
	require.False(t, m.Take(7), "a refused use counts nothing")
	require.True(t, m.Take(6))
	now = now.Add(48 * time.Hour)
	_, left = m.Usage()
	require.EqualValues(t, 10, left)
}

func TestForcedUseNeverShowsLessThanNothingLeft(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	m := quota.New(5, time.Hour, func() time.Time { return now })
	m.Add(9)
	_, left := m.Usage()
	require.EqualValues(t, 0, left)
	require.False(t, m.Take(1))
}
