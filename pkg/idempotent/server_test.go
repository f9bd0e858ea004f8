package idempotent_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

func TestServer_Replay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	first := w.call(t.Context(), "Manual", "k1", "a")
	require.Equal(t, reply{"did a", idempotent.StatusExecuted, nil}, first)
	for range 3 {
		require.Equal(t, reply{"did a", idempotent.StatusReplayed, nil}, w.call(t.Context(), "Manual", "k1", "a"))
	}
	require.Equal(t, 1, w.executions())

	again := w.call(t.Context(), "Manual", "k1", "another request")
	require.Equal(t, idempotent.ReasonKeyReused, fault.ReasonOf(again.err))
	require.Equal(t, fault.Precondition, fault.KindOf(again.err))
	require.Equal(t, 1, w.executions())

	require.NoError(t, w.call(t.Context(), "Recoverable", "k1", "a").err, "another method is another scope")
	require.NoError(t, w.call(w.as("somebody else"), "Manual", "k1", "b").err, "another caller is another scope")
	require.Equal(t, 3, w.executions())
}

func TestServer_FinalErrorsAreReplayedExactly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	w.handle(func(context.Context, string) (string, error) {
		return "", fault.New(fault.AlreadyExists, "NUMBER_TAKEN", "taken").WithMeta("resource", "customers/7")
	})
	first, second := w.call(t.Context(), "Manual", "k", "a"), w.call(t.Context(), "Manual", "k", "a")
	require.Equal(t, idempotent.StatusExecuted, first.status)
	require.Equal(t, idempotent.StatusReplayed, second.status)
	require.True(t, proto.Equal(status.Convert(first.err).Proto(), status.Convert(second.err).Proto()))
	require.Equal(t, "NUMBER_TAKEN", fault.ReasonOf(second.err))
	require.Equal(t, 1, w.executions())
}

func TestServer_WhatIsRemembered(t *testing.T) {
	t.Parallel()
	const (
		done, released, doubt = "done", "released", "doubt"
	)
	codesWant := map[codes.Code]string{
		codes.FailedPrecondition: done, codes.NotFound: done, codes.AlreadyExists: done, codes.OutOfRange: done,
		codes.InvalidArgument: released, codes.Unauthenticated: released, codes.PermissionDenied: released,
		codes.ResourceExhausted: released, codes.Unimplemented: released, codes.Aborted: released,
		codes.Unavailable: doubt, codes.DeadlineExceeded: doubt, codes.Canceled: doubt, codes.Unknown: doubt,
		codes.Internal: doubt, codes.DataLoss: doubt,
	}
	cases := map[string]struct {
		err  error
		want string
	}{
		"an uncertain error":            {fault.New(fault.Uncertain, "", "x"), doubt},
		"an error nobody classified":    {errors.New("x"), doubt},
		"Final makes anything final":    {idempotent.Final(fault.New(fault.Unavailable, "", "x")), done},
		"NotExecuted releases anything": {idempotent.NotExecuted(fault.New(fault.Internal, "", "x")), released},
		"NotExecuted inside a wrapper":  {fmt.Errorf("w: %w", idempotent.NotExecuted(errors.New("x"))), released},
	}
	for c, want := range codesWant {
		cases[c.String()] = struct {
			err  error
			want string
		}{status.Error(c, "x"), want}
	}
	for name, tt := range cases {
		for _, m := range []string{"Manual", "Probe", "Recoverable"} {
			t.Run(m+": "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{Probes: []string{method("Probe")}})
				w.handle(func(context.Context, string) (string, error) { return "", tt.err })
				first := w.call(t.Context(), m, "k", "a")
				require.Error(t, first.err)
				recovering := false
				w.handle(func(ctx context.Context, _ string) (string, error) {
					recovering = idempotent.Recovering(ctx)
					return "second attempt", nil
				})
				second := w.call(t.Context(), m, "k", "a")
				switch {
				case tt.want == done:
					require.Equal(t, status.Code(first.err), status.Code(second.err))
					require.Equal(t, idempotent.StatusReplayed, second.status)
					require.Equal(t, 1, w.executions())
				case tt.want == released || m != "Manual":
					require.Equal(t, "second attempt", second.text)
					require.Equal(t, tt.want == doubt, recovering, "the handler knows whether it must look first")
					require.Equal(t, 2, w.executions())
				default:
					require.Equal(t, fault.Uncertain, fault.KindOf(second.err))
					require.Equal(t, 1, w.executions())
				}
			})
		}
	}
}

func TestServer_ProbeIsOnlyForThoseWhoCan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	w.handle(func(context.Context, string) (string, error) { return "", fault.New(fault.Timeout, "", "x") })
	require.Error(t, w.call(t.Context(), "Probe", "k", "a").err)
	require.Equal(t, fault.Uncertain, fault.KindOf(w.call(t.Context(), "Probe", "k", "a").err))
	require.Equal(t, 1, w.executions())
}

