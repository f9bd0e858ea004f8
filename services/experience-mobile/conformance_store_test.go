package experiencemobile_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

func storeCases() []conformance {
	return []conformance{
		{"L-01 while keys cannot be checked a write is refused, not executed", func(t *testing.T, _ *world) {
			w := setup(t)
			w.below.down.Store(true)
			a := w.create(t, "L01", "l01")
			require.True(t, *a.problem(t, 503, "IDEMPOTENCY_STORE_UNAVAILABLE").Retryable)
			require.Equal(t, "1", a.header.Get("Retry-After"))
			require.NotContains(t, a.body, "10.0.0.3")
			require.Zero(t, w.fake.ran("L01"))
		}},
		{"L-02 reads do not need the store of keys", func(t *testing.T, _ *world) {
			w := setup(t)
			w.below.down.Store(true)
			require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known).status)
			require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known+"/orders", key("l02")).status)
		}},
		{"L-03 when the store is back the same key is executed once", func(t *testing.T, _ *world) {
			w := setup(t)
			w.below.down.Store(true)
			for range 3 {
				w.create(t, "L03", "l03").problem(t, 503, "IDEMPOTENCY_STORE_UNAVAILABLE")
			}
			w.below.down.Store(false)
			require.Equal(t, "executed", w.create(t, "L03", "l03").header.Get("Idempotency-Status"))
			require.Equal(t, "replayed", w.create(t, "L03", "l03").header.Get("Idempotency-Status"))
			require.Equal(t, 1, w.fake.ran("L03"))
		}},
		{"L-04 a store that does not answer costs a request its budget and no more", func(t *testing.T, _ *world) {
			w := setup(t, func(c *experiencemobile.Config) { c.Budget = time.Second })
			w.below.stuck.Store(true)
			began := time.Now()
			w.together(t, 30, func(i int) {
				if a := w.create(t, "L04", fmt.Sprintf("l04-%d", i)); a.status != 503 && a.status != 504 {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
			require.Less(t, time.Since(began), 30*time.Second)
			require.Zero(t, w.fake.ran("L04"))
			w.below.stuck.Store(false)
			require.Equal(t, 201, w.another(t).create(t, "L04", "l04-1").status, "with a patient edge, because this machine may be busy")
		}},
		{"L-05 conflicts inside the store are repeated, or told as 503, never as a failure", storeConflicts},
		{"L-06 an answer that was stored without our hearing of it is the answer", func(t *testing.T, _ *world) {
			w := setup(t)
			w.below.deaf.Store(true)
			first := w.create(t, "L06", "l06")
			require.Equal(t, 201, first.status, first.body)
			require.Equal(t, "executed", first.header.Get("Idempotency-Status"))
			again := w.create(t, "L06", "l06")
			require.Equal(t, first.body, again.body)
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			require.Equal(t, 1, w.fake.ran("L06"))
		}},
		{"L-10 an answer that cannot be read is told as our failure, and never made again", func(t *testing.T, _ *world) {
			w := setupOver(t, newBelow(func(b *below) { b.Store = corrupting{idempotent.NewMemoryStore(b.now)} }))
			require.Equal(t, 201, w.create(t, "L10", "l10").status)
			for range 2 {
				require.False(t, *w.create(t, "L10", "l10").problem(t, 500, "IDEMPOTENCY_ANSWER_UNREADABLE").Retryable)
			}
			require.Equal(t, 1, w.fake.ran("L10"))
		}},
	}
}

// storeConflicts lets transactions of the store fail as a database does, a few times and then for good.
func storeConflicts(t *testing.T, _ *world) {
	for name, err := range map[string]error{
		"serialization":  fault.New(fault.Conflict, "TRANSACTION_CONFLICT", "too many concurrent changes"),
		"deadlock":       errors.New("ERROR: deadlock detected (SQLSTATE 40P01)"),
		"no connection":  context.DeadlineExceeded,
		"no transaction": sql.ErrConnDone,
	} {
		w := setupOver(t, newBelow(func(b *below) {
			b.begin.err, b.complete.err = err, err
			b.Store = durable{idempotent.NewMemoryStore(b.now)}
		}))
		w.below.begin.left.Store(1)
		w.below.complete.left.Store(2)
		require.Equal(t, 201, w.create(t, "L05 few", "l05-few").status, name)
		w.below.begin.left.Store(3)
		a := w.create(t, "L05 many", "l05-many")
		require.True(t, *a.problem(t, 503, "IDEMPOTENCY_STORE_UNAVAILABLE").Retryable, name)
		require.NotEmpty(t, a.header.Get("Retry-After"), name)
		require.NotContains(t, a.body, "40P01")
		require.Zero(t, w.fake.ran("L05 many"), name)
		w.below.begin.left.Store(0)
		w.below.complete.left.Store(3)
		w.create(t, "L05 many", "l05-many").problem(t, 503, "IDEMPOTENCY_STORE_UNAVAILABLE")
		require.Equal(t, 1, w.fake.ran("L05 many"), name)
	}
}

// corrupting changes answers behind the back of their writer.
type corrupting struct{ idempotent.Store }

func (c corrupting) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	a.Body = append([]byte{99}, a.Body...)
	return c.Store.Complete(ctx, g, a)
}

// durable is a store in memory that is asked like one that may fail.
type durable struct{ idempotent.Store }

func (durable) Capabilities() idempotent.Capabilities {
	return idempotent.Capabilities{Durability: idempotent.Durable}
}

