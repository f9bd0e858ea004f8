package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
)

// Control says what an operator wants of one direction of one system. The zero value lets everything through.
type Control struct {
	System, Direction string
	Paused            bool
	// PerMinute bounds the records written; zero means no bound. Only for DirectionDeliver.
	PerMinute int64
	// Shadow is true while what would be written is noted and not written. Only for DirectionDeliver.
	Shadow        bool
	Reason, Actor string
	Since         time.Time
	free          time.Time
}

// burst is how long an unused allowance is saved up.
const burst = 5 * time.Second

// Controls returns what operators want, by system and direction.
func (r Reader) Controls(ctx context.Context) ([]Control, error) {
	var out []Control
	err := r.query(ctx, "read controls", "SELECT system, direction, paused, per_minute, reason, actor, since_us, free_us, shadow FROM flow_control ORDER BY system, direction",
		nil, func(rows *sql.Rows) error {
			var c Control
			var since, free int64
			err := rows.Scan(&c.System, &c.Direction, &c.Paused, &c.PerMinute, &c.Reason, &c.Actor, &since, &free, &c.Shadow)
			c.Since, c.free = db.FromMicros(since), db.FromMicros(free)
			out = append(out, c)
			return err
		})
	return out, err
}

// Control returns what is wanted of one direction of a system; the zero Control when nobody has said anything.
func (r Reader) Control(ctx context.Context, system, direction string) (Control, error) {
	all, err := r.Controls(ctx)
	for _, c := range all {
		if c.System == system && c.Direction == direction {
			return c, err
		}
	}
	return Control{System: system, Direction: direction}, err
}

// SetControl stores what is wanted.
func (t *Tx) SetControl(ctx context.Context, c Control) error {
	_, err := t.exec(ctx, "write control", `INSERT INTO flow_control (system, direction, paused, per_minute, reason, actor, since_us, free_us, shadow)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8) ON CONFLICT (system, direction) DO UPDATE SET paused = excluded.paused, per_minute = excluded.per_minute,
		reason = excluded.reason, actor = excluded.actor, since_us = excluded.since_us, shadow = excluded.shadow`,
		c.System, c.Direction, c.Paused, c.PerMinute, c.Reason, c.Actor, db.Micros(c.Since), c.Shadow)
	return err
}

// Allowance returns how many of up to want records may be written to the system now: none while it is paused.
func (c Control) Allowance(now time.Time, want int) int {
	switch {
	case c.Paused:
		return 0
	case c.PerMinute <= 0:
		return want
	}
	each := time.Minute / time.Duration(c.PerMinute)
	from := now.Add(-max(burst, each))
	if c.free.After(from) {
		from = c.free
	}
	return int(min(int64(want), max(0, int64(now.Sub(from)/max(each, 1)))))
}

// Spend notes that n records are about to be written. Call it in the transaction that claims them.
func (t *Tx) Spend(ctx context.Context, c Control, now time.Time, n int) error {
	if c.PerMinute <= 0 || n == 0 {
		return nil
	}
	each := time.Minute / time.Duration(c.PerMinute)
	from := now.Add(-max(burst, each))
	if c.free.After(from) {
		from = c.free
	}
	_, err := t.exec(ctx, "spend allowance", "UPDATE flow_control SET free_us = $3 WHERE system = $1 AND direction = $2",
		c.System, c.Direction, db.Micros(from.Add(each*time.Duration(n))))
	return err
}
