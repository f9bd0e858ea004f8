package backendtest

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func customerCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){
		"a customer is made, read back, changed and left alone": func(t *testing.T, w *World) {
			made := one(t, w.Backend, upsert{Key: w.ref("a"), Record: w.company("a")})
			require.NoError(t, made.Err)
			require.Equal(t, erp.Created, made.Outcome)
			c := made.Record
			require.NotEmpty(t, c.ID)
			require.NotEmpty(t, c.Number)
			require.Contains(t, c.Refs, w.ref("a"))
			require.Equal(t, w.name("a"), c.Name)
			require.Equal(t, "info@customer.example", c.Email)
			require.Len(t, c.Addresses, 1)
			require.Equal(t, w.company("a").Addresses[0], c.Addresses[0], "every part of the address stays")
			same := one(t, w.Backend, upsert{Key: w.ref("a"), Record: w.company("a")})
			require.NoError(t, same.Err)
			require.Equal(t, erp.Unchanged, same.Outcome)
			require.Equal(t, c.Version, same.Record.Version)

			changed := w.company("a")
			changed.Name, changed.Addresses[0].City = w.name("a2"), "Bonn"
			res := one(t, w.Backend, upsert{Key: w.ref("a"), Record: changed, Expected: c.Version})
			require.NoError(t, res.Err)
			require.Equal(t, erp.Updated, res.Outcome)
			require.Equal(t, c.ID, res.Record.ID)
			require.Greater(t, res.Record.Version, c.Version)
			found, err := w.Backend.Customers().Get(t.Context(), []string{c.ID, "999999999"})
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, w.name("a2"), found[c.ID].Name)
			require.Equal(t, "Bonn", found[c.ID].Addresses[0].City)
			looked, err := w.Backend.Customers().Lookup(t.Context(), w.ref("a"))
			require.NoError(t, err)
			require.Equal(t, c.ID, looked.ID)
		},
		"a mask changes only what it names": func(t *testing.T, w *World) {
			c := w.customer(t, "m")
			mask, err := erp.Customers().Mask([]string{"name", "phone"})
			require.NoError(t, err)
			res := one(t, w.Backend, upsert{Record: erp.Customer{Head: erp.Head{ID: c.ID}, Name: w.name("m2")}, Mask: mask})
			require.NoError(t, res.Err)
			require.Equal(t, w.name("m2"), res.Record.Name)
			require.Empty(t, res.Record.Phone, "named and empty: cleared")
			require.Equal(t, c.Email, res.Record.Email)
			require.Equal(t, c.Addresses, res.Record.Addresses)
		},
		"what the ERP has no place for is kept": func(t *testing.T, w *World) {
			in := w.company("x")
			in.Currency, in.PaymentTerms, in.Extensions = "EUR", "N30", map[string]string{"zone": "Z1"}
			res := one(t, w.Backend, upsert{Key: w.ref("x"), Record: in})
			require.NoError(t, res.Err)
			w.sync(t)
			c, err := w.Backend.Customers().Lookup(t.Context(), w.ref("x"))
			require.NoError(t, err)
			require.Equal(t, []any{"EUR", "N30", "Z1"}, []any{c.Currency, c.PaymentTerms, c.Extensions["zone"]})
		},
		"an old version is refused and the record untouched": func(t *testing.T, w *World) {
			c := w.customer(t, "v")
			require.NoError(t, one(t, w.Backend, upsert{Key: w.ref("v"), Record: erp.Customer{Name: w.name("v2")}}).Err)
			res := one(t, w.Backend, upsert{Key: w.ref("v"), Record: erp.Customer{Name: w.name("v3")}, Expected: c.Version})
			refused(t, res.Err, fault.Conflict, fault.ReasonETagMismatch, "")
			now, err := w.Backend.Customers().Lookup(t.Context(), w.ref("v"))
			require.NoError(t, err)
			require.Equal(t, w.name("v2"), now.Name)
		},
		"a reference of another customer is refused": func(t *testing.T, w *World) {
			a, b := w.customer(t, "r1"), w.customer(t, "r2")
			res := one(t, w.Backend, upsert{Record: erp.Customer{Head: erp.Head{ID: b.ID, Refs: []erp.Ref{w.ref("r1")}}}})
			refused(t, res.Err, fault.AlreadyExists, store.ReasonReferenceTaken, "customer.refs")
			f, _ := fault.As(res.Err)
			require.Equal(t, a.ID, f.Meta["record_id"])
			_, err := w.Backend.Customers().Create(t.Context(), erp.Customer{Head: erp.Head{Refs: []erp.Ref{w.ref("r1")}}, Name: w.name("r3")}, nil)
			refused(t, err, fault.AlreadyExists, store.ReasonReferenceTaken, "customer.refs")
		},
		"what cannot be known or made twice is refused": func(t *testing.T, w *World) {
			refused(t, one(t, w.Backend, upsert{Record: erp.Customer{Head: erp.Head{ID: "999999999"}, Name: "x"}}).Err,
				fault.NotFound, fault.ReasonNotFound, "")
			refused(t, one(t, w.Backend, upsert{Record: erp.Customer{Name: w.name("k")}}).Err, fault.Invalid, erp.ReasonRequired, "key")
			refused(t, one(t, w.Backend, upsert{Key: w.ref("k"), Record: erp.Customer{Email: "a@b.example"}}).Err, fault.Invalid, erp.ReasonRequired, "customer.name")
			twice, err := w.Backend.Customers().Upsert(t.Context(), []upsert{
				{Key: w.ref("k"), Record: w.company("k")}, {Key: w.ref("k"), Record: w.company("k")}, {Key: w.ref("k2"), Record: w.company("k2")},
			})
			require.NoError(t, err)
			refused(t, twice[0].Err, fault.Invalid, store.ReasonDuplicate, "")
			refused(t, twice[1].Err, fault.Invalid, store.ReasonDuplicate, "")
			require.NoError(t, twice[2].Err, "one refused record stops no other")
		},
		"many upserts of one new key at once make one customer": func(t *testing.T, w *World) {
			var mu sync.Mutex
			count, ids := map[erp.Outcome]int{}, map[string]bool{}
			n := 50
			if testing.Short() {
				n = 20
			}
			together(t, n, func(int) error {
				res, err := w.Backend.Customers().Upsert(t.Context(), []upsert{{Key: w.ref("p"), Record: w.company("p")}})
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
			there, err := w.Outside.Customers(t.Context(), w.ref("p"))
			require.NoError(t, err)
			require.Len(t, there, 1)
		},
		"two processes with one new key make one customer": func(t *testing.T, w *World) {
			second := w.Restart(t)
			together(t, 8, func(i int) error {
				b := w.Backend
				if i%2 == 1 {
					b = second
				}
				res, err := b.Customers().Upsert(t.Context(), []upsert{{Key: w.ref("pp"), Record: w.company("pp")}})
				if err != nil {
					return err
				}
				return res[0].Err
			})
			there, err := w.Outside.Customers(t.Context(), w.ref("pp"))
			require.NoError(t, err)
			require.Len(t, there, 1)
		},
		"different fields written at once all arrive": func(t *testing.T, w *World) {
			c := w.customer(t, "d")
			together(t, 2, func(i int) error {
				u := upsert{Record: erp.Customer{Head: erp.Head{ID: c.ID}, Email: "new@customer.example"}}
				if i == 1 {
					u = upsert{Record: erp.Customer{Head: erp.Head{ID: c.ID}, Phone: "+49 221 999"}}
				}
				res, err := w.Backend.Customers().Upsert(t.Context(), []upsert{u})
				if err != nil {
					return err
				}
				return res[0].Err
			})
			now, err := w.Backend.Customers().Lookup(t.Context(), w.ref("d"))
			require.NoError(t, err)
			require.Equal(t, []string{"new@customer.example", "+49 221 999", w.name("d")}, []string{now.Email, now.Phone, now.Name})
		},
		"a deleted customer stays deleted": func(t *testing.T, w *World) {
			c := w.customer(t, "del")
			if !w.capabilities(t).DeleteCustomers {
				_, err := w.Backend.Customers().Delete(t.Context(), c.ID)
				missing(t, err)
				return
			}
			res, err := w.Backend.Customers().Delete(t.Context(), c.ID)
			require.NoError(t, err)
			require.True(t, res.Record.Deleted)
			require.Equal(t, erp.Updated, res.Outcome)
			again, err := w.Backend.Customers().Delete(t.Context(), c.ID)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, again.Outcome)
			refused(t, one(t, w.Backend, upsert{Key: w.ref("del"), Record: w.company("del")}).Err, fault.Precondition, erp.ReasonDeleted, "")
			_, err = w.Backend.ValidateOrder(t.Context(), w.order(c.ID, "del-o"))
			refused(t, err, fault.Invalid, erp.ReasonDeleted, "order.customer_id")
		},
		"a customer that was there before is matched, two are an error": func(t *testing.T, w *World) {
			id, err := w.Outside.Make(t.Context(), w.name("old"), w.ref("old"))
			require.NoError(t, err)
			res := one(t, w.Backend, upsert{Key: w.ref("old"), Record: erp.Customer{Name: w.name("old")}})
			require.NoError(t, res.Err)
			require.Equal(t, id, res.Record.ID)
			require.Contains(t, []erp.Outcome{erp.Matched, erp.Unchanged}, res.Outcome)
			if w.capabilities(t).UniqueKeys {
				_, err = w.Outside.Make(t.Context(), w.name("old"), w.ref("old"))
				require.Error(t, err, "an ERP with unique keys refuses the second")
				return
			}
			first, err := w.Outside.Make(t.Context(), w.name("two"), w.ref("two"))
			require.NoError(t, err)
			second, err := w.Outside.Make(t.Context(), w.name("two"), w.ref("two"))
			require.NoError(t, err)
			res = one(t, w.Backend, upsert{Key: w.ref("two"), Record: erp.Customer{Name: w.name("two")}})
			refused(t, res.Err, fault.Precondition, backend.ReasonDuplicate, "")
			f, _ := fault.As(res.Err)
			require.Contains(t, f.Meta["record_ids"], first)
			require.Contains(t, f.Meta["record_ids"], second)
		},
		"many customers are written and listed page by page": func(t *testing.T, w *World) {
			want := make(map[string]bool, w.Large)
			for from := 0; from < w.Large; from += 200 {
				var batch []upsert
				for i := from; i < min(from+200, w.Large); i++ {
					batch = append(batch, upsert{Key: w.ref(key(i)), Record: erp.Customer{Name: w.name(key(i))}})
				}
				res, err := w.Backend.Customers().Upsert(t.Context(), batch)
				require.NoError(t, err)
				for _, r := range res {
					require.NoError(t, r.Err)
					want[r.Record.ID] = true
				}
			}
			require.Len(t, want, w.Large)
			w.sync(t)
			seen := make(map[string]bool)
			for after := ""; ; {
				page, err := w.Backend.Customers().List(t.Context(), after, 300)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for _, c := range page {
					require.False(t, seen[c.ID], "listed twice")
					require.Greater(t, c.ID, after)
					seen[c.ID], after = true, c.ID
				}
			}
			for id := range want {
				require.True(t, seen[id], "not listed")
			}
		},
		"what the ERP cannot hold is refused with our path": func(t *testing.T, w *World) {
			buyer := w.customer(t, "bad")
			for _, v := range w.Bad {
				var err error
				if v.Customer != nil {
					c := *v.Customer
					if c.Name == "" {
						c.Name = w.name("bad")
					}
					err = one(t, w.Backend, upsert{Key: w.ref("bad-" + v.Name), Record: c}).Err
				} else {
					o := w.order(buyer.ID, "bad-"+v.Name)
					o.Items = []erp.Item{*v.Item}
					_, _, err = w.Backend.CreateOrder(t.Context(), o)
					there, oerr := w.Outside.Orders(t.Context(), o.ClientRef)
					require.NoError(t, oerr)
					require.Empty(t, there, v.Name)
				}
				refused(t, err, fault.Invalid, v.Reason, v.Path)
			}
		},
	}
}
