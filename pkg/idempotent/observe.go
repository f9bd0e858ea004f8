package idempotent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// The outcomes of a call with a key; each call has exactly one.
const (
	outcomeExecuted    = "executed"    // its handler ran, and the outcome is the answer
	outcomeReleased    = "released"    // its handler ran, and says that nothing happened
	outcomeTakeover    = "takeover"    // its handler ran after an attempt that vanished or whose outcome was uncertain
	outcomeResolved    = "resolved"    // the same, and the handler looked: what was uncertain is known and stored
	outcomeReplayed    = "replayed"    // it got a stored answer
	outcomeWaited      = "waited"      // it got a stored answer after waiting for it
	outcomeInProgress  = "in_progress" // another call executes
	outcomeMismatch    = "mismatch"    // the key was used for another request
	outcomeUncertain   = "uncertain"   // nobody knows what an earlier attempt did
	outcomeExpired     = "expired"     // the key is older than all memory
	outcomeGone        = "gone"        // the answer is no longer kept
	outcomeUnreadable  = "unreadable"  // the stored answer cannot be read
	outcomeStoreError  = "store_error" // the store did not answer
	outcomeIgnored     = "ignored"     // the method has no use for a key
	outcomeUnsupported = "unsupported" // the method refuses a key
	outcomeInvalid     = "invalid"     // there is no key, or not a valid one
	outcomeLimited     = "limited"     // the caller uses too many keys
	outcomeCanceled    = "canceled"    // the caller went away before anything was done
)

// note is what is counted about a call.
type note struct {
	method  string
	outcome string
	digest  Digest
	fence   int64
	at      time.Time // when what is replayed was executed
	waited  bool
	own     bool // what is replayed is the call's own answer
	ageless bool // the key does not carry its time
}

func (n *note) executing(g Grant) {
	n.outcome, n.digest, n.fence = outcomeExecuted, g.Digest, g.Fence
	if g.Recovery {
		n.outcome = outcomeTakeover
	}
}

// answered notes that the answer is stored; looked says that the handler's method looks before it acts.
func (n *note) answered(looked bool) {
	if looked && n.outcome == outcomeTakeover {
		n.outcome = outcomeResolved
	}
}

func (n *note) released() { n.outcome = outcomeReleased }

func (n *note) found(res Result) { n.digest, n.fence, n.at = res.Digest, res.Fence, res.At }

// maxClients bounds how many names of clients a process puts into metrics; later ones are "other".
const maxClients = 32

type meters struct {
	requests   metric.Int64Counter
	ageless    metric.Int64Counter
	mu         *sync.Mutex
	clients    map[string]bool
	attributes map[labels][]metric.AddOption
}

const scopeName = "github.com/selfsame-io/selfsame/pkg/idempotent"

func newMeters(mp metric.MeterProvider, log *slog.Logger) meters {
	m := meters{mu: &sync.Mutex{}, clients: map[string]bool{}, attributes: map[labels][]metric.AddOption{}}
	counter := func(name, what string) metric.Int64Counter {
		c, err := mp.Meter(scopeName).Int64Counter(name, metric.WithUnit("{request}"), metric.WithDescription(what))
		if err != nil {
			log.Warn("metric not available", slog.String(telemetry.KeyError, err.Error()))
			return noop.Int64Counter{}
		}
		return c
	}
	m.requests = counter("selfsame.idempotency.requests", "Calls with or in need of a key, by method, outcome and client.")
	m.ageless = counter("selfsame.idempotency.unverifiable_age", "Executed calls whose key does not carry its time: after everything is forgotten such a key would be executed again.")
	return m
}

type labels struct{ method, outcome, client string }

// client returns the name of a client as metrics have it; mu must be held.
func (m *meters) client(name string) string {
	if name == "" || m.clients[name] {
		return name
	}
	if len(m.clients) >= maxClients {
		return "other"
	}
	m.clients[name] = true
	return name
}

