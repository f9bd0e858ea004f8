package idempotent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
)

// conformanceCase is one row of the conformance table, as far as a gRPC server shows it.
type conformanceCase struct {
	id       string
	sentence string
	run      func(t *testing.T)
}

// TestConformance runs the cases. One runs alone by its number:
//
//	go test -run 'TestConformance/C-02' .
func TestConformance(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, cases := range [][]conformanceCase{
		casesA(), casesB(), casesC(), casesD(), casesE(), casesF(), casesG(), casesH(), casesI(), casesJ(), casesL(), casesM(), casesN(),
	} {
		for _, c := range cases {
			require.Regexp(t, `^[A-O]-\d\d$`, c.id)
			require.False(t, seen[c.id], c.id)
			seen[c.id] = true
			t.Run(c.id+" "+c.sentence, func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
		}
	}
}

// conf is a server with the reference store.
func conf(t *testing.T, o idempotent.Options) *world {
	t.Helper()
	return newWorld(t, idempotent.NewMemoryStore(nil), o)
}

// confClock is one whose time the test moves.
func confClock(t *testing.T, o idempotent.Options) (*world, *idempotenttest.Clock) {
	t.Helper()
	clock := idempotenttest.NewClock()
	if o.Wait == 0 {
		o.Wait = time.Millisecond
	}
	o.Now = clock.Now
	return newWorld(t, idempotent.NewMemoryStore(clock.Now), o), clock
}

func executed(t *testing.T, r reply) {
	t.Helper()
	require.NoError(t, r.err)
	require.Equal(t, idempotent.StatusExecuted, r.status)
}

func replayed(t *testing.T, r reply) {
	t.Helper()
	require.NoError(t, r.err)
	require.Equal(t, idempotent.StatusReplayed, r.status)
}

func refused(t *testing.T, r reply, code codes.Code, reason string) {
	t.Helper()
	require.Error(t, r.err)
	require.Equal(t, reason, fault.ReasonOf(r.err))
	require.Equal(t, code.String(), fault.ToStatus(r.err).Code().String())
}

const k1 = "8e03978e-40d5-43e8-bc93-6894a57f9324"

// line sends what the HTTP edge makes of the lines of a header.
func (w *world) line(t *testing.T, lines ...string) reply {
	t.Helper()
	key, err := idempotent.ParseHeader(lines)
	if err != nil {
		return reply{err: err}
	}
	return w.call(t.Context(), "Manual", string(key), "a")
}

func casesA() []conformanceCase {
	invalid := func(t *testing.T, w *world, lines ...string) {
		t.Helper()
		refused(t, w.line(t, lines...), codes.InvalidArgument, idempotent.ReasonKeyInvalid)
		require.Zero(t, w.executions())
	}
	return []conformanceCase{
		{"A-01", "a call without its required key is refused", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			refused(t, w.call(t.Context(), "Manual", "", "a"), codes.InvalidArgument, idempotent.ReasonKeyMissing)
			require.Zero(t, w.executions())
		}},
		{"A-02", "a quoted key is executed", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.line(t, `"`+k1+`"`))
			require.Equal(t, 1, w.executions())
		}},
		{"A-03", "the bare spelling is the same key", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.line(t, `"`+k1+`"`))
			replayed(t, w.line(t, k1))
			require.Equal(t, 1, w.executions())
		}},
		{"A-04", "escapes are resolved, unknown ones refused", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			invalid(t, w, `"a\x-0123456789abcdef"`)
			executed(t, w.line(t, `"a\"b\\c-0123456789abcdef"`))
			replayed(t, w.call(t.Context(), "Manual", `a"b\c-0123456789abcdef`, "a"))
		}},
		{"A-05", "an empty key is refused", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for _, s := range []string{"", `""`, "   ", `"   "`} {
				invalid(t, w, s)
			}
		}},
		{"A-06", "255 characters are a key, 256 are not", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			invalid(t, w, strings.Repeat("x", 256))
			executed(t, w.line(t, strings.Repeat("x", 255)))
			executed(t, w.line(t, strings.Repeat("x", 16)))
		}},
		{"A-07", "control characters are refused and not repeated", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for _, s := range []string{"canary-0123456789\x01", "canary-0123456789\x7f", "canary-0123\r\nX: y", "canary-01234\x00", "\"canary-01\x1b234\""} {
				r := w.line(t, s)
				refused(t, r, codes.InvalidArgument, idempotent.ReasonKeyInvalid)
				require.NotContains(t, r.err.Error(), "canary")
			}
			require.Zero(t, w.executions())
		}},
		{"A-08", "what is not ASCII is refused, never executed without protection", func(t *testing.T) {
			invalid(t, conf(t, idempotent.Options{}), "schlüssel-0123456789")
		}},
		{"A-09", "two keys are refused", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			invalid(t, w, k1, k1)
			invalid(t, w, `"`+k1+`", "`+k1+`"`)
			ctx := metadata.AppendToOutgoingContext(t.Context(), idempotent.Metadata, k1)
			refused(t, w.call(ctx, "Manual", k1, "a"), codes.InvalidArgument, idempotent.ReasonKeyInvalid)
			require.Zero(t, w.executions())
		}},
		{"A-10", "parameters after the key are ignored", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.line(t, `"`+k1+`";v=1`))
			replayed(t, w.line(t, k1))
		}},
		{"A-11", "an unterminated quote is refused", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			invalid(t, w, `"`+k1)
			invalid(t, w, k1+`"`)
		}},
		{"A-12", "a read ignores the key and says so", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for range 2 {
				require.Equal(t, reply{"did a", idempotent.StatusIgnored, nil}, w.call(t.Context(), "Read", k1, "a"))
			}
			require.Equal(t, 2, w.executions())
			page, err := w.store.List(t.Context(), idempotent.Filter{})
			require.NoError(t, err)
			require.Empty(t, page.Entries)
		}},
		{"A-13", "a method without support refuses a key, or flags that it ignored it", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			refused(t, w.call(t.Context(), "None", k1, "a"), codes.Unimplemented, idempotent.ReasonNotSupported)
			require.Zero(t, w.executions())
			w = conf(t, idempotent.Options{IgnoreUnsupported: true})
			require.Equal(t, idempotent.StatusIgnored, w.call(t.Context(), "None", k1, "a").status)
		}},
		{"A-14", "a gRPC caller with no, two or oversized keys is refused", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			refused(t, w.call(t.Context(), "Manual", "", "a"), codes.InvalidArgument, idempotent.ReasonKeyMissing)
			ctx := metadata.AppendToOutgoingContext(t.Context(), idempotent.Metadata, "one-0123456789abcdef")
			refused(t, w.call(ctx, "Manual", "two-0123456789abcdef", "a"), codes.InvalidArgument, idempotent.ReasonKeyInvalid)
			refused(t, w.call(t.Context(), "Manual", strings.Repeat("x", 300), "a"), codes.InvalidArgument, idempotent.ReasonKeyInvalid)
			require.Zero(t, w.executions())
		}},
		{"A-15", "metacharacters in a key are nothing but a key", func(t *testing.T) {
			s, err := idempotent.NewSQLStore(dbtest.Open(t, "sqlite"), secret, nil)
			require.NoError(t, err)
			w := newWorld(t, s, idempotent.Options{})
			keys := []string{"';DROP/**/TABLE/**/idempotency;--", "redis.call('FLUSHALL')", "(.*)+$^[a-z]{9999}", "../../../../etc/passwd", "{tag}{tag}-0123456789"}
			for _, key := range keys {
				executed(t, w.call(t.Context(), "Manual", key, "a"))
				replayed(t, w.call(t.Context(), "Manual", key, "a"))
			}
			page, err := s.List(t.Context(), idempotent.Filter{})
			require.NoError(t, err)
			require.Len(t, page.Entries, len(keys))
			require.Len(t, page.Entries[0].Digest, 32)
		}},
		{"A-16", "random bytes are a key or refused, never a failure", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			rng := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				b := make([]byte, rng.IntN(300))
				for i := range b {
					b[i] = byte(rng.IntN(256))
					if rng.IntN(3) > 0 {
						b[i] = byte(0x21 + rng.IntN(0x5e))
					}
				}
				if r := w.line(t, string(b)); r.err != nil {
					require.Equal(t, codes.InvalidArgument, fault.ToStatus(r.err).Code())
				}
			}
		}},
	}
}

