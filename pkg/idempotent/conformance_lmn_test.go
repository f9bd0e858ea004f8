package idempotent_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

// slowStore keeps everybody waiting.
type slowStore struct {
	idempotent.Store
	asked atomic.Int64
}

func (s *slowStore) Begin(ctx context.Context, _ idempotent.Claim) (idempotent.Result, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return idempotent.Result{}, ctx.Err()
}

// flaky fails some times before it works.
type flaky struct {
	idempotent.Store
	left atomic.Int64
	err  error
}

func (f *flaky) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	if f.left.Add(-1) >= 0 {
		return idempotent.Result{}, f.err
	}
	return f.Store.Begin(ctx, c)
}

func casesL() []conformanceCase {
	return []conformanceCase{
		{"L-01", "without its store nothing is executed", func(t *testing.T) {
			w := newWorld(t, &broken{Store: idempotent.NewMemoryStore(nil)}, idempotent.Options{})
			w.store.(*broken).before.Store(ptr("Begin"))
			refused(t, w.call(t.Context(), "Manual", k1, "a"), codes.Unavailable, idempotent.ReasonStoreUnavailable)
			require.Zero(t, w.executions())
		}},
		{"L-02", "reads do not need the store", func(t *testing.T) {
			w := newWorld(t, &broken{Store: idempotent.NewMemoryStore(nil)}, idempotent.Options{})
			w.store.(*broken).before.Store(ptr("Begin"))
			require.NoError(t, w.call(t.Context(), "Read", k1, "a").err)
			require.NoError(t, w.call(t.Context(), "Read", "", "a").err)
		}},
		{"L-03", "when the store is back the call is executed once", func(t *testing.T) {
			w := newWorld(t, &broken{Store: idempotent.NewMemoryStore(nil)}, idempotent.Options{})
			w.store.(*broken).before.Store(ptr("Begin"))
			require.Error(t, w.call(t.Context(), "Manual", k1, "a").err)
			w.store.(*broken).before.Store(nil)
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			replayed(t, w.call(t.Context(), "Manual", k1, "a"))
		}},
		{"L-04", "a slow store costs each call a bounded time, then it is left alone", func(t *testing.T) {
			s := &slowStore{Store: durableMemory{idempotent.NewMemoryStore(nil)}}
			w := newWorld(t, s, idempotent.Options{StoreTimeout: 20 * time.Millisecond})
			for range 5 {
				refused(t, w.call(t.Context(), "Manual", k1, "a"), codes.Unavailable, idempotent.ReasonStoreUnavailable)
			}
			asked := s.asked.Load()
			begun := time.Now()
			for range 100 {
				refused(t, w.call(t.Context(), "Manual", k1, "a"), codes.Unavailable, idempotent.ReasonStoreUnavailable)
			}
			require.LessOrEqual(t, s.asked.Load()-asked, 2*int64(1+time.Since(begun)/time.Second), "at most one question a second")
			require.Zero(t, w.executions())
		}},
		{"L-05", "a conflict inside the store is repeated or told as unavailable, never as a failure", func(t *testing.T) {
			f := &flaky{Store: durableMemory{idempotent.NewMemoryStore(nil)}, err: fault.New(fault.Conflict, "TRANSACTION_CONFLICT", "too many concurrent changes")}
			w := newWorld(t, f, idempotent.Options{})
			f.left.Store(1)
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			f.left.Store(3)
			refused(t, w.call(t.Context(), "Manual", "another-0123456789", "a"), codes.Unavailable, idempotent.ReasonStoreUnavailable)
			f.left.Store(0)
			f.err = context.DeadlineExceeded // no connection was free in time
			f.left.Store(2)
			refused(t, w.call(t.Context(), "Manual", "another-0123456789", "a"), codes.Unavailable, idempotent.ReasonStoreUnavailable)
		}},
		{"L-06", "an answer that was stored without being heard is the answer", func(t *testing.T) {
			b := &broken{Store: idempotent.NewMemoryStore(nil)}
			w := newWorld(t, b, idempotent.Options{})
			b.after.Store(ptr("Complete"))
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			replayed(t, w.call(t.Context(), "Manual", k1, "a"))
			require.Equal(t, 1, w.executions())
		}},
		{"L-07", "a read replica is refused at start", func(t *testing.T) {
			dsn := dbtest.DSN(t, "postgres")
			d, err := db.Open(t.Context(), dsn, nil)
			require.NoError(t, err)
			// The server says of itself what a replica would say.
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "CREATE FUNCTION pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
				return err
			}))
			require.NoError(t, d.Close())
			name := dsn[strings.Index(dsn, "search_path=")+len("search_path="):]
			name, _, _ = strings.Cut(name, "&")
			replica, err := db.Open(t.Context(), strings.Replace(dsn, "search_path="+name, "search_path="+name+"%2Cpg_catalog", 1), nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, replica.Close()) }()
			_, err = idempotent.NewSQLStore(replica, secret, nil)
			require.ErrorContains(t, err, "read replica")
		}},
		{"L-10", "an answer that cannot be read is an alarm and never executed again", func(t *testing.T) {
			m := idempotent.NewMemoryStore(nil)
			var logs telemetrytest.Log
			reader := sdkmetric.NewManualReader()
			w := newWorld(t, corrupting{m}, idempotent.Options{
				Log: slog.New(slog.NewTextHandler(&logs, nil)), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
			})
			executed(t, w.call(t.Context(), "Manual", k1, "a"))
			for range 2 {
				refused(t, w.call(t.Context(), "Manual", k1, "a"), codes.Internal, idempotent.ReasonUnreadable)
			}
			require.Equal(t, 1, w.executions())
			require.Contains(t, logs.String(), "cannot be read")
			require.Equal(t, int64(2), counted(t, reader, "selfsame.idempotency.requests")["unreadable"])
		}},
	}
}

