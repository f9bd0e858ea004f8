package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/retry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// layer is a server of a chain that notes the keys it is called with.
type layer struct {
	*world
	mu    sync.Mutex
	keys  []string
	roots []string
}

func newLayer(t *testing.T, o idempotent.Options) *layer {
	l := &layer{world: conf(t, o)}
	l.guard(func(ctx context.Context, _ string) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.keys = append(l.keys, metadata.ValueFromIncomingContext(ctx, idempotent.Metadata)...)
		l.roots = append(l.roots, metadata.ValueFromIncomingContext(ctx, idempotent.RootMetadata)...)
		return nil
	})
	return l
}

// chain is an edge, a process and two systems below it.
type chain struct{ edge, process, crm, erp *layer }

func newChain(t *testing.T) chain {
	c := chain{newLayer(t, idempotent.Options{Boundary: true}), newLayer(t, idempotent.Options{}), newLayer(t, idempotent.Options{}), newLayer(t, idempotent.Options{})}
	c.edge.handle(func(ctx context.Context, req string) (string, error) {
		r := c.process.call(idempotent.Child(ctx, "create", ""), "Recoverable", "", req)
		return r.text, r.err
	})
	c.process.handle(func(ctx context.Context, req string) (string, error) {
		if r := c.crm.call(idempotent.Child(ctx, "crm.account", ""), "Recoverable", "", req); r.err != nil {
			return "", r.err
		}
		r := c.erp.call(idempotent.Child(ctx, "erp.customer", ""), "Recoverable", "", req)
		return r.text, r.err
	})
	return c
}

func childKey(ctx context.Context, step, item string) string {
	md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, step, item))
	return md.Get(idempotent.Metadata)[0]
}

