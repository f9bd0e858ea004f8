package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func feed(t *testing.T, open Open) {
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"a new feed is empty and has an epoch": func(t *testing.T, s store.Store) {
			b, err := s.Bounds(t.Context())
			require.NoError(t, err)
			require.Len(t, b.Epoch, 32)
			require.Equal(t, store.Bounds{Epoch: b.Epoch}, b)
			list, err := s.Changes(t.Context(), 0, 10)
			require.NoError(t, err)
			require.Empty(t, list)
		},
		"changes come in commit order with the record as it is": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			person, err := s.Contacts().Create(t.Context(), erp.Contact{LastName: "P", CustomerID: made.ID}, nil)
			require.NoError(t, err)
			_, err = s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: made.ID}, Name: "New"}})
			require.NoError(t, err)
			gone, err := s.Contacts().Delete(t.Context(), person.ID)
			require.NoError(t, err)
			list, err := s.Changes(t.Context(), 0, 10)
			require.NoError(t, err)
			require.Len(t, list, 4)
			kinds := []store.ChangeKind{store.ChangeCreated, store.ChangeCreated, store.ChangeUpdated, store.ChangeDeleted}
			for i, c := range list {
				require.EqualValues(t, i+1, c.Position)
				require.Equal(t, kinds[i], c.Kind)
				require.False(t, c.Committed.IsZero())
				require.NotEqual(t, (c.Customer == nil), (c.Contact == nil))
			}
			require.Equal(t, "New", list[0].Customer.Name)
			require.Equal(t, gone.Record.Version, list[1].Contact.Version)
			part, err := s.Changes(t.Context(), 2, 1)
			require.NoError(t, err)
			require.Equal(t, list[2:3], part)
		},
		"commit times never go backwards": func(t *testing.T, s store.Store) {
			for i := range 5 {
				makeCustomer(t, s, key(i))
			}
			list, err := s.Changes(t.Context(), 0, 10)
			require.NoError(t, err)
			for i := 1; i < len(list); i++ {
				require.False(t, list[i].Committed.Before(list[i-1].Committed))
			}
			stamp, ok, err := s.Stamp(t.Context(), 3)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, list[2].Committed.UnixMicro(), stamp)
			_, ok, err = s.Stamp(t.Context(), 6)
			require.NoError(t, err)
			require.False(t, ok)
		},
		"a purge forgets old changes and says so": func(t *testing.T, s store.Store) {
			for i := range 5 {
				makeCustomer(t, s, key(i))
			}
			n, err := s.Purge(t.Context(), time.Unix(0, 0), 100)
			require.NoError(t, err)
			require.Zero(t, n)
			n, err = s.Purge(t.Context(), time.Now().Add(time.Hour), 3)
			require.NoError(t, err)
			require.Equal(t, 3, n)
			b, err := s.Bounds(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 3, b.Oldest)
			require.EqualValues(t, 5, b.Newest)
			require.NotZero(t, b.OldestStamp)
			_, err = s.Changes(t.Context(), 2, 10)
			refused(t, err, fault.Precondition, fault.ReasonResumeTokenExpired, "")
			_, err = s.Changes(t.Context(), 6, 10)
			refused(t, err, fault.Precondition, fault.ReasonResumeTokenExpired, "")
			list, err := s.Changes(t.Context(), 3, 10)
			require.NoError(t, err)
			require.Len(t, list, 2)
			_, err = s.Purge(t.Context(), time.Now().Add(time.Hour), 100)
			require.NoError(t, err)
			made := makeCustomer(t, s, "later")
			list, err = s.Changes(t.Context(), 5, 10)
			require.NoError(t, err)
			require.Equal(t, made.ID, list[0].Customer.ID)
			require.EqualValues(t, 6, list[0].Position, "positions go on after a purge")
		},
		"a reader under concurrent writers sees every change once and in order": everyChange,
	})
}

// everyChange lets a reader follow the feed while writers work; whatever it has passed must be complete.
func everyChange(t *testing.T, s store.Store) {
	const writers = 8
	each := fewer(30)
	var g errgroup.Group
	var done atomic.Bool
	for w := range writers {
		g.Go(func() error {
			for i := range each {
				res, err := s.Customers().Upsert(t.Context(), []customerUpsert{
					{Record: erp.Customer{Name: "A"}, Key: ref(key(w*1000 + i))},
					{Record: erp.Customer{Name: "B"}, Key: ref(key(w*1000 + 500 + i))},
				})
				if err != nil {
					return err
				}
				for _, r := range res {
					if r.Err != nil {
						return r.Err
					}
				}
			}
			return nil
		})
	}
	read := make(chan error, 1)
	seen := map[string]int{}
	go func() {
		var at int64
		for last := false; ; {
			list, err := s.Changes(t.Context(), at, 50)
			if err != nil {
				read <- err
				return
			}
			for _, c := range list {
				if c.Position != at+1 {
					read <- fault.New(fault.Internal, "HOLE", "position %d after %d", c.Position, at)
					return
				}
				at = c.Position
				seen[c.Customer.ID]++
			}
			if len(list) == 0 && last {
				read <- nil
				return
			}
			last = done.Load()
		}
	}()
	require.NoError(t, g.Wait())
	done.Store(true)
	require.NoError(t, <-read)
	require.Len(t, seen, writers*each*2)
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
}
