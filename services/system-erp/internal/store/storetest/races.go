package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// together runs fn n times at once and returns when all are done.
func together(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var g errgroup.Group
	start := make(chan struct{})
	for i := range n {
		g.Go(func() error { <-start; return fn(i) })
	}
	close(start)
	require.NoError(t, g.Wait())
}

func races(t *testing.T, open Open) {
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"many upserts of one new key at once make one customer": func(t *testing.T, s store.Store) {
			var mu sync.Mutex
			count, ids := map[erp.Outcome]int{}, map[string]bool{}
			n := fewer(100)
			together(t, n, func(int) error {
				res, err := s.Customers().Upsert(t.Context(), []customerUpsert{{Record: erp.Customer{Name: "A"}, Key: ref("a")}})
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				count[res[0].Outcome]++
				ids[res[0].Record.ID] = true
				return res[0].Err
			})
			require.Equal(t, map[erp.Outcome]int{erp.Created: 1, erp.Unchanged: n - 1}, count)
			require.Len(t, ids, 1)
			require.EqualValues(t, 1, newest(t, s))
			list, err := s.Customers().List(t.Context(), "", 10)
			require.NoError(t, err)
			require.Len(t, list, 1)
		},
		"different writes of one key at once all take effect on one record": func(t *testing.T, s store.Store) {
			together(t, 40, func(i int) error {
				res, err := s.Customers().Upsert(t.Context(), []customerUpsert{{
					Record: erp.Customer{Name: "A", Extensions: map[string]string{key(i): "1"}}, Key: ref("a"),
				}})
				if err != nil {
					return err
				}
				return res[0].Err
			})
			c, err := s.Customers().Lookup(t.Context(), ref("a"))
			require.NoError(t, err)
			require.Len(t, c.Extensions, 40, "no write is lost")
			require.EqualValues(t, 40, c.Version)
			require.EqualValues(t, 40, newest(t, s))
		},
		"batches that overlap in opposite order neither block nor double": func(t *testing.T, s store.Store) {
			together(t, fewer(16), func(w int) error {
				var ups []customerUpsert
				for i := range 40 {
					k := i
					if w%2 == 1 {
						k = 39 - i
					}
					ups = append(ups, customerUpsert{Record: erp.Customer{Name: key(k), Number: "n" + key(k)}, Key: ref(key(k))})
				}
				res, err := s.Customers().Upsert(t.Context(), ups)
				if err != nil {
					return err
				}
				for _, r := range res {
					if r.Err != nil {
						return r.Err
					}
				}
				return nil
			})
			list, err := s.Customers().List(t.Context(), "", 100)
			require.NoError(t, err)
			require.Len(t, list, 40)
			require.EqualValues(t, 40, newest(t, s))
		},
		"of two writers that expect the same version one wins": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			var mu sync.Mutex
			won := 0
			together(t, 20, func(i int) error {
				_, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{
					Record: erp.Customer{Head: erp.Head{ID: made.ID}, Name: fmt.Sprint("N", i)}, Expected: 1,
				})
				if err != nil && fault.ReasonOf(err) != fault.ReasonETagMismatch {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				}
				return nil
			})
			require.Equal(t, 1, won)
		},
		"a reader never sees parts of two versions": func(t *testing.T, s store.Store) {
			var writing errgroup.Group
			done := make(chan struct{})
			writing.Go(func() error {
				defer close(done)
				for i := range fewer(150) {
					res, err := s.Customers().Upsert(t.Context(), []customerUpsert{{Key: ref("a"), Record: erp.Customer{
						Name: key(i), Addresses: []erp.Address{{City: key(i)}}, TaxIDs: []erp.TaxID{{Scheme: "s", Value: key(i)}},
					}}})
					if err != nil || res[0].Err != nil {
						return errors.Join(err, res[0].Err)
					}
				}
				return nil
			})
			for reading := true; reading; {
				select {
				case <-done:
					reading = false
				default:
				}
				c, err := s.Customers().Lookup(t.Context(), ref("a"))
				if fault.Is(err, fault.NotFound) {
					continue
				}
				require.NoError(t, err)
				require.Equal(t, []string{c.Name, c.Name}, []string{c.Addresses[0].City, c.TaxIDs[0].Value})
			}
			require.NoError(t, writing.Wait())
		},
		"a number wanted by many goes to one": func(t *testing.T, s store.Store) {
			var mu sync.Mutex
			made := 0
			together(t, 20, func(i int) error {
				res, err := s.Customers().Upsert(t.Context(), []customerUpsert{{Record: erp.Customer{Name: "A", Number: "7"}, Key: ref(key(i))}})
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if res[0].Err == nil {
					made++
				} else if f, _ := fault.As(res[0].Err); f.Fields[0].Path != "customer.number" {
					return res[0].Err
				}
				return nil
			})
			require.Equal(t, 1, made)
		},
		"orders with one client reference at once are one order": func(t *testing.T, s store.Store) {
			o := anOrder(t, s)
			var mu sync.Mutex
			count, ids := map[erp.Outcome]int{}, map[string]bool{}
			together(t, 50, func(int) error {
				placed, outcome, err := s.CreateOrder(t.Context(), o)
				mu.Lock()
				defer mu.Unlock()
				count[outcome]++
				ids[placed.ID] = true
				return err
			})
			require.Equal(t, map[erp.Outcome]int{erp.Created: 1, erp.Unchanged: 49}, count)
			require.Len(t, ids, 1)
		},
	})
}

// fewer is how often something is done: less in the fast tests, which `make check` does in full.
func fewer(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}
