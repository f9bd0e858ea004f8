package erp

import "github.com/selfsame-io/selfsame/pkg/fault"

// Contact is a person who works for a customer.
type Contact struct {
	Head
	// CustomerID is the customer this person works for; empty when unknown.
	CustomerID string
	FirstName  string
	LastName   string
	Title      string
	Department string
	Email      string
	Phone      string
	Mobile     string
	Language   string
}

// Contacts returns the schema of contacts.
func Contacts() *Schema[Contact] {
	return &Schema[Contact]{
		name: "contact",
		head: func(c *Contact) *Head { return &c.Head },
		fields: []field[Contact]{
			value("customer_id", func(c *Contact) *string { return &c.CustomerID }),
			value("first_name", func(c *Contact) *string { return &c.FirstName }),
			value("last_name", func(c *Contact) *string { return &c.LastName }),
			value("title", func(c *Contact) *string { return &c.Title }),
			value("department", func(c *Contact) *string { return &c.Department }),
			value("email", func(c *Contact) *string { return &c.Email }),
			value("phone", func(c *Contact) *string { return &c.Phone }),
			value("mobile", func(c *Contact) *string { return &c.Mobile }),
			value("language", func(c *Contact) *string { return &c.Language }),
		},
		tidy: func(*Contact) {},
		check: func(c *Contact) error {
			if blank(c.LastName) {
				return fault.InvalidField("contact.last_name", ReasonRequired, "a contact has a family name")
			}
			return nil
		},
		bury: func(c *Contact) { *c = Contact{Head: c.Head, CustomerID: c.CustomerID} },
	}
}
