package keybench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" //nolint:depguard // the baselines use the driver as it is
)

// rawGroup is what a group commit is at the least: one goroutine, one connection, statements compiled once; it runs what
// has arrived in one transaction, commits it with one flush and tells everybody. Nobody is protected from anybody else: an
// error is everybody's.
type rawGroup struct {
	queue chan *rawJob
	ended chan error
}

type rawJob struct {
	run  func(s *rawStatements) error
	done chan error
}

type rawStatements struct{ claim, complete, insert, effect *sql.Stmt }

const rawMaxGroup = 256

func newRawGroup(ctx context.Context, raw *sql.DB) (*rawGroup, error) {
	conn, err := raw.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var s rawStatements
	for text, to := range map[string]**sql.Stmt{rawClaim: &s.claim, rawComplete: &s.complete, rawInsert: &s.insert, rawEffect: &s.effect} {
		if *to, err = conn.PrepareContext(ctx, text); err != nil { //nolint:sqlclosecheck // when the goroutine ends
			return nil, errors.Join(err, conn.Close())
		}
	}
	g := &rawGroup{queue: make(chan *rawJob, rawMaxGroup), ended: make(chan error, 1)}
	go func() {
		for j := range g.queue {
			g.commit(ctx, conn, &s, j)
		}
		g.ended <- errors.Join(s.claim.Close(), s.complete.Close(), s.insert.Close(), s.effect.Close(), conn.Close())
	}()
	return g, nil
}

func (g *rawGroup) commit(ctx context.Context, conn *sql.Conn, s *rawStatements, first *rawJob) {
	_, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	members := []*rawJob{first}
	for i := 0; i < len(members); i++ {
		if err == nil {
			err = members[i].run(s)
		}
		if i == len(members)-1 && len(members) < rawMaxGroup {
			select {
			case j, ok := <-g.queue:
				if ok {
					members = append(members, j)
				}
			default:
			}
		}
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	for _, j := range members {
		j.done <- err
	}
}

func (g *rawGroup) do(run func(s *rawStatements) error) error {
	j := &rawJob{run: run, done: make(chan error, 1)}
	g.queue <- j
	return <-j.done
}

func (g *rawGroup) close() error {
	close(g.queue)
	return <-g.ended
}

// sqliteWorld makes a file for the store and one for the baselines.
func (b *Bench) sqliteWorld(ctx context.Context) (w *world, g *rawGroup, end func() error, err error) {
	dir, err := os.MkdirTemp(b.o.Dir, "keybench")
	if err != nil {
		return nil, nil, nil, err
	}
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	raw, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "raw.db")+"?"+q.Encode())
	if err != nil {
		return nil, nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	raw.SetMaxOpenConns(1)
	_, err = raw.ExecContext(ctx, string(rawSchema["00001_raw.sql"].Data[len("-- +goose Up"):]))
	if err == nil {
		w, err = newWorld(ctx, "sqlite:"+filepath.Join(dir, "store.db"), raw)
	}
	if err == nil {
		g, err = newRawGroup(ctx, raw)
	}
	end = func() error {
		var errs []error
		if g != nil {
			errs = append(errs, g.close())
		}
		errs = append(errs, raw.Close())
		if w != nil {
			errs = append(errs, w.d.Close())
		}
		return errors.Join(append(errs, os.RemoveAll(dir))...)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, end())
	}
	return w, g, end, nil
}

// atLeast is the target that there are 0.7 times as many calls a second as raw ones.
const atLeast = 1 / 0.7

func (b *Bench) sqlite(ctx context.Context) (err error) {
	w, g, end, err := b.sqliteWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	now := func() int64 { return time.Now().UnixMicro() }
	oneRow := func(ctx context.Context) error {
		k := w.keys.raw()
		return g.do(func(s *rawStatements) error {
			_, err := s.insert.ExecContext(ctx, k, rawMeta, rawBody, now())
			return err
		})
	}
	twoRows := func(ctx context.Context) error {
		k, id := w.keys.raw(), w.key()
		return g.do(func(s *rawStatements) error {
			if _, err := s.effect.ExecContext(ctx, id, rawBody); err != nil {
				return err
			}
			_, err := s.insert.ExecContext(ctx, k, rawMeta, rawBody, now())
			return err
		})
	}
	// A claim that must not be forgotten is on the disk before the effect begins, the answer after it.
	twoCommits := func(ctx context.Context) error {
		k := w.keys.raw()
		err := g.do(func(s *rawStatements) error {
			_, err := s.claim.ExecContext(ctx, k, rawMeta, now())
			return err
		})
		if err != nil {
			return err
		}
		return g.do(func(s *rawStatements) error {
			_, err := s.complete.ExecContext(ctx, rawBody, now(), k)
			return err
		})
	}
	const one, two = "one group-committed insert of a row of that size", "the same two rows, group-committed"
	for _, c := range []struct {
		r          Ratio
		base, subj work
	}{
		{Ratio{Name: "call with a new key, effect and answer in one transaction", Against: two, Target: atLeast}, twoRows, w.inTransaction},
		{Ratio{Name: "call with a new key, claim and answer, RECOVERABLE", Against: one, Target: atLeast}, oneRow, w.fresh(recoverable)},
		{Ratio{Name: "call with a new key, claim and answer, MANUAL", Against: one, Target: atLeast}, oneRow, w.fresh(manual)},
		{Ratio{Name: "call with a new key, claim and answer, MANUAL", Against: "insert and update of a row of that size, each group-committed", Target: atLeast}, twoCommits, w.fresh(manual)},
	} {
		c.r.Group, c.r.Callers, c.r.Throughput = GroupSQLite, b.o.Callers, true
		if err := b.compare(ctx, c.r, nil, c.base, c.subj); err != nil {
			return fmt.Errorf("%s: %w", c.r.Name, err)
		}
	}
	return b.replays(ctx, GroupSQLite, w, nil)
}
