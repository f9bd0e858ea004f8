package bulk

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// batch is a part of the rows, processed by steps of one transaction.
type batch struct {
	writer
	origin, user string
	wishes       store.Wishes
	hidden       func(id string) bool
	fields       schema.Rights
	mute         func(o *schema.Object) bool
	// span is where the rows lie; next is where those begin that were not
	// read yet.
	span span
	next int64
	// read returns up to n more records, always as many; none at the end. close
	// ends the reading.
	read  func(n int) []record
	close func()

	// work is what the next step processes: new rows, or rows that were found
	// locked and are tried again.
	work    []record
	tries   int
	started time.Time
	spent   time.Duration
	late    int
	locked  int
	done    []outcome
	begun   bool
	ended   bool
}

// trouble ends a job: the name and the text of its error.
type trouble string

// ingest processes a Bulk API 2.0 job.
func (s *Service) ingest(ctx context.Context, j *job) {
	batches, problem := s.divide(j)
	if problem == "" {
		problem = s.run(ctx, j, batches, parallelBatches)
	}
	for _, b := range batches {
		b.close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range batches {
		j.settle(b)
	}
	if problem != "" && batches == nil {
		j.rest = append(j.rest, span{j.body, j.data.size})
	}
	if ctx.Err() != nil || !j.running() {
		return
	}
	now := s.opt.Now()
	j.message = string(problem)
	if problem != "" {
		j.enter(failed, now)
		return
	}
	j.enter(jobComplete, now)
}

// settle keeps the results of a batch.
func (j *job) settle(b *batch) {
	j.results = append(j.results, b.done)
	for _, r := range b.work {
		j.rest = append(j.rest, span{int64(r.start), int64(r.start) + int64(r.size)})
	}
	if b.next < b.span.to {
		j.rest = append(j.rest, span{b.next, b.span.to})
	}
}

// divide reads the whole file once: it checks the header and every line ending
// and finds where each batch begins.
func (s *Service) divide(j *job) ([]*batch, trouble) {
	in := newCSV(j.data.section(0, j.data.size), 0, j.delim(), j.ending)
	head, err := in.read()
	if err != nil {
		return nil, j.unreadable(err)
	}
	names := make([]string, len(head.values))
	for i, v := range head.values {
		names[i] = string(v)
	}
	columns, message := headings(s.opt.Schema, j.object, j.operation, names, j.fields)
	if head.bad != "" {
		message = "InvalidBatch : Failed to parse CSV header: " + head.bad
	}
	s.mu.Lock()
	j.header, j.body = span{head.start, head.end}, in.offset()
	s.mu.Unlock()
	w := writer{s.opt.Schema, j.object, j.operation, j.external, columns}
	var out []*batch
	rows := 0
	for ; ; rows++ {
		r, err := in.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, j.unreadable(err)
		}
		if rows%batchRows == 0 {
			out = append(out, &batch{writer: w, origin: j.origin(), user: j.user, wishes: j.wishes(), hidden: j.hidden, fields: j.fields, mute: j.mute, span: span{from: r.start}, next: r.start})
		}
		out[len(out)-1].span.to = r.end
	}
	if message != "" {
		return nil, trouble(message)
	}
	for _, b := range out {
		b.stream(j.data, j.delim(), j.ending, true)
	}
	return out, ""
}

func (j *job) unreadable(err error) trouble {
	switch {
	case errors.Is(err, io.EOF):
		return "InvalidBatch : The file has no header"
	case errors.Is(err, errLineEnding):
		return trouble("InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is " + j.ending)
	}
	return trouble("InvalidBatch : Failed to parse CSV: " + err.Error())
}

// run processes batches, width at a time: each gets one transaction in turn,
// so that rows of different batches mix as if they ran side by side.
func (s *Service) run(ctx context.Context, j *job, batches []*batch, width int) trouble {
	var active []*batch
	for turn := 0; ; turn++ {
		for len(active) < width && len(batches) > 0 {
			if !s.opt.Batches.Take(1) {
				return "ExceededQuota : The daily allocation of batches is used up"
			}
			active, batches = append(active, batches[0]), batches[1:]
		}
		if len(active) == 0 {
			return ""
		}
		locks := map[string]*batch{}
		for i := range active {
			b := active[(turn+i)%len(active)]
			if !s.goOn(ctx, j) {
				return ""
			}
			if problem := s.step(j, b, locks); problem != "" {
				return problem
			}
		}
		active = slices.DeleteFunc(active, func(b *batch) bool { return b.ended })
	}
}

// step processes one transaction of a batch.
func (s *Service) step(j *job, b *batch, locks map[string]*batch) trouble {
	now := s.opt.Now()
	if !b.begun {
		b.begun, b.started = true, now
	}
	if len(b.work) == 0 {
		b.work, b.tries = b.read(transactionRows), 0
		if len(b.work) == 0 {
			b.ended = true
			return ""
		}
		if !s.opt.Rows.Take(int64(len(b.work))) {
			return "ExceededQuota : The daily allocation of rows is used up"
		}
	}
	s.mu.Lock()
	spent, contention := s.spent, s.plan.Contention
	s.mu.Unlock()
	if now.Sub(b.started)+b.spent+spent > batchTime {
		return s.overdue(j, b, now)
	}
	b.spent += spent
	b.tries++
	if !contention {
		locks = nil
	}
	first := len(b.done)
	again := s.transact(b, locks)
	s.reorder(j, b.done[first:])
	return s.book(j, b, first, again, now, spent)
}