func casesB() []conformanceCase {
	return []conformanceCase{
		{"B-01", "another tenant's key is another key", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			who := ""
			w.handle(func(context.Context, string) (string, error) { return "for " + who, nil })
			for _, who = range []string{"tenant-a/app", "tenant-b/app"} {
				require.Equal(t, reply{"for " + who, idempotent.StatusExecuted, nil}, w.call(w.as(who), "Manual", k1, "a"))
			}
			require.Equal(t, "for tenant-a/app", w.call(w.as("tenant-a/app"), "Manual", k1, "a").text)
			require.Equal(t, 2, w.executions())
		}},
		{"B-02", "another client of the tenant has keys of its own", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(w.as("tenant-a/user-1"), "Manual", k1, "a"))
			executed(t, w.call(w.as("tenant-a/user-2"), "Manual", k1, "a"))
		}},
		{"B-03", "a key of one method is free for another", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(w.as("a"), "Manual", k1, "a"))
			executed(t, w.call(w.as("a"), "Recoverable", k1, "a"))
			require.Equal(t, 2, w.executions())
		}},
		{"B-04", "a new token of the same client finds the answer", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(metadata.AppendToOutgoingContext(w.as("a"), "authorization", "Bearer one"), "Manual", k1, "a"))
			replayed(t, w.call(metadata.AppendToOutgoingContext(w.as("a"), "authorization", "Bearer two"), "Manual", k1, "a"))
		}},
		{"B-05", "who lost the permission gets no answer back", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(w.as("a"), "Manual", k1, "a"))
			w.guard(func(context.Context, string) error { return status.Error(codes.PermissionDenied, "no") })
			r := w.call(w.as("a"), "Manual", k1, "a")
			require.Equal(t, codes.PermissionDenied, fault.ToStatus(r.err).Code())
			require.Empty(t, r.text)
		}},
		{"B-06", "without credentials a known key looks like an unknown one", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(w.as("a"), "Manual", k1, "a"))
			w.guard(func(ctx context.Context, _ string) error {
				if len(metadata.ValueFromIncomingContext(ctx, "test-caller")) == 0 {
					return status.Error(codes.Unauthenticated, "who are you?")
				}
				return nil
			})
			known, unknown := w.call(t.Context(), "Manual", k1, "a"), w.call(t.Context(), "Manual", "unknown-0123456789", "a")
			require.Equal(t, codes.Unauthenticated, fault.ToStatus(known.err).Code())
			require.Equal(t, known, unknown)
		}},
		{"B-07", "the verified identity counts, not what the caller says", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			executed(t, w.call(w.as("a"), "Manual", k1, "a"))
			spoof := metadata.AppendToOutgoingContext(w.as("b"), "x-tenant-id", "a", "selfsame-caller", "a", "idempotency-principal", "a")
			executed(t, w.call(spoof, "Manual", k1, "a"))
		}},
		{"B-08", "guessing keys finds nothing of another caller", func(t *testing.T) {
			w := conf(t, idempotent.Options{})
			for i := range 100 {
				executed(t, w.call(w.as("a"), "Manual", fmt.Sprintf("guess-%010d", i), "a"))
			}
			s := idempotent.NewMemoryStore(nil)
			ic := idempotent.UnaryServer(s, idempotent.Options{Principal: func(ctx context.Context) string {
				return metadata.ValueFromIncomingContext(ctx, "test-caller")[0]
			}})
			as := func(who string) context.Context {
				return metadata.NewIncomingContext(t.Context(), metadata.Pairs("test-caller", who))
			}
			require.NoError(t, registerContract())
			for i := range 1000 {
				_, err := directAs(as("a"), ic, "Manual", fmt.Sprintf("guess-%010d", i), succeed("a's"))
				require.NoError(t, err)
			}
			guesses := 100_000
			if testing.Short() {
				guesses = 10_000
			}
			for i := range guesses {
				resp, err := directAs(as("b"), ic, "Manual", fmt.Sprintf("guess-%010d", i), succeed("b's"))
				if err != nil || textOf(resp) != "b's" {
					t.Fatalf("guess %d: %v %v", i, resp, err)
				}
			}
		}},
		{"B-09", "after the erasure of a subject its answer is gone and nothing is executed again", func(t *testing.T) {
			d := dbtest.Open(t, "sqlite")
			s, err := idempotent.NewSQLStore(d, secret, nil)
			require.NoError(t, err)
			ring, err := idempotent.NewKeyring(idempotent.MasterKey{ID: "2026", Secret: []byte(strings.Repeat("k", 32))})
			require.NoError(t, err)
			w := newWorld(t, s, idempotent.Options{Keys: ring, Subject: func(_ string, _, _ proto.Message) string { return "customers/1" }})
			executed(t, w.call(t.Context(), "Manual", k1, "canary"))
			require.NotContains(t, dump(t, d), "canary", "encrypted at rest")
			n, err := s.Erase(t.Context(), "customers/1")
			require.NoError(t, err)
			require.Equal(t, 1, n)
			refused(t, w.call(t.Context(), "Manual", k1, "canary"), codes.FailedPrecondition, idempotent.ReasonResultGone)
			require.Equal(t, 1, w.executions())
			page, err := s.List(t.Context(), idempotent.Filter{})
			require.NoError(t, err)
			require.Zero(t, page.Entries[0].Bytes, "neither the answer nor its key is left")
		}},
		{"B-10", "a key from before the secret was replaced is replayed", func(t *testing.T) {
			for _, engine := range []string{"sqlite", "postgres"} {
				t.Run(engine, func(t *testing.T) {
					t.Parallel()
					d := dbtest.Open(t, engine)
					open := func(first []byte, others ...[]byte) *world {
						s, err := idempotent.NewSQLStore(d, first, nil, idempotent.OtherSecrets(others...))
						require.NoError(t, err)
						return newWorld(t, s, idempotent.Options{})
					}
					old, fresh := []byte("the old secret, 16"), []byte("the new secret, 16")
					before := open(old)
					executed(t, before.call(t.Context(), "Manual", k1, "a"))
					both, after := open(old, fresh), open(fresh, old)
					for _, w := range []*world{both, after} {
						replayed(t, w.call(t.Context(), "Manual", k1, "a"))
					}
					executed(t, after.call(t.Context(), "Manual", "made-with-the-new-one", "a"))
					replayed(t, both.call(t.Context(), "Manual", "made-with-the-new-one", "a"))
					require.Equal(t, 1, before.executions()+both.executions()+after.executions()-1)
				})
			}
		}},
	}
}
