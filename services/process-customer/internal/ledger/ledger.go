// Package ledger watches the conservation of changes and deliveries: everything that came in, and everything that was to
// be written, is in exactly one state at any time.
//
// The invariant is kept by package store, which counts arrivals apart from where they are now, in the transactions that
// move them; this package only compares the two, again and again, and says so loudly when they differ. An imbalance is a
// defect or a database that somebody has edited; nothing here repairs it.
package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Book is the ledger at one moment.
type Book struct {
	In  []store.Line
	Out []store.Outflow
}

// Balanced reports whether every line balances.
func (b Book) Balanced() bool { return len(b.Off()) == 0 }

// Off returns by how much the lines do not balance, by "in/system" and "out/system": positive when something that
// arrived is in no state, negative when something is in a state that never arrived.
func (b Book) Off() map[string]int64 {
	off := map[string]int64{}
	for _, l := range b.In {
		if !l.Balanced() {
			off["in/"+l.System] = l.Received - (l.Applied + l.Superseded + l.Unchanged + l.Retrying + l.Parked + l.Refused)
		}
	}
	for _, o := range b.Out {
		if !o.Balanced() {
			off["out/"+o.System] = o.Marked - (o.Delivered + o.Unneeded + o.Parked + o.Pending + o.Shadowed)
		}
	}
	return off
}

// Read returns the ledger. Each half is one statement and sees one moment.
func Read(ctx context.Context, r store.Reader) (Book, error) {
	in, err := r.Ledger(ctx)
	if err != nil {
		return Book{}, err
	}
	out, err := r.Outflows(ctx)
	return Book{In: in, Out: out}, err
}

// Watch compares the two sides again and again. It is safe for concurrent use.
type Watch struct {
	read func() store.Reader
	log  *slog.Logger

	mu   sync.Mutex
	book Book
	at   time.Time
}

// NewWatch returns a watch and publishes what it sees: selfsame.ledger.imbalance, zero when all is well.
func NewWatch(read func() store.Reader, tel *telemetry.Telemetry) (*Watch, error) {
	w := &Watch{read: read, log: tel.Log}
	gauge, err := tel.Meter.Meter("ledger").Int64ObservableGauge("selfsame.ledger.imbalance", metric.WithUnit("{record}"),
		metric.WithDescription("Changes or deliveries that are in no state, or in one without having arrived; anything but 0 is a defect."))
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	_, err = tel.Meter.Meter("ledger").RegisterCallback(func(_ context.Context, o metric.Observer) error {
		book, at := w.Last()
		if at.IsZero() {
			return nil
		}
		off := book.Off()
		observe := func(side, system string) {
			o.ObserveInt64(gauge, off[side+"/"+system], metric.WithAttributes(attribute.String("selfsame.direction", side),
				attribute.String("selfsame.system", system)))
		}
		for _, l := range book.In {
			observe("in", l.System)
		}
		for _, l := range book.Out {
			observe("out", l.System)
		}
		return nil
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return w, nil
}

// Last returns the newest ledger and when it was read; the zero time before the first look.
func (w *Watch) Last() (Book, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.book, w.at
}

// Look reads the ledger once.
func (w *Watch) Look(ctx context.Context, now time.Time) error {
	book, err := Read(ctx, w.read())
	if err != nil {
		return err
	}
	for line, n := range book.Off() {
		w.log.ErrorContext(ctx, "ledger does not balance", slog.String("line", line), slog.Int64(telemetry.KeyCount, n))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.book, w.at = book, now
	return nil
}

// Run looks every so often until ctx ends. A database that does not answer is only noted.
func (w *Watch) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := w.Look(ctx, time.Now()); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "ledger not read", slog.String(telemetry.KeyError, err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
