// Package telemetry gives one service its logger, tracer, meter and metrics page.
//
// Several services may run in one process, so nothing here is global: no global OpenTelemetry provider, no
// default Prometheus registry, no default logger. What a package needs is passed to it.
//
// The invariant: personal data and secrets do not reach a log, a span or a metric. The log handler replaces the
// value of every attribute with a sensitive key, [Personal] marks a value whatever its key, and the HTTP
// transport keeps query strings, which hold filters over customers, out of spans. It is a second net, not the
// first: do not log what you need not.
//
// Traces are exported only when an OTLP endpoint is configured. Without one, spans still carry ids, so that log
// lines and stored rows can be joined, but nothing is recorded.
package telemetry
