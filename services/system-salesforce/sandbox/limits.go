package sandbox

import (
	"errors"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/quota"
)

// Limits are allocations of the organization besides the daily API calls. Zero
// fields are as the vendor documents them.
type Limits struct {
	// BulkBatches, BulkRows, BulkQueryJobs and BulkQueryMB are what a rolling
	// day allows: 15,000 batches of both bulk APIs, 150 million rows, 10,000
	// query jobs and 976,562 MB of their results.
	BulkBatches   int64
	BulkRows      int64
	BulkQueryJobs int64
	BulkQueryMB   int64
	// LongRequests is how many requests may run for LongRequest or longer at
	// the same time: 25, and 20 seconds.
	LongRequests int
	LongRequest  time.Duration
	// ReplicationIDs is how many ids one answer of /updated or /deleted may
	// hold: 600,000.
	ReplicationIDs int
	// HardDelete allows bulk jobs to delete records without the bin, as a
	// permission that nobody has by default does.
	HardDelete bool
}

func (l Limits) withDefaults() Limits {
	if l.ReplicationIDs == 0 {
		l.ReplicationIDs = 600_000
	}
	if l.LongRequests == 0 {
		l.LongRequests = 25
	}
	if l.LongRequest == 0 {
		l.LongRequest = 20 * time.Second
	}
	return l
}

func (l Limits) check() error {
	if l.BulkBatches < 0 || l.BulkRows < 0 || l.BulkQueryJobs < 0 || l.BulkQueryMB < 0 || l.LongRequests < 0 || l.ReplicationIDs < 0 || l.LongRequest < 0 {
		return errors.New("limits cannot be negative")
	}
	return nil
}

func (l Limits) quotas(now func() time.Time) *quota.Set {
	return quota.NewSet(quota.Limits{BulkBatches: l.BulkBatches, BulkRows: l.BulkRows, BulkQueryJobs: l.BulkQueryJobs, BulkQueryMB: l.BulkQueryMB}, now)
}