// corrupting changes answers behind the back of their writer.
type corrupting struct{ idempotent.Store }

func (c corrupting) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	a.Body = append([]byte{99}, a.Body...)
	return c.Store.Complete(ctx, g, a)
}

// counted returns the values of a counter by outcome.
func counted(t *testing.T, reader sdkmetric.Reader, name string) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &rm))
	out := map[string]int64{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != name || !ok {
				continue
			}
			for _, p := range sum.DataPoints {
				outcome, _ := p.Attributes.Value("selfsame.outcome")
				out[outcome.AsString()] += p.Value
			}
		}
	}
	return out
}

// callSpans are the spans of calls, without those of questions to the store.
func callSpans(spans *tracetest.InMemoryExporter) tracetest.SpanStubs {
	return slices.DeleteFunc(spans.GetSpans(), func(s tracetest.SpanStub) bool { return strings.HasPrefix(s.Name, "idempotency ") })
}

func spanAttributes(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, kv := range s.Attributes {
		out[string(kv.Key)] = kv.Value.String()
	}
	return out
}

func casesM() []conformanceCase {
	return []conformanceCase{
		{"M-01", "every call has exactly one outcome", func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			w, clock := mortalWorld(t, idempotent.Options{Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Quota: idempotent.Quota{PerMinute: 60, Burst: 17}, Probes: []string{method("Probe")}})
			calls := 0
			do := func(name, key, req string) { calls++; _ = w.call(t.Context(), name, key, req) }
			do("Manual", k1, "a")                                   // executed
			do("Manual", k1, "a")                                   // replayed
			do("Manual", k1, "b")                                   // mismatch
			do("Manual", "", "a")                                   // invalid
			do("Read", k1, "a")                                     // ignored
			do("None", k1, "a")                                     // unsupported
			do("Manual", uuid7(clock.Now().AddDate(-1, 0, 0)), "a") // expired
			calls++
			w.dies("Recoverable", "dies-0123456789", "a", nil) // store_error
			do("Recoverable", "dies-0123456789", "a")          // in_progress
			clock.Advance(time.Minute)
			w.handle(func(context.Context, string) (string, error) { return "", fault.New(fault.Conflict, "", "rolled back") })
			do("Manual", "rolls-back-0123456789", "a") // released
			w.handle(func(context.Context, string) (string, error) { return "done", nil })
			do("Recoverable", "dies-0123456789", "a") // takeover
			calls++
			w.dies("Probe", "looks-0123456789", "a", nil) // store_error
			clock.Advance(time.Minute)
			w.handle(func(context.Context, string) (string, error) { return "found", nil })
			do("Probe", "looks-0123456789", "a") // resolved
			clock.Advance(24 * time.Hour)
			do("Manual", k1, "a") // gone
			calls++
			w.dies("Manual", "doubt-0123456789", "a", nil) // store_error
			clock.Advance(time.Minute)
			do("Manual", "doubt-0123456789", "a") // uncertain
			got := counted(t, reader, "selfsame.idempotency.requests")
			require.Equal(t, map[string]int64{
				"executed": 1, "replayed": 1, "mismatch": 1, "invalid": 1, "ignored": 1, "unsupported": 1, "expired": 1, "store_error": 3,
				"in_progress": 1, "released": 1, "takeover": 1, "resolved": 1, "gone": 1, "uncertain": 1,
			}, got)
			sum := int64(0)
			for _, n := range got {
				sum += n
			}
			require.Equal(t, int64(calls), sum)
		}},
		{"M-02", "a replay links to the execution it repeats", func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			ic := idempotent.UnaryServer(idempotent.NewMemoryStore(nil), idempotent.Options{})
			require.NoError(t, registerContract())
			for range 2 {
				ctx, span := tp.Tracer("t").Start(t.Context(), "call")
				_, err := direct(ctx, ic, "Manual", k1, succeed("x"))
				require.NoError(t, err)
				span.End()
			}
			got := callSpans(spans)
			require.Equal(t, "executed", spanAttributes(got[0])["idempotency.outcome"])
			require.Equal(t, "replayed", spanAttributes(got[1])["idempotency.outcome"])
			require.Empty(t, got[0].Links)
			require.Len(t, got[1].Links, 1)
			require.Equal(t, got[0].SpanContext.SpanID(), got[1].Links[0].SpanContext.SpanID())
		}},
		{"M-03", "a span carries attempt, digest and age, never the key", func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			s := idempotent.NewMemoryStore(nil)
			ic := idempotent.UnaryServer(s, idempotent.Options{})
			require.NoError(t, registerContract())
			for range 2 {
				ctx, span := tp.Tracer("t").Start(t.Context(), "call")
				_, err := direct(ctx, ic, "Manual", "canary-0123456789", succeed("x"))
				require.NoError(t, err)
				span.End()
			}
			attrs := spanAttributes(callSpans(spans)[1])
			require.Equal(t, "1", attrs["idempotency.attempt"])
			require.Equal(t, s.Digest(idempotent.Scope{Method: method("Manual"), Key: "canary-0123456789"}).Short(), attrs["idempotency.key_digest"])
			require.Regexp(t, `^\d+$`, attrs["idempotency.age_ms"])
			require.NotContains(t, fmt.Sprint(attrs), "canary")
		}},
		{"M-04", "keys, callers and payloads appear in no log, metric, trace or table", canaries},
		{"M-05", "the number of series does not grow with keys and callers", func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			w := conf(t, idempotent.Options{Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
			for i := range 300 {
				executed(t, w.call(w.as(fmt.Sprint("caller ", i)), "Manual", fmt.Sprintf("key-0123456789-%d", i), "a"))
			}
			var rm metricdata.ResourceMetrics
			require.NoError(t, reader.Collect(t.Context(), &rm))
			for _, m := range rm.ScopeMetrics[0].Metrics {
				require.LessOrEqual(t, len(m.Data.(metricdata.Sum[int64]).DataPoints), 33, m.Name)
			}
		}},
	}
}

