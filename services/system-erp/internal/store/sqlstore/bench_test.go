package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// BenchmarkUpsert loads new customers in batches of 200, each with two references, an address and a tax number, and compares
// with plain multi-row INSERTs of the same rows into the same kind of tables in one transaction per batch.
func BenchmarkUpsert(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			d := template.Open(b, engine)
			s := open(b, d, Options{})
			require.NoError(b, d.Tx(b.Context(), func(ctx context.Context, tx *sql.Tx) error {
				for table, columns := range raw {
					if _, err := tx.ExecContext(ctx, fmt.Sprintf("CREATE TABLE raw_%s AS SELECT * FROM %s WHERE 1 = 0", table, table)); err != nil {
						return err
					}
					if _, err := tx.ExecContext(ctx, fmt.Sprintf("CREATE UNIQUE INDEX raw_%s_key ON raw_%s (%s)", table, table, columns)); err != nil {
						return err
					}
				}
				return nil
			}))
			var ours, plain time.Duration
			n := 0
			for b.Loop() {
				ups := make([]store.Upsert[erp.Customer], 200)
				for i := range ups {
					n++
					ups[i] = store.Upsert[erp.Customer]{Key: erp.Ref{System: "selfsame", Type: "customer", Value: fmt.Sprint(n)}, Record: erp.Customer{
						Head: erp.Head{Refs: []erp.Ref{{System: "salesforce", Type: "Account", Value: fmt.Sprint(n)}}},
						Name: fmt.Sprint("Customer ", n), Email: "info@customer.example", Phone: "+49 30 123456", Language: "de", Currency: "EUR",
						Addresses: []erp.Address{{Street: "Weg 1", City: "Köln", PostalCode: "50667", Country: "DE"}},
						TaxIDs:    []erp.TaxID{{Scheme: "eu_vat", Value: fmt.Sprint("DE", n)}},
					}}
				}
				begun := time.Now()
				res, err := s.Customers().Upsert(b.Context(), ups)
				ours += time.Since(begun)
				require.NoError(b, err)
				begun = time.Now()
				require.NoError(b, d.Tx(b.Context(), func(ctx context.Context, tx *sql.Tx) error { return insertRaw(ctx, tx, s.params(), res) }))
				plain += time.Since(begun)
			}
			b.ReportMetric(float64(n)/ours.Seconds(), "customers/s")
			b.ReportMetric(float64(n)/plain.Seconds(), "raw/s")
			b.ReportMetric(ours.Seconds()/plain.Seconds(), "×raw")
		})
	}
}

// raw are the tables of the comparison with their keys.
var raw = map[string]string{
	"customer": "id", "customer_ref": "system, type, value", "customer_tax": "customer_id, scheme", "address": "customer_id, usage",
}

func insertRaw(ctx context.Context, tx *sql.Tx, params int, res []store.Result[erp.Customer]) error {
	t := customerTable()
	var main, refs, tax, address [][]any
	for _, r := range res {
		c := r.Record
		main = append(main, t.values(&c))
		for _, ref := range c.Refs {
			refs = append(refs, []any{ref.System, ref.Type, ref.Value, c.ID})
		}
		tax = append(tax, []any{c.ID, c.TaxIDs[0].Scheme, c.TaxIDs[0].Value})
		a := c.Addresses[0]
		address = append(address, []any{c.ID, int64(a.Usage), a.Street, a.City, a.PostalCode, a.Region, a.Country})
	}
	for _, part := range []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"raw_customer", t.columns, main},
		{"raw_customer_ref", []string{"system", "type", "value", "record_id"}, refs},
		{"raw_customer_tax", []string{"customer_id", "scheme", "value"}, tax},
		{"raw_address", []string{"customer_id", "usage", "street", "city", "postal_code", "region", "country"}, address},
	} {
		if _, err := insert(ctx, txn{execer: tx, params: params}, part.table, part.columns, "", part.rows); err != nil {
			return err
		}
	}
	return nil
}
