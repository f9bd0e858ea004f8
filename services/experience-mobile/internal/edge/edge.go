// Package edge is the REST surface: everything a request meets between the socket and MobileService, in the order
// in which the list in [New] names it.
//
// The invariants: every answer that is not a success is an RFC 9457 problem with a stable code; nothing reaches
// MobileService but what the contract names (known route, known parameters, known fields, one well-formed key);
// nothing that a client sends as a header becomes gRPC metadata by itself; and nothing that a service below says
// leaves in a 5xx. Routes, parameters and fields are read from the contract, so the edge cannot drift from it.
//
// The package knows no customer: it moves messages. What a screen shows is package view's work.
package edge

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// Options say what the edge stands on.
type Options struct {
	// Telemetry is required.
	Telemetry *telemetry.Telemetry
	// Service is a connection to MobileService on which package rpc trusts what the edge says about the caller.
	Service grpc.ClientConnInterface
	// Tokens checks bearer tokens.
	Tokens Verifier
	// Origins are the web origins that may call, exactly as browsers send them.
	Origins []string
	// Budget is the time a request may take from its last header to its answer.
	Budget time.Duration
	// Budgets are those of single routes, by the names that Routes returns; the others have Budget.
	Budgets map[string]time.Duration
	// MaxBody is the size of the largest body, in bytes.
	MaxBody int64
	// Secure is true if the port is protected by TLS.
	Secure bool
	// PublicURL is scheme and host under which clients know the API; empty takes what each client calls.
	PublicURL string
	// WriteLimit is how many writes a caller may send per second, twice that at once; zero means no limit. A batch counts as the writes in it.
	WriteLimit int
	// Load bounds everything else that is let in.
	Load Load
	// App bounds the versions of apps.
	App App
	// RequireIfMatch refuses a change of a customer that is not based on a state.
	RequireIfMatch bool
	// Maintenance refuses everything but documents.
	Maintenance bool
	// Replay keeps answers of completed keys.
	Replay Replay
	// Streams bounds event streams.
	Streams Streams
	// Pages are public documents, by path.
	Pages map[string]http.Handler
}

type edge struct {
	o        Options
	log      *slog.Logger
	problems *problem.Table
	routes   []*route
	writes   *quota
	calls    *quota
	total    *rate.Limiter                        // nil: no limit
	under    adaptivelimiter.AdaptiveLimiter[any] // nil: nothing is shed
	herd     *herd
	places   *places
	hub      *hub
	clients  *clients
	orders   mobilev1.MobileServiceClient
	stripped metric.Int64Counter
	turned   metric.Int64Counter
	oldCalls metric.Int64Counter
	replays  metric.Int64Counter
	keys     metric.Int64Counter
	measure  *measure

	keyLabels keyLabels
	// hit and miss tell whether there was a kept answer.
	hit, miss metric.MeasurementOption
}

