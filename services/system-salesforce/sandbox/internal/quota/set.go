package quota

import "time"

// Set are the allocations of one organization.
type Set struct {
	// Per 24 hours: batches of both bulk APIs, rows, query jobs, and bytes of
	// query results.
	BulkBatches, BulkRows, BulkQueryJobs, BulkQueryBytes *Meter
}

// Limits are the sizes of the allocations; those that are zero are as the
// vendor documents them.
type Limits struct {
	BulkBatches, BulkRows, BulkQueryJobs, BulkQueryMB int64
}

// MB is how many bytes a megabyte of storage has.
const MB = 1 << 20

const day = 24 * time.Hour

// NewSet makes unused allocations.
func NewSet(l Limits, now func() time.Time) *Set {
	or := func(n, otherwise int64) int64 {
		if n == 0 {
			return otherwise
		}
		return n
	}
	return &Set{
		BulkBatches:    New(or(l.BulkBatches, 15_000), day, now),
		BulkRows:       New(or(l.BulkRows, 150_000_000), day, now),
		BulkQueryJobs:  New(or(l.BulkQueryJobs, 10_000), day, now),
		BulkQueryBytes: New(or(l.BulkQueryMB, 976_562)*MB, day, now),
	}
}
