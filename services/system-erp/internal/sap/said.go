package sap

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// listen counts and logs what SAP says beside its successes: by code, because the texts may name people.
func listen(meter metric.Meter, log *slog.Logger) (func(context.Context, string, []odata.Message), error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	messages, err := meter.Int64Counter("selfsame.erp.sap.messages", metric.WithDescription("What SAP said beside its successes, by severity."))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, service string, said []odata.Message) {
		for _, m := range said {
			severity, level := "info", slog.LevelInfo
			if m.Severity == "warning" || m.Severity == "error" {
				severity, level = m.Severity, slog.LevelWarn
			}
			messages.Add(context.WithoutCancel(ctx), 1, metric.WithAttributes(attribute.String("severity", severity)))
			log.Log(ctx, level, "sap said something beside a success", "service", service, "code", m.Code, "severity", severity)
		}
	}, nil
}

// warnings are the codes of what was said that is more than information.
func warnings(said []odata.Message) []string {
	var out []string
	for _, m := range said {
		if m.Severity == "warning" && m.Code != "" {
			out = append(out, m.Code)
		}
	}
	return out
}
