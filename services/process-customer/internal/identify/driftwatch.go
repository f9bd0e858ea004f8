package identify

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
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
	last    map[golden.Object]*atomic.Pointer[Drift] // filled once
}

// NewDriftWatch returns a watch that has measured nothing yet.
func NewDriftWatch(d *Decider, read func() store.Reader, log *slog.Logger) *DriftWatch {
	w := &DriftWatch{decider: d, read: read, log: log, last: map[golden.Object]*atomic.Pointer[Drift]{}}
	for _, obj := range d.Kinds() {
		w.last[obj] = &atomic.Pointer[Drift]{}
	}
	return w
}

// Last returns what was measured last of a kind; the zero value before the first time, and of a kind that is not matched.
func (w *DriftWatch) Last(obj golden.Object) Drift {
	if last := w.last[obj]; last != nil {
		if d := last.Load(); d != nil {
			return *d
		}
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
		for _, j := range w.decider.judges() {
			d, err := j.Drift(ctx, w.read(), DriftSample)
			if err != nil {
				if ctx.Err() == nil {
					w.log.WarnContext(ctx, "drift of matching not measured", slog.String("object", string(j.object)), slog.String(telemetry.KeyError, err.Error()))
				}
				continue
			}
			w.last[j.object].Store(&d)
		}
	}
}