// overdue ends one try of a batch that takes too long. What it committed
// stays.
func (s *Service) overdue(j *job, b *batch, now time.Time) trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.late++
	b.started, b.spent = now, 0
	if b.late > batchTries {
		return "Timeout : A batch was not processed within five minutes, twenty times"
	}
	j.retries++
	return ""
}

// book counts what a transaction did and keeps what is to be tried again.
func (s *Service) book(j *job, b *batch, first int, again []record, began time.Time, spent time.Duration) trouble {
	b.work = again
	if len(again) > 0 && b.tries == lockTries {
		for i := range again {
			b.done = append(b.done, outcome{id: again[i].id, fail: lockedRow(), start: again[i].start, size: again[i].size})
		}
		b.work = nil
		b.locked += len(again)
	}
	now := s.opt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range b.done[first:] {
		j.processed++
		if o.fail != nil {
			j.failed++
		}
	}
	if len(b.work) > 0 {
		j.retries++
	}
	j.active += now.Sub(began)
	j.apex += spent
	j.stamp = now
	if b.locked >= lockFailures {
		return "TooManyLockFailure : Too many lock failures while processing the current batch"
	}
	return ""
}

const codeLocked = "UNABLE_TO_LOCK_ROW"

// lockedRow is the refusal of a row that another batch holds.
func lockedRow() *store.Error {
	return &store.Error{Code: codeLocked, Message: "unable to obtain exclusive access to this record or 1 records"}
}

// transact writes the work of a batch and returns what was found locked.
func (s *Service) transact(b *batch, locks map[string]*batch) (again []record) {
	twice, first := b.twice(), len(b.done)
	_ = s.opt.Store.Write(store.Meta{User: b.user, Origin: b.origin, Wishes: b.wishes, Hidden: b.hidden, Fields: b.fields, Mute: b.mute}, func(tx *store.Tx) error { // failures are in the results
		for i := range b.work {
			r := &b.work[i]
			id, created, err := b.one(tx, r, twice, locks)
			if err != nil && err.Code == codeLocked {
				again = append(again, *r)
				continue
			}
			b.done = append(b.done, outcome{id, err, r.start, r.size, created && err == nil})
		}
		return nil
	})
	if b.operation == "hardDelete" {
		s.purge(b.done[first:])
	}
	return again
}

// purge takes the records that were deleted out of the bin. One that is gone
// already was deleted with another.
func (s *Service) purge(done []outcome) {
	var ids []string
	for _, o := range done {
		if o.fail == nil {
			ids = append(ids, o.id)
		}
	}
	_ = s.opt.Store.Purge(ids)
}

func (b *batch) one(tx *store.Tx, r *record, twice map[string]int, locks map[string]*batch) (string, bool, *store.Error) {
	if r.bad != nil {
		return r.id, false, r.bad
	}
	if k := b.fold(r.key); k != "" && twice[k] > 1 {
		return "", false, &store.Error{Code: "DUPLICATE_VALUE", Message: "Duplicate external id specified: " + r.key, Fields: []string{b.external.Name}}
	}
	if err := b.resolve(tx, r); err != nil {
		return r.id, false, err
	}
	if locks == nil {
		return b.apply(tx, r)
	}
	wanted := b.locks(r)
	for _, k := range wanted {
		if holder := locks[k]; holder != nil && holder != b {
			return r.id, false, lockedRow()
		}
	}
	id, created, err := b.apply(tx, r)
	if err == nil {
		for _, k := range wanted {
			locks[k] = b
		}
	}
	return id, created, err
}

// twice counts the external ids of the work.
func (b *batch) twice() map[string]int {
	if b.operation != "upsert" || b.external.Sys == schema.SysID {
		return nil
	}
	out := make(map[string]int, len(b.work))
	for i := range b.work {
		if r := &b.work[i]; r.bad == nil {
			out[b.fold(r.key)]++
		}
	}
	return out
}

// fold is what two external ids have in common that are the same.
func (b *batch) fold(key string) string {
	if b.external == nil || b.external.CaseSensitive {
		return key
	}
	return strings.ToLower(key)
}

// locks are the records that writing a row locks: itself and its parents.
func (b *batch) locks(r *record) []string {
	var out []string
	if id, ok := sfid.Normal(r.id); ok {
		out = append(out, id)
	}
	if r.key != "" {
		out = append(out, "key:"+b.fold(r.key))
	}
	for name, v := range r.in {
		f := b.object.Field(name)
		if id, _ := v.(string); f != nil && f.Type == schema.Reference && !f.Owner && id != "" {
			if full, ok := sfid.Normal(id); ok {
				out = append(out, full)
			}
		}
	}
	return out
}

// reorder changes the order of results, which is never that of the rows. The
// same job of the same run always gets the same order.
func (s *Service) reorder(j *job, list []outcome) {
	if j.kind == classic || len(list) < 2 {
		return
	}
	n, _ := sfid.Number(j.id)
	first := list[0]
	rng := rand.New(rand.NewPCG(uint64(s.opt.Seed), uint64(n)<<32+uint64(first.start)))
	rng.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
	if list[0].start == first.start {
		last := len(list) - 1
		list[0], list[last] = list[last], list[0]
	}
}
