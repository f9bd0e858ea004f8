package bulk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// The result files of a job, by their names on the wire.
const (
	successfulResults = "successfulResults"
	failedResults     = "failedResults"
	unprocessedRows   = "unprocessedrecords"
)

// settlement is the work of turning the results of one job into outcomes.
type settlement struct {
	l     *load
	p     *part
	job   jobInfo
	t     *tally
	told  *told
	rest  verdict // on the rows that the job did not reach
	last  bool    // nothing is sent again
	count Ledger
}

// collect waits for the job to end and settles its rows.
func (l *load) collect(ctx context.Context, p *part) error {
	count := l.counting(ctx, p)
	j, err := l.client.await(ctx, p.Job, int64(p.Rows), l.stop)
	t := count()
	if fault.Is(err, fault.NotFound) {
		// Its rows may be written or not. They have external ids, so they may be sent again.
		if p.Tries >= maxTries {
			return l.unsent(ctx, p, Uncertain, rest.Refusal{Kind: fault.Uncertain, Reason: ReasonJobLost, Text: "the job was lost several times", Retryable: true})
		}
		return l.back(ctx, p, "the job is gone")
	}
	if err != nil {
		return err
	}
	l.client.meter.ended(ctx, l.spec.Object, j.State)
	l.settling.Lock()
	defer l.settling.Unlock()
	if t == nil {
		if t, err = l.count(ctx, p); err != nil {
			return err
		}
	}
	p.tally = t
	s := &settlement{l: l, p: p, job: j, t: t, last: p.Round >= l.client.o.Rounds || l.stopped.Load(), count: Ledger{Jobs: p.Count.Jobs}}
	s.rest = verdict{again: true, refusal: rest.Refusal{Kind: fault.Unavailable, Reason: ReasonNotProcessed, Text: "the job did not reach the row", Retryable: true}}
	switch j.State {
	case stateAborted:
		s.rest, s.last = verdict{refusal: jobAborted()}, true
		if l.early != nil {
			s.rest.refusal = *l.early
		}
	case stateFailed:
		s.rest = judge(j.Message)
		l.client.o.Log.LogAttrs(ctx, slog.LevelWarn, "bulk job failed", slog.String("job", j.ID), slog.String("reason", s.rest.refusal.Reason), slog.Int64("processed", j.Processed))
	}
	if s.told, err = l.tell(p.told()); err != nil {
		return err
	}
	defer s.told.drop()
	if err := s.read(ctx); err != nil {
		return err
	}
	next, err := s.sift(ctx)
	if err := errors.Join(err, s.told.keep()); err != nil {
		return err
	}
	p.tally = nil
	return l.update(func() { p.Step, p.Count, p.Again = settled, s.count, next })
}

// read takes the result files, again if they name fewer rows than the job says it processed.
func (s *settlement) read(ctx context.Context) error {
	for try := 0; try < 3 && !s.t.complete(s.job); try++ {
		if s.t.succeeded < s.job.Processed-s.job.Failed {
			if err := s.fetch(ctx, successfulResults, s.success); err != nil {
				return err
			}
		}
		if s.t.failed < s.job.Failed {
			if err := s.fetch(ctx, failedResults, s.failure); err != nil {
				return err
			}
		}
	}
	if s.job.Processed == 0 {
		for row := range s.t.marks {
			s.t.marks[row] = unprocessed
		}
	}
	if s.job.Processed < int64(s.p.Rows) && s.t.has(unseen) {
		if err := s.fetch(ctx, unprocessedRows, s.left); err != nil {
			return err
		}
	}
	if s.t.foreign > 0 || !s.t.complete(s.job) {
		s.l.client.o.Log.LogAttrs(ctx, slog.LevelWarn, "results of a bulk job do not add up", slog.String("job", s.job.ID),
			slog.Int64("processed", s.job.Processed), slog.Int64("named", s.t.succeeded+s.t.failed), slog.Int64("foreign", s.t.foreign))
	}
	return nil
}

// result is one row of a result file.
type result struct {
	id, text string
	key      []byte
}

// fetch reads one result file to its end. A file that breaks off is read once more; rows that were seen are not seen again. A
// file that does not exist any more, or cannot be understood, leaves rows without a mark.
func (s *settlement) fetch(ctx context.Context, which string, take func(result) error) error {
	err := s.l.client.persist(ctx, func() error {
		resp, err := s.l.client.o.API.Exchange(ctx, rest.Exchange{Method: http.MethodGet, Path: resultPath(s.job.ID, which), Accept: "text/csv"})
		if err != nil {
			return err //nolint:wrapcheck // a fault already
		}
		defer resp.Body.Close()
		return s.parse(ctx, newReader(resp.Body, s.l.spec.Delimiter.sign()), take)
	})
	if _, ok := errors.AsType[sinkError](err); ok || err == nil || passing(ctx, err) && !errors.Is(err, errCSV) {
		return err
	}
	s.l.client.o.Log.LogAttrs(ctx, slog.LevelWarn, "result file of a bulk job cannot be read", slog.String("job", s.job.ID), slog.String("file", which), slog.String("error", err.Error()))
	return nil
}

