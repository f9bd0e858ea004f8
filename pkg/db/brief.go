package db

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/semconv/v1.40.0/dbconv"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Brief returns where to read a few rows by their keys, many times a second. On SQLite such a statement is over in
// microseconds, and to watch for the end of its context, as database/sql and the driver do with a goroutine each, costs
// a fifth of it. So there a statement that has begun is not cancelled, and these connections are kept apart, so that it
// never waits for one that is not brief. On PostgreSQL it is Read.
func (d *DB) Brief() Querier {
	if d.engine == SQLite {
		return d.brief
	}
	return d.read
}

// brief runs statements that are not cancelled.
type brief struct{ db *sql.DB }

// operation is what a meter measures.
type operation uint8

const (
	opQuery operation = iota
	opExec
	opCommit
)

// meter measures statements that do not go through otelsql, as it does. Nil measures nothing.
type meter struct {
	duration metric.Float64Histogram
	as       [3]metric.MeasurementOption // by operation; nil where otelsql measures it itself
	// repeated counts callers of SQLite's group commit who run again because another one failed.
	repeated metric.Int64Counter
}

func newMeter(t *telemetry.Telemetry, attrs ...attribute.KeyValue) (*meter, error) {
	// The very instrument of otelsql: another one of this name would make the metrics page contradict itself.
	m := t.Meter.Meter("github.com/XSAM/otelsql", metric.WithInstrumentationVersion(otelsql.Version()))
	d, err := dbconv.NewClientOperationDuration(m, metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	if err != nil {
		return nil, fmt.Errorf("measure statements: %w", err)
	}
	as := func(m otelsql.Method) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(slices.Clone(attrs), semconv.DBOperationName(string(m)))...))
	}
	repeated, err := t.Meter.Meter("github.com/selfsame-io/selfsame/pkg/db").Int64Counter("selfsame.db.repeated", metric.WithUnit("{transaction}"),
		metric.WithDescription("Transactions that SQLite has run again because another one of the same commit failed after it had changed something."))
	if err != nil {
		return nil, fmt.Errorf("measure statements: %w", err)
	}
	out := &meter{duration: d.Inst(), repeated: repeated}
	out.as[opQuery], out.as[opExec] = as(otelsql.MethodConnQuery), as(otelsql.MethodConnExec)
	if !t.Recording {
		out.as[opCommit] = as(otelsql.MethodTxCommit)
	}
	return out, nil
}

func (m *meter) record(ctx context.Context, took time.Duration, op operation, err error) {
	switch {
	case m == nil || m.as[op] == nil:
	case err == nil:
		m.duration.Record(ctx, took.Seconds(), m.as[op])
	default:
		m.duration.Record(ctx, took.Seconds(), m.as[op], metric.WithAttributes(semconv.ErrorType(err)))
	}
}

// since records what has just ended, with its error: it is for defer.
func (m *meter) since(ctx context.Context, begun time.Time, op operation, err *error) {
	m.record(ctx, time.Since(begun), op, *err)
}

// openBrief returns connections for brief statements. They connect when they are first used.
func openBrief(c connector, t *telemetry.Telemetry, m *meter) *brief {
	b := &brief{openPool(c, t, m)}
	// More at a time than there are processors would only wait for each other.
	b.db.SetMaxOpenConns(runtime.GOMAXPROCS(0))
	b.db.SetMaxIdleConns(runtime.GOMAXPROCS(0))
	return b
}

func sqliteSystem() attribute.KeyValue { return attribute.String("db.system.name", "sqlite") }

// QueryContext implements Querier.
func (b *brief) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return b.db.QueryContext(context.WithoutCancel(ctx), query, args...)
}

// QueryRowContext implements Querier.
func (b *brief) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if ctx.Err() == nil {
		ctx = context.WithoutCancel(ctx)
	}
	return b.db.QueryRowContext(ctx, query, args...)
}
