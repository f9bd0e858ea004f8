// Package redisstore keeps idempotency claims and answers in Redis (6.2 or newer, or Valkey): for a service that has no
// database of its own, such as an edge.
//
// Every operation on a record is one Lua script, so it is atomic; the keys of a record share a hash tag, so it works on a
// cluster; the server's clock decides about leases. A record lives as long as its lease and retention, not as long as its
// lease: the fingerprint and the fence survive the owner. A claim that nobody may execute again has no expiry at all.
//
// What Redis does not give is durability. With an append-only file and "appendfsync always" an acknowledged write survives
// the process and the host, and with "everysec" the last seconds may be lost, on a slow disk with the process too. A
// fail-over loses what the replica had not received, whatever the file says. The store declares
// [idempotent.Replicated], or [idempotent.Volatile] without an append-only file and without replicas, and never more: a
// policy that demands more is refused at start. It may be used where every effect below carries a child key, so that an
// execution that was forgotten has no second effect. After a loss, fences are given out again: the owner of a claim is
// compared besides its fence, so the forgotten owner stays stale.
//
// Open and New refuse a server that evicts keys (a key that vanishes under memory pressure is executed again), a read
// replica, and a client that ignores the deadline of the context. A full server with "noeviction" refuses writes, which
// the interceptor turns into UNAVAILABLE: nothing is executed without its claim.
//
// List, Stats and Purge walk the whole key space with SCAN. They are for operators and for a loop now and then, not for
// every scrape of a store with millions of keys.
package redisstore
