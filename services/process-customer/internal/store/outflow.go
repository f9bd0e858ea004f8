package store

import (
	"context"
	"database/sql"
)

// Outcome is how a mark ended.
type Outcome string

// How a mark ends.
const (
	// Delivered: the system acknowledged the write.
	Delivered Outcome = "out:delivered"
	// Unneeded: the system held everything, or must not be written.
	Unneeded Outcome = "out:unneeded"
	// LetterWritten: a dead letter took the mark's place.
	LetterWritten Outcome = "out:parked"
	// Shadowed: what would have been written was noted.
	Shadowed Outcome = "out:shadowed"
)

// Counters of marks that were made, and of those that were made again before their delivery.
const (
	outMarked    = "out:marked"
	outCoalesced = "out:coalesced"
)

// Outflow counts the deliveries to one system. Marked is counted on its own as marks are made, Pending is what is there
// now, the other numbers are counted as marks end. That they agree is what the ledger proves about what goes out, a row
// of a bulk load being one mark like any other.
type Outflow struct {
	System                                                 string
	Marked, Delivered, Unneeded, Parked, Pending, Shadowed int64
	// Coalesced counts marks of a record that was marked already, which are not part of the balance.
	Coalesced int64
}

// Balanced reports whether every mark that was made is in exactly one state.
func (o Outflow) Balanced() bool {
	return o.Marked == o.Delivered+o.Unneeded+o.Parked+o.Pending+o.Shadowed
}

// Outflows returns one line per system that was ever to be written, by name. One statement sees one moment.
func (r Reader) Outflows(ctx context.Context) ([]Outflow, error) {
	var out []Outflow
	err := r.query(ctx, "read ledger of deliveries", `SELECT system, state, CAST(SUM(n) AS BIGINT) FROM (
			SELECT system, 'pending' AS state, COUNT(*) AS n FROM pending GROUP BY system
			UNION ALL SELECT system, state, count FROM ledger_total WHERE state LIKE 'out:%'
		) AS counts GROUP BY system, state ORDER BY system, state`, nil, func(rows *sql.Rows) error {
		var system, state string
		var n int64
		if err := rows.Scan(&system, &state, &n); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].System != system {
			out = append(out, Outflow{System: system})
		}
		out[len(out)-1].add(state, n)
		return nil
	})
	return out, err
}

func (o *Outflow) add(state string, n int64) {
	switch state {
	case "pending":
		o.Pending = n
	case outMarked:
		o.Marked = n
	case outCoalesced:
		o.Coalesced = n
	case string(Delivered):
		o.Delivered = n
	case string(Unneeded):
		o.Unneeded = n
	case string(Shadowed):
		o.Shadowed = n
	case string(LetterWritten):
		o.Parked = n
	}
}
