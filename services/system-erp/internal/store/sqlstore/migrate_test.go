package sqlstore

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// earlier fills a database as the first release did.
var earlier = []string{
	`INSERT INTO customer (id, number, kind, name, email, phone, website, language, currency, payment_terms, order_block, extensions, version, created, updated, deleted)
		VALUES ('c1', '7', 1, 'Acme', '', '1', '', '', '', '', FALSE, '', 3, 1, 2, FALSE)`,
	`INSERT INTO customer_ref (system, type, value, record_id) VALUES ('selfsame', 'customer', 'g1', 'c1')`,
	`INSERT INTO contact (id, customer_id, first_name, last_name, title, department, email, phone, mobile, language, version, created, updated, deleted)
		VALUES ('p1', 'c1', '', 'Lang', '', '', '', '', '', '', 1, 1, 1, FALSE)`,
	`INSERT INTO product (sku, name, description, unit, gtin, product_group, price, currency, serialised, active, warranty_months, version, updated)
		VALUES ('pump', 'Pump', '', 'C62', '', '', '12.5', 'EUR', FALSE, TRUE, 0, 1, 1)`,
	`INSERT INTO sales_order (id, client_ref, fingerprint, customer_id, customer_po, ordered, state, fulfilment, billing, block_reason, total, currency, version, updated)
		VALUES ('o1', 'ref-1', '', 'c1', '', 1, 1, 1, 1, '', '25', 'EUR', 1, 1)`,
	`INSERT INTO order_item (order_id, line, sku, quantity, unit, price, currency, name) VALUES ('o1', 10, 'pump', 2000000, 'C62', '12.5', 'EUR', 'Pump')`,
	`INSERT INTO feed (id, epoch, position, committed, purged, purged_committed) VALUES (1, 'e', 1, 1, 0, 0)`,
	`INSERT INTO change (position, object, record_id, kind, committed) VALUES (1, 1, 'c1', 1, 1)`,
}

// TestMigrate brings databases of earlier releases up to date: what was there is there, and can be worked on.
func TestMigrate(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations, "migrations/*.sql")
	require.NoError(t, err)
	from := 1
	if testing.Short() {
		from = len(files) - 1
	}
	for n := from; n < len(files); n++ {
		before := fstest.MapFS{}
		for _, name := range files[:n] {
			text, err := fs.ReadFile(migrations, name)
			require.NoError(t, err)
			before[name[len("migrations/"):]] = &fstest.MapFile{Data: text}
		}
		t.Run("from "+files[n-1], func(t *testing.T) {
			t.Parallel()
			each := dbtest.Each
			if n < len(files)-1 { // the others are one text for both engines
				each = func(t *testing.T, fn func(*testing.T, *db.DB)) { fn(t, dbtest.Open(t, "sqlite")) }
			}
			each(t, func(t *testing.T, d *db.DB) {
				require.NoError(t, d.Migrate(t.Context(), before, migrationTable))
				fill(t, d)
				kept(t, d)
			})
		})
	}
}

// TestMigrateRows has rows in every table, as soon as there is one, while the migrations after it run.
func TestMigrateRows(t *testing.T) {
	t.Parallel()
	files, err := fs.Sub(migrations, "migrations")
	require.NoError(t, err)
	dbtest.Migrations{Files: files, Table: migrationTable, Values: map[string][]any{"feed.id": {1}}, Seed: fill, Works: kept}.Test(t)
}

func fill(t *testing.T, d *db.DB) {
	t.Helper()
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range earlier {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}))
}

// kept checks that everything that was stored is read by this release as it was meant, and that it can be worked on.
func kept(t *testing.T, d *db.DB) {
	t.Helper()
	s, err := Open(t.Context(), d, Options{})
	require.NoError(t, err)
	c, err := s.Customers().Lookup(t.Context(), named("g1"))
	require.NoError(t, err)
	require.Equal(t, []any{"c1", "Acme", int64(3), ""}, []any{c.ID, c.Name, c.Version, c.MergedInto})
	o, err := s.Order(t.Context(), "o1")
	require.NoError(t, err)
	require.Equal(t, []any{"c1", 1, "", "25.00"}, []any{o.CustomerID, len(o.Items), o.ShipToID, o.Total.Text()})
	told, err := s.Changes(t.Context(), 0, 1)
	require.NoError(t, err)
	require.Len(t, told, 1)
	require.Equal(t, "c1", told[0].Customer.ID)
	other, err := s.Customers().Create(t.Context(), erp.Customer{Name: "Other"}, nil)
	require.NoError(t, err)
	_, err = s.MergeCustomers(t.Context(), "c1", other.ID)
	require.NoError(t, err, "and it can be worked on")
	person, err := s.Contacts().Get(t.Context(), []string{"p1"})
	require.NoError(t, err)
	require.Equal(t, other.ID, person["p1"].CustomerID)
}
