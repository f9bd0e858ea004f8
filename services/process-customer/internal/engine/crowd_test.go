package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

// perBatch is how many changes one transaction takes in.
const perBatch = 500

// mostSettled is how many customers come into being by the service's own path; more are copies of their rows.
const mostSettled = 10_000

// number is what tells the values of a customer from those of every other one; all have the same length.
func number(who int) string { return strconv.Itoa(100_000_000 + who) }

func recordOf(who int) string { return fmt.Sprintf("001%015d", who+1) }

// values are what the ERP says about a customer.
func values(who int, phone string) golden.Values {
	return golden.Values{
		golden.Name: "Customer " + number(who) + " GmbH", golden.TaxID: "DE" + number(who), golden.Phone: "+49 30 " + phone,
		golden.Street: "Hauptstr. " + number(who), golden.City: "Köln", golden.PostalCode: "50667", golden.Country: "DE",
	}
}

// crowd are customers that both systems have and agree about, but for the new ones and the edits that it makes.
type crowd struct {
	t     testing.TB
	d     *db.DB
	w     *enginetest.World
	first []golden.ID // of those that came in by the service's own path
	n     int         // customers of the database when it was filled
	at    int         // customers edited so far
	news  int         // new customers so far
	said  int64       // changes made so far
}

// newCrowd fills an empty database.
func newCrowd(t testing.TB, d *db.DB, n int) *crowd {
	t.Helper()
	c := &crowd{t: t, d: d, n: n}
	w := enginetest.NewWith(t, d, func(o *sourcetest.Options) { o.PageSize, o.BatchSize = 1000, perBatch })
	records := make([]string, min(n, mostSettled))
	for who := range records {
		records[who] = w.ERP.Create(golden.Customer, "", values(who, "1"))
		require.Equal(t, recordOf(who), records[who])
	}
	w.Settle()
	known, err := w.Store.Read().Known(t.Context(), "erp", golden.Customer, records)
	require.NoError(t, err)
	for _, id := range records {
		c.first = append(c.first, known[id].GoldenID)
	}
	c.multiply()
	c.w = enginetest.New(t, d) // the systems of before would only take memory
	c.w.Clock.Advance(24 * time.Hour)
	return c
}

// id returns whose customer it is.
func (c *crowd) id(who int) golden.ID {
	if who < len(c.first) {
		return c.first[who]
	}
	id, err := golden.DeriveID(golden.Customer, "crowd/"+number(who))
	require.NoError(c.t, err)
	return id
}

// copied are the tables of which every customer has rows, with how the rows of another customer are made of those of one.
var copied = []struct{ table, columns, values, id string }{
	{
		"golden", "id, object, parent_id, body, version, deleted, merged_into, name_key, created_us, updated_us, keyed",
		`m.new_id, b.object, b.parent_id, replace(b.body, m.old_number, m.new_number), b.version, b.deleted, b.merged_into, m.name_key, b.created_us,
		b.updated_us, b.keyed`, "id",
	},
	{
		"source_record", `system, object, record_id, golden_id, parent_id, parent_open, external_id, version, event_us, deleted, shadow, claims, rewritten,
		scan_epoch, last_change_id, merged_into, removed`,
		`b.system, b.object, CASE WHEN b.system = 'erp' THEN m.record_id ELSE '00S' || substr(m.record_id, 4) END, m.new_id, b.parent_id, b.parent_open,
		replace(b.external_id, m.old_id, m.new_id), b.version, b.event_us, b.deleted, replace(b.shadow, m.old_number, m.new_number),
		replace(b.claims, m.old_number, m.new_number), b.rewritten, b.scan_epoch, b.last_change_id, b.merged_into, b.removed`, "golden_id",
	},
	{"match_key", "object, kind, value, golden_id", "b.object, b.kind, replace(b.value, m.old_number, m.new_number), m.new_id", "golden_id"},
	{"subject_key", "subject, key, created_us", "m.new_id, b.key, b.created_us", "subject"},
	{
		"inbox", "system, change_id, object, record_id, golden_id, state, echo, received_us, traceparent",
		`b.system, b.change_id || '/' || m.new_number, b.object, b.record_id, m.new_id, CASE WHEN b.state = 'applied' THEN 'retrying' ELSE b.state END,
		b.echo, b.received_us, b.traceparent`, "golden_id",
	},
	{
		"event", "position, at_us, golden_id, kind, system, record_id, change_id, fields, reason, traceparent, actor, detail, hash",
		`b.position + CAST($1 AS BIGINT), b.at_us, m.new_id, b.kind, b.system, b.record_id, b.change_id, b.fields, b.reason, b.traceparent, b.actor,
		b.detail, b.hash`, "golden_id",
	},
}

