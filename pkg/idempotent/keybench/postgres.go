package keybench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing/fstest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" //nolint:depguard // the baselines use the driver as it is

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// secret keys the digests of a run.
func secret() []byte { return []byte(rand.Text()) }

// rawSchema is what the baselines write to: a row with as many bytes as a record, found by its key and by its age.
var rawSchema = fstest.MapFS{"00001_raw.sql": {Data: []byte(`-- +goose Up
CREATE TABLE raw (k BYTEA NOT NULL PRIMARY KEY, state TEXT NOT NULL, meta BYTEA NOT NULL, body BYTEA, expires_at BIGINT NOT NULL);
CREATE INDEX raw_expires ON raw (expires_at);
CREATE TABLE effect (id TEXT NOT NULL PRIMARY KEY, body BYTEA NOT NULL);`)}}

const (
	rawClaim    = "INSERT INTO raw (k, state, meta, expires_at) VALUES ($1, 'c', $2, $3)"
	rawComplete = "UPDATE raw SET state = 'd', body = $1, expires_at = $2 WHERE k = $3 AND state = 'c'"
	rawInsert   = "INSERT INTO raw (k, state, meta, body, expires_at) VALUES ($1, 'd', $2, $3, $4)"
	rawSelect   = "SELECT state, meta, body, expires_at FROM raw WHERE k = $1"
	rawEffect   = "INSERT INTO effect (id, body) VALUES ($1, $2)"
)

// world is a database with a store in it, and the tables of the baselines.
type world struct {
	*caller
	d     *db.DB
	store *idempotent.SQLStore
	raw   *sql.DB // the driver as it is
}

func newWorld(ctx context.Context, dsn string, raw *sql.DB) (*world, error) {
	d, err := db.Open(ctx, dsn, nil)
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, rawSchema, "raw_migrations"); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	s, err := idempotent.NewSQLStore(d, secret(), nil)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &world{caller: newCaller(s), d: d, store: s, raw: raw}, nil
}

// inTransaction is a call whose effect and answer are one transaction.
func (w *world) inTransaction(ctx context.Context) error {
	return w.call(ctx, transactional, w.key(), func(ctx context.Context, _ any) (any, error) {
		id := w.key() // as for the baselines, before the transaction
		return answer, w.d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, rawEffect, id, rawBody); err != nil {
				return err
			}
			return w.store.CompleteTx(ctx, tx, answer)
		})
	}, false)
}

// postgresWorld makes a database on the server, which is dropped by the returned function.
func (b *Bench) postgresWorld(ctx context.Context) (*world, func() error, error) {
	if b.o.Postgres == "" {
		return nil, nil, errors.New("say which PostgreSQL server to measure")
	}
	u, err := url.Parse(b.o.Postgres)
	if err != nil {
		return nil, nil, errors.New("the URL of PostgreSQL cannot be parsed")
	}
	admin, err := sql.Open("pgx", b.o.Postgres)
	if err != nil {
		return nil, nil, err
	}
	name := "keybench_" + strings.ToLower(rand.Text()[:12])
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, nil, errors.Join(err, admin.Close())
	}
	drop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, err := admin.ExecContext(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		return errors.Join(err, admin.Close())
	}
	u.Path = "/" + name
	raw, err := sql.Open("pgx", u.String())
	if err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	raw.SetMaxOpenConns(b.o.Callers)
	raw.SetMaxIdleConns(b.o.Callers)
	q := u.Query()
	q.Set("pool_max_conns", fmt.Sprint(b.o.Callers))
	u.RawQuery = q.Encode()
	w, err := newWorld(ctx, u.String(), raw)
	if err != nil {
		return nil, nil, errors.Join(err, raw.Close(), drop())
	}
	return w, func() error { return errors.Join(raw.Close(), w.d.Close(), drop()) }, nil
}

