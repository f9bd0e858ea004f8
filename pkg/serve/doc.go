// Package serve runs one service: its gRPC server, its operations port, its background loops and any HTTP
// servers, from first listener to last byte. It also dials the services below.
//
// The invariant: a service tells the world that it is not ready before it stops answering, and stops in one order:
// not ready, drain, loops and streams cancelled, HTTP and gRPC finished, hard stop. Every call is bounded by a
// deadline, a panic ends one call and not the process, and a call is repeated on its own only if its method is
// declared idempotent in the contract.
//
// Nothing is global, so several services run in one process. The package does not authorize: it establishes who
// calls ([caller.From]), what they may do is the service's decision.
package serve
