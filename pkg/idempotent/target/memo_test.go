package target_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/target"
)

// summary is a result with some structure.
type summary struct {
	Text   string
	Tokens []int
}

func memoBubble(t *testing.T, fn func(t *testing.T, store *failing, m target.Memo[summary])) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &failing{Store: idempotent.NewMemoryStore(nil)}
		fn(t, store, target.Memo[summary]{Store: store, Name: "case-summary/v1"})
	})
}

// model is what is expensive to ask.
type model struct{ asked atomic.Int64 }

func (m *model) answer(ctx context.Context) (summary, error) {
	m.asked.Add(1)
	t := time.NewTimer(40 * time.Second)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return summary{}, ctx.Err()
	case <-t.C:
	}
	return summary{"the customer wants a refund", []int{1, 2}}, nil
}

func TestMemo_ComputesOnceForAllWhoAsk(t *testing.T) {
	memoBubble(t, func(t *testing.T, _ *failing, m target.Memo[summary]) {
		ai := &model{}
		var wg sync.WaitGroup
		var hits atomic.Int64
		for range 20 {
			wg.Go(func() {
				got, hit, err := m.Get(t.Context(), "interaction-1", []byte("transcript"), ai.answer)
				if err != nil || got.Text != "the customer wants a refund" || len(got.Tokens) != 2 {
					t.Error(got, err)
				}
				if hit {
					hits.Add(1)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(1), ai.asked.Load(), "40 s of work, leases of 15 s: the heartbeat kept it")
		require.Equal(t, int64(19), hits.Load())
		begun := time.Now()
		_, hit, err := m.Get(t.Context(), "interaction-1", []byte("transcript"), ai.answer)
		require.NoError(t, err)
		require.True(t, hit)
		require.Zero(t, time.Since(begun))
		_, _, err = m.Get(t.Context(), "interaction-2", []byte("transcript"), ai.answer)
		require.NoError(t, err)
		require.Equal(t, int64(2), ai.asked.Load())
	})
}

func TestMemo_RefusesAnotherInputUnderTheSameID(t *testing.T) {
	memoBubble(t, func(t *testing.T, _ *failing, m target.Memo[summary]) {
		ai := &model{}
		_, _, err := m.Get(t.Context(), "i", []byte("transcript"), ai.answer)
		require.NoError(t, err)
		_, _, err = m.Get(t.Context(), "i", []byte("another transcript"), ai.answer)
		require.Equal(t, target.ReasonKeyReused, fault.ReasonOf(err))
		m.Name = "case-summary/v2"
		_, hit, err := m.Get(t.Context(), "i", []byte("another transcript"), ai.answer)
		require.NoError(t, err)
		require.False(t, hit, "another version of the computation")
	})
}

func TestMemo_KeepsNoFailure(t *testing.T) {
	memoBubble(t, func(t *testing.T, _ *failing, m target.Memo[summary]) {
		busy := errors.New("model is busy")
		_, _, err := m.Get(t.Context(), "i", nil, func(context.Context) (summary, error) { return summary{}, busy })
		require.ErrorIs(t, err, busy)
		require.Panics(t, func() {
			_, _, _ = m.Get(t.Context(), "i", nil, func(context.Context) (summary, error) { panic("defect") })
		})
		begun := time.Now()
		got, hit, err := m.Get(t.Context(), "i", nil, func(context.Context) (summary, error) { return summary{Text: "x"}, nil })
		require.NoError(t, err)
		require.False(t, hit)
		require.Equal(t, "x", got.Text)
		require.Zero(t, time.Since(begun), "nobody waits for a lease")
	})
}

func TestMemo_TakesOverFromAReplicaThatVanished(t *testing.T) {
	memoBubble(t, func(t *testing.T, store *failing, m target.Memo[summary]) {
		ai := &model{}
		store.set(&store.noBeats, true) // the first replica is cut off from the store
		first := make(chan error, 1)
		go func() {
			_, hit, err := m.Get(t.Context(), "i", nil, ai.answer)
			if hit {
				err = errors.New("was there before")
			}
			first <- err
		}()
		time.Sleep(16 * time.Second)
		second := make(chan error, 1)
		go func() {
			_, _, err := m.Get(t.Context(), "i", nil, ai.answer)
			second <- err
		}()
		synctest.Wait()
		require.Equal(t, int64(2), ai.asked.Load(), "after the lease another one computes")
		require.NoError(t, <-first, "its result is as good as any")
		require.NoError(t, <-second)
	})
}

func TestMemo_StopsWhenAnotherTookOver(t *testing.T) {
	memoBubble(t, func(t *testing.T, store *failing, m target.Memo[summary]) {
		ai := &model{}
		store.set(&store.noBeats, true)
		first := make(chan bool, 1)
		go func() {
			_, hit, err := m.Get(t.Context(), "i", nil, ai.answer)
			first <- hit && err == nil
		}()
		time.Sleep(16 * time.Second)
		go func() { _, _, _ = m.Get(t.Context(), "i", nil, ai.answer) }()
		synctest.Wait()
		store.set(&store.noBeats, false) // now it hears that it lost the claim
		require.True(t, <-first, "it waits for the other and gets that result")
		require.Equal(t, int64(2), ai.asked.Load())
	})
}

func TestMemo_AResultThatIsTooLargeIsComputedEachTime(t *testing.T) {
	memoBubble(t, func(t *testing.T, _ *failing, m target.Memo[summary]) {
		m.MaxResult = 100
		n := 0
		large := func(context.Context) (summary, error) { n++; return summary{Text: strings.Repeat("x", 100)}, nil }
		for range 3 {
			got, hit, err := m.Get(t.Context(), "i", nil, large)
			require.NoError(t, err)
			require.False(t, hit)
			require.Len(t, got.Text, 100)
		}
		require.Equal(t, 3, n)
	})
}

func TestMemo_WaitsNoLongerThanItsCaller(t *testing.T) {
	memoBubble(t, func(t *testing.T, store *failing, m target.Memo[summary]) {
		ai := &model{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _, _ = m.Get(t.Context(), "i", nil, ai.answer)
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := m.Get(ctx, "i", nil, ai.answer)
		require.True(t, fault.Is(err, fault.Timeout), "%v", err)
		<-done
		store.set(&store.down, true)
		_, _, err = m.Get(t.Context(), "i", nil, ai.answer)
		require.Equal(t, idempotent.ReasonStoreUnavailable, fault.ReasonOf(err))
	})
}