// backends are the processes of the server that work for the database or for all, if it runs on this machine.
func (w *world) backends(ctx context.Context) []int {
	rows, err := w.raw.QueryContext(ctx, `SELECT pid FROM pg_stat_activity WHERE datname = current_database() OR backend_type IN ('walwriter', 'background writer', 'checkpointer')`)
	if err != nil {
		return nil
	}
	defer rows.Close()
	var pids []int
	for rows.Next() {
		var pid int
		if rows.Scan(&pid) == nil && isPostgres(pid) {
			pids = append(pids, pid)
		}
	}
	if rows.Err() != nil {
		return nil
	}
	return pids
}

func isPostgres(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.TrimSpace(string(b)) == "postgres"
}

// twoStatements is the least that anything of this kind does: note the key, note the answer, commit.
func (w *world) twoStatements(ctx context.Context) error {
	k := w.keys.raw()
	return w.transaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, rawClaim, k, rawMeta, time.Now().UnixMicro()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, rawComplete, rawBody, time.Now().UnixMicro(), k)
		return err
	})
}

// effectAndRow is a handler that stores its effect and its answer, without any protection.
func (w *world) effectAndRow(ctx context.Context) error {
	k, id := w.keys.raw(), w.key()
	return w.transaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, rawEffect, id, rawBody); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, rawInsert, k, rawMeta, rawBody, time.Now().UnixMicro())
		return err
	})
}

func (w *world) transaction(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := w.raw.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (b *Bench) postgres(ctx context.Context) (err error) {
	w, end, err := b.postgresWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	servers := func() []int { return w.backends(ctx) }
	two := "two raw statements in one transaction"
	for _, c := range []struct {
		r          Ratio
		base, subj work
	}{
		{Ratio{Name: "call with a new key, claim and answer, RECOVERABLE", Against: two, Target: 1.3}, w.twoStatements, w.fresh(recoverable)},
		{Ratio{Name: "call with a new key, claim and answer, MANUAL", Against: two, Target: 1.3}, w.twoStatements, w.fresh(manual)},
		{Ratio{Name: "call with a new key, effect and answer in one transaction", Against: "the same two rows in one raw transaction", Target: 1.15}, w.effectAndRow, w.inTransaction},
	} {
		c.r.Group, c.r.Callers = GroupPostgres, b.o.Callers
		if err := b.compare(ctx, c.r, servers, c.base, c.subj); err != nil {
			return err
		}
	}
	if err := b.replays(ctx, GroupPostgres, w, servers); err != nil {
		return err
	}
	if err := b.selects(ctx, w, servers); err != nil {
		return err
	}
	return b.evidence(ctx, w)
}

// selects compares replays with the least that finds what is kept: the row, read with the driver.
func (b *Bench) selects(ctx context.Context, w *world, servers func() []int) error {
	k := w.keys.raw()
	if _, err := w.raw.ExecContext(ctx, rawInsert, k, rawMeta, rawBody, time.Now().UnixMicro()); err != nil {
		return err
	}
	find := func(ctx context.Context) error {
		var state string
		var meta, body []byte
		var expires int64
		return w.raw.QueryRowContext(ctx, rawSelect, k).Scan(&state, &meta, &body, &expires)
	}
	for _, n := range []int{1, b.o.Callers} {
		replay, err := w.replay(ctx, n)
		if err != nil {
			return err
		}
		r := Ratio{Group: GroupPostgres, Name: fmt.Sprintf("replay, callers: %d", n), Against: "SELECT of a row of that size", Callers: n}
		if err := b.compare(ctx, r, servers, find, replay); err != nil {
			return err
		}
	}
	return nil
}

// replays compares replays with calls with a new key.
func (b *Bench) replays(ctx context.Context, group string, w *world, servers func() []int) error {
	for _, n := range []int{1, b.o.Callers} {
		replay, err := w.replay(ctx, n)
		if err != nil {
			return err
		}
		r := Ratio{Group: group, Name: fmt.Sprintf("replay, callers: %d", n), Against: "begin and complete", Callers: n}
		if group == GroupPostgres {
			r.Target = 0.1
		}
		if err := b.compare(ctx, r, servers, w.fresh(manual), replay); err != nil {
			return err
		}
	}
	return nil
}