// multiply makes the customers that are there as many as the crowd has. The copies have ids and values of their own; only the
// audit trail of a copy does not hold together, and what is sealed in it cannot be opened.
func (c *crowd) multiply() {
	c.t.Helper()
	if c.n == len(c.first) {
		return
	}
	require.Zero(c.t, c.n%len(c.first), "%d customers cannot be multiplied to %d", len(c.first), c.n)
	c.exec("CREATE TABLE crowd_copy (old_id TEXT NOT NULL PRIMARY KEY, new_id TEXT NOT NULL, old_number TEXT NOT NULL, new_number TEXT NOT NULL, record_id TEXT NOT NULL, name_key BYTEA NOT NULL)")
	for _, x := range copied {
		c.exec("CREATE TABLE crowd_" + x.table + " AS SELECT * FROM " + x.table)
	}
	var events int64
	require.NoError(c.t, c.d.Read().QueryRowContext(c.t.Context(), "SELECT value FROM sequence WHERE name = 'event'").Scan(&events))
	times := c.n / len(c.first)
	for k := 1; k < times; k++ {
		require.NoError(c.t, c.d.Tx(c.t.Context(), func(ctx context.Context, tx *sql.Tx) error { return c.copyRows(ctx, tx, k, events) }))
	}
	for _, x := range copied {
		c.exec("DROP TABLE crowd_" + x.table)
	}
	c.exec("DROP TABLE crowd_copy")
	c.exec("UPDATE sequence SET value = value * $1 WHERE name = 'event'", times)
	c.exec("UPDATE ledger_total SET count = count * $1", times)
}

// copyRows adds as many customers as there were, the k-th time.
func (c *crowd) copyRows(ctx context.Context, tx *sql.Tx, k int, events int64) error {
	empty := "DELETE FROM crowd_copy"
	if c.d.Engine() == db.PostgreSQL {
		empty = "TRUNCATE crowd_copy"
	}
	if _, err := tx.ExecContext(ctx, empty); err != nil {
		return fmt.Errorf("empty the list of copies: %w", err)
	}
	const columns = 6
	for from := 0; from < len(c.first); from += perBatch {
		var text strings.Builder
		var args []any
		for who := from; who < min(len(c.first), from+perBatch); who++ {
			to := who + k*len(c.first)
			for j := range columns {
				text.WriteString([]string{",($", ",$"}[min(j, 1)] + strconv.Itoa(len(args)+j+1))
			}
			text.WriteByte(')')
			args = append(args, string(c.first[who]), string(c.id(to)), number(who), number(to), recordOf(to), []byte(match.Fold("Customer "+number(to)+" GmbH")))
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO crowd_copy (old_id, new_id, old_number, new_number, record_id, name_key) VALUES "+text.String()[1:], args...); err != nil {
			return fmt.Errorf("list copies: %w", err)
		}
	}
	for _, x := range copied {
		var args []any
		if strings.Contains(x.values, "$1") {
			args = append(args, int64(k)*events)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO "+x.table+" ("+x.columns+") SELECT "+x.values+" FROM crowd_"+x.table+" b JOIN crowd_copy m ON m.old_id = b."+x.id, args...)
		if err != nil {
			return fmt.Errorf("copy %s: %w", x.table, err)
		}
	}
	// As what the service takes in: it is changed once, which leaves PostgreSQL room for as much again.
	if _, err := tx.ExecContext(ctx, settle); err != nil {
		return fmt.Errorf("settle copies: %w", err)
	}
	return nil
}

const settle = "UPDATE inbox SET state = 'applied' WHERE state = 'retrying'"

func (c *crowd) exec(text string, args ...any) {
	c.t.Helper()
	_, err := c.d.Exec(c.t.Context(), text, args...)
	require.NoError(c.t, err, text)
}

// rest brings the database to where it is when nothing has happened for a while: everything is delivered and, where it is
// measured, what the server does from time to time is done. Other tests share the server.
func (c *crowd) rest() {
	c.t.Helper()
	c.exec("DELETE FROM pending")
	c.exec(settle)
	if *page != "" && c.d.Engine() == db.PostgreSQL {
		c.exec("VACUUM ANALYZE golden, source_record, match_key, subject_key, inbox, event, pending, intent, sequence, ledger_total")
	}
}

// checkpoint makes the server write every page as a whole that is touched from now on; false where the user may not, and where nothing is
// measured: others would wait for its disk.
func (c *crowd) checkpoint() bool {
	if *page == "" || c.d.Engine() != db.PostgreSQL {
		return false
	}
	_, err := c.d.Exec(c.t.Context(), "CHECKPOINT")
	return err == nil
}

// change is what the ERP tells of a customer.
func (c *crowd) change(who int, id golden.ID) source.Change {
	c.said++
	ref := golden.Ref{System: "erp", Object: golden.Customer, RecordID: recordOf(who)}
	at := c.w.Clock.Now()
	out := source.Change{ID: fmt.Sprintf("e1-%012d", c.said), Ref: ref, Version: 1000 + c.said, CommitTime: at}
	out.Record = &source.Record{Ref: ref, Version: out.Version, EventTime: at, Values: values(who, strconv.FormatInt(c.said+1, 10))}
	if id != "" {
		out.Record.ExternalID = source.ExternalIDOf(id, "")
	}
	return out
}

// edits returns a batch that changes one field of customers spread over all of them.
func (c *crowd) edits() []source.Change {
	const stride = 7919 // a prime
	out := make([]source.Change, min(perBatch, c.n))
	for i := range out {
		who := c.at * stride % c.n
		c.at++
		out[i] = c.change(who, c.id(who))
	}
	return out
}

// newcomers returns a batch of customers that nobody has seen.
func (c *crowd) newcomers() []source.Change {
	out := make([]source.Change, min(perBatch, c.n))
	for i := range out {
		out[i] = c.change(c.n+c.news, "")
		c.news++
	}
	return out
}

func (c *crowd) take(changes []source.Change) {
	c.t.Helper()
	out, err := c.w.Intake.Take(c.t.Context(), "erp", intake.Batch{Changes: changes})
	require.NoError(c.t, err)
	require.Equal(c.t, len(changes), out.Counts["retrying"], "each is applied and has to be delivered: %v", out.Counts)
}
