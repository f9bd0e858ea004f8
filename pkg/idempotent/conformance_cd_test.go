package idempotent_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// mortal is a store whose process can die: nothing more is then heard of its attempts. It counts what is asked.
type mortal struct {
	idempotent.Store
	dead   atomic.Bool
	begins atomic.Int64
	writes atomic.Int64
}

func (m *mortal) tell(do func() error) error {
	m.writes.Add(1)
	if m.dead.Load() {
		return errDown
	}
	return do()
}

func (m *mortal) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	m.begins.Add(1)
	return m.Store.Begin(ctx, c)
}

func (m *mortal) Heartbeat(ctx context.Context, g idempotent.Grant, lease time.Duration) error {
	return m.tell(func() error { return m.Store.Heartbeat(ctx, g, lease) })
}

func (m *mortal) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	return m.tell(func() error { return m.Store.Complete(ctx, g, a) })
}

func (m *mortal) Release(ctx context.Context, g idempotent.Grant) error {
	return m.tell(func() error { return m.Store.Release(ctx, g) })
}

func (m *mortal) Uncertain(ctx context.Context, g idempotent.Grant) error {
	return m.tell(func() error { return m.Store.Uncertain(ctx, g) })
}

func (m *mortal) Step(ctx context.Context, g idempotent.Grant, name string, result []byte) error {
	return m.tell(func() error { return m.Store.Step(ctx, g, name, result) })
}

// dies executes a call whose process dies after the effect.
func (w *world) dies(name, key, req string, effect func(ctx context.Context)) {
	w.t.Helper()
	m := w.store.(*mortal)
	w.handle(func(ctx context.Context, _ string) (string, error) {
		if effect != nil {
			effect(ctx)
		}
		m.dead.Store(true)
		return "never heard", nil
	})
	require.Error(w.t, w.call(context.Background(), name, key, req).err)
	m.dead.Store(false)
}

func directAs(ctx context.Context, ic grpc.UnaryServerInterceptor, name, key string, h grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	md.Set(idempotent.Metadata, key)
	return ic(metadata.NewIncomingContext(ctx, md), wrapperspb.String("request"), &grpc.UnaryServerInfo{FullMethod: method(name)}, h)
}

func textOf(resp any) string {
	v, _ := resp.(*wrapperspb.StringValue)
	return v.GetValue()
}

// dump returns everything the store keeps in the database, as text.
func dump(t *testing.T, d *db.DB) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, q := range []string{
			"SELECT k, fp, owner, COALESCE(answer, fp), resource || trace || method, COALESCE(subject, fp) FROM idempotency",
			"SELECT k, result, k, k, step, k FROM idempotency_steps",
		} {
			rows, err := tx.QueryContext(ctx, q)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var c [6][]byte
				if err := rows.Scan(&c[0], &c[1], &c[2], &c[3], &c[4], &c[5]); err != nil {
					return err
				}
				for _, v := range c {
					b.Write(v)
				}
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NotEmpty(t, b.String())
	return b.String()
}

