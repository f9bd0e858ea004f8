package keybench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
)

// Replays is how fast answers are given again.
type Replays struct {
	// PerCoreSecond is how many replays a second of processor time yields, the median of the rounds.
	PerCoreSecond float64 `json:"per_core_second"`
	Low           float64 `json:"low"`
	// Allocations and Bytes of one replay.
	Allocations float64 `json:"allocations"`
	Bytes       float64 `json:"bytes"`
	Rounds      int     `json:"rounds"`
	Calls       int     `json:"calls"`
	Target      float64 `json:"target"`
}

// memory measures replays through the interceptor from the memory store, by one caller.
func (b *Bench) memory(ctx context.Context) error {
	b.progress("%s: replay", GroupMemory)
	replay, err := newCaller(idempotent.NewMemoryStore(nil)).replay(ctx, b.o.Callers)
	if err != nil {
		return err
	}
	s := &side{do: replay}
	if err := s.round(ctx, 1, 2000, nil); err != nil {
		return err
	}
	r := &Replays{Rounds: b.o.Rounds, Calls: int(micros(b.o.Round) / s.wall), Target: 50_000}
	var speeds []float64
	for range r.Rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := s.round(ctx, 1, r.Calls, nil); err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		speeds = append(speeds, 1e6/s.cpu)
		r.Allocations = float64(after.Mallocs-before.Mallocs) / float64(r.Calls)
		r.Bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(r.Calls)
	}
	r.PerCoreSecond, r.Low = median(speeds), speeds[0]
	for _, v := range speeds {
		r.Low = min(r.Low, v)
	}
	b.results.Memory = r
	return nil
}

// redis compares a replay with a bare GET of an answer of the same size, on the same client.
func (b *Bench) redis(ctx context.Context) (err error) {
	if b.o.Redis == "" {
		return errors.New("say which Redis server to measure")
	}
	o, err := redis.ParseURL(b.o.Redis)
	if err != nil {
		return errors.New("the URL of Redis cannot be parsed")
	}
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	k := newKeys()
	prefix := "keybench:" + k.run + ":"
	defer func() { err = errors.Join(err, forget(context.WithoutCancel(ctx), client, prefix), client.Close()) }()
	store, err := redisstore.New(ctx, client, secret(), redisstore.Options{Prefix: prefix})
	if err != nil {
		return err
	}
	claim := idempotent.Claim{
		Scope:       idempotent.Scope{Principal: "bench", Method: infos[manual].FullMethod, Key: k.key()},
		Fingerprint: k.raw(), Owner: k.raw()[:16], Lease: time.Minute, Retention: time.Hour,
	}
	res, err := store.Begin(ctx, claim)
	if err != nil {
		return err
	}
	if err := store.Complete(ctx, res.Grant, idempotent.Answer{OK: true, Body: rawBody}); err != nil {
		return err
	}
	bare := prefix + "bare"
	if err := client.Set(ctx, bare, append(rawMeta, rawBody...), time.Hour).Err(); err != nil {
		return err
	}
	for _, n := range []int{1, b.o.Callers} {
		r := Ratio{Group: GroupRedis, Name: fmt.Sprintf("replay, callers: %d", n), Against: "GET of a value of that size", Callers: n, Target: 1.3}
		err := b.compare(ctx, r, nil, func(ctx context.Context) error { return client.Get(ctx, bare).Err() },
			func(ctx context.Context) error {
				res, err := store.Begin(ctx, claim)
				if err == nil && res.Outcome != idempotent.Replay {
					err = fmt.Errorf("outcome %d", res.Outcome)
				}
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// forget removes what was written.
func forget(ctx context.Context, client *redis.Client, prefix string) error {
	for it := client.Scan(ctx, 0, prefix+"*", 1000).Iterator(); ; {
		if !it.Next(ctx) {
			return it.Err()
		}
		if err := client.Del(ctx, it.Val()).Err(); err != nil {
			return err
		}
	}
}
