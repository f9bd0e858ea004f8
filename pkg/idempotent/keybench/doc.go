// Package keybench measures what idempotency keys cost: calls with a new key and replays on PostgreSQL, SQLite, Redis and in
// memory, and what live calls notice of a purge.
//
// Invariant: what is compared is a ratio of two times of the same run, measured in turns, round by round; the result is
// the median of the ratios of the rounds. Absolute times are reported with the circumstances they were measured in, and
// nothing is asserted. Calls go through the interceptor, without a transport, and the handler answers at once: nothing
// hides what the keys cost. A round in which a call fails, or does not do what it should, is an error and no result.
//
// Processor time is read from /proc and getrusage, so it works on Linux only.
package keybench
