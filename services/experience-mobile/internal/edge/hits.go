package edge

import (
	"net/http"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// maxLabel bounds the name of an application in metrics: an issuer may allow any text.
const maxLabel = 64

// countKeys counts what became of the key of each write, by the application that the token was issued to. Its users stay
// unknown: an application that repeats without end is one of a few, and who uses it is nobody's business here.
func (e *edge) countKeys(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if !c.route.writes {
			next.ServeHTTP(w, r)
			return
		}
		s := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(s, r)
		client := c.principal.Client
		if len(client) > maxLabel {
			client = "other"
		} else {
			client = e.clients.label(client)
		}
		e.keys.Add(r.Context(), 1, e.keyLabels.of(keyLabel{c.route.template, keyOutcome(s), client}))
	})
}

// keyLabel is what the keys of writes are told apart by; all of it is bounded.
type keyLabel struct{ route, outcome, client string }

// keyLabels are the attributes of each label, made once.
type keyLabels struct{ sets sync.Map }

func (k *keyLabels) of(l keyLabel) metric.MeasurementOption {
	if o, ok := k.sets.Load(l); ok {
		return o.(metric.MeasurementOption) //nolint:forcetypeassert // holds nothing else
	}
	o := metric.WithAttributeSet(attribute.NewSet(attribute.String("http.route", l.route), attribute.String("selfsame.outcome", l.outcome),
		attribute.String("selfsame.client", l.client)))
	k.sets.Store(l, o)
	return o
}

// keyOutcome names what became of a key with the words of the metric of the services below.
func keyOutcome(s *statusWriter) string {
	switch s.Header().Get("Idempotency-Status") {
	case "replayed":
		return "replayed" // a refusal that stays among them
	case "in-progress":
		return "in_progress"
	}
	switch s.Header().Get("X-Error-Code") {
	case problem.IdempotencyKeyReused:
		return "mismatch"
	case problem.IdempotencyKeyExpired:
		return "expired"
	case problem.IdempotencyResultGone:
		return "gone"
	case problem.IdempotencyUnavailable:
		return "store_error"
	case fault.ReasonOutcomeUncertain:
		return "uncertain"
	}
	switch {
	case s.status >= http.StatusInternalServerError:
		return "failed"
	case s.Header().Get("Idempotency-Status") == "executed", s.status < http.StatusBadRequest:
		return "executed"
	}
	return "refused" // before anything was done
}
