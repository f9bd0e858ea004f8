package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

var errCrash = errors.New("the process died here")

// crash lets a transaction die at its n-th statement, either before it runs or right after.
type crash struct {
	execer
	at    int
	after bool
	seen  *int
}

func (c crash) dies(run func() error) error {
	*c.seen++
	if *c.seen == c.at && !c.after {
		return errCrash
	}
	if err := run(); err != nil {
		return err
	}
	if *c.seen == c.at {
		return errCrash
	}
	return nil
}

func (c crash) ExecContext(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	err = c.dies(func() (err error) { res, err = c.execer.ExecContext(ctx, query, args...); return err })
	return res, err
}

func (c crash) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = c.dies(func() (err error) { rows, err = c.execer.QueryContext(ctx, query, args...); return err })
	if err != nil && rows != nil {
		err = errors.Join(err, rows.Close(), rows.Err())
	}
	return rows, err
}

// dump writes every row of every table.
func dump(t *testing.T, d *db.DB) string {
	t.Helper()
	var b strings.Builder
	for _, table := range []string{
		"customer", "customer_ref", "customer_tax", "address", "contact", "contact_ref", "product", "inventory", "price",
		"sales_order", "order_item", "order_event", "delivery", "delivery_item", "warranty", "feed", "change",
	} {
		rows, err := d.Read().QueryContext(t.Context(), "SELECT * FROM "+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		var lines []string
		for rows.Next() {
			values := make([]sql.NullString, len(columns))
			targets := make([]any, len(columns))
			for i := range values {
				targets[i] = &values[i]
			}
			require.NoError(t, rows.Scan(targets...))
			lines = append(lines, fmt.Sprint(table, values))
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return b.String()
}

// TestCrash kills each kind of write before and after each of its statements: nothing of it may remain, and the same write
// done again must succeed as if nothing had happened.
func TestCrash(t *testing.T) {
	t.Parallel()
	ref := func(v string) erp.Ref { return erp.Ref{System: "s", Type: "t", Value: v} }
	address := []erp.Address{{City: "Bonn", Country: "DE"}}
	tax := []erp.TaxID{{Scheme: "eu_vat", Value: "1"}}
	prepare := func(t *testing.T, s *Store) erp.Customer {
		c, err := s.Customers().Create(t.Context(), erp.Customer{
			Head: erp.Head{Refs: []erp.Ref{ref("old")}}, Name: "Old", Addresses: address, TaxIDs: tax,
		}, nil)
		require.NoError(t, err)
		_, err = s.UpsertProducts(t.Context(), []erp.Product{{SKU: "p", Name: "P", Active: true, Price: erp.Money{Currency: "EUR"}}})
		require.NoError(t, err)
		return c
	}
	one, err := erp.ParseDecimal("1")
	require.NoError(t, err)
	writes := map[string]func(ctx context.Context, s *Store, c erp.Customer) error{
		"a batch that creates and changes": func(ctx context.Context, s *Store, _ erp.Customer) error {
			res, err := s.Customers().Upsert(ctx, []store.Upsert[erp.Customer]{
				{Record: erp.Customer{Name: "New", Addresses: address, TaxIDs: tax}, Key: ref("new")},
				{Record: erp.Customer{
					Name: "Changed", TaxIDs: []erp.TaxID{{Scheme: "x", Value: "2"}}, Addresses: []erp.Address{{City: "Köln"}},
					Head: erp.Head{Refs: []erp.Ref{ref("more")}},
				}, Key: ref("old")},
			})
			if err == nil && (res[0].Outcome != erp.Created || res[1].Outcome != erp.Updated) {
				return fmt.Errorf("outcomes %v %v", res[0].Outcome, res[1].Outcome)
			}
			return err
		},
		"a delete": func(ctx context.Context, s *Store, c erp.Customer) error {
			_, err := s.Customers().Delete(ctx, c.ID)
			return err
		},
		"a new contact": func(ctx context.Context, s *Store, c erp.Customer) error {
			_, err := s.Contacts().Create(ctx, erp.Contact{LastName: "P", CustomerID: c.ID, Head: erp.Head{Refs: []erp.Ref{ref("p")}}}, nil)
			return err
		},
		"an order": func(ctx context.Context, s *Store, c erp.Customer) error {
			_, outcome, err := s.CreateOrder(ctx, erp.Order{ClientRef: "o", CustomerID: c.ID, Items: []erp.Item{{SKU: "p", Quantity: one}}})
			if err == nil && outcome != erp.Created {
				return fmt.Errorf("outcome %v", outcome)
			}
			return err
		},
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template.Each(t, func(t *testing.T, d *db.DB) {
				woken := 0
				s := open(t, d, Options{Committed: func() { woken++ }})
				c := prepare(t, s)
				before := dump(t, d)
				woken = 0
				steps := 0
				for at := 1; ; at++ {
					var seen int
					for _, after := range []bool{false, true} {
						seen = 0
						s.wrap = func(q execer) execer { return crash{execer: q, at: at, after: after, seen: &seen} }
						err := write(t.Context(), s, c)
						if seen < at {
							require.NoError(t, err)
							break
						}
						require.ErrorIs(t, err, errCrash, "step %d", at)
						require.Equal(t, before, dump(t, d), "something remains of step %d", at)
						require.Zero(t, woken, "nobody is told of what did not happen")
					}
					if seen < at {
						break
					}
					steps = at
				}
				require.GreaterOrEqual(t, steps, 5, "the write has several steps to die at")
				require.NotEqual(t, before, dump(t, d))
			})
		})
	}
}

// TestCancel ends the caller's context in the middle of a write: it is either done or not done, never half.
func TestCancel(t *testing.T) {
	t.Parallel()
	template.Each(t, func(t *testing.T, d *db.DB) {
		s := open(t, d, Options{})
		before := dump(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		s.wrap = func(q execer) execer { return pause{execer: q, when: "INSERT INTO customer_ref", before: cancel} }
		_, err := s.Customers().Create(ctx, erp.Customer{Name: "A", Head: erp.Head{Refs: []erp.Ref{{System: "s", Type: "t", Value: "v"}}}}, nil)
		s.wrap = nil
		list, lerr := s.Customers().List(t.Context(), "", 10)
		require.NoError(t, lerr)
		if err != nil {
			require.Equal(t, before, dump(t, d))
			require.Empty(t, list)
			return
		}
		require.Len(t, list, 1)
		require.Len(t, list[0].Refs, 1)
	})
}

// pause calls back around the first statement that begins with a text.
type pause struct {
	execer
	when          string
	before, after func()
}

func (p pause) around(query string) func() {
	if !strings.HasPrefix(query, p.when) {
		return func() {}
	}
	if p.before != nil {
		p.before()
	}
	if p.after != nil {
		return p.after
	}
	return func() {}
}

func (p pause) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	defer p.around(query)()
	return p.execer.ExecContext(ctx, query, args...)
}

func (p pause) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	defer p.around(query)()
	return p.execer.QueryContext(ctx, query, args...)
}

