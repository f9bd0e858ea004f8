package idempotent

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
)

func TestSQLStore_WritesClaimsThatMayBeLostLate(t *testing.T) {
	t.Parallel()
	ctx, secret := t.Context(), []byte("0123456789abcdef")
	setup := func(t *testing.T, after time.Duration) (*SQLStore, *db.DB) {
		t.Helper()
		d := dbtest.Open(t, "sqlite")
		s, err := NewSQLStore(d, secret, nil)
		require.NoError(t, err)
		s.late.after = after
		return s, d
	}
	claim := func(key, owner string) Claim {
		return Claim{
			Scope: Scope{Principal: "p", Method: "/m", Key: key}, Fingerprint: []byte("\x01f"), Owner: []byte(owner),
			Lease: time.Minute, Retention: time.Hour, Takeover: true,
		}
	}
	begin := func(t *testing.T, s *SQLStore, c Claim) Result {
		t.Helper()
		res, err := s.Begin(ctx, c)
		require.NoError(t, err)
		return res
	}
	rows := func(t *testing.T, d *db.DB, state State) (n int) {
		t.Helper()
		require.NoError(t, d.Read().QueryRowContext(ctx, "SELECT count(*) FROM idempotency WHERE state = $1", string(state)).Scan(&n))
		return n
	}

	t.Run("an attempt that is over soon is stored once, with its answer", func(t *testing.T) {
		t.Parallel()
		s, d := setup(t, time.Hour)
		res := begin(t, s, claim("k", "a"))
		require.Equal(t, Granted, res.Outcome)
		require.Zero(t, rows(t, d, Claimed), "nothing needs to be on the disk yet")
		require.NoError(t, s.Complete(ctx, res.Grant, Answer{OK: true, Body: []byte("did")}))
		require.Equal(t, 1, rows(t, d, Done))
		again := begin(t, s, claim("k", "b"))
		require.Equal(t, Replay, again.Outcome)
		require.Equal(t, "did", string(again.Answer.Body))
		require.ErrorIs(t, s.Complete(ctx, res.Grant, Answer{}), ErrStale)
		require.Empty(t, s.late.of)
	})
	t.Run("whoever asks meanwhile finds it", func(t *testing.T) {
		t.Parallel()
		for name, ask := range map[string]func(s *SQLStore, g Grant) error{
			"another call": func(s *SQLStore, _ Grant) error {
				res, err := s.Begin(ctx, claim("k", "b"))
				if err == nil && res.Outcome != InProgress {
					err = errors.New("it was granted twice")
				}
				return err
			},
			"a call that must not be lost": func(s *SQLStore, _ Grant) error {
				c := claim("k", "b")
				c.Takeover = false
				res, err := s.Begin(ctx, c)
				if err == nil && res.Outcome != InProgress {
					err = errors.New("it was granted twice")
				}
				return err
			},
			"a step":      func(s *SQLStore, g Grant) error { return s.Step(ctx, g, "one", []byte("done")) },
			"a heartbeat": func(s *SQLStore, g Grant) error { return s.Heartbeat(ctx, g, time.Minute) },
			"a look":      func(s *SQLStore, g Grant) error { _, err := s.Look(ctx, g); return err },
			"an operator": func(s *SQLStore, g Grant) error { _, err := s.Show(ctx, g.Digest); return err },
			"a list": func(s *SQLStore, _ Grant) error {
				p, err := s.List(ctx, Filter{})
				if err == nil && len(p.Entries) != 1 {
					err = errors.New("it is not listed")
				}
				return err
			},
			"a count": func(s *SQLStore, _ Grant) error {
				st, err := s.Stats(ctx)
				if err == nil && st.Open != 1 {
					err = errors.New("it is not counted")
				}
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, d := setup(t, time.Hour)
				res := begin(t, s, claim("k", "a"))
				require.NoError(t, ask(s, res.Grant))
				require.Equal(t, 1, rows(t, d, Claimed))
				require.NoError(t, s.Complete(ctx, res.Grant, Answer{OK: true, Body: []byte("did")}))
				require.Equal(t, 1, rows(t, d, Done))
			})
		}
	})
	t.Run("an attempt that lasts is written", func(t *testing.T) {
		t.Parallel()
		s, d := setup(t, time.Millisecond)
		res := begin(t, s, claim("k", "a"))
		require.Eventually(t, func() bool { return rows(t, d, Claimed) == 1 }, time.Minute, time.Millisecond)
		require.NoError(t, s.Complete(ctx, res.Grant, Answer{OK: true, Body: []byte("did")}))
		require.Equal(t, 1, rows(t, d, Done))
	})
	t.Run("after the end of the process the key is a new one, and there is still one answer", func(t *testing.T) {
		t.Parallel()
		s, d := setup(t, time.Hour)
		gone := begin(t, s, claim("k", "a"))
		next, err := NewSQLStore(d, secret, nil)
		require.NoError(t, err)
		res := begin(t, next, claim("k", "b"))
		require.Equal(t, Granted, res.Outcome)
		require.NoError(t, next.Complete(ctx, res.Grant, Answer{OK: true, Body: []byte("second")}))
		require.ErrorIs(t, s.Complete(ctx, gone.Grant, Answer{OK: true, Body: []byte("first")}), ErrStale, "were it alive after all")
		stored, err := s.Look(ctx, gone.Grant)
		require.NoError(t, err)
		require.Equal(t, "second", string(stored.Answer.Body))
	})
	t.Run("the handler's transaction begins with it, whether or not it is committed", func(t *testing.T) {
		t.Parallel()
		s, d := setup(t, time.Hour)
		for _, failed := range []error{nil, errors.New("rolled back")} {
			c := claim("k"+strconv.FormatBool(failed == nil), "a")
			res := begin(t, s, c)
			require.ErrorIs(t, d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
				if err := s.writtenIn(ctx, tx, res.Grant); err != nil {
					return err
				}
				if err := s.held(ctx, tx, sqlComplete, res.Grant, s.answerArgs(Answer{OK: true, Body: []byte("did")}, time.Hour)...); err != nil {
					return err
				}
				return failed
			}), failed)
			c.Owner = []byte("b")
			want := Replay
			if failed != nil {
				want = InProgress
			}
			require.Equal(t, want, begin(t, s, c).Outcome)
		}
	})
	t.Run("while nothing can be written nothing more is granted", func(t *testing.T) {
		t.Parallel()
		s, d := setup(t, time.Hour)
		res := begin(t, s, claim("k", "a"))
		_, err := d.Exec(ctx, "CREATE TRIGGER full BEFORE INSERT ON idempotency BEGIN SELECT RAISE(ABORT, 'no room'); END")
		require.NoError(t, err)
		answer := Answer{OK: true, Body: []byte("did")}
		require.ErrorContains(t, s.Complete(ctx, res.Grant, answer), "no room")
		_, err = s.Begin(ctx, claim("other", "a"))
		require.ErrorContains(t, err, "no room")
		_, err = d.Exec(ctx, "DROP TRIGGER full")
		require.NoError(t, err)
		require.NoError(t, s.Complete(ctx, res.Grant, answer), "the grant still holds")
		require.Equal(t, Granted, begin(t, s, claim("other", "a")).Outcome)
		require.Zero(t, rows(t, d, Claimed), "and that one is late again")
	})
	t.Run("of many that come at once one is granted", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t, time.Microsecond)
		for round := range 10 {
			var (
				wg      sync.WaitGroup
				mu      sync.Mutex
				granted []Grant
				failed  error
			)
			for i := range 8 {
				wg.Go(func() {
					c := claim(strconv.Itoa(round), strconv.Itoa(i))
					c.Takeover = i%3 > 0
					res, err := s.Begin(ctx, c)
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, err)
					if err == nil && res.Outcome == Granted {
						granted = append(granted, res.Grant)
					}
				})
			}
			wg.Wait()
			require.NoError(t, failed)
			require.Len(t, granted, 1)
			require.NoError(t, s.Complete(ctx, granted[0], Answer{OK: true, Body: []byte("did")}))
		}
	})
}
