package storetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

func feedsInUse(t *testing.T, s *store.Store) {
	const here, read, left = "in use: configured", "in use: read by another process", "in use: left behind"
	tx(t, s, func(ctx context.Context, tx *store.Tx) error {
		for system, lease := range map[string]time.Duration{here: 0, read: 30 * time.Second, left: 10 * time.Second} {
			if err := tx.EnsureFeed(ctx, system); err != nil {
				return err
			}
			if _, _, err := tx.AcquireFeed(ctx, system, "me", at(0), lease); err != nil {
				return err
			}
		}
		return nil
	})
	all, err := s.Read().Feeds(t.Context())
	require.NoError(t, err)
	of := func(now time.Time, configured ...string) (names []string) {
		for _, f := range store.InUse(all, configured, now) {
			if strings.HasPrefix(f.System, "in use: ") {
				names = append(names, f.System)
			}
		}
		return names
	}
	require.Equal(t, []string{here, left, read}, of(at(9), here))
	require.Equal(t, []string{here, read}, of(at(10), here), "a lease that has ended says that nobody reads it")
	require.Equal(t, []string{here, left}, of(at(30), left, here), "it is configured again")
	require.Empty(t, of(at(30)))
}
