package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// MatchPair names two units; A is smaller.
type MatchPair struct{ A, B int64 }

// PairOf returns the pair of two units, whichever comes first.
func PairOf(a, b int64) MatchPair { return MatchPair{min(a, b), max(a, b)} }

// MatchEdge is a pair that may be one.
type MatchEdge struct {
	MatchPair
	// Bits is the score.
	Bits float64
	// Asked is true when a person has to say, since Since.
	Asked bool
	Since time.Time
}

// MatchVerdict is what a person has said about a pair.
type MatchVerdict struct {
	MatchPair
	Same        bool
	Actor, Note string
	At          time.Time
}

// MatchRegroup is something that matching did on its own.
type MatchRegroup struct {
	At             time.Time
	GoldenID, Into golden.ID
	// Parted is true when the golden records were taken apart again. Late is true when both were known before.
	Parted, Late bool
}

const edgeColumns = "a, b, bits, asked, asked_us"

func (r Reader) matchEdges(ctx context.Context, where string, args []any, add func(MatchEdge)) error {
	return r.query(ctx, "read match edges", "SELECT "+edgeColumns+" FROM match_edge WHERE "+where, args, func(rows *sql.Rows) error {
		var e MatchEdge
		var since int64
		err := rows.Scan(&e.A, &e.B, &e.Bits, &e.Asked, &since)
		e.Since = db.FromMicros(since)
		add(e)
		return err
	})
}

