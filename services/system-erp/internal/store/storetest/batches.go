package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

type customerUpsert = store.Upsert[erp.Customer]

func outcomes[R any](results []store.Result[R]) []erp.Outcome {
	out := make([]erp.Outcome, len(results))
	for i, r := range results {
		out[i] = r.Outcome
	}
	return out
}

func batches(t *testing.T, open Open) {
	schema := erp.Customers()
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"an upsert creates, changes and leaves alone by its key": func(t *testing.T, s store.Store) {
			u := customerUpsert{Record: erp.Customer{Name: "A", Email: "a@x.example"}, Key: ref("a")}
			first, err := s.Customers().Upsert(t.Context(), []customerUpsert{u})
			require.NoError(t, err)
			require.Equal(t, erp.Created, first[0].Outcome)
			require.Equal(t, []erp.Ref{ref("a")}, first[0].Record.Refs)
			again, err := s.Customers().Upsert(t.Context(), []customerUpsert{u})
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, again[0].Outcome)
			require.Equal(t, first[0].Record, again[0].Record)
			u.Record = erp.Customer{Phone: "1"}
			third, err := s.Customers().Upsert(t.Context(), []customerUpsert{u})
			require.NoError(t, err)
			require.Equal(t, erp.Updated, third[0].Outcome)
			require.Equal(t, "A", third[0].Record.Name)
			require.Equal(t, "1", third[0].Record.Phone)
			require.EqualValues(t, 2, third[0].Record.Version)
			require.EqualValues(t, 2, newest(t, s))
		},
		"one refused record does not stop the others": func(t *testing.T, s store.Store) {
			taken := makeCustomer(t, s, "taken")
			res, err := s.Customers().Upsert(t.Context(), []customerUpsert{
				{Record: erp.Customer{Name: "A"}, Key: ref("a")},
				{Record: erp.Customer{Name: ""}, Key: ref("nameless")},
				{Record: erp.Customer{Name: "B", Head: erp.Head{Refs: []erp.Ref{ref("taken")}}}, Key: ref("b")},
				{Record: erp.Customer{Name: "C"}},
				{Record: erp.Customer{Name: "D", Head: erp.Head{ID: "unknown"}}},
				{Record: erp.Customer{Name: "E"}, Key: ref("taken"), Expected: 9},
				{Record: erp.Customer{Name: "F"}, Key: ref("f")},
			})
			require.NoError(t, err)
			require.Equal(t, []erp.Outcome{erp.Created, 0, 0, 0, 0, 0, erp.Created}, outcomes(res))
			refused(t, res[1].Err, fault.Invalid, erp.ReasonRequired, "customer.name")
			refused(t, res[2].Err, fault.AlreadyExists, store.ReasonReferenceTaken, "customer.refs")
			refused(t, res[3].Err, fault.Invalid, erp.ReasonRequired, "key")
			refused(t, res[4].Err, fault.NotFound, fault.ReasonNotFound, "")
			refused(t, res[5].Err, fault.Conflict, fault.ReasonETagMismatch, "")
			for _, missing := range []string{"b", "nameless"} {
				_, err := s.Customers().Lookup(t.Context(), ref(missing))
				refused(t, err, fault.NotFound, fault.ReasonNotFound, "")
			}
			same, err := s.Customers().Lookup(t.Context(), ref("taken"))
			require.NoError(t, err)
			require.Equal(t, taken, same)
			require.EqualValues(t, 3, newest(t, s))
		},
		"the same record twice in one request is refused for both": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			res, err := s.Customers().Upsert(t.Context(), []customerUpsert{
				{Record: erp.Customer{Name: "One"}, Key: ref("new")},
				{Record: erp.Customer{Name: "Two"}, Key: ref("new")},
				{Record: erp.Customer{Name: "By id", Head: erp.Head{ID: made.ID}}},
				{Record: erp.Customer{Name: "By key"}, Key: ref("a")},
				{Record: erp.Customer{Name: "Fine"}, Key: ref("fine")},
			})
			require.NoError(t, err)
			require.Equal(t, []erp.Outcome{0, 0, 0, 0, erp.Created}, outcomes(res))
			for _, r := range res[:4] {
				refused(t, r.Err, fault.Invalid, store.ReasonDuplicate, "")
			}
		},
		"a later record of a batch sees what an earlier one took": func(t *testing.T, s store.Store) {
			res, err := s.Customers().Upsert(t.Context(), []customerUpsert{
				{Record: erp.Customer{Name: "A", Number: "1", Head: erp.Head{Refs: []erp.Ref{ref("shared")}}}, Key: ref("a")},
				{Record: erp.Customer{Name: "B", Head: erp.Head{Refs: []erp.Ref{ref("shared")}}}, Key: ref("b")},
				{Record: erp.Customer{Name: "C", Number: "1"}, Key: ref("c")},
			})
			require.NoError(t, err)
			refused(t, res[1].Err, fault.AlreadyExists, store.ReasonReferenceTaken, "customer.refs")
			refused(t, res[2].Err, fault.AlreadyExists, store.ReasonNumberTaken, "customer.number")
		},
		"a key of another record does not move to the record named by id": func(t *testing.T, s store.Store) {
			made := makeCustomer(t, s, "a")
			makeCustomer(t, s, "b")
			res, err := s.Customers().Upsert(t.Context(), []customerUpsert{
				{Record: erp.Customer{Name: "New", Head: erp.Head{ID: made.ID}}, Key: ref("b")},
			})
			require.NoError(t, err)
			refused(t, res[0].Err, fault.AlreadyExists, store.ReasonReferenceTaken, "key")
		},
		"a masked upsert clears fields and a new record takes all": func(t *testing.T, s store.Store) {
			u := customerUpsert{Record: erp.Customer{Name: "A", Email: "a@x.example", OrderBlock: true}, Key: ref("a"), Mask: mask(t, schema, "name")}
			res, err := s.Customers().Upsert(t.Context(), []customerUpsert{u})
			require.NoError(t, err)
			require.Equal(t, "a@x.example", res[0].Record.Email)
			require.True(t, res[0].Record.OrderBlock)
			u.Record, u.Mask = erp.Customer{}, mask(t, schema, "email", "order_block")
			res, err = s.Customers().Upsert(t.Context(), []customerUpsert{u})
			require.NoError(t, err)
			require.Equal(t, erp.Updated, res[0].Outcome)
			require.Empty(t, res[0].Record.Email)
			require.False(t, res[0].Record.OrderBlock)
			require.Equal(t, "A", res[0].Record.Name)
		},
		"extensions are added to without a mask and replaced with one": func(t *testing.T, s store.Store) {
			put := func(m erp.Mask, ext map[string]string) map[string]string {
				res, err := s.Customers().Upsert(t.Context(), []customerUpsert{{Record: erp.Customer{Name: "A", Extensions: ext}, Key: ref("a"), Mask: m}})
				require.NoError(t, err)
				return res[0].Record.Extensions
			}
			put(erp.Mask{}, map[string]string{"a": "1"})
			require.Equal(t, map[string]string{"a": "1", "b": "2"}, put(erp.Mask{}, map[string]string{"b": "2"}))
			require.Equal(t, map[string]string{"c": "3"}, put(mask(t, schema, "extensions"), map[string]string{"c": "3"}))
		},
		"a large batch is answered in order": func(t *testing.T, s store.Store) {
			var ups []customerUpsert
			n := fewer(200)
			for i := range n {
				c := acme()
				c.Refs, c.Number, c.Name = []erp.Ref{{System: "salesforce", Type: "Account", Value: key(i)}}, "", key(i)
				ups = append(ups, customerUpsert{Record: c, Key: ref(key(i))})
			}
			for _, want := range []erp.Outcome{erp.Created, erp.Unchanged} {
				res, err := s.Customers().Upsert(t.Context(), ups)
				require.NoError(t, err)
				for i, r := range res {
					require.NoError(t, r.Err)
					require.Equal(t, want, r.Outcome)
					require.Equal(t, key(i), r.Record.Name)
				}
			}
			require.EqualValues(t, n, newest(t, s))
			for i := range ups {
				ups[i].Record.Addresses = ups[i].Record.Addresses[:1]
				ups[i].Record.TaxIDs = []erp.TaxID{{Scheme: "eu_vat", Value: key(i)}}
			}
			res, err := s.Customers().Upsert(t.Context(), ups)
			require.NoError(t, err)
			found, err := s.Customers().Lookup(t.Context(), ref(key(n/3)))
			require.NoError(t, err)
			require.Equal(t, res[n/3].Record, found)
			require.Equal(t, key(n/3), found.TaxIDs[0].Value)
			require.Len(t, found.Addresses, 1)
		},
	})
}
