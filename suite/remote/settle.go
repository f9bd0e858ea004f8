package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite/verify"
)

// poll is how often the state is asked for while waiting.
const poll = 100 * time.Millisecond

// quiet is how long nothing may come in before a state with dead letters counts as settled: those records will not agree
// by themselves, so agreement cannot be waited for.
const quiet = time.Second

// Progress is how far a sync is.
type Progress struct {
	Scanned    int64
	Customers  int64
	Contacts   int64
	Pending    int64
	Dead       int64
	Live       bool
	Unanswered bool // the process service did not answer
}

// progress condenses a status.
func progress(s *customerv1.GetStatusResponse) Progress {
	p := Progress{Customers: s.GetCustomers(), Contacts: s.GetContacts(), Live: len(s.GetFeeds()) > 0}
	for _, f := range s.GetFeeds() {
		p.Scanned += f.GetScannedRecords()
		p.Live = p.Live && f.GetScanned() && f.GetState() == "LIVE"
	}
	for _, t := range s.GetTargets() {
		p.Pending += t.GetPending()
		p.Dead += t.GetDeadLetters()
	}
	return p
}

// Progress asks how far the sync is.
func (d *Demo) Progress(ctx context.Context) (Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := d.Operations.GetStatus(ctx, &customerv1.GetStatusRequest{})
	if err != nil {
		return Progress{Unanswered: true}, fmt.Errorf("ask for the status: %w", err)
	}
	return progress(s), nil
}

// Unsettled is the error of Settle when the deadline passes: it says what is still open.
type Unsettled struct {
	Progress Progress
	// Report is the last comparison of the systems; nil when it never came to one.
	Report *verify.Report
	// Cause is why the last look failed, if it did.
	Cause error
}

// Error implements error.
func (u *Unsettled) Error() string {
	switch {
	case u.Cause != nil:
		return fmt.Sprintf("not settled in time: %v", u.Cause)
	case u.Report != nil:
		return fmt.Sprintf("not settled in time: nothing is pending, yet the systems differ in %d ways", len(u.Report.Differences))
	default:
		return fmt.Sprintf("not settled in time: %d records pending, feeds live: %v", u.Progress.Pending, u.Progress.Live)
	}
}

// Unwrap returns the cause.
func (u *Unsettled) Unwrap() error { return u.Cause }

// Settle waits until everything that happened in either system has reached the other: all feeds are live, nothing is
// pending or retrying, and the systems themselves agree. While dead letters are open, which hold records back on purpose,
// it waits instead until nothing has come in for a second. It waits until ctx is done; the error is then an *Unsettled.
// each, if not nil, is told the progress at every look.
func (d *Demo) Settle(ctx context.Context, each func(Progress)) (*verify.Report, error) {
	var last Unsettled
	var received int64 = -1
	var since time.Time
	for {
		p, err := d.Progress(ctx)
		if err == nil {
			last.Progress, last.Cause = p, nil
		} else if ctx.Err() == nil {
			last.Cause = err
		}
		if each != nil {
			each(p)
		}
		if err == nil && p.Live && p.Pending == 0 {
			n, idle, ledgerErr := d.taken(ctx)
			if n != received {
				received, since = n, time.Now()
			}
			if ledgerErr == nil && idle {
				report, err := d.Verify(ctx, false)
				if err == nil {
					last.Report = report
					if report.Agree() || (p.Dead > 0 && time.Since(since) >= quiet) {
						return report, nil
					}
				} else if ctx.Err() == nil {
					last.Cause = err
				}
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return last.Report, ctx.Err()
			}
			return last.Report, &last
		case <-time.After(poll):
		}
	}
}

// taken returns how many changes came in so far, repeated ones included, and whether none of them is retrying.
func (d *Demo) taken(ctx context.Context) (n int64, idle bool, err error) {
	l, err := d.Operations.GetLedger(ctx, &customerv1.GetLedgerRequest{})
	if err != nil {
		return 0, false, fmt.Errorf("ask for the ledger: %w", err)
	}
	idle = true
	for _, line := range l.GetLines() {
		n += line.GetReceived() + line.GetDuplicates()
		idle = idle && line.GetRetrying() == 0
	}
	return n, idle, nil
}