// New returns the handler of the public port. Reading the list from top to bottom is what happens to a request.
func New(o Options) (http.Handler, error) {
	o.Streams = o.Streams.withDefaults()
	e := &edge{
		o: o, log: o.Telemetry.Log, problems: problem.NewTable(), herd: newHerd(), clients: &clients{seen: map[string]bool{}},
		writes: newQuota(rate.Limit(o.WriteLimit), 2*o.WriteLimit, time.Now),
		calls:  newQuota(rate.Limit(float64(o.Load.CallerPerMinute)/60), o.Load.CallerPerMinute, time.Now),
		under:  newShedder(o.Load), places: &places{most: o.Streams.Most, perCaller: o.Streams.PerCaller, byCaller: newTally()},
		orders: mobilev1.NewMobileServiceClient(o.Service),
	}
	e.hit, e.miss = metric.WithAttributeSet(attribute.NewSet(attribute.Bool("selfsame.hit", true))), metric.WithAttributeSet(attribute.NewSet(attribute.Bool("selfsame.hit", false)))
	e.hub = newHub(o.Streams.Poll, e.readOrder)
	if o.Load.TotalPerSecond > 0 {
		e.total = rate.NewLimiter(rate.Limit(o.Load.TotalPerSecond), 2*o.Load.TotalPerSecond)
	}
	err := e.counters()
	if err != nil {
		return nil, fmt.Errorf("edge: metrics: %w", err)
	}
	if e.routes, err = contractRoutes(); err != nil {
		return nil, err
	}
	for _, r := range e.routes {
		r.budget = cmp.Or(o.Budgets[r.name()], o.Budget)
	}
	if e.measure, err = newMeasure(o.Telemetry); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	e.routes = append(e.routes, eventsRoute())
	compress, err := compressing()
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	e.addPages(o.Pages, compress)
	mux, err := e.gateway(o.Service)
	if err != nil {
		return nil, err
	}
	if o.Budget <= 0 || o.MaxBody <= 0 {
		return nil, errors.New("edge: budget and largest body must be positive")
	}
	return chain(mux,
		e.open,                 // one record per request, in its context
		e.recoverPanic,         // a panic anywhere below is a 500 problem
		e.identify,             // X-Request-Id: a safe one is kept, otherwise one is made
		e.classify,             // which route of the contract this is; refuses nothing yet
		e.observe,              // span, metrics and access log by route, never by path
		e.recoverPanic,         // again, so that the lines above see a 500 instead of a panic
		e.harden,               // headers that every answer carries
		crossOrigin(o.Origins), // preflights and exposed headers, for listed origins
		e.refuseUnknown,        // 404, 405 with Allow, OPTIONS
		e.page,                 // public documents end here; they take no parameters
		e.maintenance,          // 503 while the operator says so
		e.appVersion,           // 426 for an app that is too old
		e.inspect,              // 431; headers that pretend to be metadata are counted
		e.shedRate,             // 503 beyond the total rate
		e.authenticate,         // 401, 403: the token and the scope of the route
		e.limit,                // 429 for a caller that asks for too much
		e.countKeys,            // what becomes of the key of a write, by application
		e.deprecate,            // Deprecation, Sunset; who still calls is counted
		e.mediaType,            // 406, 415
		e.stream,               // server-sent events end here
		e.readBody,             // 413; the whole body is here before anything is done
		e.deadline,             // the route's own budget; the client has no say
		e.headAsGet,            // HEAD is GET without a body
		compress,               // gzip for who takes it, if it is worth it
		e.finish,               // ETag, 304, the fields asked for, Content-Length
		e.idempotencyKey,       // 400 unless writes carry exactly one key; If-Match, 428
		e.checkQuery,           // 400 for unknown or malformed parameters
		e.replay,               // completed keys are answered here; a herd waits for its first
		e.checkJSON,            // 400 with a pointer for each unknown or malformed field
		e.limitBatch,           // 429 for a batch of too many writes
		e.shed,                 // 503 before collapse: no more go below than can be done
		e.strip,                // no header of the client goes further
	), nil
}

// counters makes the metrics that are not about one request's time.
func (e *edge) counters() error {
	m := e.o.Telemetry.Meter.Meter("github.com/selfsame-io/selfsame/services/experience-mobile")
	var errs [5]error
	e.stripped, errs[0] = m.Int64Counter("selfsame.edge.stripped_headers", metric.WithUnit("{header}"),
		metric.WithDescription("Headers that tried to pass the edge as metadata, by kind."))
	e.turned, errs[1] = m.Int64Counter("selfsame.edge.turned_away", metric.WithUnit("{request}"),
		metric.WithDescription("Requests refused before they cost anything, by reason: rate or concurrency."))
	e.oldCalls, errs[2] = m.Int64Counter("selfsame.edge.deprecated_calls", metric.WithUnit("{request}"),
		metric.WithDescription("Requests for routes that will go, by route and application."))
	e.replays, errs[3] = m.Int64Counter("selfsame.edge.replays", metric.WithUnit("{request}"),
		metric.WithDescription("Looks for the kept answer of a key, by whether there was one."))
	e.keys, errs[4] = m.Int64Counter("selfsame.edge.keys", metric.WithUnit("{request}"),
		metric.WithDescription("Writes, by route, what became of their key, and application."))
	return errors.Join(errs[:]...)
}

// maintenance refuses everything while the operator works on something below.
func (e *edge) maintenance(next http.Handler) http.Handler {
	if !e.o.Maintenance {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.refuse(w, r, e.problems.New(problem.Maintenance, "")) })
}

// step wraps a handler with one concern.
type step func(next http.Handler) http.Handler

func chain(h http.Handler, steps ...step) http.Handler {
	for i := len(steps) - 1; i >= 0; i-- {
		h = steps[i](h)
	}
	return h
}