// canaries sends values that must not turn up anywhere.
func canaries(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	s, err := idempotent.NewSQLStore(d, secret, nil)
	require.NoError(t, err)
	var logs telemetrytest.Log
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	ring, err := idempotent.NewKeyring(idempotent.MasterKey{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	ic := idempotent.UnaryServer(s, idempotent.Options{
		Keys: ring, Log: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Meter:   sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		Subject: func(string, proto.Message, proto.Message) string { return "canary-subject" },
	})
	require.NoError(t, registerContract())
	n := 1000
	if testing.Short() {
		n = 100
	}
	for i := range n {
		ctx, span := tp.Tracer("t").Start(t.Context(), "call")
		key := fmt.Sprintf("canary-key-%d", i/2)
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(idempotent.Metadata, key))
		_, err := ic(ctx, wrapperspb.String("canary-request"), &grpc.UnaryServerInfo{FullMethod: method("Recoverable")}, func(ctx context.Context, _ any) (any, error) {
			if _, err := idempotent.Step(ctx, "step", func(context.Context) ([]byte, error) { return []byte("canary-step"), nil }); err != nil {
				return nil, err
			}
			switch i % 10 {
			case 4:
				return nil, fault.New(fault.Unavailable, "", "canary-error")
			case 6:
				panic("canary-panic")
			}
			return wrapperspb.String("canary-answer"), nil
		})
		span.End()
		_ = err
	}
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &rm))
	var traces strings.Builder
	for _, sp := range spans.GetSpans() {
		fmt.Fprintf(&traces, "%v %v %v", sp.Attributes, sp.Events, sp.Status)
	}
	for where, text := range map[string]string{"logs": logs.String(), "metrics": fmt.Sprintf("%+v", rm), "traces": traces.String(), "store": dump(t, d)} {
		require.NotContains(t, text, "canary", where)
	}
}

