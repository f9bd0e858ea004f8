package keybench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

// manyCallers is how many there are at once if the options do not say.
const manyCallers = 64

// Options of a run.
type Options struct {
	// Dir is for the SQLite files; it must be on the disk that is meant, and is emptied afterwards.
	Dir string
	// Postgres is the URL of a server whose user may create databases, Redis that of a server; keys of a prefix of
	// their own are written there.
	Postgres string
	Redis    string
	// Callers at once; zero means 64.
	Callers int
	// Rounds of each comparison, and how long each side has in one; zero means 9 and 400 ms.
	Rounds int
	Round  time.Duration
	// Expired is how many keys are purged; zero means 1,000,000. Window is how long live calls are made with and without
	// a purge each time; zero means 2.5 s.
	Expired int
	Window  time.Duration
	// Only names the groups to measure; none means all.
	Only []string
	// Match, if set, leaves out comparisons whose name it does not match.
	Match *regexp.Regexp
	// Done is called when a group was measured; may be nil.
	Done func(group string) error
	// Progress is told what is being done; may be nil.
	Progress func(format string, args ...any)
}

// The groups of measurements.
const (
	GroupPostgres = "postgres"
	GroupSQLite   = "sqlite"
	GroupMemory   = "memory"
	GroupRedis    = "redis"
	GroupPurge    = "purge"
)

var groups = []string{GroupPostgres, GroupSQLite, GroupMemory, GroupRedis, GroupPurge}

// Bench is one run.
type Bench struct {
	o       Options
	results *Results
}

// Run measures and puts the results in the place of those of an earlier run.
func Run(ctx context.Context, o Options, results *Results) error {
	if o.Callers <= 0 {
		o.Callers = manyCallers
	}
	if o.Rounds <= 0 {
		o.Rounds = 9
	}
	if o.Round <= 0 {
		o.Round = 400 * time.Millisecond
	}
	if o.Expired <= 0 {
		o.Expired = 1_000_000
	}
	if o.Window <= 0 {
		o.Window = 2500 * time.Millisecond
	}
	if len(o.Only) == 0 {
		o.Only = groups
	}
	for _, g := range o.Only {
		if !slices.Contains(groups, g) {
			return fmt.Errorf("there is no group %q; there are %v", g, groups)
		}
	}
	if err := register(); err != nil {
		return fmt.Errorf("register the contract: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	b := &Bench{o: o, results: results}
	for _, g := range o.Only {
		if err := b.group(ctx, g); err != nil {
			return fmt.Errorf("%s: %w", g, err)
		}
		if o.Done == nil {
			continue
		}
		if err := o.Done(g); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bench) group(ctx context.Context, name string) error {
	c, err := circumstances(b.o.Dir)
	if err != nil {
		return err
	}
	b.results.forget(name)
	switch name {
	case GroupPostgres:
		err = b.postgres(ctx)
	case GroupSQLite:
		err = b.sqlite(ctx)
	case GroupMemory:
		err = b.memory(ctx)
	case GroupRedis:
		err = b.redis(ctx)
	case GroupPurge:
		err = errors.Join(b.purgeSQLite(ctx), b.purgePostgres(ctx))
	}
	if err != nil {
		return err
	}
	c.LoadAfter = loadAverage()
	b.results.Circumstances[name] = c
	return nil
}

func (b *Bench) progress(format string, args ...any) {
	if b.o.Progress != nil {
		b.o.Progress(format, args...)
	}
}