func casesI() []conformanceCase {
	return []conformanceCase{
		{"I-01", "every hop has a key of its own and the same root", func(t *testing.T) {
			c := newChain(t)
			executed(t, c.edge.call(t.Context(), "Recoverable", k1, "a"))
			seen := map[string]bool{k1: true}
			for _, l := range []*layer{c.process, c.crm, c.erp} {
				require.Len(t, l.keys, 1)
				require.False(t, seen[l.keys[0]])
				seen[l.keys[0]] = true
				require.Len(t, l.roots, 1)
				require.Equal(t, c.process.roots, l.roots)
			}
			require.Len(t, seen, 4)
		}},
		{"I-02", "the keys of a repetition on other replicas are the same", func(t *testing.T) {
			one, two := newChain(t), newChain(t)
			for _, c := range []chain{one, two} {
				executed(t, c.edge.call(t.Context(), "Recoverable", k1, "a"))
			}
			require.Equal(t, one.process.keys, two.process.keys)
			require.Equal(t, one.crm.keys, two.crm.keys)
			require.Equal(t, one.erp.keys, two.erp.keys)
			require.Equal(t, one.erp.roots, two.erp.roots)
		}},
		{"I-03", "two items of one request are two keys, both executed once", func(t *testing.T) {
			w, below := conf(t, idempotent.Options{}), newLayer(t, idempotent.Options{})
			w.handle(func(ctx context.Context, _ string) (string, error) {
				for _, item := range []string{"1", "2"} {
					if r := below.call(idempotent.Child(ctx, "contact", item), "Recoverable", "", item); r.err != nil {
						return "", r.err
					}
				}
				return "", fault.New(fault.Unavailable, "", "repeat me")
			})
			for range 2 {
				require.Error(t, w.call(t.Context(), "Recoverable", k1, "a").err)
			}
			require.Equal(t, 2, below.executions())
			require.NotEqual(t, below.keys[0], below.keys[1])
		}},
		{"I-04", "the key of an item does not depend on the order of a fan-out", func(t *testing.T) {
			ctx := idempotent.WithKey(t.Context(), k1)
			want := map[string]string{}
			for i := range 20 {
				want[strconv.Itoa(i)] = childKey(ctx, "line", strconv.Itoa(i))
			}
			for range 1000 {
				order := rand.Perm(20)
				for _, i := range order[:5] {
					require.Equal(t, want[strconv.Itoa(i)], childKey(ctx, "line", strconv.Itoa(i)))
				}
			}
		}},
		{"I-05", "after a failure below what was done is replayed, the rest executed", func(t *testing.T) {
			c := newChain(t)
			c.erp.handle(func(context.Context, string) (string, error) { return "", fault.New(fault.Unavailable, "", "down") })
			require.Error(t, c.edge.call(t.Context(), "Recoverable", k1, "a").err)
			c.erp.handle(func(context.Context, string) (string, error) { return "complete", nil })
			require.Equal(t, reply{"complete", idempotent.StatusExecuted, nil}, c.edge.call(t.Context(), "Recoverable", k1, "a"))
			require.Equal(t, 1, c.crm.executions())
		}},
		{"I-06", "a compensation has a key of its own and happens once", func(t *testing.T) {
			w, crm := conf(t, idempotent.Options{}), newLayer(t, idempotent.Options{})
			w.handle(func(ctx context.Context, _ string) (string, error) {
				for _, step := range []string{"crm.create", "crm.create.undo"} {
					if r := crm.call(idempotent.Child(ctx, step, ""), "Recoverable", "", step); r.err != nil {
						return "", r.err
					}
				}
				return "", fault.New(fault.Internal, "", "the process dies here")
			})
			for range 3 {
				require.Error(t, w.call(t.Context(), "Recoverable", k1, "a").err)
			}
			require.Equal(t, 2, crm.executions())
		}},
		{"I-07", "all attempts within a call carry one key, and the server says so on its span", func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			require.NoError(t, registerContract())
			ctx, span := tp.Tracer("t").Start(t.Context(), "call")
			md := metadata.Pairs(idempotent.Metadata, k1, "grpc-previous-rpc-attempts", "2")
			_, err := ic(metadata.NewIncomingContext(ctx, md), wrapperspb.String("a"), &grpc.UnaryServerInfo{FullMethod: method("Manual")}, succeed("x"))
			require.NoError(t, err)
			span.End()
			require.Equal(t, "2", spanAttributes(callSpans(spans)[0])["rpc.previous_attempts"])

			var keys []string
			client := idempotent.UnaryClient(idempotent.Generate(), idempotent.Attempts(3, retry.Backoff{Min: time.Millisecond}))
			err = client(t.Context(), method("Manual"), nil, nil, nil,
				func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
					md, _ := metadata.FromOutgoingContext(ctx)
					keys = append(keys, md.Get(idempotent.Metadata)...)
					return fault.New(fault.Unavailable, "", "down")
				})
			require.Equal(t, fault.Unavailable, fault.KindOf(err))
			require.Len(t, keys, 3)
			require.Equal(t, keys[0], keys[1])
			require.Equal(t, keys[0], keys[2])
		}},
		{"I-08", "keys never cross between calls that share a client", func(t *testing.T) {
			client := idempotent.UnaryClient(idempotent.Attempts(2, retry.Backoff{Min: time.Microsecond}))
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					mine := fmt.Sprintf("mine-0123456789-%d", i)
					_ = client(idempotent.Outgoing(t.Context(), mine), method("Manual"), nil, nil, nil,
						func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
							if md, _ := metadata.FromOutgoingContext(ctx); md.Get(idempotent.Metadata)[0] != mine {
								t.Error("another call's key")
							}
							return fault.New(fault.Unavailable, "", "down")
						})
				})
			}
			wg.Wait()
		}},
		{"I-10", "the edge does not believe what a caller says about the chain", func(t *testing.T) {
			edge, inside := newLayer(t, idempotent.Options{Boundary: true}), newLayer(t, idempotent.Options{})
			said := metadata.AppendToOutgoingContext(t.Context(), idempotent.RootMetadata, "0123456789abcdef", idempotent.AttemptMetadata, "7")
			var roots, attempts []string
			for _, l := range []*layer{edge, inside} {
				l.handle(func(ctx context.Context, _ string) (string, error) {
					md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "s", ""))
					roots, attempts = append(roots, md.Get(idempotent.RootMetadata)...), append(attempts, md.Get(idempotent.AttemptMetadata)...)
					return "", nil
				})
				executed(t, l.call(said, "Recoverable", k1, "a"))
			}
			require.NotEqual(t, "0123456789abcdef", roots[0])
			require.Equal(t, "0123456789abcdef", roots[1])
			require.Equal(t, []string{"1", "1"}, attempts)
		}},
		{"I-11", "the derivation of keys is fixed by golden values", func(t *testing.T) {
			require.Equal(t, "fO-pJueyU_cQ6eNNLcEA_N9cGcx7CFH6LzpgvvVEVIo", idempotent.ChildOf("parent", "erp.create", "7"))
		}},
		{"I-12", "a child key is safe in a URL whatever the item holds", func(t *testing.T) {
			for _, item := range []string{"a/b", "50%", "Müller & Söhne", "", "\x00", strings.Repeat("x", 1000)} {
				require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, idempotent.ChildOf(k1, "crm.account", item))
			}
		}},
	}
}

