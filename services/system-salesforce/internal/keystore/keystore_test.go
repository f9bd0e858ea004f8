package keystore

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSecret(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		first, err := ownSecret(t.Context(), d)
		require.NoError(t, err)
		require.Len(t, first, 32)
		again, err := ownSecret(t.Context(), d)
		require.NoError(t, err)
		require.Equal(t, first, again, "replicas and later processes find the same one")
		store, err := Open(t.Context(), d, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.NoError(t, Forget(ctx, store, telemetry.Discard()), "it ends with its context")
		_, err = Open(t.Context(), d, []byte("short"))
		require.Error(t, err)
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		was, is := []byte("the secret of last year"), []byte("the secret of this year")
		call := func(store *idempotent.SQLStore) (handled bool) {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("idempotency-key", "0123456789abcdef0123"))
			_, err := idempotent.UnaryServer(store, idempotent.Options{})(ctx, &salesforcev1.PublishEventsRequest{},
				&grpc.UnaryServerInfo{FullMethod: salesforcev1.EventService_PublishEvents_FullMethodName},
				func(context.Context, any) (any, error) {
					handled = true
					return &salesforcev1.PublishEventsResponse{}, nil
				})
			require.NoError(t, err)
			return handled
		}
		before, err := Open(t.Context(), d, was)
		require.NoError(t, err)
		require.True(t, call(before))
		after, err := Open(t.Context(), d, is, was)
		require.NoError(t, err)
		require.False(t, call(after), "an event that was published before the rotation is not published again")
		forgot, err := Open(t.Context(), d, is)
		require.NoError(t, err)
		require.True(t, call(forgot), "without the old secret nobody knows the key")
	})
}
