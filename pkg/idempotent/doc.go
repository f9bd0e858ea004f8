// Package idempotent makes a call that arrives twice happen once.
//
// A caller marks one intended effect with a key (metadata "idempotency-key"). The server interceptor claims the key,
// runs the handler, stores the answer, and gives a repeated call the stored answer. What a key means for a method is
// declared in the contract (selfsame.options.v1.idempotency).
//
// The invariants: for one key, caller and method there is at most one stored answer, and it never changes; a call with
// another request under the same key is refused; an attempt that lost its claim to another never answers with its own
// result. A lease makes a key usable again after a crash, a fence (a number that grows with every attempt) keeps the
// late writer out. A fence alone does not bound effects below: every call that a handler makes must carry a key of its
// own, derived with [Child], which is the same in every attempt.
//
// When nobody can know whether an attempt had its effect, the package says so (OUTCOME_UNCERTAIN) instead of guessing.
// When its store is down it refuses the call. It does not protect streams, and it cannot see keys that a client
// invented anew for a repeated click: that needs a business key.
package idempotent
