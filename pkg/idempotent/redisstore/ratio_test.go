package redisstore_test

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// ratio runs rounds of base and subject in turns, so that whatever else the machine does meets both, and reports the
// median time of each and their ratio.
func ratio(b *testing.B, callers int, base, subject func() error) {
	b.Helper()
	const round = 200
	measure := func(fn func() error) time.Duration {
		var wg sync.WaitGroup
		begun := time.Now()
		for range callers {
			wg.Go(func() {
				for range round / min(callers, 10) {
					if err := fn(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(begun) / time.Duration(callers*(round/min(callers, 10)))
	}
	measure(base)
	measure(subject)
	var bases, subjects []time.Duration
	for b.Loop() {
		bases = append(bases, measure(base))
		subjects = append(subjects, measure(subject))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds())
	}
	b.ReportMetric(median(bases), "base-ns/op")
	b.ReportMetric(median(subjects), "subject-ns/op")
	b.ReportMetric(median(subjects)/median(bases), "ratio")
}
