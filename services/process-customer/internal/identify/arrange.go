package identify

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// brakeWindow is the time over which the brake counts, brakeWait when what it held back is looked at again.
const (
	brakeWindow = time.Hour
	brakeWait   = 10 * time.Minute
)

// step brings one unit into the group where it should be: out of the one it is in, into another, or both.
type step struct {
	*member
	part bool
	into golden.ID // empty: it stands on its own
	// late is true when it changes what was known as one or as two customers before.
	late bool
}

// arrange joins and parts golden records until the members of a component are grouped as they should be.
func (w *work) arrange(ctx context.Context, c *component) error {
	if len(c.members) > maxComponent {
		w.log.WarnContext(ctx, "records hang together too much to be grouped", slog.String("object", string(w.object)), slog.Int("count", len(c.members)))
		return nil
	}
	groups, err := w.groups(c)
	if err != nil {
		return err
	}
	var steps []step
	for _, g := range groups {
		head := c.members[g[0]]
		for _, n := range g {
			if m := c.members[n]; head.Joined && !m.Joined {
				head = m // the oldest that stands on its own keeps its id
			}
		}
		for _, n := range g {
			if s := w.place(c.members[n], head); s.part || s.into != "" {
				steps = append(steps, s)
			}
		}
	}
	if steps, err = w.braked(ctx, steps); err != nil || len(steps) == 0 {
		return err
	}
	return w.apply(ctx, steps)
}

// place says what brings a unit into the group of another one.
func (w *work) place(m, head *member) step {
	if m == head {
		return step{member: m, part: m.Joined, late: m.Joined}
	}
	if g := w.u.Golden(m.GoldenID); m.Joined && g != nil && g.MergedInto == head.GoldenID {
		return step{member: m}
	}
	s := step{member: m, part: m.Joined, into: head.GoldenID}
	if m.Joined {
		s.late = m.root != head.root
	} else {
		s.late = !m.fresh && !head.fresh
	}
	return s
}

// braked returns those of the steps that matching may take now. If it has joined or parted too many known customers of
// late, the rest waits.
func (w *work) braked(ctx context.Context, steps []step) ([]step, error) {
	if w.brake == 0 || w.person || !slices.ContainsFunc(steps, func(s step) bool { return s.late }) {
		return steps, nil
	}
	done, err := w.tx.LateRegroups(ctx, w.object, w.u.Now().Add(-brakeWindow))
	if err != nil {
		return nil, err
	}
	allowed := int64(w.brake) - done
	var now []step
	var wait []golden.ID
	for _, s := range steps {
		if s.late && allowed <= 0 {
			wait = append(wait, s.root)
			continue
		}
		if s.late {
			allowed--
		}
		now = append(now, s)
	}
	if len(wait) == 0 {
		return now, nil
	}
	w.log.WarnContext(ctx, "matching holds back: it has joined or parted too many known records", slog.String("object", string(w.object)), slog.Int("waiting", len(wait)))
	return now, w.tx.AddMatchDue(ctx, distinct(wait), w.u.Now().Add(brakeWait))
}

// apply takes the steps: first everybody leaves, then everybody joins.
func (w *work) apply(ctx context.Context, steps []step) error {
	cause := "match/" + strings.ToLower(rand.Text())
	var done []store.MatchRegroup
	var units []store.MatchUnit
	for _, s := range steps {
		if !s.part {
			continue
		}
		if err := w.u.LoadJoin(ctx, s.GoldenID, s.root); err != nil {
			return err
		}
		if w.u.Part(s.GoldenID, golden.Ref{}, cause) && s.into == "" {
			done = append(done, store.MatchRegroup{At: w.u.Now(), GoldenID: s.GoldenID, Into: s.root, Parted: true, Late: s.late && !w.person})
		}
		s.Joined, s.root = false, s.GoldenID
	}
	for _, s := range steps {
		if s.into != "" {
			if err := w.u.LoadJoin(ctx, s.into, s.GoldenID); err != nil {
				return err
			}
			if w.u.Join(s.into, s.GoldenID, golden.Ref{}, cause) {
				done = append(done, store.MatchRegroup{At: w.u.Now(), GoldenID: s.GoldenID, Into: s.into, Late: s.late && !w.person})
				s.Joined, s.root = true, s.into
			}
		}
		s.alone, w.byID[s.root].alone = false, false
		units = append(units, s.MatchUnit)
	}
	if err := w.tx.PutMatchUnits(ctx, units); err != nil {
		return err
	}
	return w.tx.AddMatchRegroups(ctx, done)
}