// with returns the attributes as options; they are made once for each combination.
func (m *meters) with(method, outcome, client string) []metric.AddOption {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := labels{method, outcome, m.client(client)}
	o, ok := m.attributes[l]
	if !ok {
		o = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("rpc.method", l.method),
			attribute.String("selfsame.outcome", l.outcome), attribute.String("selfsame.client", l.client)))}
		m.attributes[l] = o
	}
	return o
}

// count notes the outcome in the metric and on the span; never the key.
func (s *server) count(ctx context.Context, n *note) {
	attrs := s.meters.with(n.method, n.outcome, s.Client(ctx))
	s.meters.requests.Add(ctx, 1, attrs...)
	if n.ageless && (n.outcome == outcomeExecuted || n.outcome == outcomeTakeover || n.outcome == outcomeResolved) {
		s.meters.ageless.Add(ctx, 1, attrs...)
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	set := []attribute.KeyValue{attribute.String("idempotency.outcome", n.outcome), attribute.Int64("idempotency.attempt", n.fence)}
	if n.digest != (Digest{}) {
		set = append(set, attribute.String("idempotency.key_digest", n.digest.Short()))
	}
	if !n.at.IsZero() {
		set = append(set, attribute.Int64("idempotency.age_ms", s.Now().Sub(n.at).Milliseconds()))
	}
	if v := metadata.ValueFromIncomingContext(ctx, "grpc-previous-rpc-attempts"); len(v) == 1 {
		set = append(set, attribute.String("rpc.previous_attempts", v[0]))
	}
	span.SetAttributes(set...)
}

// spanned begins a span of a question to the store, where spans are recorded; its end is to be called.
func spanned(ctx context.Context, name string) (context.Context, func()) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func() {}
	}
	ctx, span := parent.TracerProvider().Tracer(scopeName).Start(ctx, name)
	return ctx, func() { span.End() }
}

// Observe publishes what a store holds as gauges, read when they are collected, until the returned function is called.
func Observe(mp metric.MeterProvider, store Store) (stop func() error, err error) {
	m := mp.Meter(scopeName)
	var all []metric.Observable
	gauge := func(name, unit, what string) metric.Float64ObservableGauge {
		g, gerr := m.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		if gerr != nil && err == nil {
			err = fmt.Errorf("observe idempotency store: %w", gerr)
		}
		all = append(all, g)
		return g
	}
	records := gauge("selfsame.idempotency.records", "{record}", "Records in the store of keys, roughly.")
	bytes := gauge("selfsame.idempotency.bytes", "By", "Room the store of keys takes, if known.")
	open := gauge("selfsame.idempotency.open", "{claim}", "Claims that are not settled.")
	oldestOpen := gauge("selfsame.idempotency.open.oldest", "s", "Age of the oldest claim that is not settled.")
	abandoned := gauge("selfsame.idempotency.abandoned", "{claim}", "Claims whose lease is over.")
	uncertain := gauge("selfsame.idempotency.uncertain", "{record}", "Outcomes that nobody knows.")
	oldestUncertain := gauge("selfsame.idempotency.uncertain.oldest", "s", "Age of the oldest outcome that nobody knows.")
	if err != nil {
		return nil, err
	}
	reg, err := m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		st, err := store.Stats(ctx)
		if err != nil {
			return err
		}
		o.ObserveFloat64(records, float64(st.Records))
		o.ObserveFloat64(bytes, float64(st.Bytes))
		o.ObserveFloat64(open, float64(st.Open))
		o.ObserveFloat64(oldestOpen, st.OldestOpen.Seconds())
		o.ObserveFloat64(abandoned, float64(st.Abandoned))
		o.ObserveFloat64(uncertain, float64(st.Uncertain))
		o.ObserveFloat64(oldestUncertain, st.OldestUncertain.Seconds())
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("observe idempotency store: %w", err)
	}
	return reg.Unregister, nil
}