func create(ctx context.Context, s *Store, name string) error {
	_, err := s.Customers().Create(ctx, erp.Customer{Name: name}, nil)
	return err
}

// names reads the feed from a position on.
func names(t *testing.T, s *Store, after int64) []string {
	t.Helper()
	list, err := s.Changes(t.Context(), after, 100)
	require.NoError(t, err)
	var out []string
	for i, c := range list {
		require.Equal(t, after+int64(i)+1, c.Position, "no holes")
		out = append(out, c.Customer.Name)
	}
	return out
}

// TestSlowTransaction holds a transaction open at the two places where a feed usually goes wrong.
func TestSlowTransaction(t *testing.T) {
	t.Parallel()
	t.Run("a transaction that wrote early and commits late comes later in the feed", func(t *testing.T) {
		t.Parallel()
		d := template.Open(t, "postgres") // on SQLite a second writer would have to wait
		slow, fast := open(t, d, Options{}), open(t, d, Options{})
		reached, release := make(chan struct{}), make(chan struct{})
		slow.wrap = func(q execer) execer {
			return pause{execer: q, when: "UPDATE feed", before: func() { close(reached); <-release }}
		}
		done := make(chan error, 1)
		go func() { done <- create(t.Context(), slow, "slow") }()
		<-reached
		require.NoError(t, create(t.Context(), fast, "fast"))
		require.Equal(t, []string{"fast"}, names(t, fast, 0), "the reader goes on to position 1")
		close(release)
		require.NoError(t, <-done)
		require.Equal(t, []string{"slow"}, names(t, fast, 1), "and has missed nothing")
	})
	t.Run("a transaction that holds a position holds back every later one", func(t *testing.T) {
		t.Parallel()
		template.Each(t, func(t *testing.T, d *db.DB) {
			slow, fast := open(t, d, Options{}), open(t, d, Options{})
			reached, release := make(chan struct{}), make(chan struct{})
			slow.wrap = func(q execer) execer {
				return pause{execer: q, when: "INSERT INTO change", after: func() { close(reached); <-release }}
			}
			done := make(chan error, 1)
			go func() { done <- create(t.Context(), slow, "slow") }()
			<-reached
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			require.Error(t, create(ctx, fast, "impatient"), "position 2 must not be visible before position 1")
			require.Empty(t, names(t, fast, 0))
			close(release)
			require.NoError(t, <-done)
			require.NoError(t, create(t.Context(), fast, "patient"))
			require.Equal(t, []string{"slow", "patient"}, names(t, fast, 0))
		})
	})
	t.Run("a transaction that rolls back leaves no hole", func(t *testing.T) {
		t.Parallel()
		template.Each(t, func(t *testing.T, d *db.DB) {
			s := open(t, d, Options{})
			require.NoError(t, create(t.Context(), s, "one"))
			seen := 0
			s.wrap = func(q execer) execer { return crash{execer: q, at: 5, after: true, seen: &seen} }
			for at := 1; at < 20; at++ {
				seen = 0
				s.wrap = func(q execer) execer { return crash{execer: q, at: at, after: true, seen: &seen} }
				if err := create(t.Context(), s, "two"); err == nil {
					break
				}
			}
			require.Equal(t, []string{"one", "two"}, names(t, s, 0))
		})
	})
}