func casesC() []conformanceCase {
	reused := func(t *testing.T, r reply) {
		t.Helper()
		refused(t, r, codes.FailedPrecondition, idempotent.ReasonKeyReused)
		require.NotContains(t, r.err.Error(), "did")
		require.Empty(t, r.text)
	}
	mortalWorld := func(t *testing.T) (*world, func(time.Duration)) {
		t.Helper()
		w, clock := confClock(t, idempotent.Options{})
		m := &mortal{Store: w.store}
		return newWorld(t, m, idempotent.Options{Wait: time.Millisecond, Now: clock.Now}), clock.Advance
	}
	return []conformanceCase{
		{"C-01", "another request under a used key is refused and shown nothing", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			reused(t, w.call(t.Context(), "Manual", k1, "b"))
			require.Equal(t, 1, w.executions())
		}},
		{"C-02", "another request is refused as such while the first one runs", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			begun, end := make(chan struct{}), make(chan struct{})
			w.handle(func(context.Context, string) (string, error) { close(begun); <-end; return "did", nil })
			var wg sync.WaitGroup
			wg.Go(func() { w.call(t.Context(), "Manual", k1, "a") })
			<-begun
			reused(t, w.call(t.Context(), "Manual", k1, "b"))
			close(end)
			wg.Wait()
		}},
		{"C-03", "another request does not take over a crashed one", func(t *testing.T) {
			w, advance := mortalWorld(t)
			w.dies("Recoverable", k1, "a", nil)
			advance(time.Minute)
			reused(t, w.call(t.Context(), "Recoverable", k1, "b"))
			require.Equal(t, 1, w.executions())
		}},
		{"C-04", "another request is refused after a release", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(func(context.Context, string) (string, error) { return "", status.Error(codes.Aborted, "rolled back") })
			require.Error(t, w.call(t.Context(), "Manual", k1, "a").err)
			reused(t, w.call(t.Context(), "Manual", k1, "b"))
		}},
		{"C-05", "another spelling of the same JSON is the same request", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.send(t.Context(), "Rich", k1, rich(t, `{"text":"aé","amount":1.0,"tags":{"x":"1","y":"2"}}`)))
			replayed(t, w.send(t.Context(), "Rich", k1, rich(t, ` {"tags" : {"y":"2","x":"1"}, "amount":1, "text":"a\u00e9"} `)))
			require.Equal(t, 1, w.executions())
		}},
		{"C-06", "an ignored field may differ, a counted one may not, on every path", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			first, ignored := rich(t, `{"text":"a","client_time":"1","note":"x","inner":{"text":"x"}}`), rich(t, `{"text":"a","client_time":"2","note":"y","inner":{"text":"y"}}`)
			counted := []proto.Message{rich(t, `{"text":"b","client_time":"1","note":"x","inner":{"text":"x"}}`), rich(t, `{"text":"a","inner":{"text":"x","note":"z"}}`)}
			begun, end := make(chan struct{}), make(chan struct{})
			w.handle(func(context.Context, string) (string, error) { close(begun); <-end; return "did", nil })
			var wg sync.WaitGroup
			wg.Go(func() { executed(t, w.send(t.Context(), "Rich", k1, first)) })
			<-begun
			for _, m := range counted {
				reused(t, w.send(t.Context(), "Rich", k1, m))
			}
			wg.Go(func() { replayed(t, w.send(t.Context(), "Rich", k1, ignored)) })
			close(end)
			wg.Wait()
			replayed(t, w.send(t.Context(), "Rich", k1, ignored))
			for _, m := range counted {
				reused(t, w.send(t.Context(), "Rich", k1, m))
			}
			require.Equal(t, 1, w.executions())
		}},
		{"C-07", "a field this server does not know counts", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.send(t.Context(), "Rich", k1, rich(t, `{"text":"a"}`)))
			m := rich(t, `{"text":"a"}`)
			m.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 0x01})
			reused(t, w.send(t.Context(), "Rich", k1, m))
		}},
		{"C-08", "a record of the release before is compared by its own algorithm", func(t *testing.T) {
			store := idempotent.NewMemoryStore(nil)
			old, fresh := newWorld(t, store, idempotent.Options{FingerprintVersion: 1}), newWorld(t, store, idempotent.Options{})
			executed(t, old.call(t.Context(), "Manual", k1, "a"))
			replayed(t, fresh.call(t.Context(), "Manual", k1, "a"))
			reused(t, fresh.call(t.Context(), "Manual", k1, "b"))
			executed(t, fresh.call(t.Context(), "Manual", "made-by-the-new-release", "a"))
			replayed(t, old.call(t.Context(), "Manual", "made-by-the-new-release", "a"))
			require.Equal(t, 2, old.executions()+fresh.executions())
		}},
		{"C-09", "the order in which a map was filled does not matter", func(t *testing.T) {
			want := idempotent.Fingerprint("/m", rich(t, `{"tags":{"a":"1","b":"2","c":"3","d":"4"}}`))
			for i := range 100 {
				entries := []string{`"a":"1"`, `"b":"2"`, `"c":"3"`, `"d":"4"`}
				for j := range entries {
					k := (i*7 + j*3) % len(entries)
					entries[j], entries[k] = entries[k], entries[j]
				}
				require.Equal(t, want, idempotent.Fingerprint("/m", rich(t, `{"tags":{`+strings.Join(entries, ",")+`}}`)))
			}
			require.NotEqual(t, want, idempotent.Fingerprint("/m", rich(t, `{"tags":{"a":"2","b":"1","c":"3","d":"4"}}`)))
		}},
		{"C-10", "what came from the path or the query counts like the body", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.send(t.Context(), "Rich", k1, rich(t, `{"inner":{"amount":1}}`)))
			reused(t, w.send(t.Context(), "Rich", k1, rich(t, `{"inner":{"amount":1},"optional":7}`)))
		}},
		{"C-11", "headers of the exchange do not count", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(metadata.AppendToOutgoingContext(t.Context(), "accept", "a", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "Manual", k1, "a"))
			replayed(t, w.call(metadata.AppendToOutgoingContext(t.Context(), "accept", "b", "x-request-id", "2"), "Manual", k1, "a"))
		}},
		{"C-12", "a field that is set to zero is not a field that is not set", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.send(t.Context(), "Rich", k1, rich(t, `{"text":"a"}`)))
			reused(t, w.send(t.Context(), "Rich", k1, rich(t, `{"text":"a","optional":0}`)))
		}},
	}
}

