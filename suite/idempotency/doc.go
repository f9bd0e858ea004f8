// Package idempotency proves on the real suite, with a process per service, that a request with a key has one effect and
// one answer, whoever is killed and whenever. It holds tests only.
//
// The invariant that every test ends with: for each key there is one customer, or one order, in the systems themselves, and
// every answer that anybody was given for the key is the same. A run in which too few calls were interrupted is not green
// but void.
package idempotency
