package rest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	require.Zero(t, p.least(), "nothing is known before the first call")
	p.observe(50 * time.Millisecond)
	p.observe(20 * time.Millisecond)
	p.observe(90 * time.Millisecond)
	require.Equal(t, 20*time.Millisecond, p.least())
	for range paceCalls {
		p.observe(70 * time.Millisecond)
	}
	require.Equal(t, 70*time.Millisecond, p.least(), "calls of long ago do not count")
}