func casesD() []conformanceCase {
	withHeaders := func(md metadata.MD) handlerFunc {
		return func(ctx context.Context, req string) (string, error) {
			return "did " + req, grpc.SetHeader(ctx, md)
		}
	}
	return []conformanceCase{
		{"D-01", "a replay is the same message with the same location", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(withHeaders(metadata.Pairs("location", "/v1/things/1", "etag", `"1"`)))
			first, header := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			executed(t, first)
			again, kept := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			replayed(t, again)
			require.Equal(t, first.text, again.text)
			for _, name := range []string{"location", "etag"} {
				require.Equal(t, header.Get(name), kept.Get(name))
				require.Len(t, kept.Get(name), 1)
			}
			require.Equal(t, 1, w.executions())
		}},
		{"D-02", "a first call is marked as executed", func(t *testing.T) {
			executed(t, conf(t, idempotent.Options{}).call(t.Context(), "Manual", k1, "a"))
		}},
		{"D-03", "a replay is the original answer, whatever happened since", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			state := "old"
			w.handle(func(context.Context, string) (string, error) { return state, nil })
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			state = "new"
			require.Equal(t, "old", w.call(t.Context(), "Manual", k1, "a").text)
		}},
		{"D-04", "a final error is replayed with code, reason and details", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(func(ctx context.Context, _ string) (string, error) {
				_ = grpc.SetHeader(ctx, metadata.Pairs("location", "/v1/things/7"))
				return "", fault.New(fault.AlreadyExists, "NUMBER_TAKEN", "taken").WithMeta("resource", "things/7")
			})
			first, md := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			again, kept := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			require.Equal(t, idempotent.StatusReplayed, again.status)
			require.True(t, proto.Equal(status.Convert(first.err).Proto(), status.Convert(again.err).Proto()))
			refused(t, again, codes.AlreadyExists, "NUMBER_TAKEN")
			require.Equal(t, md.Get("location"), kept.Get("location"))
			require.Equal(t, 1, w.executions())
		}},
		{"D-05", "cookies and credentials are not replayed", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			w.handle(withHeaders(metadata.Pairs("set-cookie", "session=1", "authorization", "Bearer x", "location", "/1")))
			_, header := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			require.NotEmpty(t, header.Get("set-cookie"))
			_, header = w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			require.Empty(t, header.Get("set-cookie"))
			require.Empty(t, header.Get("authorization"))
			require.NotEmpty(t, header.Get("location"))
		}},
		{"D-06", "an answer too large to keep is read again and flagged", func(t *testing.T) {
			large := strings.Repeat("x", idempotent.MaxAnswer+1)
			w := conf(t, idempotent.Options{
				Resource: func(proto.Message) string { return "things/1" },
				Refetch: func(_ context.Context, m, resource string, _ proto.Message) (proto.Message, error) {
					require.Equal(t, method("Manual"), m)
					return wrapperspb.String("now " + resource), nil
				},
			})
			w.handle(func(context.Context, string) (string, error) { return large, nil })
			first := w.call(t.Context(), "Manual", k1, "a")
			executed(t, first)
			require.Len(t, first.text, len(large))
			again, header := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			require.Equal(t, reply{"now things/1", idempotent.StatusReplayed, nil}, again)
			require.Equal(t, []string{idempotent.BodyRefetched}, header.Get(idempotent.BodyMetadata))
			require.Equal(t, 1, w.executions())
		}},
		{"D-07", "compression of the first call does not bind the next", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for i, order := range [][]grpc.CallOption{{grpc.UseCompressor(gzip.Name)}, {}} {
				key := fmt.Sprintf("%s-%d", k1, i)
				other := []grpc.CallOption{grpc.UseCompressor(gzip.Name)}
				if i == 0 {
					other = nil
				}
				executed(t, w.send(t.Context(), "Manual", key, wrapperspb.String("a"), order...))
				r := w.send(t.Context(), "Manual", key, wrapperspb.String("a"), other...)
				replayed(t, r)
				require.Equal(t, "did a", r.text)
			}
		}},
		{"D-08", "a replay keeps what this binary does not know of the answer", func(t *testing.T) {
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			require.NoError(t, registerContract())
			resp := wrapperspb.String("answer")
			resp.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 0x2a})
			answers := func(context.Context, any) (any, error) { return resp, nil }
			for range 2 {
				got, err := direct(t.Context(), ic, "Manual", k1, answers)
				require.NoError(t, err)
				require.True(t, proto.Equal(resp, got.(proto.Message)))
				require.Equal(t, resp.ProtoReflect().GetUnknown(), got.(proto.Message).ProtoReflect().GetUnknown())
			}
		}},
		{"D-09", "another replica replays the same type and answer, and nothing before it is done", func(t *testing.T) {
			for _, engine := range []string{"sqlite", "postgres"} {
				t.Run(engine, func(t *testing.T) {
					t.Parallel()
					d := dbtest.Open(t, engine)
					s, err := idempotent.NewSQLStore(d, secret, nil)
					require.NoError(t, err)
					one, two := newWorld(t, s, idempotent.Options{Wait: time.Millisecond}), newWorld(t, s, idempotent.Options{Wait: time.Millisecond})
					begun, end := make(chan struct{}), make(chan struct{})
					one.handle(func(context.Context, string) (string, error) { close(begun); <-end; return "did", nil })
					var wg sync.WaitGroup
					wg.Go(func() { executed(t, one.call(t.Context(), "Manual", k1, "a")) })
					<-begun
					refused(t, two.call(t.Context(), "Manual", k1, "a"), codes.Aborted, idempotent.ReasonInProgress)
					close(end)
					wg.Wait()
					for _, w := range []*world{one, two} {
						require.Equal(t, reply{"did", idempotent.StatusReplayed, nil}, w.call(t.Context(), "Manual", k1, "a"))
					}
					require.Zero(t, two.executions())
				})
			}
		}},
		{"D-10", "a thousand replays at once write nothing", func(t *testing.T) {
			m := &mortal{Store: idempotent.NewMemoryStore(nil)}
			w := newWorld(t, m, idempotent.Options{})
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			writes := m.writes.Load()
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					for range 10 {
						if r := w.call(t.Context(), "Manual", k1, "a"); r.err != nil || r.status != idempotent.StatusReplayed {
							t.Errorf("%+v", r)
						}
					}
				})
			}
			wg.Wait()
			require.Equal(t, 1, w.executions())
			require.Equal(t, writes, m.writes.Load())
			require.Equal(t, int64(1001), m.begins.Load(), "one question each")
		}},
		{"D-11", "what belongs to one exchange is not replayed", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			n := 0
			w.handle(func(ctx context.Context, _ string) (string, error) {
				n++
				return "x", grpc.SetHeader(ctx, metadata.Pairs("date", fmt.Sprint(n), "ratelimit", "1", "retry-after", "1", "traceparent", "x"))
			})
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			_, header := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			for _, name := range []string{"date", "ratelimit", "retry-after", "traceparent"} {
				require.Empty(t, header.Get(name), name)
			}
		}},
	}
}