func limitCases() []conformance {
	return []conformance{
		{"M-01 what became of a key is counted by application, not by user", func(t *testing.T, _ *world) {
			w := setup(t)
			app := func(user, name string) option {
				token, err := w.idp.TokenWith(user, readAll, time.Hour, map[string]any{"azp": name})
				require.NoError(t, err)
				return with("Authorization", "Bearer "+token)
			}
			for _, user := range []string{"canary-user-1", "canary-user-2"} {
				for range 3 {
					require.Equal(t, 201, w.create(t, "M01", "m01", app(user, "field-app")).status)
				}
			}
			require.Equal(t, 422, w.create(t, "M01 other", "m01", app("canary-user-1", "field-app")).status)
			require.Equal(t, 400, w.do(t, "POST", "/v1/customers", body(`{"name":"M01"}`), app("canary-user-1", "field-app")).status)
			require.Equal(t, 201, w.create(t, "M01", "m01-b", app("canary-user-1", strings.Repeat("x", 65))).status)
			require.Equal(t, 200, w.do(t, "GET", "/v1/customers", app("canary-user-1", "field-app")).status)
			for outcome, n := range map[string]int{"executed": 2, "replayed": 4, "mismatch": 1, "refused": 1} {
				require.Regexp(t, fmt.Sprintf(`selfsame_edge_keys_total\{[^}]*selfsame_client="field-app",selfsame_outcome="%s"\} %d\n`, outcome, n), w.metrics(t))
			}
			require.Regexp(t, `selfsame_edge_keys_total\{[^}]*selfsame_client="other",selfsame_outcome="executed"\} 1\n`, w.metrics(t))
			require.NotContains(t, w.metrics(t), "canary-user")
		}},
		{"M-04 keys and contents are in no log and no metric", func(t *testing.T, _ *world) {
			w := setup(t)
			w.together(t, 200, func(i int) {
				name := fmt.Sprintf("canary-name-%d", i%20)
				w.create(t, name, fmt.Sprintf("canary-key-%d", i%30))
			})
			for _, observed := range []string{w.log.String(), w.metrics(t)} {
				require.NotContains(t, observed, "canary-")
			}
			require.Contains(t, w.log.String(), "request answered")
		}},
		{"M-05 the number of metrics does not grow with the number of keys", func(t *testing.T, _ *world) {
			w := setup(t)
			series := func() int { return strings.Count(w.metrics(t), "\n") }
			for range 2 { // executed, then replayed: each outcome is a series
				w.together(t, 20, func(i int) { w.create(t, "M05", fmt.Sprintf("m05-%d", i)) })
			}
			before := series()
			w.together(t, many(300), func(i int) { w.create(t, "M05", fmt.Sprintf("m05-%d", i)) })
			require.Equal(t, before, series())
		}},
		{"N-02 a token in metadata is no token", func(t *testing.T, w *world) {
			token := "Bearer " + w.token(t, "user-1", readAll)
			for _, name := range []string{"Grpc-Metadata-Authorization", "Grpc-Metadata-Selfsame-Principal", "X-Authorization"} {
				w.create(t, "N02", "n02", anonymous(), with(name, token)).problem(t, 401, "TOKEN_MISSING")
			}
			require.Zero(t, w.fake.ran("N02"))
		}},
		{"N-06 headers without measure are refused before the key is looked at", func(t *testing.T, _ *world) {
			w := setup(t)
			w.create(t, "N06", "n06", with("X-Large", strings.Repeat("x", 17<<10))).problem(t, 431, "HEADERS_TOO_LARGE")
			many := make([]option, 200)
			for i := range many {
				many[i] = with(fmt.Sprintf("X-Many-%d", i), "1")
			}
			w.create(t, "N06", "n06", many...).problem(t, 431, "HEADERS_TOO_LARGE")
			require.Zero(t, w.below.begun.Load())
			require.Equal(t, 201, w.create(t, "N06", "n06").status)
		}},
		{"N-07 a caller that floods keys is limited, others are not", func(t *testing.T, _ *world) {
			w := setup(t, func(c *experiencemobile.Config) { c.WriteLimit = 1 })
			flood := w.as(t, "flood")
			var sent, limited atomic.Int64
			for range 100 { // until it is: how fast this machine sends is not what is tested
				w.together(t, 16, func(int) {
					if w.create(t, "N07", fmt.Sprintf("n07-%d", sent.Add(1)), flood).status == 429 {
						limited.Add(1)
					}
				})
				if limited.Load() > 0 {
					break
				}
			}
			require.Positive(t, limited.Load())
			require.Equal(t, 201, w.create(t, "N07 other", "n07", w.as(t, "calm")).status)
			require.EqualValues(t, sent.Load()-limited.Load(), w.fake.ran("N07"))
		}},
		{"N-09 the defaults are limits", func(t *testing.T, _ *world) {
			c := experiencemobile.DefaultConfig()
			require.Equal(t, int64(1<<20), c.MaxBody)
			require.Equal(t, 5*time.Second, c.Budget)
			require.Equal(t, 4<<20, c.Serve.MaxRecvBytes)
			require.Empty(t, c.Origins)
			require.False(t, c.Auth.DevIssuer)
		}},
		{"N-12 no refusal tells whether somebody else's key exists", func(t *testing.T, w *world) {
			require.Equal(t, 201, w.create(t, "N12", "n12").status)
			theirs := w.create(t, "N12 mine", "n12", w.as(t, "user-12"))
			unknown := w.create(t, "N12 mine", "n12-unknown", w.as(t, "user-12"))
			require.Equal(t, unknown.status, theirs.status)
			require.Equal(t, unknown.header.Get("Idempotency-Status"), theirs.header.Get("Idempotency-Status"))
		}},
	}
}
