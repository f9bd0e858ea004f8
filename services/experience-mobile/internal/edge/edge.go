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
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
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
	// MaxBody is the size of the largest body, in bytes.
	MaxBody int64
	// Secure is true if the port is protected by TLS.
	Secure bool
	// PublicURL is scheme and host under which clients know the API; empty takes what each client calls.
	PublicURL string
	// WriteLimit is how many writes a caller may send per second, twice that at once; zero means no limit.
	WriteLimit int
	// Pages are public documents, by path.
	Pages map[string]http.Handler
}

type edge struct {
	o        Options
	log      *slog.Logger
	problems *problem.Table
	routes   []*route
	origins  map[string]bool
	quota    *quota
	stripped metric.Int64Counter
	measure  *measure
}

// New returns the handler of the public port. Reading the list from top to bottom is what happens to a request.
func New(o Options) (http.Handler, error) {
	e := &edge{o: o, log: o.Telemetry.Log, problems: problem.NewTable(), origins: map[string]bool{}}
	for _, origin := range o.Origins {
		e.origins[origin] = true
	}
	e.quota = newQuota(o.WriteLimit, time.Now)
	var err error
	e.stripped, err = o.Telemetry.Meter.Meter("github.com/selfsame-io/selfsame/services/experience-mobile").Int64Counter(
		"selfsame.edge.stripped_headers", metric.WithUnit("{header}"), metric.WithDescription("Headers that tried to pass the edge as metadata, by kind."))
	if err != nil {
		return nil, fmt.Errorf("edge: metrics: %w", err)
	}
	if e.routes, err = contractRoutes(); err != nil {
		return nil, err
	}
	if e.measure, err = newMeasure(o.Telemetry); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	e.addPages(o.Pages)
	mux, err := e.gateway(o.Service)
	if err != nil {
		return nil, err
	}
	if o.Budget <= 0 || o.MaxBody <= 0 {
		return nil, errors.New("edge: budget and largest body must be positive")
	}
	return chain(mux,
		e.open,           // one record per request, in its context
		e.recoverPanic,   // a panic anywhere below is a 500 problem
		e.identify,       // X-Request-Id: a safe one is kept, otherwise one is made
		e.classify,       // which route of the contract this is; refuses nothing yet
		e.observe,        // span, metrics and access log by route, never by path
		e.recoverPanic,   // again, so that the lines above see a 500 instead of a panic
		e.harden,         // headers that every answer carries
		e.cors,           // preflights and exposed headers, for listed origins
		e.refuseUnknown,  // 404, 405 with Allow, OPTIONS
		e.page,           // public documents end here
		e.inspect,        // 431; headers that pretend to be metadata are counted
		e.authenticate,   // 401, 403: the token and the scope of the route
		e.limit,          // 429 for a caller that writes too much
		e.mediaType,      // 406, 415
		e.readBody,       // 413; the whole body is here before anything is done
		e.deadline,       // our own budget; the client has no say
		e.headAsGet,      // HEAD is GET without a body
		e.finish,         // ETag, 304, Content-Length
		e.idempotencyKey, // 400 unless writes carry exactly one key; If-Match
		e.checkQuery,     // 400 for unknown or malformed parameters
		e.checkJSON,      // 400 with a pointer for each unknown or malformed field
		e.strip,          // no header of the client goes further
	), nil
}

// step wraps a handler with one concern.
type step func(next http.Handler) http.Handler

func chain(h http.Handler, steps ...step) http.Handler {
	for i := len(steps) - 1; i >= 0; i-- {
		h = steps[i](h)
	}
	return h
}
