package idempotent_test

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// A service that was started again does not know which keys it has met. Without a look it finds out when it commits.
func TestOptimistic(t *testing.T) {
	t.Parallel()
	const key, name = "optimistic-0123456789", "one"
	setup := func(t *testing.T) (d *db.DB, restarted func() *world, runs *atomic.Int64) {
		t.Helper()
		d = dbtest.Open(t, "sqlite")
		if !testing.Short() {
			d.Rehearse()
		}
		require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE effect (id TEXT NOT NULL);")}}, "effect_migrations"))
		runs = &atomic.Int64{}
		restarted = func() *world {
			s, err := idempotent.NewSQLStore(d, secret, nil)
			require.NoError(t, err)
			w := newWorld(t, s, idempotent.Options{Optimistic: true, Wait: time.Millisecond})
			w.handle(func(ctx context.Context, req string) (string, error) {
				runs.Add(1)
				return "did " + req, d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
					if _, err := tx.ExecContext(ctx, "INSERT INTO effect (id) VALUES ($1)", req); err != nil {
						return err
					}
					return s.CompleteTx(ctx, tx, wrapperspb.String("did "+req))
				})
			})
			return w
		}
		require.NoError(t, restarted().call(t.Context(), "Transaction", key, name).err)
		return d, restarted, runs
	}
	effects := func(t *testing.T, d *db.DB) (n int) {
		t.Helper()
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM effect").Scan(&n))
		return n
	}
	t.Run("a repetition after a restart is rolled back and gets the stored answer", func(t *testing.T) {
		t.Parallel()
		d, restarted, runs := setup(t)
		w := restarted()
		again := w.call(t.Context(), "Transaction", key, name)
		replayed(t, again)
		require.Equal(t, "did "+name, again.text)
		require.Equal(t, 1, effects(t, d))
		require.Equal(t, int64(2), runs.Load(), "nobody looked first")
		replayed(t, w.call(t.Context(), "Transaction", key, name))
		require.Equal(t, int64(2), runs.Load(), "now the key is known")
	})
	t.Run("another request under the key is refused and has no effect", func(t *testing.T) {
		t.Parallel()
		d, restarted, _ := setup(t)
		other := restarted().call(t.Context(), "Transaction", key, "another")
		require.Equal(t, codes.FailedPrecondition, fault.ToStatus(other.err).Code())
		require.Equal(t, 1, effects(t, d))
	})
	t.Run("a caller who has left is not served", func(t *testing.T) {
		t.Parallel()
		_, restarted, runs := setup(t)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		left := restarted().call(ctx, "Transaction", "optimistic-left-0123", "left")
		require.Equal(t, codes.Canceled, fault.ToStatus(left.err).Code())
		require.Equal(t, int64(1), runs.Load())
	})
	t.Run("a refusal is no answer while nobody can look whether the key was answered before", func(t *testing.T) {
		t.Parallel()
		d, restarted, _ := setup(t)
		w := restarted()
		rename := func(from, to string) {
			_, err := d.Exec(context.WithoutCancel(t.Context()), "ALTER TABLE "+from+" RENAME TO "+to)
			require.NoError(t, err)
		}
		exists := fault.New(fault.AlreadyExists, fault.ReasonAlreadyExists, "there is one")
		w.handle(func(context.Context, string) (string, error) {
			rename("idempotency", "away") // what comes next cannot read it
			return "", exists
		})
		refused := w.call(t.Context(), "Transaction", key, name)
		require.Equal(t, fault.Unavailable, fault.KindOf(refused.err))
		require.Equal(t, idempotent.ReasonStoreUnavailable, fault.ReasonOf(refused.err))
		rename("away", "idempotency")
		again := w.call(t.Context(), "Transaction", key, name)
		replayed(t, again)
		require.Equal(t, "did "+name, again.text)
		require.Equal(t, 1, effects(t, d))

		// A key that was not answered before gets the refusal.
		w.handle(func(context.Context, string) (string, error) { return "", exists })
		other := w.call(t.Context(), "Transaction", "optimistic-other-012", "other")
		require.Equal(t, fault.AlreadyExists, fault.KindOf(other.err))
	})
	t.Run("a claim that it meets is respected, and taken over when its lease is over", func(t *testing.T) {
		t.Parallel()
		d, restarted, _ := setup(t)
		claimed := func(until time.Time) {
			_, err := d.Exec(t.Context(), "UPDATE idempotency SET state = 'c', answer = NULL, answer_ok = FALSE, lease_until = $1", until.UnixMicro())
			require.NoError(t, err)
			_, err = d.Exec(t.Context(), "DELETE FROM effect")
			require.NoError(t, err)
		}
		claimed(time.Now().Add(time.Hour))
		waiting := restarted().call(t.Context(), "Transaction", key, name)
		require.Equal(t, codes.Aborted, fault.ToStatus(waiting.err).Code())
		require.Zero(t, effects(t, d))
		claimed(time.Now().Add(-time.Hour))
		w := restarted()
		taken := w.call(t.Context(), "Transaction", key, name)
		require.NoError(t, taken.err)
		require.Equal(t, idempotent.StatusExecuted, taken.status)
		require.Equal(t, 1, effects(t, d))
		replayed(t, w.call(t.Context(), "Transaction", key, name))
	})
}

