// Package inbox makes a message that is delivered at least once processed once in effect.
//
// Every broker worth using delivers again: after a crash between effect and acknowledgement, after a rebalance, when a
// producer repeats itself. The inbox keeps, in the service's own database, what a consumer has processed, and commits it
// together with the effect: [Inbox.Handle] runs the handler in the transaction that records the message. For an effect
// elsewhere, [Inbox.Call] gives the handler a key that is the same in every delivery, from which it derives the keys of
// its calls; the target does the last yard.
//
// The invariants: a message's effect is committed at most once per consumer, whoever delivers it how often and however
// many replicas take it at once; a message is acknowledged only after its effect is committed, or after it was parked
// where a person finds it; of one object, an older version never follows a newer one.
//
// What is kept is bounded: streams with increasing positions keep only what is above their checkpoint, everything else
// is forgotten after a retention, which must be longer than the longest redelivery of the broker (a duplicate that comes
// later is processed again). The adapters for Kafka, SQS and Salesforce events are shaped like those clients and import
// none of them. The inbox does not order different objects and it does not deduplicate what has another id.
package inbox
