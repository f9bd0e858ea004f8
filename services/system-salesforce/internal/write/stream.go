package write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Bulk runs jobs. *bulk.Client is one.
type Bulk interface {
	Upsert(ctx context.Context, s bulk.Spec, next func() (bulk.Row, error), sink func(bulk.Outcome) error) (bulk.Ledger, error)
	// Kept reports whether an unfinished load has this name.
	Kept(load string) bool
}

// Load is any number of records of one object, each named by its external id.
type Load struct {
	// Object is what kind of records they are.
	Object *mapping.Object
	// Columns are the columns that rows may set, besides the external id.
	Columns []string
	// Backlog is how many records are waiting, as far as known; 0 when not.
	Backlog int64
	// Name is what the load is found by after a crash; may be empty.
	Name string
	// Done, if it is set, is told of rows that came from next and are no longer needed, while next is not being called.
	Done func(Row)
}

// Transport is how a load went.
type Transport uint8

// The transports of a load.
const (
	None Transport = iota
	Collections
	Jobs
)

// String returns the word of metrics.
func (t Transport) String() string {
	switch t {
	case Collections:
		return "collections"
	case Jobs:
		return "jobs"
	case None:
	}
	return "none"
}

// Stream writes the rows that next returns until io.EOF, and gives sink one outcome for each, named by its external id, in any
// order, one at a time; sink may be called while next is. The load goes by a job from BulkFrom records,
// announced or found, if the object allows and collections would not be faster, and whenever an unfinished load has its name: whoever asks for that must hear of it. The
// transport is returned.
//
// In memory are up to BulkFrom rows that are read to find out how many come; by collections those of the calls that are on their way,
// at most 200 in each of Options.Together, and of the next one; by a job what package bulk keeps.
//
// Errors: those of next and sink, and of a job that could not be brought to its end; every row without an outcome may be sent
// again.
func (w *Writer) Stream(ctx context.Context, l Load, next func() (Row, error), sink func(key string, o Outcome) error) (Transport, error) {
	s := &stream{w: w, load: l, next: next, sink: sink}
	t, err := s.choose(ctx)
	if err != nil {
		return None, err
	}
	w.loads.Add(ctx, 1, metric.WithAttributes(attribute.String("selfsame.object", l.Object.Name), attribute.String("selfsame.transport", t.String())))
	if t == Jobs {
		return t, s.jobs(ctx)
	}
	return t, s.collections(ctx)
}

// choose reads as far as it takes to know how the load goes.
func (s *stream) choose(ctx context.Context) (Transport, error) {
	o := s.w.o
	if o.Bulk == nil || !s.load.Object.Bulk {
		return Collections, nil
	}
	if o.Bulk.Kept(s.load.Name) {
		return Jobs, nil
	}
	if s.load.Backlog == 0 {
		if err := s.ahead(); err != nil {
			return None, err
		}
	}
	if s.load.Backlog >= int64(o.BulkFrom) && !s.swift(ctx) || len(s.read) >= o.BulkFrom {
		return Jobs, nil
	}
	return Collections, nil
}

const (
	// jobTrips is how many calls of a job follow each other: make, upload, close, ask, read the results.
	jobTrips = 5
	// rowCost is about how much longer a record takes as JSON of a collection than as a line of a job, here and in the org. It is an
	// estimate, and only chooses between two ways that are both correct.
	rowCost = 5 * time.Microsecond
)

// swift reports whether the announced records are written faster by collections than by a job, and may be. A job waits for so many
// trips, besides its turn in the org; collections go side by side, unless they would lock each other out. A load with a name is to be
// found after a crash, which takes a job.
func (s *stream) swift(ctx context.Context) bool {
	n := s.load.Backlog
	if s.load.Name != "" || n > int64(s.w.o.SwiftTo) || s.w.o.Trip == nil || s.w.o.Spare == nil {
		return false
	}
	calls := (n + rest.MaxWrite - 1) / rest.MaxWrite
	together := int64(s.together(ctx))
	turns := (calls + together - 1) / together
	saved := time.Duration(jobTrips-turns) * s.w.o.Trip()
	return saved > time.Duration(n)*rowCost && s.w.o.Spare(calls)
}

type stream struct {
	w    *Writer
	load Load
	next func() (Row, error)
	sink func(key string, o Outcome) error

	read  []Row // read ahead, not sent
	ended bool
}

// ahead reads until it is known how the load goes.
func (s *stream) ahead() error {
	for len(s.read) < s.w.o.BulkFrom {
		row, err := s.next()
		if errors.Is(err, io.EOF) {
			s.ended = true
			return nil
		}
		if err != nil {
			return err
		}
		s.read = append(s.read, row)
	}
	return nil
}

// take returns the next row, read ahead or not.
func (s *stream) take() (Row, error) {
	if len(s.read) > 0 {
		row := s.read[0]
		s.read = s.read[1:]
		return row, nil
	}
	if s.ended {
		return Row{}, io.EOF
	}
	return s.next()
}

// jobs sends the rows by the Bulk API.
func (s *stream) jobs(ctx context.Context) error {
	o := s.load.Object
	columns := append([]string{o.ExternalID()}, s.load.Columns...)
	spec := bulk.Spec{Load: s.load.Name, Object: o.SObject, ExternalID: o.ExternalID(), Columns: columns, Parent: o.ParentIn(columns)}
	var given, told int64
	values := make([]any, len(columns)) // a row is read before the next one is asked for
	next := func() (bulk.Row, error) {
		for {
			row, err := s.take()
			if err != nil {
				return bulk.Row{}, err
			}
			if row.Match != "" {
				refusal := &rest.Refusal{Kind: fault.Precondition, Reason: ReasonCondition, Text: "a large load cannot be conditional; write this record in a batch"}
				if err := s.sink(row.ExternalID, Outcome{Refused: refusal}); err != nil {
					return bulk.Row{}, err
				}
				continue
			}
			values[0] = row.ExternalID
			for i, c := range columns[1:] {
				v, ok := mapping.In(row.Fields, c)
				if !ok {
					v = bulk.Keep
				}
				values[i+1] = v
			}
			if s.load.Done != nil {
				s.load.Done(row)
			}
			given++
			return bulk.Row{Values: values}, nil
		}
	}
	sink := func(b bulk.Outcome) error {
		told++
		return s.sink(b.Key, fromBulk(b))
	}
	if _, err := s.w.o.Bulk.Upsert(ctx, spec, next, sink); err != nil {
		return fmt.Errorf("load %s: %w", o.Name, err)
	}
	// A load that was gone on with has compared the rows that came again, unless a version before that left it: then it has not read
	// them, and their number is all there is to compare.
	for {
		_, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if given != told {
		return fault.New(fault.Precondition, ReasonLoadDiffers, "the load of this name was of %d records, not of %d", told, given)
	}
	return nil
}

func fromBulk(b bulk.Outcome) Outcome {
	switch b.State {
	case bulk.Succeeded:
		return Outcome{ID: b.ID, Created: b.Created}
	case bulk.Uncertain:
		err := fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "it is not known whether Salesforce took the record")
		return Outcome{Failed: err.WithRetryAfter(b.Refusal.RetryAfter)}
	}
	refusal := b.Refusal
	if refusal.Retryable && refusal.Class == rest.Reject {
		refusal.Class = rest.Retry // said of the job, which has no error code of a record
	}
	return Outcome{Refused: &refusal}
}