func TestReopen(t *testing.T) {
	t.Parallel()
	template.Each(t, func(t *testing.T, d *db.DB) {
		s := open(t, d, Options{})
		require.NoError(t, create(t.Context(), s, "one"))
		before := dump(t, d)
		again := open(t, d, Options{})
		require.Equal(t, before, dump(t, d), "opening again keeps the epoch and everything else")
		require.Equal(t, []string{"one"}, names(t, again, 0))
	})
}

func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	template.Each(t, func(t *testing.T, d *db.DB) {
		now := time.Now()
		s := open(t, d, Options{Now: func() time.Time { now = now.Add(-time.Hour); return now }})
		for _, name := range []string{"one", "two", "three"} {
			require.NoError(t, create(t.Context(), s, name))
		}
		list, err := s.Changes(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Len(t, list, 3)
		for _, c := range list {
			require.Equal(t, list[0].Committed, c.Committed, "commit times never decrease along the feed")
		}
	})
}

func TestSecret(t *testing.T) {
	t.Parallel()
	template.Each(t, func(t *testing.T, d *db.DB) {
		first, err := open(t, d, Options{}).Secret(t.Context())
		require.NoError(t, err)
		require.Len(t, first, 32)
		again, err := open(t, d, Options{}).Secret(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again, "all replicas and restarts share it")
	})
}

// TestSeal shows that a record and what its caller writes beside it exist together or not at all.
func TestSeal(t *testing.T) {
	t.Parallel()
	template.Each(t, func(t *testing.T, d *db.DB) {
		s := open(t, d, Options{})
		before := dump(t, d)
		var sealed erp.Customer
		_, err := s.Customers().Create(t.Context(), erp.Customer{Name: "A"}, func(ctx context.Context, tx *sql.Tx, c erp.Customer) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO setting (name, value) VALUES ('seal', $1)", []byte(c.ID))
			return errors.Join(err, errCrash)
		})
		require.ErrorIs(t, err, errCrash)
		require.Equal(t, before, dump(t, d))
		made, err := s.Customers().Create(t.Context(), erp.Customer{Name: "A"}, func(ctx context.Context, tx *sql.Tx, c erp.Customer) error {
			sealed = c
			_, err := tx.ExecContext(ctx, "INSERT INTO setting (name, value) VALUES ('seal', $1)", []byte(c.ID))
			return err
		})
		require.NoError(t, err, "nothing of the first seal is left in the way")
		require.Equal(t, made, sealed)
	})
}

