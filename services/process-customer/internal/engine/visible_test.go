package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	t.Run("every edit is seen on the other side while all loops run", func(t *testing.T) {
		t.Parallel()
		require.Len(t, visible(t, "sqlite", 5, 20, time.Millisecond), 20)
	})
}

// sightings knows which edits have not been seen on the other side yet.
type sightings struct {
	mu   sync.Mutex
	due  []time.Time // by edit
	of   map[string][]int
	took []time.Duration
	all  chan struct{}
}

// edited notes an edit of a customer that was due at a time, and returns what it writes.
func (s *sightings) edited(customer string, due time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[customer] = append(s.of[customer], len(s.due))
	s.due = append(s.due, due)
	return customer + "#" + strconv.Itoa(len(s.due)-1)
}

// seen notes that a value is there: an edit that a later one has replaced is seen with that one.
func (s *sightings) seen(value string, edits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	customer, text, _ := strings.Cut(value, "#")
	number, err := strconv.Atoi(text)
	for err == nil && len(s.of[customer]) > 0 && s.of[customer][0] <= number {
		s.took = append(s.took, now.Sub(s.due[s.of[customer][0]]))
		s.of[customer] = s.of[customer][1:]
		if len(s.took) == edits {
			close(s.all)
		}
	}
}

// visible edits customers in the ERP, one every so often whatever becomes of the edits before, while the engine runs, and
// returns how long each took from the moment it was due until Salesforce had it, the shortest first.
func visible(t *testing.T, name string, customers, edits int, every time.Duration) []time.Duration {
	t.Helper()
	w := enginetest.New(t, storetest.Schema.Open(t, name))
	ids := make([]string, customers)
	for i := range ids {
		ids[i] = w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Customer %d", i), golden.TaxID: fmt.Sprintf("DE%09d", 100_000_000+i)})
	}
	w.Settle()
	s := &sightings{of: map[string][]int{}, all: make(chan struct{})}
	w.SF.AfterUpsert(func(_ golden.Object, writes []source.Write, results []source.Result) {
		for i := range writes {
			if results[i].Err == nil {
				s.seen(writes[i].Values[golden.Phone], edits)
			}
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var g errgroup.Group
	for _, f := range w.Feeds {
		g.Go(func() error { return f.Run(ctx) })
	}
	for _, d := range w.Deliverers {
		g.Go(func() error { return d.Run(ctx) })
	}
	begun := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range edits {
		due := begun.Add(time.Duration(i) * every)
		for time.Now().Before(due) {
			<-tick.C
		}
		id := ids[i%customers]
		w.ERP.Edit(golden.Customer, id, golden.Values{golden.Phone: s.edited(id, due)})
	}
	select {
	case <-s.all:
	case <-time.After(2 * time.Minute):
		require.Fail(t, "some edits were never seen")
	}
	stop()
	require.NoError(t, g.Wait())
	slices.Sort(s.took)
	return s.took
}
