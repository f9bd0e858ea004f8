package experiencemobile_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// releaseCases are about retries that meet services of another release, or an older state of them.
func releaseCases() []conformance {
	return []conformance{
		{"C-08 a request is compared with what the release before noted of it", func(t *testing.T, _ *world) {
			keys := newBelow()
			old := setupOver(t, newBelow(func(b *below) { b.Store, b.options.FingerprintVersion = keys.Store, 1 }))
			fresh := old.released(t, keys)
			require.Equal(t, 201, old.create(t, "C08", "c08").status)
			require.Equal(t, "true", fresh.create(t, "C08", "c08").header.Get("Idempotent-Replayed"))
			fresh.create(t, "C08 other", "c08").problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			require.Equal(t, 201, fresh.create(t, "C08 new", "c08-new").status)
			require.Equal(t, "true", old.create(t, "C08 new", "c08-new").header.Get("Idempotent-Replayed"), "and after a way back")
			old.create(t, "C08 other", "c08-new").problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
			require.Equal(t, []int{1, 0, 0, 1}, []int{old.fake.ran("C08"), fresh.fake.ran("C08"), old.fake.ran("C08 new"), fresh.fake.ran("C08 new")})
		}},
		{"D-08 a replay by another release is the same JSON, and keeps what that release does not know", otherRelease},
		{"H-10 after a restored backup the keys below stop duplicates", func(t *testing.T, _ *world) {
			erp := &ledger{made: map[string]int{}}
			before := setup(t)
			restored := before.released(t, newBelow()) // of the lost hour it knows no key
			for _, w := range []*world{before, restored} {
				w.fake.plan("H10", erp.book)
				a := w.create(t, "H10", "h10")
				require.Equal(t, 201, a.status)
				require.Equal(t, "executed", a.header.Get("Idempotency-Status"))
			}
			require.Equal(t, before.keysBelow(), restored.keysBelow())
			require.Len(t, erp.made, 1, "one effect")
			for _, asked := range erp.made {
				require.Equal(t, 2, asked)
			}
		}},
	}
}

// ledger is a system that honours keys: it has an effect for each, however often it is asked.
type ledger struct {
	mu   sync.Mutex
	made map[string]int
}

func (l *ledger) book(ctx context.Context) error {
	md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "erp.create", "7"))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made[md.Get("idempotency-key")[0]]++
	return nil
}

// otherRelease changes a customer of which the process service of then knew more than this one does.
func otherRelease(t *testing.T, _ *world) {
	w := setup(t)
	other := w.released(t, newBelow(func(b *below) { b.Store = w.below.Store }))
	w.fake.add("c_d08")
	unknown := []byte{0xf8, 0x3f, 0x2a} // field 1023
	w.fake.mu.Lock()
	w.fake.customers["c_d08"].ProtoReflect().SetUnknown(unknown)
	w.fake.mu.Unlock()
	send := func(to *world) answer {
		return to.do(t, "PATCH", "/v1/customers/c_d08", key("d08"), body(`{"phone":"+49 228 8"}`))
	}
	first := send(w)
	require.Equal(t, "+49 228 8", first.json(t, 200)["phone"])
	for _, replica := range []*world{other, w} {
		again := send(replica)
		require.JSONEq(t, first.body, again.body)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, first.header.Get("ETag"), again.header.Get("ETag"))
		replica.fake.mu.Lock()
		all := replica.fake.answered
		replica.fake.mu.Unlock()
		kept, ok := all[len(all)-1].(*customerv1.UpdateCustomerResponse)
		require.True(t, ok)
		require.Equal(t, unknown, []byte(kept.GetCustomer().ProtoReflect().GetUnknown()))
	}
	require.Len(t, w.fake.updates, 1)
	require.Empty(t, other.fake.updates)
}
