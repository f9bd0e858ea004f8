package sqlstore

import (
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

func contactTable() table[erp.Contact] {
	return table[erp.Contact]{
		object: erp.ObjectContact,
		schema: erp.Contacts(),
		name:   "contact",
		columns: []string{
			"id", "customer_id", "first_name", "last_name", "title", "department", "email", "phone", "mobile", "language",
			"version", "created", "updated", "deleted",
		},
		values: func(c *erp.Contact) []any {
			return []any{
				c.ID, null(c.CustomerID), c.FirstName, c.LastName, c.Title, c.Department, c.Email, c.Phone, c.Mobile, c.Language,
				c.Version, db.Micros(c.Created), db.Micros(c.Updated), c.Deleted,
			}
		},
		targets: func(c *erp.Contact) []any {
			return []any{
				&c.ID,
				optional{&c.CustomerID},
				&c.FirstName, &c.LastName, &c.Title, &c.Department, &c.Email, &c.Phone,
				&c.Mobile, &c.Language, &c.Version,
				moment{&c.Created},
				moment{&c.Updated},
				&c.Deleted,
			}
		},
		parent: func(c *erp.Contact) string { return c.CustomerID },
	}
}