func TestServer_Keys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	require.Equal(t, idempotent.ReasonKeyMissing, fault.ReasonOf(w.call(t.Context(), "Manual", "", "a").err))
	for name, key := range map[string]string{"too long": strings.Repeat("x", 256), "with a space": "a b"} {
		require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(w.call(t.Context(), "Manual", key, "a").err), name)
	}
	twice := metadata.AppendToOutgoingContext(t.Context(), idempotent.Metadata, "a")
	require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(w.call(twice, "Manual", "b", "a").err))
	require.Zero(t, w.executions())

	old := uuid7(time.Now().Add(-100 * 24 * time.Hour))
	require.Equal(t, idempotent.ReasonKeyExpired, fault.ReasonOf(w.call(t.Context(), "Manual", old, "a").err))
	require.Zero(t, w.executions(), "a key older than all memory must not be executed again")
	require.NoError(t, w.call(t.Context(), "Manual", uuid7(time.Now().Add(-time.Hour)), "a").err)
	require.NoError(t, w.call(t.Context(), "Manual", uuid7(time.Now().Add(4*time.Minute)), "a").err, "a clock that is a little fast is no reason to refuse")
	ahead := w.call(t.Context(), "Manual", uuid7(time.Now().Add(24*time.Hour)), "a")
	require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(ahead.err), "such a key would outlive the memory of its answer")
	require.NoError(t, w.call(t.Context(), "Manual", strings.Repeat("~", 255), "'; DROP TABLE idempotency; --").err)

	for _, m := range []string{"None", "Undeclared"} {
		before := w.executions()
		refused := w.call(t.Context(), m, "k", "a")
		require.Equal(t, idempotent.ReasonNotSupported, fault.ReasonOf(refused.err), "a key is never accepted and ignored")
		require.Equal(t, before, w.executions())
		require.NoError(t, w.call(t.Context(), m, "", "a").err)
	}
	for _, m := range []string{"Natural", "Read"} {
		var seen string
		w.handle(func(ctx context.Context, _ string) (string, error) {
			seen, _ = idempotent.FromContext(ctx)
			return "", nil
		})
		for range 2 {
			require.Equal(t, idempotent.StatusIgnored, w.call(t.Context(), m, "k", "a").status, m)
		}
		require.Equal(t, "k", seen, "the key is passed on to what the method calls")
		require.NoError(t, w.call(t.Context(), m, "", "a").err)
	}
	before := w.executions()
	for range 2 {
		require.NoError(t, w.call(t.Context(), "Optional", "", "a").err)
	}
	require.Equal(t, before+2, w.executions(), "without a key an optional method is not protected")
	for range 2 {
		require.NoError(t, w.call(t.Context(), "Optional", "k", "a").err)
	}
	require.Equal(t, before+3, w.executions())
}

func uuid7(at time.Time) string {
	ms := at.UnixMilli()
	b := []byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms), 0x71, 2, 0x83, 4, 5, 6, 7, 8, 9, 10}
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func TestServer_HundredAtOnceExecuteOnce(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"memory", "sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var store idempotent.Store = idempotent.NewMemoryStore(nil)
			if engine != "memory" {
				s, err := idempotent.NewSQLStore(dbtest.Open(t, engine), secret, nil)
				require.NoError(t, err)
				store = s
			}
			w := newWorld(t, store, idempotent.Options{MaxWaiters: 200, Wait: 20 * time.Second})
			begun, release := make(chan struct{}), make(chan struct{})
			w.handle(func(context.Context, string) (string, error) {
				close(begun) // panics if it runs twice
				<-release
				return "once", nil
			})
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if r := w.call(t.Context(), "Manual", "k", "a"); r.err != nil || r.text != "once" {
						t.Errorf("got %+v", r)
					}
				})
			}
			<-begun
			close(release)
			wg.Wait()
			require.Equal(t, 1, w.executions())
		})
	}
}

// direct calls the interceptor without a connection, in fake time.
func direct(ctx context.Context, ic grpc.UnaryServerInterceptor, name, key string, h grpc.UnaryHandler) (any, error) {
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(idempotent.Metadata, key))
	return ic(ctx, wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: method(name)}, h)
}

func succeed(text string) grpc.UnaryHandler {
	return func(context.Context, any) (any, error) { return wrapperspb.String(text), nil }
}

func TestServer_WhatAHandlerKeepsIsNotUsedForAnotherCall(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
	var kept context.Context
	for range 100 { // all but the first are replays
		_, err := direct(t.Context(), ic, "Manual", "key", func(ctx context.Context, _ any) (any, error) {
			kept = ctx
			return wrapperspb.String("answer"), nil
		})
		require.NoError(t, err)
	}
	require.Equal(t, int64(1), idempotent.Fence(kept))
}

func TestServer_Panic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{})
	w.handle(func(context.Context, string) (string, error) { panic("secret detail") })
	r := w.call(t.Context(), "Manual", "k", "a")
	require.Equal(t, fault.ReasonPanic, fault.ReasonOf(r.err))
	require.NotContains(t, r.err.Error(), "secret detail")
	require.Equal(t, fault.Uncertain, fault.KindOf(w.call(t.Context(), "Manual", "k", "a").err))
}

func TestServer_LargeAnswersAreRememberedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idempotent.NewMemoryStore(nil), idempotent.Options{Resource: func(proto.Message) string { return "things/1" }})
	w.handle(func(context.Context, string) (string, error) { return strings.Repeat("x", idempotent.MaxAnswer+1), nil })
	require.NoError(t, w.call(t.Context(), "Manual", "k", "a").err)
	r := w.call(t.Context(), "Manual", "k", "a")
	require.Equal(t, idempotent.ReasonResultGone, fault.ReasonOf(r.err))
	fe, ok := fault.As(r.err)
	require.True(t, ok)
	require.Equal(t, "things/1", fe.Meta["resource"])
	require.Equal(t, 1, w.executions())
}