// MatchEdges returns the edges of units, each once.
func (r Reader) MatchEdges(ctx context.Context, units []int64) ([]MatchEdge, error) {
	var out []MatchEdge
	seen := map[MatchPair]bool{}
	add := func(e MatchEdge) {
		if !seen[e.MatchPair] {
			seen[e.MatchPair] = true
			out = append(out, e)
		}
	}
	err := chunks(r, units, func(units []int64) error {
		for _, end := range []string{"a", "b"} {
			if err := r.matchEdges(ctx, end+" "+r.among(0, len(units)), bound(r, nil, units), add); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// AskedPairs returns the pairs of a kind, of every kind when it is empty, that a person has to decide, the most likely first,
// after the given one; the zero MatchEdge begins.
func (r Reader) AskedPairs(ctx context.Context, obj golden.Object, after MatchEdge, limit int) ([]MatchEdge, error) {
	var out []MatchEdge
	// The plus keeps SQLite from going through all pairs of the kind instead of those that are asked.
	above, below := unitRange(obj)
	where, args := "asked AND +a > $2 AND +a < $3 ORDER BY bits DESC, a, b LIMIT $1", []any{limit, above, below}
	if after.B != 0 {
		where = "asked AND +a > $2 AND +a < $3 AND (bits < $4 OR (bits = $4 AND (a, b) > ($5, $6))) ORDER BY bits DESC, a, b LIMIT $1"
		args = append(args, after.Bits, after.A, after.B)
	}
	err := r.matchEdges(ctx, where, args, func(e MatchEdge) { out = append(out, e) })
	return out, err
}

// EachMatchEdge calls fn with all edges of a kind at or above a score, the strongest first.
func (r Reader) EachMatchEdge(ctx context.Context, obj golden.Object, bits float64, fn func(MatchEdge)) error {
	above, below := unitRange(obj)
	return r.matchEdges(ctx, "bits >= $1 AND a > $2 AND a < $3 ORDER BY bits DESC, a, b", []any{bits, above, below}, fn)
}

// PutMatchEdges writes edges as they are given.
func (t *Tx) PutMatchEdges(ctx context.Context, edges []MatchEdge) error {
	rows := make([][]any, len(edges))
	for i, e := range edges {
		rows[i] = []any{e.A, e.B, e.Bits, e.Asked, db.Micros(e.Since)}
	}
	return t.insert(ctx, "write match edges", "INSERT INTO match_edge ("+edgeColumns+")",
		"ON CONFLICT (a, b) DO UPDATE SET bits = excluded.bits, asked = excluded.asked, asked_us = excluded.asked_us", rows)
}

// DropMatchEdges removes edges.
func (t *Tx) DropMatchEdges(ctx context.Context, pairs []MatchPair) error {
	return chunks(t.Reader, pairs, func(pairs []MatchPair) error {
		rows := make([][]any, len(pairs))
		for i, p := range pairs {
			rows[i] = []any{p.A, p.B}
		}
		text, args := t.table(0, []string{"BIGINT", "BIGINT"}, rows)
		_, err := t.exec(ctx, "drop match edges", "DELETE FROM match_edge WHERE (a, b) IN ("+text+")", args...)
		return err
	})
}

// MatchVerdicts returns what people have said about pairs of which one is among the units, each once.
func (r Reader) MatchVerdicts(ctx context.Context, units []int64) ([]MatchVerdict, error) {
	var out []MatchVerdict
	seen := map[MatchPair]bool{}
	err := chunks(r, units, func(units []int64) error {
		for _, end := range []string{"a", "b"} {
			err := r.query(ctx, "read match verdicts", "SELECT a, b, same, actor, note, at_us FROM match_verdict WHERE "+end+" "+r.among(0, len(units)),
				bound(r, nil, units), func(rows *sql.Rows) error {
					var v MatchVerdict
					var at int64
					err := rows.Scan(&v.A, &v.B, &v.Same, &v.Actor, &v.Note, &at)
					v.At = db.FromMicros(at)
					if !seen[v.MatchPair] {
						seen[v.MatchPair] = true
						out = append(out, v)
					}
					return err
				})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// PutMatchVerdicts notes what a person has said; about one pair the last word counts.
func (t *Tx) PutMatchVerdicts(ctx context.Context, verdicts []MatchVerdict) error {
	rows := make([][]any, len(verdicts))
	for i, v := range verdicts {
		rows[i] = []any{v.A, v.B, v.Same, v.Actor, v.Note, db.Micros(v.At)}
	}
	return t.insert(ctx, "write match verdicts", "INSERT INTO match_verdict (a, b, same, actor, note, at_us)",
		"ON CONFLICT (a, b) DO UPDATE SET same = excluded.same, actor = excluded.actor, note = excluded.note, at_us = excluded.at_us", rows)
}

// AddMatchRegroups notes what matching did on its own.
func (t *Tx) AddMatchRegroups(ctx context.Context, done []MatchRegroup) error {
	if len(done) == 0 {
		return nil
	}
	first, err := t.take(ctx, "match_regroup", len(done))
	if err != nil {
		return err
	}
	rows := make([][]any, len(done))
	for i, d := range done {
		rows[i] = []any{first + int64(i), db.Micros(d.At), string(d.GoldenID), string(d.Into), d.Parted, d.Late}
	}
	if err := t.insert(ctx, "write what was regrouped", "INSERT INTO match_regroup (number, at_us, golden_id, into_id, parted, late)", "", rows); err != nil {
		return err
	}
	_, err = t.exec(ctx, "trim what was regrouped", "DELETE FROM match_regroup WHERE at_us < $1", db.Micros(done[0].At.Add(-keepRegroups)))
	return err
}

// keepRegroups is how long it is kept what matching did: the brake asks for an hour of it, and the audit trail has it all.
const keepRegroups = 7 * 24 * time.Hour

// LateRegroups counts what matching has joined and parted of a kind since then that was known before.
func (r Reader) LateRegroups(ctx context.Context, obj golden.Object, since time.Time) (n int64, err error) {
	first, last := idRange(obj)
	err = r.query(ctx, "count what was regrouped", "SELECT COUNT(*) FROM match_regroup WHERE at_us >= $1 AND late AND golden_id >= $2 AND golden_id < $3",
		[]any{db.Micros(since), first, last}, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// MatchCounts says how matching stands.
type MatchCounts struct {
	// Units can be found, Joined were merged by matching, Waiting have changed since.
	Units, Joined, Waiting int64
	// Asked are open questions; Same and Different are answers of people.
	Asked, Same, Different int64
}

// CountMatching counts what is of a kind.
func (r Reader) CountMatching(ctx context.Context, obj golden.Object) (MatchCounts, error) {
	var c MatchCounts
	above, below := unitRange(obj)
	first, last := idRange(obj)
	// The plus has SQLite count in the indexes made for it: by the keys it would read every unit and every pair.
	err := r.query(ctx, "count matching", `SELECT (SELECT COUNT(*) FROM match_unit WHERE live AND +number > $1 AND +number < $2),
		(SELECT COUNT(*) FROM match_unit WHERE joined AND +number > $1 AND +number < $2),
		(SELECT COUNT(*) FROM match_due WHERE golden_id >= $3 AND golden_id < $4), (SELECT COUNT(*) FROM match_edge WHERE asked AND +a > $1 AND +a < $2),
		(SELECT COUNT(*) FROM match_verdict WHERE same AND a > $1 AND a < $2), (SELECT COUNT(*) FROM match_verdict WHERE NOT same AND a > $1 AND a < $2)`,
		[]any{above, below, first, last}, func(rows *sql.Rows) error {
			return rows.Scan(&c.Units, &c.Joined, &c.Waiting, &c.Asked, &c.Same, &c.Different)
		})
	return c, err
}
