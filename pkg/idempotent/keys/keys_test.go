package keys_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
)

// desk is a server over keys in a real database.
type desk struct {
	*keys.Server
	store *idempotent.SQLStore
	log   *keys.Log
	meter sdkmetric.Reader
}

// settled returns how many interventions of a kind were counted.
func (d desk) settled(t *testing.T, action string) (n int64) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, d.meter.Collect(t.Context(), &rm))
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				if v, _ := p.Attributes.Value("selfsame.action"); m.Name == "selfsame.idempotency.settled" && v.AsString() == action {
					n += p.Value
				}
			}
		}
	}
	return n
}

func setup(t *testing.T, engine string) desk {
	t.Helper()
	d := dbtest.Open(t, engine)
	store, err := idempotent.NewSQLStore(d, []byte("0123456789abcdef"), nil)
	require.NoError(t, err)
	log, err := keys.OpenLog(t.Context(), d, nil)
	require.NoError(t, err)
	reader := sdkmetric.NewManualReader()
	server, err := keys.New(store, log, slog.New(slog.DiscardHandler), sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	require.NoError(t, err)
	return desk{server, store, log, reader}
}

// claim begins an attempt whose claim lives for lease.
func (d desk) claim(t *testing.T, key string, lease time.Duration) idempotent.Grant {
	t.Helper()
	res, err := d.store.Begin(t.Context(), idempotent.Claim{
		Scope: idempotent.Scope{Principal: "p", Method: "/s/M", Key: key}, Fingerprint: []byte("fp"), Owner: []byte(key + lease.String()),
		Lease: lease, Retention: time.Hour, Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	require.NoError(t, err)
	require.Equal(t, idempotent.Granted, res.Outcome)
	return res.Grant
}

func (d desk) get(t *testing.T, digest string) *idempotencyv1.GetKeyResponse {
	t.Helper()
	got, err := d.GetKey(t.Context(), &idempotencyv1.GetKeyRequest{Digest: digest})
	require.NoError(t, err)
	return got
}

func TestServer(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			onEngine(t, engine)
		})
	}
}

