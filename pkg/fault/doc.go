// Package fault is the one language in which the services speak about failure.
//
// An error has a [Kind] from a closed list, which says what a caller may do about it, and a stable
// UPPER_SNAKE reason, which says what happened. Both survive a gRPC hop: the server interceptor turns an
// [Error] into a status with google.rpc.ErrorInfo, RetryInfo and BadRequest, the client interceptor turns it
// back, so [KindOf] is true on either side.
//
// The invariant: only Reason, Message, Fields, RetryAfter and Meta ever leave the process. A Cause stays in
// the log of the process that saw it, and an error that nobody classified leaves as Internal with a fixed text.
//
// Uncertain is a kind of its own: the effect may or may not have happened, so the call must be neither
// repeated blindly nor reported as failed.
//
// The package does not translate the failures of a callee into those of the caller: an Invalid that came from
// below is still Invalid when it is returned unwrapped. Wrap it with the kind it has from your caller's view.
package fault
