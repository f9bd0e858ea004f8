package priority_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/priority"
)

func incoming(t *testing.T, name string) context.Context {
	t.Helper()
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs(priority.Key, name))
}

func sent(ctx context.Context) []string {
	md, _ := metadata.FromOutgoingContext(ctx)
	return md.Get(priority.Key)
}

func TestFrom(t *testing.T) {
	t.Parallel()
	t.Run("a call that says nothing keeps records agreeing", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, priority.Sync, priority.From(t.Context()))
		require.Equal(t, priority.Unset, priority.Stated(t.Context()))
	})
	t.Run("the caller's metadata is the level", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, priority.Audit, priority.From(incoming(t, "audit")))
	})
	t.Run("a level that does not exist is no level", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, priority.Sync, priority.From(incoming(t, "most urgent of all")))
	})
	t.Run("what the process states goes before what the caller stated", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, priority.Bulk, priority.From(priority.With(incoming(t, "interactive"), priority.Bulk)))
	})
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, l := range priority.Levels() {
		got, err := priority.Parse(l.String())
		require.NoError(t, err)
		require.Equal(t, l, got)
	}
	_, err := priority.Parse("")
	require.Error(t, err)
	require.Less(t, priority.Interactive, priority.Audit, "a smaller level goes first")
}

func TestOutgoing(t *testing.T) {
	t.Parallel()
	t.Run("a level is passed on along the chain", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"interactive"}, sent(priority.Outgoing(incoming(t, "interactive"), priority.Sync)))
	})
	t.Run("without one the connection's own is stated", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"bulk"}, sent(priority.Outgoing(t.Context(), priority.Bulk)))
		require.Empty(t, sent(priority.Outgoing(t.Context(), priority.Unset)))
	})
	t.Run("it is stated once", func(t *testing.T) {
		t.Parallel()
		ctx := priority.Outgoing(priority.With(t.Context(), priority.Audit), priority.Sync)
		require.Equal(t, []string{"audit"}, sent(priority.Outgoing(ctx, priority.Interactive)))
	})
	t.Run("the interceptor states it for every call", func(t *testing.T) {
		t.Parallel()
		var got []string
		err := priority.UnaryClient(priority.Interactive)(t.Context(), "/m", nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			got = sent(ctx)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, []string{"interactive"}, got)
	})
}
