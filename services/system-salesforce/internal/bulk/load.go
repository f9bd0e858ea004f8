package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Spec says what a load is. Object and ExternalID are required.
type Spec struct {
	// Load names the load, so that it can be gone on with after a crash: the same rows, the same name. Empty means it cannot.
	Load string `json:"load"`
	// Object is the sObject, ExternalID the field of it that identifies the rows.
	Object     string `json:"object"`
	ExternalID string `json:"external_id"`
	// Columns are the fields of a row, ExternalID among them, in the order of Row.Values. Empty means they are found: all that
	// any row has.
	Columns []string `json:"columns,omitempty"`
	// Parent is the column by whose values rows are brought together, for children of one parent that are written at the same
	// time lock each other out. Empty means they stay in order.
	Parent string `json:"parent,omitempty"`
	// CaseSensitive says that external ids which differ only in case are different.
	CaseSensitive bool `json:"case_sensitive,omitempty"`
	// LineEnding and Delimiter are the form of the file; empty means LF and Comma.
	LineEnding LineEnding `json:"line_ending"`
	Delimiter  Delimiter  `json:"delimiter"`
	// AssignmentRule is the id of the rule that assigns cases or leads to people; empty means none.
	AssignmentRule string `json:"assignment_rule,omitempty"`
}

func (s Spec) check() (Spec, error) {
	if s.LineEnding == "" {
		s.LineEnding = LF
	}
	if s.Delimiter == "" {
		s.Delimiter = Comma
	}
	invalid := func(format string, args ...any) error { return fault.New(fault.Invalid, ReasonSpec, format, args...) }
	switch {
	case !objectName.MatchString(s.Object):
		return s, invalid("the object has no usable name")
	case !objectName.MatchString(s.ExternalID) || strings.EqualFold(s.ExternalID, "Id"):
		return s, invalid("the external id must be a field other than Id")
	case s.LineEnding != LF && s.LineEnding != CRLF:
		return s, invalid("the line ending is unknown")
	case s.Delimiter.sign() == 0:
		return s, invalid("the delimiter is unknown")
	case len(s.Columns) > maxColumns:
		return s, invalid("a load has at most 5,000 columns")
	case len(s.Columns) == 0:
		return s, nil
	}
	seen := map[string]bool{}
	for _, c := range s.Columns {
		if !columnName.MatchString(c) || strings.EqualFold(c, "Id") || seen[strings.ToLower(c)] {
			return s, invalid("the column %q cannot be loaded or comes twice", c)
		}
		seen[strings.ToLower(c)] = true
	}
	ln := newLine(&s)
	if len(ln.order) != len(s.Columns) || len(ln.columns) != len(s.Columns) {
		return s, invalid("the external id is not among the columns")
	}
	if s.Parent != "" && ln.parent < 0 {
		return s, invalid("the column %q, by which rows are grouped, is not among the columns", s.Parent)
	}
	return s, nil
}

// load is one call of Upsert.
type load struct {
	client *Client
	spec   Spec
	dir    string
	sink   func(Outcome) error
	// stop is closed when the load is to end without sending more.
	stop    chan struct{}
	stopped atomic.Bool
	// early is what is said of rows that were not processed because the load ended early; nil while it has not.
	early *rest.Refusal

	emitting sync.Mutex
	// settling lets one part at a time read its results: outcomes are reported one by one anyway, and a tally takes memory.
	settling sync.Mutex
	resumed  bool // an earlier process prepared the rows

	// ahead is the first job, made while rows are still being read; nil before the first row and once a part took it.
	ahead *ahead

	mu sync.Mutex
	j  *journal // nil until the rows are prepared
}

// Upsert writes rows: each is inserted or, if a record with its external id exists, updated. next returns io.EOF after the last
// row; what it returns may be reused at the next call. sink gets one outcome for each row, from one goroutine at a time, in no
// order. An error of either ends the call.
//
// With the name of a load that a process left unfinished, Upsert goes on with that. next, unless it is nil, must return the same
// rows in the same order, which are only compared: others are refused with Precondition and ReasonDiffers, and the load stays as it
// is. sink then gets the outcomes of all rows, also those that the earlier process had reported.
//
// An error means that the load is not finished. If it has a name, the next call goes on with it; if not, its jobs are aborted and
// waited for, and every row that was read has got an outcome, unless reading or sink failed. For that a load without a name ends a
// little before ctx does. The errors are those of package rest, Invalid for a
// specification that makes no sense, Exhausted for more rows than may be kept, and Conflict for a load that is running.
func (c *Client) Upsert(ctx context.Context, s Spec, next func() (Row, error), sink func(Outcome) error) (Ledger, error) {
	l, err := c.open(s, next != nil)
	if err != nil {
		return Ledger{}, err
	}
	defer c.leave(l)
	l.sink = sink
	defer l.forsake(ctx)
	if l.j == nil {
		if err := l.prepare(ctx, next); err != nil {
			return Ledger{}, errors.Join(err, os.RemoveAll(l.dir))
		}
	}
	if l.resumed {
		if err := l.verify(ctx, s, next); err != nil {
			return Ledger{}, err
		}
		if err := l.retell(ctx); err != nil {
			return l.j.ledger(), err
		}
	}
	err = l.work(ctx)
	ended := true
	if err != nil && !l.named() {
		var more error
		ended, more = l.abandon(ctx, err)
		err = errors.Join(err, more)
	}
	sum := l.j.ledger()
	c.meter.settled(ctx, l.spec.Object, sum, l.j.Counted)
	if err != nil && l.named() {
		return sum, errors.Join(err, l.update(func() { l.j.Counted = sum }))
	}
	remove := os.RemoveAll
	if !ended {
		remove = shed // Tend ends the jobs
	}
	if err := errors.Join(err, remove(l.dir)); err != nil {
		return sum, err
	}
	if !sum.Balanced() {
		return sum, fault.New(fault.Internal, ReasonUnbalanced, "the ledger of the load does not balance")
	}
	c.o.Log.LogAttrs(ctx, slog.LevelInfo, "bulk load finished", slog.String("object", l.spec.Object), slog.Int64("rows", sum.Rows),
		slog.Int64("succeeded", sum.Succeeded()), slog.Int64("failed", sum.Failed), slog.Int64("refused", sum.Refused), slog.Int("jobs", sum.Jobs))
	return sum, nil
}

