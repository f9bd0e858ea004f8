package processcustomer

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// observeRules shows the state of the survivorship rules as metrics. Mistakes are those of this process's file.
func observeRules(tel *telemetry.Telemetry, records *store.Store, book *rulebook.Book) error {
	meter := tel.Meter.Meter("github.com/selfsame-io/selfsame/services/process-customer")
	version, err1 := meter.Int64ObservableGauge("selfsame.rules.version",
		metric.WithDescription("Version of the survivorship rules in force."))
	invalid, err2 := meter.Int64ObservableGauge("selfsame.rules.invalid",
		metric.WithDescription("1 while the rule file of this process has mistakes or cannot be read: the rules in force stay."))
	waiting, err3 := meter.Int64ObservableGauge("selfsame.rules.waiting",
		metric.WithDescription("1 while rules wait for a person to confirm them."))
	applying, err4 := meter.Int64ObservableGauge("selfsame.rules.applying",
		metric.WithDescription("1 while golden records are decided again after a change of the rules."))
	questions, err5 := meter.Int64ObservableGauge("selfsame.questions.open",
		metric.WithUnit("{question}"), metric.WithDescription("Overruled edits that a person is asked about."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("metrics of the rules: %w", err)
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		r := records.Read()
		active, err := r.Rules(ctx, store.RulesActive)
		if err != nil {
			return err
		}
		_, err = r.Rules(ctx, store.RulesWaiting)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		asked, err2 := r.CountQuestions(ctx)
		if err2 != nil {
			return err2
		}
		o.ObserveInt64(version, active.Version)
		o.ObserveInt64(invalid, one(book.Problems() != ""))
		o.ObserveInt64(waiting, one(err == nil))
		o.ObserveInt64(applying, one(!active.Done))
		o.ObserveInt64(questions, asked)
		return nil
	}, version, invalid, waiting, applying, questions)
	if err != nil {
		return fmt.Errorf("metrics of the rules: %w", err)
	}
	return nil
}

func one(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
