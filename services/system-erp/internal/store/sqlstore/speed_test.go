package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// statement is one statement of a write, as it was sent.
type statement struct {
	text string
	args []any
	read bool
}

// recorder notes the statements of one transaction.
type recorder struct {
	execer
	to *[]statement
}

func (r recorder) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	*r.to = append(*r.to, statement{query, args, false})
	return r.execer.ExecContext(ctx, query, args...)
}

func (r recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	*r.to = append(*r.to, statement{query, args, true})
	return r.execer.QueryContext(ctx, query, args...)
}

// replay sends statements as they were recorded, and reads what they return.
func replay(ctx context.Context, tx *sql.Tx, list []statement) error {
	for _, st := range list {
		if !st.read {
			if _, err := tx.ExecContext(ctx, st.text, st.args...); err != nil {
				return err
			}
			continue
		}
		rows, err := tx.QueryContext(ctx, st.text, st.args...)
		if err != nil {
			return err
		}
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		into := make([]any, len(columns))
		for i := range into {
			into[i] = new(any)
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return err
			}
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	return nil
}

// spread runs fn for 0 … n-1 by so many callers and returns how long that took.
func spread(b testing.TB, n, callers int, fn func(i int) error) time.Duration {
	b.Helper()
	var g errgroup.Group
	begun := time.Now()
	for c := range callers {
		g.Go(func() error {
			for i := c; i < n; i += callers {
				if err := fn(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(b, g.Wait())
	return time.Since(begun)
}

// write is one kind of write that is measured; start makes what it needs, which is not measured, and returns the write.
type write struct {
	name  string
	start func(t testing.TB, s *Store) func(ctx context.Context, i int) error
}

const buyers = 50

func speedWrites() []write {
	upsert := func(ctx context.Context, s *Store, from, n int) error {
		ups := make([]store.Upsert[erp.Customer], n)
		for i := range ups {
			k := fmt.Sprint(from + i)
			ups[i] = store.Upsert[erp.Customer]{Key: erp.Ref{System: "selfsame", Type: "customer", Value: k}, Record: erp.Customer{
				Name: "Customer " + k, Email: "info@customer.example", Phone: "+49 30 123456", Language: "de", Currency: "EUR",
				Addresses: []erp.Address{{Street: "Weg 1", City: "Köln", PostalCode: "50667", Country: "DE"}},
				TaxIDs:    []erp.TaxID{{Scheme: "eu_vat", Value: "DE" + k}},
			}}
		}
		res, err := s.customers.Upsert(ctx, ups)
		if err == nil {
			err = res[0].Err
		}
		return err
	}
	return []write{
		{
			name: "customers",
			start: func(_ testing.TB, s *Store) func(context.Context, int) error {
				return func(ctx context.Context, i int) error { return upsert(ctx, s, i, 1) }
			},
		},
		{
			name: "orders",
			start: func(t testing.TB, s *Store) func(context.Context, int) error {
				t.Helper()
				amount, err := erp.ParseDecimal("12.50")
				require.NoError(t, err)
				two, err := erp.ParseDecimal("2")
				require.NoError(t, err)
				_, err = s.UpsertProducts(t.Context(), []erp.Product{
					{SKU: "P-1", Name: "One", Active: true, Price: erp.Money{Amount: amount, Currency: "EUR"}},
					{SKU: "P-2", Name: "Two", Active: true, Price: erp.Money{Amount: amount, Currency: "EUR"}},
				})
				require.NoError(t, err)
				require.NoError(t, upsert(t.Context(), s, 0, buyers))
				list, err := s.customers.List(t.Context(), "", buyers)
				require.NoError(t, err)
				return func(ctx context.Context, i int) error {
					_, _, err := s.CreateOrder(ctx, erp.Order{ClientRef: fmt.Sprint("order", i), CustomerID: list[i%buyers].ID, Items: []erp.Item{
						{SKU: "P-1", Quantity: two}, {SKU: "P-2", Quantity: two},
					}})
					return err
				}
			},
		},
	}
}

// perTurn is how many writes one turn of the benchmark has, turns how many turns a round; the first warms up and is not counted.
const (
	perTurn = 128
	turns   = 9
)

// BenchmarkWrites compares writes with the very statements they consist of, recorded beforehand and sent by as many callers
// through the same transactions (group commit included) to a database of the same schema. "of_raw" is the rate of ours
// divided by the rate of the bare statements: what checking, planning, merging and mapping cost.
//
// The two take turns of a few milliseconds, and medians over the turns of all rounds are reported: what else the machine does
// meanwhile slows down single turns of both.
func BenchmarkWrites(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, w := range speedWrites() {
			for _, callers := range []int{1, 8, 64} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", engine, w.name, callers), func(b *testing.B) {
					before, list := record(b, engine, w, perTurn*turns)
					var ours, bare, ratio []float64
					for b.Loop() {
						b.StopTimer()
						o, r := measure(b, engine, w, before, list, callers, perTurn, func(bool, time.Duration) {})
						for i := range o {
							ours, bare, ratio = append(ours, perTurn/o[i].Seconds()), append(bare, perTurn/r[i].Seconds()), append(ratio, r[i].Seconds()/o[i].Seconds())
						}
						b.StartTimer()
					}
					b.ReportMetric(median(ours), "ours/s")
					b.ReportMetric(median(bare), "raw/s")
					b.ReportMetric(median(ratio), "of_raw")
				})
			}
		}
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

// record does n writes on a database of its own and returns the statements of each, and before them those of the preparation,
// which is several transactions.
func record(b testing.TB, engine string, w write, n int) (before, list [][]statement) {
	b.Helper()
	s := open(b, template.Open(b, engine), Options{})
	s.wrap = func(e execer) execer { before = append(before, nil); return recorder{e, &before[len(before)-1]} }
	do := w.start(b, s)
	var current []statement
	s.wrap = func(e execer) execer { current = nil; return recorder{e, &current} }
	list = make([][]statement, n)
	for i := range n {
		require.NoError(b, do(b.Context(), i))
		list[i] = current
	}
	return before, list
}

// measure times ours on one database and the recorded statements on another, turn by turn of so many writes, who begins
// alternating. The first turn warms up and is not counted; cost is told the processor time of each other one.
func measure(b testing.TB, engine string, w write, before, list [][]statement, callers, perTurn int, cost func(mine bool, cpu time.Duration)) (ours, bare []time.Duration) {
	b.Helper()
	do := w.start(b, open(b, template.Open(b, engine), Options{}))
	d := template.Open(b, engine)
	open(b, d, Options{})
	send := func(st []statement) error {
		return d.Tx(b.Context(), func(ctx context.Context, tx *sql.Tx) error { return replay(ctx, tx, st) })
	}
	for _, st := range before {
		require.NoError(b, send(st))
	}
	for turn := range len(list) / perTurn {
		from := turn * perTurn
		var o, r time.Duration
		both := []func(){
			func() {
				o = spread(b, perTurn, callers, func(i int) error { return do(b.Context(), from+i) })
			},
			func() { r = spread(b, perTurn, callers, func(i int) error { return send(list[from+i]) }) },
		}
		for i := range 2 {
			which := (turn + i) % 2
			begun := spent()
			both[which]()
			if turn > 0 {
				cost(which == 0, spent()-begun)
			}
		}
		if turn > 0 {
			ours, bare = append(ours, o), append(bare, r)
		}
	}
	return ours, bare
}

// TestRecorder_IsTheWholeWrite replays what was recorded and finds the same record: otherwise the benchmark compares with less.
func TestRecorder_IsTheWholeWrite(t *testing.T) {
	t.Parallel()
	d := template.Open(t, "sqlite")
	s := open(t, d, Options{})
	var list []statement
	s.wrap = func(e execer) execer { list = nil; return recorder{e, &list} }
	require.NoError(t, speedWrites()[0].start(t, s)(t.Context(), 1))
	var texts []string
	for _, st := range list {
		texts = append(texts, st.text)
	}
	all := strings.Join(texts, "\n")
	for _, table := range []string{"INSERT INTO customer ", "INSERT INTO customer_ref", "INSERT INTO address", "INSERT INTO customer_tax", "UPDATE feed", "INSERT INTO change"} {
		require.Contains(t, all, table)
	}
	other := template.Open(t, "sqlite")
	copied := open(t, other, Options{})
	require.NoError(t, other.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return replay(ctx, tx, list) }))
	key := erp.Ref{System: "selfsame", Type: "customer", Value: "1"}
	a, err := s.customers.Lookup(t.Context(), key)
	require.NoError(t, err)
	b, err := copied.customers.Lookup(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, a, b)
}
