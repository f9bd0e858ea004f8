package telemetry_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

func TestRemoval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(io.Discard))
		require.NoError(t, err)
		old, err := telemetry.NewRemoval(tel.Meter.Meter("one"), "old rows", time.Minute)
		require.NoError(t, err)
		older, err := telemetry.NewRemoval(tel.Meter.Meter("another"), "older rows", time.Hour)
		require.NoError(t, err)
		told := func(rows string) (out []string) {
			for _, series := range []string{"last_success_age_seconds", "period_seconds", "failures_total"} {
				out = append(out, telemetrytest.Sample(tel.Metrics, `selfsame_retention_`+series+`{selfsame_rows="`+rows+`"}`))
			}
			return out
		}
		require.Equal(t, []string{"0", "60", "0"}, told("old rows"))
		time.Sleep(90 * time.Second)
		require.Equal(t, []string{"90", "60", "0"}, told("old rows"), "it has never succeeded")

		require.False(t, old.Done(t.Context(), nil))
		time.Sleep(time.Second)
		require.Equal(t, []string{"1", "60", "0"}, told("old rows"))
		require.Equal(t, []string{"91", "3600", "0"}, told("older rows"), "each by itself")

		require.True(t, old.Done(t.Context(), errors.New("down")))
		require.True(t, older.Done(t.Context(), errors.New("down")))
		require.True(t, old.Done(t.Context(), errors.New("still down")))
		time.Sleep(time.Second)
		require.Equal(t, []string{"2", "60", "2"}, told("old rows"))
		require.Equal(t, []string{"92", "3600", "1"}, told("older rows"))

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, old.Done(ended, ended.Err()), "the end is not a failure")
		require.Equal(t, []string{"2", "60", "2"}, told("old rows"), "nor a success")
		require.False(t, old.Done(ended, nil), "but what was committed is one")
		require.Equal(t, []string{"0", "60", "2"}, told("old rows"))
		require.NoError(t, tel.Shutdown(t.Context()))
	})
	t.Run("nobody is told", func(t *testing.T) {
		t.Parallel()
		r, err := telemetry.NewRemoval(nil, "rows", time.Minute)
		require.NoError(t, err)
		require.True(t, r.Done(t.Context(), errors.New("down")))
	})
}
