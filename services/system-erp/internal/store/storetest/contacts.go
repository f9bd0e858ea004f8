package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func contacts(t *testing.T, open Open) {
	person := erp.Contact{
		FirstName: "Ada", LastName: "Œuvre", Title: "Dr.", Department: "R&D", Email: "ada@x.example", Phone: "1", Mobile: "2",
		Language: "fr",
	}
	cases(t, open, map[string]func(t *testing.T, s store.Store){
		"a contact is read back as it was sent": func(t *testing.T, s store.Store) {
			c := person
			c.CustomerID = makeCustomer(t, s, "a").ID
			made, err := s.Contacts().Create(t.Context(), c, nil)
			require.NoError(t, err)
			c.Head = made.Head
			require.Equal(t, c, made)
			found, err := s.Contacts().Get(t.Context(), []string{made.ID})
			require.NoError(t, err)
			made.Refs = found[made.ID].Refs
			require.Equal(t, map[string]erp.Contact{made.ID: made}, found)
		},
		"a contact of an unknown or deleted customer is refused with the field": func(t *testing.T, s store.Store) {
			c := person
			c.CustomerID = "nobody"
			_, err := s.Contacts().Create(t.Context(), c, nil)
			refused(t, err, fault.Invalid, erp.ReasonUnknownRecord, "contact.customer_id")
			gone := makeCustomer(t, s, "a")
			_, err = s.Customers().Delete(t.Context(), gone.ID)
			require.NoError(t, err)
			c.CustomerID = gone.ID
			res, err := s.Contacts().Upsert(t.Context(), []store.Upsert[erp.Contact]{{Record: c, Key: ref("p")}, {Record: person, Key: ref("q")}})
			require.NoError(t, err)
			refused(t, res[0].Err, fault.Invalid, erp.ReasonDeleted, "contact.customer_id")
			require.Equal(t, erp.Created, res[1].Outcome)
		},
		"a contact outlives its customer and can still be changed": func(t *testing.T, s store.Store) {
			owner := makeCustomer(t, s, "a")
			c := person
			c.CustomerID = owner.ID
			made, err := s.Contacts().Create(t.Context(), c, nil)
			require.NoError(t, err)
			_, err = s.Customers().Delete(t.Context(), owner.ID)
			require.NoError(t, err)
			c.ID, c.Title = made.ID, "Prof."
			res, err := s.Contacts().Update(t.Context(), store.Upsert[erp.Contact]{Record: c})
			require.NoError(t, err)
			require.Equal(t, erp.Updated, res.Outcome)
		},
		"customers and contacts do not share references": func(t *testing.T, s store.Store) {
			makeCustomer(t, s, "a")
			c := person
			c.Refs = []erp.Ref{ref("a")}
			_, err := s.Contacts().Create(t.Context(), c, nil)
			require.NoError(t, err)
		},
		"a contact without a family name is refused": func(t *testing.T, s store.Store) {
			_, err := s.Contacts().Create(t.Context(), erp.Contact{FirstName: "Ada"}, nil)
			refused(t, err, fault.Invalid, erp.ReasonRequired, "contact.last_name")
		},
		"a deleted contact keeps nothing personal": func(t *testing.T, s store.Store) {
			c := person
			c.Refs = []erp.Ref{ref("p")}
			made, err := s.Contacts().Create(t.Context(), c, nil)
			require.NoError(t, err)
			_, err = s.Contacts().Delete(t.Context(), made.ID)
			require.NoError(t, err)
			found, err := s.Contacts().Lookup(t.Context(), ref("p"))
			require.NoError(t, err)
			require.True(t, found.Deleted)
			require.Equal(t, erp.Contact{Head: found.Head}, found)
		},
	})
}
