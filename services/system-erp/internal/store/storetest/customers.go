package storetest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func customers(t *testing.T, open Open) {
	schema := erp.Customers()
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"a created customer is read back as it was sent": func(t *testing.T, s store.Store) {
			made, err := s.Customers().Create(t.Context(), acme(), nil)
			require.NoError(t, err)
			require.NotEmpty(t, made.ID)
			require.EqualValues(t, 1, made.Version)
			require.Equal(t, made.Created, made.Updated)
			found, err := s.Customers().Get(t.Context(), []string{made.ID, "nobody"})
			require.NoError(t, err)
			require.Equal(t, map[string]erp.Customer{made.ID: made}, found)
			want := acme()
			want.Head = made.Head
			require.Equal(t, want, made)
			for _, r := range acme().Refs {
				looked, err := s.Customers().Lookup(t.Context(), r)
				require.NoError(t, err)
				require.Equal(t, made, looked)
			}
		},
		"the number is the id when none is given": func(t *testing.T, s store.Store) {
			c := makeCustomer(t, s, "a")
			require.Equal(t, c.ID, c.Number)
			require.Equal(t, erp.Organization, c.Kind)
		},
		"references are compared byte by byte": func(t *testing.T, s store.Store) {
			a, b := makeCustomer(t, s, "Ä"), makeCustomer(t, s, "ä")
			require.NotEqual(t, a.ID, b.ID)
			_, err := s.Customers().Lookup(t.Context(), ref("A\u0308"))
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
		},
		"a second customer with the same reference is refused": func(t *testing.T, s store.Store) {
			makeCustomer(t, s, "a")
			_, err := s.Customers().Create(t.Context(), erp.Customer{Head: erp.Head{Refs: []erp.Ref{ref("a")}}, Name: "Other"}, nil)
			refused(t, err, fault.AlreadyExists, store.ReasonReferenceTaken, "customer.refs")
			require.EqualValues(t, 1, newest(t, s))
		},
		"a second customer with the same number is refused": func(t *testing.T, s store.Store) {
			_, err := s.Customers().Create(t.Context(), erp.Customer{Number: "7", Name: "One"}, nil)
			require.NoError(t, err)
			_, err = s.Customers().Create(t.Context(), erp.Customer{Number: "7", Name: "Two"}, nil)
			refused(t, err, fault.AlreadyExists, store.ReasonNumberTaken, "customer.number")
		},
		"an update changes what the mask names and nothing else": func(t *testing.T, s store.Store) {
			made, err := s.Customers().Create(t.Context(), acme(), nil)
			require.NoError(t, err)
			res, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{
				Record: erp.Customer{Head: erp.Head{ID: made.ID}, Name: "New", Phone: "ignored"},
				Mask:   mask(t, schema, "name", "email", "addresses"), Expected: 1,
			})
			require.NoError(t, err)
			want := made
			want.Name, want.Email, want.Addresses = "New", "", nil
			want.Version, want.Updated = 2, res.Record.Updated
			require.Equal(t, erp.Updated, res.Outcome)
			require.Empty(t, res.Record.Addresses)
			res.Record.Addresses = nil
			require.Equal(t, want, res.Record)
			found, err := s.Customers().Get(t.Context(), []string{made.ID})
			require.NoError(t, err)
			require.Equal(t, want, found[made.ID])
		},
		"an update that changes nothing leaves version and feed alone": func(t *testing.T, s store.Store) {
			made, err := s.Customers().Create(t.Context(), acme(), nil)
			require.NoError(t, err)
			same := acme()
			same.ID = made.ID
			res, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{Record: same, Mask: mask(t, schema, "*")})
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, res.Outcome)
			require.Equal(t, made, res.Record)
			require.EqualValues(t, 1, newest(t, s))
		},
		"an update of another version is a conflict": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			u := store.Upsert[erp.Customer]{
				Record: erp.Customer{Head: erp.Head{ID: made.ID}, Name: "New"}, Mask: mask(t, schema, "name"), Expected: 1,
			}
			_, err := s.Customers().Update(t.Context(), u)
			require.NoError(t, err)
			again, err := s.Customers().Update(t.Context(), u)
			require.NoError(t, err, "the same update again, after a lost answer, is no conflict")
			require.Equal(t, erp.Unchanged, again.Outcome)
			u.Record.Name = "Newer"
			_, err = s.Customers().Update(t.Context(), u)
			refused(t, err, fault.Conflict, fault.ReasonETagMismatch, "")
		},
		"references are added and never taken away": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			res, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{
				Record: erp.Customer{Head: erp.Head{ID: made.ID, Refs: []erp.Ref{ref("b")}}}, Mask: mask(t, schema, "refs"),
			})
			require.NoError(t, err)
			require.Equal(t, []erp.Ref{ref("a"), ref("b")}, res.Record.Refs)
			looked, err := s.Customers().Lookup(t.Context(), ref("a"))
			require.NoError(t, err)
			require.Equal(t, res.Record, looked)
		},
		"unknown customers are not found": func(t *testing.T, s store.Store) {
			_, err := s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: "x"}, Name: "N"}})
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
			_, err = s.Customers().Delete(t.Context(), "x")
			refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
		},
		"a deleted customer leaves a tombstone without personal data": func(t *testing.T, s store.Store) {
			made, err := s.Customers().Create(t.Context(), acme(), nil)
			require.NoError(t, err)
			res, err := s.Customers().Delete(t.Context(), made.ID)
			require.NoError(t, err)
			require.Equal(t, erp.Updated, res.Outcome)
			want := erp.Customer{Head: made.Head, Number: made.Number, Kind: made.Kind}
			want.Deleted, want.Version, want.Updated = true, 2, res.Record.Updated
			found, err := s.Customers().Lookup(t.Context(), ref("g1"))
			require.NoError(t, err)
			require.Equal(t, want, found)
			list, err := s.Customers().List(t.Context(), "", 10)
			require.NoError(t, err)
			require.Empty(t, list)
			again, err := s.Customers().Delete(t.Context(), made.ID)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, again.Outcome)
			require.EqualValues(t, 2, newest(t, s))
		},
		"a deleted customer is not written to": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			_, err := s.Customers().Delete(t.Context(), made.ID)
			require.NoError(t, err)
			_, err = s.Customers().Update(t.Context(), store.Upsert[erp.Customer]{Record: erp.Customer{Head: made.Head, Name: "New"}})
			refused(t, err, fault.Precondition, erp.ReasonDeleted, "")
			res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{{Record: erp.Customer{Name: "New"}, Key: ref("a")}})
			require.NoError(t, err)
			refused(t, res[0].Err, fault.Precondition, erp.ReasonDeleted, "")
			_, err = s.Customers().Create(t.Context(), erp.Customer{Head: erp.Head{Refs: []erp.Ref{ref("a")}}, Name: "New"}, nil)
			refused(t, err, fault.AlreadyExists, store.ReasonReferenceTaken, "customer.refs")
		},
		"unacceptable customers are refused with the field": func(t *testing.T, s store.Store) {
			for path, change := range map[string]func(c *erp.Customer){
				"customer.name":       func(c *erp.Customer) { c.Name = " \t" },
				"customer.tax_ids":    func(c *erp.Customer) { c.TaxIDs = append(c.TaxIDs, erp.TaxID{Scheme: "eu_vat", Value: "2"}) },
				"customer.addresses":  func(c *erp.Customer) { c.Addresses = append(c.Addresses, erp.Address{City: "Wien"}) },
				"customer.extensions": func(c *erp.Customer) { c.Extensions[strings.Repeat("x", 65)] = "1" },
				"customer.refs": func(c *erp.Customer) {
					for i := range 20 {
						c.Refs = append(c.Refs, ref(key(i)))
					}
				},
			} {
				c := acme()
				change(&c)
				_, err := s.Customers().Create(t.Context(), c, nil)
				f, ok := fault.As(err)
				require.True(t, ok, path)
				require.Equal(t, fault.Invalid, f.Kind)
				require.Equal(t, path, f.Fields[0].Path)
			}
			require.Zero(t, newest(t, s))
		},
		"pages are in id order and complete": func(t *testing.T, s store.Store) {
			want := map[string]bool{}
			for i := range 25 {
				want[makeCustomer(t, s, key(i)).ID] = true
			}
			after := ""
			for {
				list, err := s.Customers().List(t.Context(), after, 10)
				require.NoError(t, err)
				if len(list) == 0 {
					break
				}
				for _, c := range list {
					require.Greater(t, c.ID, after)
					require.True(t, want[c.ID], "seen twice or unknown")
					delete(want, c.ID)
					after = c.ID
				}
			}
			require.Empty(t, want)
		},
	})
}