func casesN() []conformanceCase {
	return []conformanceCase{
		{"N-03", "a path that is not exactly a method is unknown", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for _, path := range []string{"//" + service + "/Manual", "/" + strings.ToUpper(service) + "/Manual", "/" + service + "/manual", "/" + service + "//Manual"} {
				err := w.conn.Invoke(metadata.AppendToOutgoingContext(t.Context(), idempotent.Metadata, k1), path, wrapperspb.String("a"), &wrapperspb.StringValue{})
				require.Equal(t, codes.Unimplemented, fault.ToStatus(err).Code(), path)
			}
			require.Zero(t, w.executions())
		}},
		{"N-04", "a method without a policy, or with one its store cannot keep, is refused at start", func(t *testing.T) {
			require.NoError(t, registerContract())
			info := func(methods ...string) map[string]grpc.ServiceInfo {
				si := grpc.ServiceInfo{}
				for _, m := range methods {
					si.Methods = append(si.Methods, grpc.MethodInfo{Name: m})
				}
				return map[string]grpc.ServiceInfo{service: si, "grpc.health.v1.Health": {Methods: []grpc.MethodInfo{{Name: "Check"}}}}
			}
			volatile := idempotent.NewMemoryStore(nil)
			durable := durableMemory{volatile}
			require.NoError(t, idempotent.Check(durable, info("Manual", "Probe", "Recoverable", "Optional", "Natural", "Read", "None", "Rich", "Permanent"), method("Probe")))
			require.ErrorContains(t, idempotent.Check(durable, info("Manual", "Probe")), "Probe: the policy says that its handler looks")
			require.ErrorContains(t, idempotent.Check(durable, info("Manual"), method("Manual")), "not declared RECOVERY_PROBE")
			require.ErrorContains(t, idempotent.Check(durable, info("Undeclared")), "no idempotency policy")
			require.ErrorContains(t, idempotent.Check(durable, info("New")), "contract is not known")
			require.ErrorContains(t, idempotent.Check(volatile, info("Manual")), "durable")
			require.NoError(t, idempotent.Check(volatile, info("Recoverable")))
			require.ErrorContains(t, idempotent.Check(durable, info("Transaction")), "transaction")
			require.NoError(t, idempotent.Check(volatile, info("Anywhere", "Recoverable")))
			require.Equal(t, []string{service + ".Anywhere"}, idempotent.Apart(volatile, info("Anywhere", "Recoverable", "New", "Read")))
			s, err := idempotent.NewSQLStore(dbtest.Open(t, "sqlite"), secret, nil)
			require.NoError(t, err)
			require.NoError(t, idempotent.Check(s, info("Transaction", "Anywhere", "Manual")))
			require.Empty(t, idempotent.Apart(s, info("Transaction", "Anywhere", "Manual")))
		}},
		{"N-07", "a caller that uses too many keys is stopped, others are not", func(t *testing.T) {
			w, clock := confClock(t, idempotent.Options{Quota: idempotent.Quota{PerMinute: 60, Burst: 10}})
			for i := range 10 {
				executed(t, w.call(w.as("a"), "Manual", fmt.Sprintf("flood-0123456789-%d", i), "a"))
			}
			r := w.call(w.as("a"), "Manual", "flood-0123456789-11", "a")
			refused(t, r, codes.ResourceExhausted, idempotent.ReasonQuotaExceeded)
			require.Equal(t, time.Second, fault.RetryAfter(r.err))
			executed(t, w.call(w.as("b"), "Manual", "flood-0123456789-11", "a"))
			clock.Advance(time.Second)
			executed(t, w.call(w.as("a"), "Manual", "flood-0123456789-11", "a"))
		}},
		{"N-10", "a stolen dump holds no answer, key or caller in clear", func(t *testing.T) {
			d := dbtest.Open(t, "sqlite")
			s, err := idempotent.NewSQLStore(d, secret, nil)
			require.NoError(t, err)
			ring, err := idempotent.NewKeyring(idempotent.MasterKey{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
			require.NoError(t, err)
			w := newWorld(t, s, idempotent.Options{Keys: ring})
			executed(t, w.call(w.as("canary-caller"), "Manual", "canary-key-0123456789", "canary-request"))
			require.NotContains(t, dump(t, d), "canary")
			replayed(t, w.call(w.as("canary-caller"), "Manual", "canary-key-0123456789", "canary-request"))
			t.Run("and is readable only with its master key, also after that was replaced", func(t *testing.T) {
				next := idempotent.MasterKey{ID: "2", Secret: []byte(strings.Repeat("l", 32))}
				both, err := idempotent.NewKeyring(next, idempotent.MasterKey{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
				require.NoError(t, err)
				replayed(t, newWorld(t, s, idempotent.Options{Keys: both}).call(w.as("canary-caller"), "Manual", "canary-key-0123456789", "canary-request"))
				only, err := idempotent.NewKeyring(next)
				require.NoError(t, err)
				for _, k := range []*idempotent.Keyring{only, nil} {
					r := newWorld(t, s, idempotent.Options{Keys: k}).call(w.as("canary-caller"), "Manual", "canary-key-0123456789", "canary-request")
					refused(t, r, codes.Internal, idempotent.ReasonUnreadable)
				}
			})
		}},
		{"N-11", "an answer that was moved to another record cannot be read", func(t *testing.T) {
			d := dbtest.Open(t, "sqlite")
			s, err := idempotent.NewSQLStore(d, secret, nil)
			require.NoError(t, err)
			ring, err := idempotent.NewKeyring(idempotent.MasterKey{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
			require.NoError(t, err)
			w := newWorld(t, s, idempotent.Options{Keys: ring})
			for _, key := range []string{"one-0123456789abcdef", "two-0123456789abcdef"} {
				executed(t, w.call(t.Context(), "Manual", key, key))
			}
			other := s.Digest(idempotent.Scope{Method: method("Manual"), Key: "two-0123456789abcdef"})
			require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "UPDATE idempotency SET answer = (SELECT answer FROM idempotency WHERE k = $1)", other[:])
				return err
			}))
			r := w.call(t.Context(), "Manual", "one-0123456789abcdef", "one-0123456789abcdef")
			refused(t, r, codes.Internal, idempotent.ReasonUnreadable)
			require.Empty(t, r.text)
			require.Equal(t, 2, w.executions())
		}},
		{"N-12", "no error tells whether another caller used a key", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(w.as("a"), "Manual", k1, "a"))
			w.handle(func(context.Context, string) (string, error) { return "", fault.New(fault.Invalid, "", "no") })
			used, unused := w.call(w.as("b"), "Manual", k1, "b"), w.call(w.as("b"), "Manual", "unused-0123456789", "b")
			require.Equal(t, fault.ToStatus(unused.err).Proto().String(), fault.ToStatus(used.err).Proto().String())
		}},
	}
}
