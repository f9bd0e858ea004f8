package processcustomer

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// observeRules shows the state of the survivorship rules as metrics. Mistakes are those of this process's file.
func observeRules(tel *telemetry.Telemetry, records *store.Store, book *rulebook.Book) error {
	g := newGauges(tel, "the rules")
	version := g.count("selfsame.rules.version", "", "Version of the survivorship rules in force.")
	invalid := g.count("selfsame.rules.invalid", "", "1 while the rule file of this process has mistakes or cannot be read: the rules in force stay.")
	waiting := g.count("selfsame.rules.waiting", "", "1 while rules wait for a person to confirm them.")
	applying := g.count("selfsame.rules.applying", "", "1 while golden records are decided again after a change of the rules.")
	questions := g.count("selfsame.questions.open", "{question}", "Overruled edits that a person is asked about.")
	return g.read(func(ctx context.Context, o metric.Observer) error {
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
	})
}

func one(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