// A method whose effect is one transaction claims nothing where the keys are in that database, and a key like any other method
// where they are not.
func TestInTransaction(t *testing.T) {
	t.Parallel()
	const key = "in-transaction-012345"
	open := func(t *testing.T, s idempotent.Store) []idempotent.Entry {
		t.Helper()
		page, err := s.List(t.Context(), idempotent.Filter{})
		require.NoError(t, err)
		return page.Entries
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, err := idempotent.NewSQLStore(d, secret, nil)
		require.NoError(t, err)
		w := newWorld(t, s, idempotent.Options{})
		begun, proceed := make(chan struct{}, 2), make(chan struct{})
		w.handle(func(ctx context.Context, req string) (string, error) {
			begun <- struct{}{}
			<-proceed
			return "did " + req, d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				return s.CompleteTx(ctx, tx, wrapperspb.String("did "+req))
			})
		})
		var calls sync.WaitGroup
		answers := make([]reply, 2)
		for i := range answers {
			calls.Go(func() { answers[i] = w.call(t.Context(), "Anywhere", key, "one") })
		}
		<-begun
		require.Empty(t, open(t, s), "nothing is claimed")
		other := w.call(t.Context(), "Anywhere", key, "another")
		refused(t, other, codes.FailedPrecondition, idempotent.ReasonKeyReused) // while the first one runs
		close(proceed)
		calls.Wait()
		for _, a := range answers {
			require.NoError(t, a.err)
			require.Equal(t, "did one", a.text)
		}
		require.ElementsMatch(t, []string{idempotent.StatusExecuted, idempotent.StatusReplayed}, []string{answers[0].status, answers[1].status})
		require.Empty(t, begun, "the second one waited")
		kept := open(t, s)
		require.Len(t, kept, 1)
		require.Equal(t, idempotent.Done, kept[0].State)
		require.Equal(t, int64(1), kept[0].Fence)
	})
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		s := idempotent.NewMemoryStore(nil)
		w := newWorld(t, s, idempotent.Options{Optimistic: true})
		w.handle(func(_ context.Context, req string) (string, error) {
			claimed := open(t, s)
			require.Len(t, claimed, 1)
			require.Equal(t, idempotent.Claimed, claimed[0].State)
			require.True(t, claimed[0].Recoverable)
			return "did " + req, nil
		})
		require.Equal(t, idempotent.StatusExecuted, w.call(t.Context(), "Anywhere", key, "one").status)
		replayed(t, w.call(t.Context(), "Anywhere", key, "one"))
	})
	t.Run("a contract that says it of what is no transaction, or twice, is refused", func(t *testing.T) {
		t.Parallel()
		required := optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED
		for _, policy := range []*optionsv1.IdempotencyPolicy{
			{Key: optionsv1.KeyRequirement_KEY_REQUIREMENT_NATURAL, Recovery: optionsv1.Recovery_RECOVERY_RECOVERABLE, InTransaction: true},
			{Key: required, Recovery: optionsv1.Recovery_RECOVERY_MANUAL, InTransaction: true},
			{Key: required, Recovery: optionsv1.Recovery_RECOVERY_TRANSACTIONAL, InTransaction: true},
		} {
			o := &descriptorpb.MethodOptions{}
			proto.SetExtension(o, optionsv1.E_Idempotency, policy)
			text := proto.String(".google.protobuf.StringValue")
			file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
				Name: proto.String("refused.proto"), Package: proto.String("refused"), Syntax: proto.String("proto3"),
				Dependency: []string{"google/protobuf/wrappers.proto"},
				Service: []*descriptorpb.ServiceDescriptorProto{{
					Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{{Name: proto.String("M"), Options: o, InputType: text, OutputType: text}},
				}},
			}, protoregistry.GlobalFiles)
			require.NoError(t, err)
			errs := idempotent.Lint(file)
			require.Len(t, errs, 1)
			require.ErrorContains(t, errs[0], "in the transaction of its effect")
		}
	})
}
