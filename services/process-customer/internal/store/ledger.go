package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Line counts the changes of one system. Received is counted on its own as changes come in; the other numbers are
// counted from where the changes are now. That both agree is what the ledger proves.
type Line struct {
	System                                                              string
	Received, Applied, Superseded, Unchanged, Retrying, Parked, Refused int64
	// Duplicates counts repeated deliveries, which are not part of the balance; Echoes are part of Unchanged.
	Duplicates, Echoes int64
}

// Balanced reports whether every change received is in exactly one state.
func (l Line) Balanced() bool {
	return l.Received == l.Applied+l.Superseded+l.Unchanged+l.Retrying+l.Parked+l.Refused
}

// Ledger returns one line per system that has sent anything, by name. Read it inside one transaction of the engine:
// call it on a Tx when it must balance while changes come in.
func (r Reader) Ledger(ctx context.Context) ([]Line, error) {
	lines := map[string]*Line{}
	var order []string
	err := r.query(ctx, "read ledger", `SELECT system, state, CAST(SUM(n) AS BIGINT), CAST(SUM(e) AS BIGINT) FROM (
			SELECT system, state, COUNT(*) AS n, SUM(CASE WHEN echo THEN 1 ELSE 0 END) AS e FROM inbox GROUP BY system, state
			UNION ALL SELECT system, state, count, 0 FROM ledger_total WHERE state NOT LIKE 'out:%'
		) AS counts GROUP BY system, state ORDER BY system, state`, nil, func(rows *sql.Rows) error {
		var system, state string
		var n, echoes int64
		if err := rows.Scan(&system, &state, &n, &echoes); err != nil {
			return err
		}
		l := lines[system]
		if l == nil {
			l = &Line{System: system}
			lines[system] = l
			order = append(order, system)
		}
		l.Echoes += echoes
		l.add(state, n)
		return nil
	})
	out := make([]Line, 0, len(order))
	for _, s := range order {
		out = append(out, *lines[s])
	}
	return out, err
}

func (l *Line) add(state string, n int64) {
	switch state {
	case "received":
		l.Received += n
	case Applied:
		l.Applied += n
	case Superseded:
		l.Superseded += n
	case Unchanged:
		l.Unchanged += n
	case Retrying:
		l.Retrying += n
	case Parked:
		l.Parked += n
	case Refused:
		l.Refused += n
	case "duplicates":
		l.Duplicates += n
	case "echoes":
		l.Echoes += n
	}
}

// total names a counter of the ledger.
type total struct{ system, counter string }

// AddTotals adds to a counter of the ledger, by system, when the transaction ends.
func (t *Tx) AddTotals(counter string, bySystem map[string]int64) {
	if t.totals == nil {
		t.totals = map[total]int64{}
	}
	for system, n := range bySystem {
		t.totals[total{system, counter}] += n
	}
}

// writeTotals is the last statement of a transaction: of what all transactions count in the same few rows, so the next one
// waits for these no longer than it must.
func (t *Tx) writeTotals(ctx context.Context) error {
	if len(t.counted) > 0 {
		if err := t.tx.late.wait(); err != nil {
			return err
		}
	}
	for _, count := range t.counted {
		count()
	}
	names := slices.SortedFunc(maps.Keys(t.totals), func(a, b total) int { // in one order, so that no two wait for each other
		return cmp.Or(strings.Compare(a.system, b.system), strings.Compare(a.counter, b.counter))
	})
	var rows [][]any
	for _, of := range names {
		if n := t.totals[of]; n != 0 {
			rows = append(rows, []any{of.system, of.counter, n})
		}
	}
	return t.insert(ctx, "add to ledger", "INSERT INTO ledger_total (system, state, count)",
		"ON CONFLICT (system, state) DO UPDATE SET count = ledger_total.count + excluded.count", rows)
}

// Purge removes up to limit settled changes that came in before a time and keeps their counts. It returns how many.
// Changes that are retrying or parked stay, however old.
func (t *Tx) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	n := 0
	totals := map[string]map[string]int64{}
	err := t.query(ctx, "purge inbox", `DELETE FROM inbox WHERE (system, change_id) IN (
			SELECT system, change_id FROM inbox WHERE received_us < $1 AND state NOT IN ('retrying', 'parked') ORDER BY received_us LIMIT $2)
		RETURNING system, state, echo`, []any{db.Micros(before), limit}, func(rows *sql.Rows) error {
		var system, state string
		var echo bool
		if err := rows.Scan(&system, &state, &echo); err != nil {
			return err
		}
		n++
		count(totals, state, system)
		if echo {
			count(totals, "echoes", system)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for state, bySystem := range totals {
		t.AddTotals(state, bySystem)
	}
	return n, nil
}

func count(totals map[string]map[string]int64, state, system string) {
	if totals[state] == nil {
		totals[state] = map[string]int64{}
	}
	totals[state][system]++
}
