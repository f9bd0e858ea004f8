package identify

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func TestDriftWatch_MeasuresAgainAndAgain(t *testing.T) {
	both(t, Config{}, func(t *testing.T, b *bench) {
		b.SF.Create(golden.Customer, "", acme(0))
		b.settle()
		looks := 0
		w := NewDriftWatch(b.decider, func() store.Reader { looks++; return b.Store.Read() }, slog.New(slog.DiscardHandler))
		require.Zero(t, w.Last(golden.Customer))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx, time.Millisecond) }()
		require.Eventually(t, func() bool { return w.Last(golden.Customer).Customers == 1 }, time.Minute, time.Millisecond)
		b.SF.Create(golden.Customer, "", other())
		b.settle()
		require.Eventually(t, func() bool { return w.Last(golden.Customer).Customers == 2 }, time.Minute, time.Millisecond)
		cancel()
		require.NoError(t, <-ended)
		require.Greater(t, looks, 1)
	})
}