// open takes hold of a load and reads what is known of it.
func (c *Client) open(s Spec, fresh bool) (*load, error) {
	l := &load{client: c, stop: make(chan struct{})}
	c.mu.Lock()
	if s.Load == "" {
		dir, err := os.MkdirTemp(c.o.Dir, anonymous) // with the lock held, so that it is not taken for a leftover
		if err != nil {
			c.mu.Unlock()
			return nil, fmt.Errorf("make a folder for a load: %w", err)
		}
		l.dir = dir
	} else {
		l.dir = c.folder(s.Load)
	}
	busy := c.running[l.dir] != nil
	if !busy {
		c.running[l.dir] = l
	}
	c.mu.Unlock()
	if busy {
		return nil, fault.New(fault.Conflict, ReasonRunning, "a load of this name is running").WithRetryAfter(time.Second)
	}
	err := l.find(s, fresh)
	if err != nil {
		c.leave(l)
		return nil, err
	}
	return l, nil
}

// find reads the journal, or makes the folder of a new load.
func (l *load) find(s Spec, fresh bool) error {
	j, err := read(l.dir)
	if err != nil {
		return err
	}
	if j != nil {
		l.mu.Lock()
		l.j, l.spec, l.resumed = j, j.Spec, true
		l.mu.Unlock()
		return nil
	}
	if !fresh {
		return errUnknown()
	}
	if l.spec, err = s.check(); err != nil {
		return errors.Join(err, os.RemoveAll(l.dir))
	}
	// Rows that were not read to the end are read again: nothing of them was handed over.
	if err := errors.Join(os.RemoveAll(l.dir), os.MkdirAll(l.dir, 0o700)); err != nil {
		return fmt.Errorf("make the folder of a load: %w", err)
	}
	return nil
}

func (c *Client) leave(l *load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[l.dir] == l {
		delete(c.running, l.dir)
	}
}

// sinkError is the error of the caller's sink: nothing more can be reported.
type sinkError struct{ error }

// Unwrap returns the caller's error.
func (e sinkError) Unwrap() error { return e.error }

// emit reports an outcome, and keeps it.
func (l *load) emit(t *told, o Outcome) error {
	if err := t.put(o); err != nil {
		return err
	}
	l.emitting.Lock()
	defer l.emitting.Unlock()
	if err := l.sink(o); err != nil {
		return sinkError{err}
	}
	return nil
}

// save writes the first journal.
func (l *load) save(j *journal) error { return l.update(func() { l.j = j }) }

// update changes the journal and, of a load that can be gone on with, writes it down.
func (l *load) update(change func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	if !l.named() {
		return nil
	}
	return l.write()
}

// register writes down the jobs of a load without a name: they must not outlive the process, so it comes before a job is released.
func (l *load) register() error {
	if l.named() {
		return nil // every step was written down
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.j.write(l.dir)
}

// named reports whether the load can be gone on with: then what is known of it must outlive the process.
func (l *load) named() bool { return l.spec.Load != "" }

// write keeps the journal. The lock is held.
func (l *load) write() error {
	if l.client.crash != nil {
		if err := l.client.crash(); err != nil {
			return err
		}
	}
	err := l.j.write(l.dir)
	if l.client.crash != nil {
		err = errors.Join(err, l.client.crash())
	}
	return err
}

func (l *load) halt() {
	if l.stopped.CompareAndSwap(false, true) {
		close(l.stop)
	}
}

// run works until every part is settled, round by round.
func (l *load) run(ctx context.Context) error {
	for round := 1; ; {
		l.mu.Lock()
		parts := l.j.open()
		l.mu.Unlock()
		if len(parts) == 0 {
			return nil
		}
		if parts[0].Round > round {
			round = parts[0].Round
			if err := l.pause(ctx, round-1); err != nil {
				return err
			}
		}
		if err := l.round(ctx, parts); err != nil {
			return err
		}
	}
}

// pause comes before what was tried so many times is tried again: what held rows may let go, what was away may come back.
func (l *load) pause(ctx context.Context, times int) error {
	timer := time.NewTimer(l.client.o.Retry.Next(times))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.stop:
	case <-ctx.Done():
		return fault.Wrap(fault.Canceled, fault.ReasonCanceled, ctx.Err(), "the load was left unfinished")
	}
	return nil
}

func (l *load) round(ctx context.Context, parts []*part) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(l.client.o.Jobs)
	for _, p := range parts {
		if !p.Serial {
			g.Go(func() error { return l.finish(inner, p) })
		}
	}
	if err := g.Wait(); err != nil {
		return err //nolint:wrapcheck // of this package
	}
	for _, p := range parts {
		if p.Serial {
			if err := l.finish(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}
