package identify

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// DriftEvery is how often a service measures whether its model still fits.
const DriftEvery = time.Hour

// DriftWatch measures the drift of a model again and again, outside of whoever reads metrics. It is safe for concurrent
// use.
type DriftWatch struct {
	decider *Decider
	read    func() store.Reader
	log     *slog.Logger
	last    atomic.Pointer[Drift]
}

// NewDriftWatch returns a watch that has measured nothing yet.
func NewDriftWatch(d *Decider, read func() store.Reader, log *slog.Logger) *DriftWatch {
	return &DriftWatch{decider: d, read: read, log: log}
}

// Last returns what was measured last; the zero value before the first time.
func (w *DriftWatch) Last() Drift {
	if d := w.last.Load(); d != nil {
		return *d
	}
	return Drift{}
}

// Run measures every so often until ctx ends, first when the time has passed once: reading customers has no place in a
// start. A database that does not answer is only noted, and the drift measured before stays.
func (w *DriftWatch) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		d, err := w.decider.Drift(ctx, w.read(), DriftSample)
		if err != nil {
			if ctx.Err() == nil {
				w.log.WarnContext(ctx, "drift of matching not measured", slog.String(telemetry.KeyError, err.Error()))
			}
			continue
		}
		w.last.Store(&d)
	}
}