// TestGone kills whatever buries a record before and after each of its statements: what is kept of answers about it goes with the
// record, or stays with it.
func TestGone(t *testing.T) {
	t.Parallel()
	type made struct{ customer, heir, contact, alone string }
	for name, test := range map[string]struct {
		bury func(ctx context.Context, s *Store, m made) error
		gone func(m made) []string
	}{
		"a customer is deleted": {func(ctx context.Context, s *Store, m made) error {
			_, err := s.Customers().Delete(ctx, m.alone)
			return err
		}, func(m made) []string { return []string{m.alone} }},
		"a contact is deleted": {func(ctx context.Context, s *Store, m made) error {
			_, err := s.Contacts().Delete(ctx, m.contact)
			return err
		}, func(m made) []string { return []string{m.contact} }},
		"a customer is merged": {func(ctx context.Context, s *Store, m made) error {
			_, err := s.MergeCustomers(ctx, m.customer, m.heir)
			return err
		}, func(m made) []string { return []string{m.customer} }},
		"another system says that customers are gone": {func(ctx context.Context, s *Store, m made) error {
			var batch []store.Upsert[erp.Customer]
			for _, id := range []string{m.alone, m.heir} {
				batch = append(batch, store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: id, Deleted: true}}})
			}
			_, err := s.CustomerMirror().Put(ctx, batch, time.Time{}, nil)
			return err
		}, func(m made) []string { return []string{m.alone, m.heir} }},
		"one is changed": {func(ctx context.Context, s *Store, m made) error {
			_, err := s.Customers().Update(ctx, store.Upsert[erp.Customer]{Record: erp.Customer{Head: erp.Head{ID: m.alone}, Name: "Other"}})
			return err
		}, func(made) []string { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template.Each(t, func(t *testing.T, d *db.DB) {
				answers, err := idempotent.NewSQLStore(d, []byte("0123456789abcdef"), nil)
				require.NoError(t, err)
				s := open(t, d, Options{Gone: func(ctx context.Context, tx *sql.Tx, ids []string) error {
					for _, id := range ids {
						if _, err := answers.EraseTx(ctx, tx, id); err != nil {
							return err
						}
					}
					return nil
				}})
				claim := func(id string) idempotent.Result {
					res, err := answers.Begin(t.Context(), idempotent.Claim{
						Scope: idempotent.Scope{Key: id}, Fingerprint: []byte("f"), Owner: []byte("o"), Lease: time.Minute, Retention: time.Hour,
					})
					require.NoError(t, err)
					return res
				}
				var m made
				for _, at := range []*string{&m.customer, &m.heir, &m.alone} {
					c, err := s.Customers().Create(t.Context(), erp.Customer{Name: "A"}, nil)
					require.NoError(t, err)
					*at = c.ID
				}
				c, err := s.Contacts().Create(t.Context(), erp.Contact{LastName: "P", CustomerID: m.customer}, nil)
				require.NoError(t, err)
				m.contact = c.ID
				all := []string{m.customer, m.heir, m.contact, m.alone}
				for _, id := range all {
					require.NoError(t, answers.Complete(t.Context(), claim(id).Grant, idempotent.Answer{OK: true, Body: []byte(id), Subject: id}))
				}
				before := dump(t, d)
				for at := 1; ; at++ {
					seen := 0
					for _, after := range []bool{false, true} {
						seen = 0
						s.wrap = func(q execer) execer { return crash{execer: q, at: at, after: after, seen: &seen} }
						err := test.bury(t.Context(), s, m)
						if seen < at {
							require.NoError(t, err)
							break
						}
						require.ErrorIs(t, err, errCrash)
						require.Equal(t, before, dump(t, d))
						for _, id := range all {
							require.Equal(t, idempotent.Replay, claim(id).Outcome, "died at %d", at)
						}
					}
					if seen < at {
						require.Greater(t, at, 3)
						break
					}
				}
				for _, id := range all {
					want := idempotent.Replay
					if slices.Contains(test.gone(m), id) {
						want = idempotent.Gone
					}
					require.Equal(t, want, claim(id).Outcome)
				}
			})
		})
	}
}