func onEngine(t *testing.T, engine string) {
	t.Run("an uncertain key is released once, and who and why is kept", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		g := d.claim(t, "k1", time.Minute)
		require.NoError(t, d.store.Uncertain(t.Context(), g))
		digest := g.Digest.String()
		listed, err := d.ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{States: []idempotencyv1.KeyState{idempotencyv1.KeyState_KEY_STATE_UNCERTAIN}})
		require.NoError(t, err)
		require.Len(t, listed.GetKeys(), 1)
		require.Equal(t, digest, listed.GetKeys()[0].GetDigest())
		require.Equal(t, "/s/M", listed.GetKeys()[0].GetMethod())
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", listed.GetKeys()[0].GetTraceId())

		ctx := caller.With(t.Context(), caller.Identity{Name: "ops-laptop"})
		ask := &idempotencyv1.ReleaseKeyRequest{Digest: digest, Attempt: 1, Operator: "Ada", Reason: "looked in the ERP: no order"}
		for range 2 {
			resp, err := d.ReleaseKey(ctx, ask)
			require.NoError(t, err)
			require.Equal(t, idempotencyv1.KeyState_KEY_STATE_RELEASED, resp.GetKey().GetState())
		}
		done := d.get(t, digest).GetInterventions()
		require.Len(t, done, 1, "the second call changed nothing")
		require.Equal(t, "Ada", done[0].GetOperator())
		require.Equal(t, "ops-laptop (not verified)", done[0].GetCaller())
		require.Equal(t, "looked in the ERP: no order", done[0].GetReason())
		require.True(t, done[0].GetDone())
		require.EqualValues(t, 1, d.settled(t, "release"))
		require.EqualValues(t, 2, d.claim(t, "k1", time.Minute).Fence, "the next call is executed")
	})

	t.Run("a key whose owner works is not taken from it without force", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		g := d.claim(t, "k1", time.Minute)
		ask := &idempotencyv1.ReleaseKeyRequest{Digest: g.Digest.String(), Attempt: 1, Operator: "Ada", Reason: "stuck"}
		_, err := d.ReleaseKey(t.Context(), ask)
		require.Equal(t, keys.ReasonNotSettleable, fault.ReasonOf(err))
		require.Equal(t, fault.Precondition, fault.KindOf(err))
		ask.Force = true
		_, err = d.ReleaseKey(t.Context(), ask)
		require.NoError(t, err)
		require.ErrorIs(t, d.store.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("x")}), idempotent.ErrStale, "the owner is stale")
		done := d.get(t, g.Digest.String()).GetInterventions()
		require.Len(t, done, 2, "the refused one is kept too")
		require.ElementsMatch(t, []bool{false, true}, []bool{done[0].GetDone(), done[1].GetDone()})
	})

	t.Run("an operator who looked at an older attempt is refused", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		g := d.claim(t, "k1", time.Minute)
		require.NoError(t, d.store.Release(t.Context(), g))
		second := d.claim(t, "k1", 2*time.Minute)
		require.NoError(t, d.store.Uncertain(t.Context(), second))
		_, err := d.ReleaseKey(t.Context(), &idempotencyv1.ReleaseKeyRequest{Digest: g.Digest.String(), Attempt: 1, Force: true, Operator: "Ada", Reason: "old news"})
		require.Equal(t, keys.ReasonNotSettleable, fault.ReasonOf(err))
		require.Equal(t, idempotencyv1.KeyState_KEY_STATE_UNCERTAIN, d.get(t, g.Digest.String()).GetKey().GetState())
	})

	t.Run("an answer is expired, and its key is not executed again", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		g := d.claim(t, "k1", time.Minute)
		digest := g.Digest.String()
		_, err := d.ExpireKey(t.Context(), &idempotencyv1.ExpireKeyRequest{Digest: digest, Operator: "Ada", Reason: "too early"})
		require.Equal(t, keys.ReasonNotSettleable, fault.ReasonOf(err), "it is not done yet")
		require.NoError(t, d.store.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("personal"), Resource: "customers/c_1"}))
		for range 2 {
			resp, err := d.ExpireKey(t.Context(), &idempotencyv1.ExpireKeyRequest{Digest: digest, Operator: "Ada", Reason: "asked to forget"})
			require.NoError(t, err)
			require.Equal(t, idempotencyv1.KeyState_KEY_STATE_TOMBSTONE, resp.GetKey().GetState())
			require.Equal(t, "customers/c_1", resp.GetKey().GetResource())
		}
		stats, err := d.GetKeyStats(t.Context(), &idempotencyv1.GetKeyStatsRequest{})
		require.NoError(t, err)
		require.Zero(t, stats.GetOpen())
		all, err := d.ListInterventions(t.Context(), &idempotencyv1.ListInterventionsRequest{PageSize: 10})
		require.NoError(t, err)
		require.Len(t, all.GetInterventions(), 2)
		require.Equal(t, "asked to forget", all.GetInterventions()[0].GetReason(), "newest first")
	})

	t.Run("the answers about a subject are erased, and the log does not name it", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		for _, k := range []string{"k1", "k2"} {
			g := d.claim(t, k, time.Minute)
			require.NoError(t, d.store.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("personal"), Subject: "c_" + k}))
		}
		for _, want := range []int64{1, 0} {
			got, err := d.EraseAnswers(t.Context(), &idempotencyv1.EraseAnswersRequest{Subject: "c_k1", Operator: "Ada", Reason: "asked to be forgotten"})
			require.NoError(t, err)
			require.Equal(t, want, got.GetErased())
		}
		left, err := d.ListKeys(t.Context(), &idempotencyv1.ListKeysRequest{States: []idempotencyv1.KeyState{idempotencyv1.KeyState_KEY_STATE_DONE}})
		require.NoError(t, err)
		require.Len(t, left.GetKeys(), 1)
		all, err := d.ListInterventions(t.Context(), &idempotencyv1.ListInterventionsRequest{})
		require.NoError(t, err)
		require.Len(t, all.GetInterventions(), 2)
		require.NotContains(t, all.String(), "c_k1")
	})

	t.Run("what does not exist is not found", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		_, err := d.GetKey(t.Context(), &idempotencyv1.GetKeyRequest{Digest: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"})
		require.Equal(t, keys.ReasonUnknown, fault.ReasonOf(err))
		_, err = d.GetKey(t.Context(), &idempotencyv1.GetKeyRequest{Digest: "xyz"})
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	})

	t.Run("when the log cannot be written nothing is done", func(t *testing.T) {
		t.Parallel()
		d := setup(t, engine)
		g := d.claim(t, "k1", time.Minute)
		require.NoError(t, d.store.Uncertain(t.Context(), g))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := d.ReleaseKey(gone, &idempotencyv1.ReleaseKeyRequest{Digest: g.Digest.String(), Attempt: 1, Operator: "Ada", Reason: "x"})
		require.Error(t, err)
		require.Equal(t, idempotencyv1.KeyState_KEY_STATE_UNCERTAIN, d.get(t, g.Digest.String()).GetKey().GetState())
	})
}
