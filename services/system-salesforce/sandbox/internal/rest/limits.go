package rest

import (
	"net/http"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/quota"
)

// allocation is one entry of the limits.
type allocation struct{ Max, Remaining int64 }

// eventAllocation is how many events a day delivers, unless configured
// otherwise, and how many an hour publishes.
const eventAllocation = 50_000

// limits tells what is left of every allocation.
func (c *call) limits() *answer { return reply(http.StatusOK, c.allocations()) }

// Limits is what /limits answers, for showing.
func (s *Server) Limits() any { return s.allocations() }

// allocations is what is left of each. Those that nothing here can use are
// always whole.
func (s *Server) allocations() map[string]allocation {
	used, limit := s.calls.usage()
	unit := func(m *quota.Meter, size int64) allocation {
		most, left := m.Usage()
		return allocation{most / size, left / size}
	}
	whole := func(n int64) allocation { return allocation{n, n} }
	q := s.opt.Quotas
	events := int64(eventAllocation)
	if s.opt.EventDeliveries > 0 {
		events = int64(s.opt.EventDeliveries)
	}
	batches := unit(q.BulkBatches, 1)
	return map[string]allocation{
		"DailyApiRequests":                            {int64(limit), int64(limit - used)},
		"DailyAsyncApexExecutions":                    whole(250_000),
		"DailyBulkApiBatches":                         batches,
		"DailyBulkApiRequests":                        batches,
		"DailyBulkV2QueryFileStorageMB":               unit(q.BulkQueryBytes, quota.MB),
		"DailyBulkV2QueryJobs":                        unit(q.BulkQueryJobs, 1),
		"DailyDeliveredPlatformEvents":                {events, max(0, events-int64(s.opt.Bus.Delivered()))},
		"DailyStandardVolumePlatformEvents":           whole(10_000),
		"HourlyPublishedPlatformEvents":               {eventAllocation, max(0, eventAllocation-int64(s.opt.Bus.PublishedPlatform()))},
		"HourlyPublishedStandardVolumePlatformEvents": whole(1_000),
		"DataStorageMB":                               whole(10_240),
		"FileStorageMB":                               whole(10_240),
		"SingleEmail":                                 whole(5_000),
		"MassEmail":                                   whole(5_000),
		"ConcurrentAsyncGetReportInstances":           whole(200),
		"HourlyODataCallout":                          whole(20_000),
	}
}

// running are the requests in progress. Too many long ones keep new ones out.
type running struct {
	most int
	long time.Duration
	now  func() time.Time

	mu     sync.Mutex
	last   int
	starts map[int]time.Time
}

func newRunning(most int, long time.Duration, now func() time.Time) *running {
	return &running{most: most, long: long, now: now, starts: map[int]time.Time{}}
}

// enter notes a new request and returns what ends it, or nil if too many long
// requests are in progress.
func (x *running) enter() func() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now, n := x.now(), 0
	for _, since := range x.starts {
		if now.Sub(since) >= x.long {
			n++
		}
	}
	if n >= x.most {
		return nil
	}
	x.last++
	id := x.last
	x.starts[id] = now
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.starts, id)
	}
}

func tooManyLong() *answer {
	return fail(http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.")
}
