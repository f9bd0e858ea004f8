package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

func customerTable() table[erp.Customer] {
	return table[erp.Customer]{
		object: erp.ObjectCustomer,
		schema: erp.Customers(),
		name:   "customer",
		columns: []string{
			"id", "number", "kind", "name", "email", "phone", "website", "language", "currency", "payment_terms",
			"order_block", "extensions", "version", "created", "updated", "deleted", "merged_into",
		},
		values: func(c *erp.Customer) []any {
			return []any{
				c.ID, c.Number, int64(c.Kind), c.Name, c.Email, c.Phone, c.Website, c.Language, c.Currency, c.PaymentTerms,
				c.OrderBlock, encodeExtensions(c.Extensions), c.Version, db.Micros(c.Created), db.Micros(c.Updated), c.Deleted,
				c.MergedInto,
			}
		},
		targets: func(c *erp.Customer) []any {
			return []any{
				&c.ID, &c.Number, &c.Kind, &c.Name, &c.Email, &c.Phone, &c.Website, &c.Language, &c.Currency, &c.PaymentTerms,
				&c.OrderBlock,
				extensions{&c.Extensions},
				&c.Version,
				moment{&c.Created},
				moment{&c.Updated},
				&c.Deleted, &c.MergedInto,
			}
		},
		load:   loadCustomerParts,
		save:   saveCustomerParts,
		number: func(c *erp.Customer) string { return c.Number },
	}
}

func loadCustomerParts(ctx context.Context, q querier, byID map[string]*erp.Customer, ids []string) error {
	list, args := in(ids)
	err := each(ctx, q, func(scan func(...any) error) error {
		var id string
		var tax erp.TaxID
		if err := scan(&id, &tax.Scheme, &tax.Value); err != nil {
			return err
		}
		byID[id].TaxIDs = append(byID[id].TaxIDs, tax)
		return nil
	}, "SELECT customer_id, scheme, value FROM customer_tax WHERE customer_id IN "+list, args...)
	if err != nil {
		return fmt.Errorf("read tax numbers: %w", err)
	}
	// Sorted here, because the databases collate differently.
	for _, c := range byID {
		slices.SortFunc(c.TaxIDs, erp.TaxID.Compare)
	}
	err = each(ctx, q, func(scan func(...any) error) error {
		var id string
		var a erp.Address
		if err := scan(&id, &a.Usage, &a.Street, &a.City, &a.PostalCode, &a.Region, &a.Country); err != nil {
			return err
		}
		byID[id].Addresses = append(byID[id].Addresses, a)
		return nil
	}, `SELECT customer_id, usage, street, city, postal_code, region, country FROM address WHERE customer_id IN `+list+
		` ORDER BY usage`, args...)
	if err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	return nil
}

func saveCustomerParts(ctx context.Context, q txn, changed []change[erp.Customer]) error {
	var oldTax, oldAddress []string
	var tax, address [][]any
	for _, c := range changed {
		before := erp.Customer{}
		if c.old != nil {
			before = *c.old
		}
		if !slices.Equal(before.TaxIDs, c.rec.TaxIDs) {
			if len(before.TaxIDs) > 0 {
				oldTax = append(oldTax, c.rec.ID)
			}
			for _, t := range c.rec.TaxIDs {
				tax = append(tax, []any{c.rec.ID, t.Scheme, t.Value})
			}
		}
		if !slices.Equal(before.Addresses, c.rec.Addresses) {
			if len(before.Addresses) > 0 {
				oldAddress = append(oldAddress, c.rec.ID)
			}
			for _, a := range c.rec.Addresses {
				address = append(address, []any{c.rec.ID, int64(a.Usage), a.Street, a.City, a.PostalCode, a.Region, a.Country})
			}
		}
	}
	if err := clearParts(ctx, q, "customer_tax", oldTax); err != nil {
		return err
	}
	if err := clearParts(ctx, q, "address", oldAddress); err != nil {
		return err
	}
	if _, err := insert(ctx, q, "customer_tax", []string{"customer_id", "scheme", "value"}, "", tax); err != nil {
		return err
	}
	_, err := insert(ctx, q, "address",
		[]string{"customer_id", "usage", "street", "city", "postal_code", "region", "country"}, "", address)
	return err
}

// clearParts removes what customers keep in a side table.
func clearParts(ctx context.Context, q txn, table string, customers []string) error {
	if len(customers) == 0 {
		return nil
	}
	list, args := in(customers)
	if _, err := q.ExecContext(ctx, "DELETE FROM "+table+" WHERE customer_id IN "+list, args...); err != nil {
		return fmt.Errorf("clear %s: %w", table, err)
	}
	return nil
}

// encodeExtensions writes the map as JSON, which the databases keep as text and never look into.
func encodeExtensions(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "" // cannot happen: a map of texts always marshals
	}
	return string(raw)
}

// extensions scans what encodeExtensions wrote.
type extensions struct{ to *map[string]string }

// Scan implements sql.Scanner.
func (e extensions) Scan(src any) error {
	var raw string
	if err := (optional{&raw}).Scan(src); err != nil {
		return err
	}
	*e.to = nil
	if raw == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(raw), e.to); err != nil {
		return fmt.Errorf("scan extensions: %w", err)
	}
	return nil
}
