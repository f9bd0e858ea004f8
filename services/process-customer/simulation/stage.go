package simulation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Stage is the database that stories are played on, one after the other. It is emptied in between, which is much faster
// than to make a new one. It is not safe for concurrent use: give each worker a stage of its own.
type Stage struct {
	db     *db.DB
	store  *store.Store
	tables []table
	rules  map[string]*survive.Rules // by whose deletions are final
}

// table is what a table holds in an empty database.
type table struct {
	name    string
	columns []string
	rows    [][]any
}

// NewStage makes an empty stage. Close it.
func NewStage(ctx context.Context) (*Stage, error) {
	s := &Stage{rules: map[string]*survive.Rules{}}
	return s, s.open(ctx)
}

func (s *Stage) open(ctx context.Context) error {
	d, err := db.Open(ctx, "sqlite::memory:", telemetry.Discard())
	if err != nil {
		return fmt.Errorf("open stage: %w", err)
	}
	s.db = d
	if s.store, err = store.Open(ctx, d); err != nil {
		return errors.Join(fmt.Errorf("open stage: %w", err), d.Close())
	}
	s.tables = nil
	err = each(ctx, d.Read(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%migration%' ORDER BY name`,
		func(rows *sql.Rows) error {
			var t table
			err := rows.Scan(&t.name)
			s.tables = append(s.tables, t)
			return err
		})
	for i := range s.tables {
		t := &s.tables[i]
		err = errors.Join(err, each(ctx, d.Read(), "SELECT * FROM "+t.name, func(rows *sql.Rows) error {
			var err error
			if t.columns, err = rows.Columns(); err != nil {
				return err
			}
			row := make([]any, len(t.columns))
			into := make([]any, len(row))
			for i := range row {
				into[i] = &row[i]
			}
			t.rows = append(t.rows, row)
			return rows.Scan(into...)
		}))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("look at stage: %w", err), d.Close())
	}
	return nil
}

func each(ctx context.Context, q db.Querier, query string, fn func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// clear brings the database back to what it was when it was made.
func (s *Stage) clear(ctx context.Context) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, t := range s.tables {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+t.name); err != nil {
				return err
			}
			for _, row := range t.rows {
				marks := strings.TrimSuffix(strings.Repeat("?,", len(row)), ",")
				if _, err := tx.ExecContext(ctx, "INSERT INTO "+t.name+" ("+strings.Join(t.columns, ",")+") VALUES ("+marks+")", row...); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	// A table that does not let itself be emptied: begin anew.
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("clear stage: %w", err)
	}
	return s.open(ctx)
}

// Close removes the stage.
func (s *Stage) Close() error { return s.db.Close() }
