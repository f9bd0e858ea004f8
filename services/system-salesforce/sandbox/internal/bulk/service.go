// Package bulk is the asynchronous side of the local Salesforce: Bulk API 2.0
// ingest and query jobs, and Bulk API 1.0 jobs with their batches.
//
// The problem: a client hands over a large file, goes away, and learns later
// what became of each row. Some rows fail, some are found locked and are tried
// again, some are never reached; the results come in another order than the
// rows were sent in.
//
// Invariants: an uploaded file is in memory once and is read as a stream;
// every row of a finished job is in exactly one of the successful, failed and
// unprocessed results; 200 rows are one transaction; a job that ends as failed
// or aborted keeps what it had committed.
//
// The package speaks HTTP but does not authenticate, and counts no API calls.
// Result files are kept in memory for seven days.
package bulk

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/quota"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Options configures a service. All fields are needed.
type Options struct {
	Schema *schema.Schema
	Store  *store.Store
	// Batches, QueryJobs, Rows and FileBytes are the daily allocations.
	Batches   *quota.Meter
	QueryJobs *quota.Meter
	Rows      *quota.Meter
	FileBytes *quota.Meter
	// HardDelete allows jobs that delete records without the bin.
	HardDelete bool
	Seed       int64
	Now        func() time.Time
	Log        *slog.Logger
}

// Sizes and times that the vendor documents.
const (
	batchRows       = 10_000
	transactionRows = 200
	batchTime       = 5 * time.Minute
	batchTries      = 20
	keepJobs        = 7 * 24 * time.Hour
	maxUpload       = 150_000_000
	maxMultipart    = 100_000
)

// Sizes chosen here, where the vendor documents none.
const (
	// parallelBatches is how many batches of a job are processed at once.
	parallelBatches = 5
	// lockTries is how often a row is tried that was found locked.
	lockTries = 10
	// lockFailures is how many rows of a batch may stay locked before the job
	// is given up.
	lockFailures = 200
	// runningJobs is how many jobs are processed at once.
	runningJobs = 10
)

// Plan makes processing misbehave or stand still. The zero Plan does neither.
type Plan struct {
	// Hold stops jobs: "queued" before they are taken up, "processing" once
	// they have processed HoldAfter rows.
	Hold      string `json:"hold,omitempty"`
	HoldAfter int64  `json:"hold_after,omitempty"`
	// TransactionTime is how long triggers spend on each 200 rows, as a Go
	// duration. It passes for the batch only, not on any clock.
	TransactionTime string `json:"transaction_time,omitempty"`
	// Contention lets batches that are processed at the same time lock the
	// parents of their rows against each other.
	Contention bool `json:"contention,omitempty"`
}

// Service holds the jobs. It is safe for concurrent use.
type Service struct {
	opt Options

	mu      sync.Mutex
	last    int
	batch   int
	jobs    map[string]*job
	queue   []*job
	plan    Plan
	spent   time.Duration
	changed chan struct{} // closed and replaced when something may go on
}

// New makes a service without jobs.
func New(opt Options) *Service {
	return &Service{opt: opt, jobs: map[string]*job{}, changed: make(chan struct{})}
}

// SetPlan replaces the plan. It returns a text that says what is wrong with
// the plan, or an empty one.
func (s *Service) SetPlan(p Plan) string {
	var spent time.Duration
	if p.TransactionTime != "" {
		var err error
		if spent, err = time.ParseDuration(p.TransactionTime); err != nil || spent < 0 {
			return "transaction_time is not a duration such as 7s"
		}
	}
	if p.HoldAfter < 0 || p.Hold != "" && p.Hold != "queued" && p.Hold != "processing" {
		return `hold is "queued" or "processing", and hold_after is not negative`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.spent = p, spent
	s.signal()
	return ""
}

// Plan returns the current plan.
func (s *Service) Plan() Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan
}

// signal wakes everything that waits. The lock is held.
func (s *Service) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run processes jobs until the context ends. Jobs that are being processed
// then stay as they are.
func (s *Service) Run(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(runningJobs)
	for {
		j := s.await(ctx)
		if j == nil {
			return g.Wait()
		}
		g.Go(func() error {
			s.process(ctx, j)
			return nil
		})
	}
}

// await returns the next job to process, or nil when the context ends.
func (s *Service) await(ctx context.Context) *job {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 && s.plan.Hold != "queued" {
			j := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return j
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (s *Service) process(ctx context.Context, j *job) {
	s.mu.Lock()
	if j.kind != classic {
		if j.state != uploadComplete { // aborted or deleted in the queue
			s.mu.Unlock()
			return
		}
		j.enter(inProgress, s.opt.Now())
	}
	j.busy = true
	s.mu.Unlock()
	defer s.leave(j)
	switch j.kind {
	case ingestJob:
		s.ingest(ctx, j)
	case queryJob:
		s.query(ctx, j)
	case classic:
		s.classic(ctx, j)
	}
}

// leave notes that a job is no longer being processed.
func (s *Service) leave(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.busy = false
	for _, b := range j.batches {
		if b.state == queued && j.running() && !j.busy { // added a moment ago
			j.busy = true
			s.queue = append(s.queue, j)
		}
	}
	s.signal()
}

// enqueue makes a job ready for processing. The lock is held.
func (s *Service) enqueue(j *job) {
	s.queue = append(s.queue, j)
	s.signal()
}

// goOn waits while the plan holds processing, and reports whether the job is
// still to be processed.
func (s *Service) goOn(ctx context.Context, j *job) bool {
	for {
		s.mu.Lock()
		open := j.running()
		held := s.plan.Hold == "processing" && j.processed >= s.plan.HoldAfter
		changed := s.changed
		s.mu.Unlock()
		if !open || ctx.Err() != nil {
			return false
		}
		if !held {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// find returns a job that is still kept; nil if there is none.
func (s *Service) find(id string, kinds ...string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil || !slices.Contains(kinds, j.kind) || j.created.Before(s.opt.Now().Add(-keepJobs)) {
		return nil
	}
	return j
}

// forget drops the jobs that are too old. The lock is held.
func (s *Service) forget() {
	limit := s.opt.Now().Add(-keepJobs)
	for id, j := range s.jobs {
		if j.created.Before(limit) {
			delete(s.jobs, id)
			if !j.state.final() {
				j.enter(aborted, s.opt.Now())
			}
		}
	}
}