func casesJ() []conformanceCase {
	return []conformanceCase{
		{"J-01", "the status of a key on an error leaves the client's retries alone", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for _, err := range []error{fault.New(fault.Unavailable, "", "x"), fault.New(fault.Precondition, "", "x"), fault.New(fault.Conflict, "", "x")} {
				w.handle(func(ctx context.Context, _ string) (string, error) {
					return "", errors.Join(grpc.SetHeader(ctx, metadata.Pairs("location", "/1")), err)
				})
				key := string(idempotent.NewKey(time.Now()))
				for range 2 { // exchange fails the test if there is a header
					require.Error(t, w.call(t.Context(), "Recoverable", key, "a").err)
				}
			}
		}},
		{"J-02", "a store that is down asks for patience in both dialects", func(t *testing.T) {
			w := newWorld(t, &broken{Store: idempotent.NewMemoryStore(nil)}, idempotent.Options{})
			w.store.(*broken).before.Store(ptr("Begin"))
			r, trailer := w.exchange(t.Context(), "Manual", k1, wrapperspb.String("a"))
			refused(t, r, codes.Unavailable, idempotent.ReasonStoreUnavailable)
			require.Equal(t, time.Second, fault.RetryAfter(r.err), "RetryInfo")
			require.Equal(t, []string{"1000"}, trailer.Get("grpc-retry-pushback-ms"))
		}},
		{"J-04", "a connection that was cut after the effect is one effect and one answer", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			below := &downstream{}
			cut := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			w.handle(func(ctx context.Context, _ string) (string, error) {
				key := below.do(ctx, "erp.create", "")
				cancel()
				<-cut
				return key, nil
			})
			require.Error(t, w.call(ctx, "Recoverable", k1, "a").err)
			close(cut)
			r := w.call(t.Context(), "Recoverable", k1, "a")
			replayed(t, r)
			require.Equal(t, 1, below.total())
			require.Equal(t, 1, w.executions())
		}},
		{"J-05", "a call with too little time is not begun", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			ic := idempotent.UnaryServer(w.store, idempotent.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := direct(ctx, ic, "Manual", k1, succeed("x"))
			refused(t, reply{err: err}, codes.DeadlineExceeded, fault.ReasonDeadlineTooShort)
			st, err := w.store.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, st.Records)
		}},
		{"J-07", "a stream that promises a key is refused at start", func(t *testing.T) {
			require.NoError(t, registerContract())
			err := idempotent.Check(durableMemory{idempotent.NewMemoryStore(nil)}, map[string]grpc.ServiceInfo{
				"selfsame.idempotenttest.v1.StreamService": {Methods: []grpc.MethodInfo{{Name: "Stream", IsServerStream: true}}},
			})
			require.ErrorContains(t, err, "stream")
		}},
		{"J-11", "every method that may change something says what a key means", func(t *testing.T) {
			checked := map[string]int{}
			protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
				name := string(f.Package())
				if strings.HasPrefix(name, "selfsame.") && !strings.HasPrefix(name, "selfsame.idempotenttest.") {
					require.Empty(t, idempotent.Lint(f), f.Path())
					checked[name] += f.Services().Len()
				}
				return true
			})
			for _, f := range []protoreflect.FileDescriptor{ // what is not linked in is not seen: one file of each contract
				customerv1.File_selfsame_customer_v1_customer_service_proto, erpv1.File_selfsame_erp_v1_customer_service_proto,
				idempotencyv1.File_selfsame_idempotency_v1_keys_service_proto, mobilev1.File_selfsame_mobile_v1_mobile_service_proto,
				salesforcev1.File_selfsame_salesforce_v1_event_service_proto,
			} {
				require.NotZero(t, checked[string(f.Package())], f.Path())
			}
			require.GreaterOrEqual(t, checked["selfsame.salesforce.v1"], 11, "assets, campaigns, cases, events, leads and the rest")
		}},
	}
}