func (s *settlement) parse(ctx context.Context, r *reader, take func(result) error) error {
	id, text, key := -1, -1, -1
	for first := true; ; first = false {
		err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errCSV):
			return err
		case err != nil:
			return broken(ctx, err, false)
		case first:
			for i, name := range r.values {
				switch column := string(name); {
				case column == "sf__Id":
					id = i
				case column == "sf__Created", column == "sf__Error":
					text = i
				case strings.EqualFold(column, s.l.spec.ExternalID):
					key = i
				}
			}
			if key < 0 {
				return errCSV
			}
			continue
		}
		if key >= len(r.values) {
			continue // a row that Salesforce could not read comes back as it was sent; it stays without a mark
		}
		if err := take(result{at(r.values, id), at(r.values, text), r.values[key]}); err != nil {
			return err
		}
	}
}

func at(values [][]byte, i int) string {
	if i < 0 || i >= len(values) {
		return ""
	}
	return string(values[i])
}

func (s *settlement) outcome(r result, state State) Outcome {
	return Outcome{Key: string(r.key), Index: unknownIndex, State: state, ID: r.id, Round: s.p.Round}
}

func (s *settlement) report(o Outcome) error {
	s.count.count(o)
	return s.l.emit(s.told, o)
}

func (s *settlement) success(r result) error {
	if !s.t.see(r.key, done) {
		return nil
	}
	s.t.succeeded++
	o := s.outcome(r, Succeeded)
	o.Created = r.text == "true"
	return s.report(o)
}

func (s *settlement) failure(r result) error {
	why := rowError(r.text)
	m := done
	switch {
	case s.last:
	case why.Reason == rest.ReasonLocked:
		m = alone
	case why.Retryable, why.Reason == rest.ReasonDuplicateValue && s.p.Round == 1:
		// Two writers that insert the same external id at the same time: the one that lost finds the record when it comes again.
		m = again
	}
	if !s.t.see(r.key, m) {
		return nil
	}
	s.t.failed++
	if m != done {
		s.count.resend(why.Reason)
		return nil
	}
	o := s.outcome(r, Failed)
	o.Refusal = why
	return s.report(o)
}

func (s *settlement) left(r result) error {
	s.t.see(r.key, unprocessed)
	return nil
}

// sift goes through the rows that have no outcome yet: each gets one, or goes into a part of the next round.
func (s *settlement) sift(ctx context.Context) ([]*part, error) {
	if !s.t.has(unseen, again, alone, unprocessed) {
		return nil, nil
	}
	cut := s.l.cutter(s.l.head(s.l.j.Columns))
	side, err := createLines(s.l.dir, "again-"+s.p.Job+".csv", cut)
	if err != nil {
		return nil, err
	}
	defer side.abandon()
	cut.rows = min(cut.rows, serialRows)
	serial, err := createLines(s.l.dir, "alone-"+s.p.Job+".csv", cut)
	if err != nil {
		return nil, err
	}
	defer serial.abandon()
	var buf []byte
	err = s.l.lines(ctx, s.p, func(row int, r *reader) error {
		buf = append(append(buf[:0], r.raw...), s.l.spec.LineEnding.text()...)
		switch s.t.marks[row] {
		case again:
			return side.add(buf, nil)
		case alone:
			return serial.add(buf, nil)
		case unprocessed:
			return s.unreached(r, buf, side, serial)
		case unseen:
			return s.missing(r, buf, side)
		case done:
		}
		return nil
	})
	if err := errors.Join(err, side.finish(s.l.named()), serial.finish(s.l.named())); err != nil {
		return nil, err
	}
	for _, p := range serial.parts {
		p.Serial = true
	}
	next := slices.Concat(side.parts, serial.parts)
	for _, p := range next {
		p.Round = s.p.Round + 1
	}
	return next, nil
}

// unreached is a row that the job certainly did not process.
func (s *settlement) unreached(r *reader, line []byte, side, serial *lines) error {
	if s.last || !s.rest.again {
		o := s.outcome(result{key: r.values[0]}, NotProcessed)
		o.Refusal = s.rest.refusal
		return s.report(o)
	}
	s.count.resend(s.rest.refusal.Reason)
	if s.rest.serial {
		return serial.add(line, nil)
	}
	return side.add(line, nil)
}

// missing is a row that is in no result file.
func (s *settlement) missing(r *reader, line []byte, side *lines) error {
	if s.last {
		o := s.outcome(result{key: r.values[0]}, Uncertain)
		o.Refusal = rest.Refusal{Kind: fault.Uncertain, Reason: ReasonOutcomeMissing, Text: "the results of the job do not name the row", Retryable: true}
		return s.report(o)
	}
	s.count.resend(ReasonOutcomeMissing)
	return side.add(line, nil)
}
