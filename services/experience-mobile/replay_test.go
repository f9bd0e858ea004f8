package experiencemobile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

// TestKeptAnswers looks at what a retry meets at the edge, without and with a Redis that replicas share.
func TestKeptAnswers(t *testing.T) {
	t.Parallel()
	keep := func(c *experiencemobile.Config) { c.Replay.Keep = time.Minute }
	t.Run("a retry is answered here, with the same status, headers and body", func(t *testing.T) {
		t.Parallel()
		w := setup(t, keep)
		first := w.create(t, "Kept GmbH", "kept-1")
		begun := w.below.begun.Load()
		again := w.create(t, "Kept GmbH", "kept-1", with("X-Request-Id", "again"))
		require.Equal(t, begun, w.below.begun.Load(), "nobody below is asked")
		require.Equal(t, first.status, again.status)
		require.Equal(t, first.body, again.body)
		for _, name := range []string{"Location", "ETag", "Content-Type", "Cache-Control", "Idempotency-Key"} {
			require.Equal(t, first.header.Get(name), again.header.Get(name), name)
		}
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, "replayed", again.header.Get("Idempotency-Status"))
		require.Equal(t, "again", again.header.Get("X-Request-Id"), "what belongs to the request is the request's own")
	})
	t.Run("who may no longer write gets nothing that is kept", func(t *testing.T) {
		t.Parallel()
		w := setup(t, keep)
		require.Equal(t, 201, w.create(t, "Kept GmbH", "kept-2").status)
		w.create(t, "Kept GmbH", "kept-2", with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))).problem(t, 403, "INSUFFICIENT_SCOPE")
		w.create(t, "Kept GmbH", "kept-2", anonymous()).problem(t, 401, "TOKEN_MISSING")
		other := w.create(t, "Kept GmbH", "kept-2", w.as(t, "user-2"))
		require.Empty(t, other.header.Get("Idempotent-Replayed"))
		w.fake.add("c_kept")
		mine := w.owner(t, "user-1", "c_kept")
		patched := w.do(t, "PATCH", "/v1/customers/c_kept", body(`{"phone":"3"}`), key("kept-3"))
		require.Equal(t, 200, patched.status)
		require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_kept", body(`{"phone":"3"}`), key("kept-3"), mine).status)
		w.do(t, "PATCH", "/v1/customers/c_kept", body(`{"phone":"3"}`), key("kept-3"), w.owner(t, "user-1", "c_other")).problem(t, 404, "CUSTOMER_UNKNOWN")
	})
	t.Run("whoever is within the time to join waits for the first and asks nobody below", func(t *testing.T) {
		t.Parallel()
		w := setup(t, keep, func(c *experiencemobile.Config) { c.Replay.Join = 10 * time.Second })
		release := w.fake.hold("Joined GmbH")
		first := w.begin(t, "Joined GmbH", "kept-7")
		begun := w.below.begun.Load()
		time.AfterFunc(20*time.Millisecond, release)
		w.together(t, 100, func(int) {
			if a := w.create(t, "Joined GmbH", "kept-7"); a.status != 201 || a.header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
		require.Equal(t, 201, (<-first).status)
		require.Equal(t, begun, w.below.begun.Load(), "nobody but the first asked below")
		require.Equal(t, 1, w.fake.ran("Joined GmbH"))
	})
	t.Run("a failure is not kept", func(t *testing.T) {
		t.Parallel()
		w := setup(t, keep)
		w.fake.plan("Kept GmbH", fails(conflict()))
		w.create(t, "Kept GmbH", "kept-4").problem(t, 409, "CONFLICT")
		a := w.create(t, "Kept GmbH", "kept-4")
		require.Equal(t, 201, a.status)
		require.Equal(t, "executed", a.header.Get("Idempotency-Status"))
	})
	t.Run("without a Redis that answers, everything works as if nothing were kept", func(t *testing.T) {
		t.Parallel()
		w := setup(t, keep, func(c *experiencemobile.Config) { c.Replay.Redis = conf.Secret("redis://127.0.0.1:1/0") })
		require.Equal(t, 201, w.create(t, "Kept GmbH", "kept-5").status)
		require.Equal(t, "true", w.create(t, "Kept GmbH", "kept-5").header.Get("Idempotent-Replayed"))
		require.Equal(t, 1, w.fake.ran("Kept GmbH"))
		require.NotContains(t, w.log.String(), "kept-5")
	})
	t.Run("replicas share what is kept in Redis", func(t *testing.T) {
		t.Parallel()
		url := dbtest.Redis(t)
		shared := func(c *experiencemobile.Config) { c.Replay.Redis = conf.Secret(url) }
		w := setup(t, keep, shared)
		other := w.another(t, keep, shared)
		unique := time.Now().Format("150405.000000000")
		require.Equal(t, 201, w.create(t, "Kept GmbH", "kept-6-"+unique).status)
		require.Eventually(t, func() bool { // a Redis that is busy with other tests costs hits
			begun := w.below.begun.Load()
			a := other.create(t, "Kept GmbH", "kept-6-"+unique)
			return a.header.Get("Idempotent-Replayed") == "true" && w.below.begun.Load() == begun
		}, time.Minute, 10*time.Millisecond)
		require.Equal(t, 1, w.fake.ran("Kept GmbH"))
	})
}
