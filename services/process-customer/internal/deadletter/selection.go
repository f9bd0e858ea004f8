package deadletter

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

const (
	// MaxSelection is the greatest number of letters in a selection.
	MaxSelection = 10_000
	// selectionLife is how long a selection may be acted upon.
	selectionLife = time.Hour
	// piece is how many letters of a selection one call deals with.
	piece = 200
)

// Selection is what an operator was shown, and may now act on as a whole.
type Selection struct {
	// Token names it; empty when nothing was found.
	Token   string
	Expires time.Time
	// Letters are those selected, oldest first; More is true when there were more than MaxSelection.
	Letters []store.DeadLetter
	More    bool
}

// Group counts the letters of a selection that have the same cause.
type Group struct {
	Direction, System, Reason, Field string
	Letters                          int
}

// Groups returns the letters by cause, the most frequent first.
func (s Selection) Groups() []Group {
	at := map[Group]int{}
	for _, l := range s.Letters {
		at[Group{Direction: l.Direction, System: l.Ref.System, Reason: l.Reason, Field: l.Field}]++
	}
	out := make([]Group, 0, len(at))
	for g, n := range at {
		g.Letters = n
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), strings.Compare(a.Reason, b.Reason), strings.Compare(a.System+a.Direction+a.Field, b.System+b.Direction+b.Field))
	})
	return out
}

// Preview keeps which open letters a filter means now, and returns them: exactly these, as they are, are meant by the token.
func (d *Desk) Preview(ctx context.Context, f store.LetterFilter) (Selection, error) {
	var s Selection
	err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		now := d.now()
		letters, err := tx.FindLetters(ctx, f, MaxSelection+1)
		if err != nil {
			return err
		}
		s = Selection{Letters: letters[:min(len(letters), MaxSelection)], More: len(letters) > MaxSelection}
		if len(letters) == 0 {
			return nil
		}
		s.Token, s.Expires = "s_"+strings.ToLower(rand.Text()), now.Add(selectionLife)
		return tx.Select(ctx, s.Token, s.Letters, now, s.Expires)
	})
	if err != nil {
		return Selection{}, fmt.Errorf("preview: %w", err)
	}
	return s, nil
}

// Progress is what one call has done to a selection.
type Progress struct {
	// Done letters were dealt with, Skipped ones had been settled or parked again since they were shown.
	Done, Skipped int
	// Left are still to be dealt with: call again.
	Left int
}

// RedriveSelection tries the next letters of a selection again. What is done is remembered, so it may be called again after
// a failure, by anybody.
func (d *Desk) RedriveSelection(ctx context.Context, token string, mode Mode) (Progress, error) {
	ctx = priority.With(ctx, priority.Bulk)
	return d.onSelection(ctx, token, func(ctx context.Context, letters []store.DeadLetter, and also) (int, error) {
		return d.redrive(ctx, letters, mode, mode.String()+", selection "+token, and)
	})
}

// DiscardSelection gives the next letters of a selection up, for a reason that is kept.
func (d *Desk) DiscardSelection(ctx context.Context, token, reason string) (Progress, error) {
	return d.onSelection(ctx, token, func(ctx context.Context, letters []store.DeadLetter, and also) (int, error) {
		n := 0
		err := d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			n = 0
			if err := tx.LockIdentity(ctx); err != nil {
				return err
			}
			var ids []string
			for _, l := range letters {
				moved, err := d.discard(ctx, tx, l.ID, reason)
				if err != nil {
					return err
				}
				if ids = append(ids, l.ID); moved {
					n++
				}
			}
			return and(ctx, tx, ids)
		})
		return n, err
	})
}

func (d *Desk) onSelection(ctx context.Context, token string, act func(context.Context, []store.DeadLetter, also) (int, error)) (Progress, error) {
	selected, left, err := d.store.Read().Selected(ctx, token, d.now(), piece)
	if errors.Is(err, store.ErrNotFound) {
		return Progress{}, fault.Wrap(fault.NotFound, "SELECTION_UNKNOWN", err, "there is no such selection any more: preview again")
	}
	if err != nil {
		return Progress{}, err
	}
	var same, other []string
	for _, s := range selected {
		if s.Same {
			same = append(same, s.ID)
		} else {
			other = append(other, s.ID)
		}
	}
	letters, err := d.store.Read().OpenLetters(ctx, same)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Skipped: len(other), Left: left - len(selected)}
	mark := func(ctx context.Context, tx *store.Tx, ids []string) error { return tx.Deselect(ctx, token, ids) }
	if len(letters) > 0 {
		if p.Done, err = act(ctx, letters, mark); err != nil {
			return Progress{}, fmt.Errorf("selection: %w", err)
		}
	}
	p.Skipped += len(same) - p.Done
	if rest := slices.Concat(other, same); len(rest) > 0 {
		err = d.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return mark(ctx, tx, rest) })
	}
	return p, err
}
