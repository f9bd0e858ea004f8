package telemetrytest_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

func TestLog(t *testing.T) {
	t.Parallel()
	var l telemetrytest.Log
	require.Empty(t, l.String())
	require.Empty(t, l.With(""))
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() { fmt.Fprintf(&l, "line %d of %t\n", i, i%2 == 0) })
	}
	wg.Wait()
	require.Len(t, l.With("true"), 5)
	require.Equal(t, []string{"line 7 of false\n"}, l.With(" 7 "))
	require.Len(t, l.With("line"), 10)
}
