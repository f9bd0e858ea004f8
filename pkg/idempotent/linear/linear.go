// Package linear checks that an idempotent.Store is linearizable: it lets many workers claim, complete, release, vanish
// and come back late, records what each saw and when, and asks porcupine whether one machine that does one thing at a time
// could have answered so.
//
// Stalls are part of it: a worker keeps its grants and uses them again after the clock has passed their lease and others
// have taken over. Without stalls a store that forgets to compare fences passes; the tests of this package say so. Time is
// treated as an interval: what the store took for now lies between the clock readings before and after an operation, so a
// history is refused only if no reading explains it. The clock is the one that the caller gives the store, never the server's own:
// only so can a history pass a lease without waiting. That PostgreSQL and Redis go by their own clock otherwise is tested with the
// stores.
//
// Replies get lost: the store did it, did not, or may still be at it, and the caller sees an error. Such an operation is open to the
// end of the history, and the caller goes on as callers do, with the same claim or grant, maybe at another replica.
//
// It is for the tests of stores. It does not check retention, erasure and listing: those are in idempotenttest.
package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// Clock is the clock of the store under test, moved by the workers. Its zero value is ready; pass Now to the store.
type Clock struct{ us atomic.Int64 }

// Now returns the time.
func (c *Clock) Now() time.Time { return time.UnixMicro(1_800_000_000_000_000 + c.us.Load()) }

func (c *Clock) advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// Lease is the lease of every claim of a history.
const Lease = 10 * time.Second

// Run is one history. Runs with different seeds share no key, so they can use one store.
type Run struct {
	// Seed decides what the workers do; not how they interleave.
	Seed uint64
	// Workers act at once, each Steps times, on Keys keys.
	Workers, Steps, Keys int
	// NoStalls keeps the clock from passing a lease and lets no worker use a grant late. No reply is lost then: whoever lost one
	// uses its grant again.
	NoStalls bool
}

// Result is what porcupine says.
type Result struct {
	// Legal is true if the history is linearizable.
	Legal bool
	// Operations is how many there were; Granted, Stale and TakenOver how many were that, Lost how many had no reply.
	Operations, Granted, Stale, TakenOver, Lost int
	// Why describes an illegal history.
	Why string
}

type kind uint8

const (
	begin kind = iota
	complete
	release
	uncertain
	beat
	end // a heartbeat of 0
	look
	resolveDone
	resolveNot
	expire
)

func (k kind) String() string {
	return [...]string{"begin", "complete", "release", "uncertain", "heartbeat", "end", "look", "resolve-executed", "resolve-not", "expire"}[k]
}

type input struct {
	kind     kind
	key      int
	owner    string
	print    string
	redo     bool
	takeover bool
	fence    int64
	body     string
	// The clock before and after.
	from, to int64
}

type output struct {
	outcome  idempotent.Outcome
	fence    int64
	recovery bool
	body     string
	stale    bool
	none     bool
	lost     bool // there was no reply: whether it took effect is open
}

type worker struct {
	run    Run
	rng    *rand.Rand
	stores []idempotent.Store
	clock  *Clock
	id     int
	tick   *atomic.Int64
	grants []held
	again  []held // claims whose reply was lost
	ops    []porcupine.Operation
	err    error
}

// held is a grant that the worker still has, whatever became of the claim.
type held struct {
	key   int
	grant idempotent.Grant
	claim idempotent.Claim
}

// Check runs one history against a store, whose clock is clock. Of several stores, replicas on the same records, each operation uses
// any. The error is one of a store.
func Check(ctx context.Context, clock *Clock, run Run, stores ...idempotent.Store) (Result, error) {
	var (
		wg      sync.WaitGroup
		tick    atomic.Int64
		workers []*worker
	)
	start := make(chan struct{})
	for i := range run.Workers {
		w := &worker{
			run: run, rng: rand.New(rand.NewPCG(run.Seed, uint64(i))), stores: stores, clock: clock, id: i, tick: &tick, //nolint:gosec // seeded on purpose
		}
		workers = append(workers, w)
		wg.Go(func() {
			<-start
			for range run.Steps {
				if w.step(ctx); w.err != nil {
					return
				}
			}
		})
	}
	close(start)
	wg.Wait()
	var res Result
	var all []porcupine.Operation
	for _, w := range workers {
		if w.err != nil {
			return Result{}, w.err
		}
		all = append(all, w.ops...)
	}
	stayOpen(all, clock, &tick)
	for _, op := range all {
		in, out := op.Input.(input), op.Output.(output)
		res.Operations++
		if out.lost {
			res.Lost++
		}
		if in.kind == begin && out.outcome == idempotent.Granted {
			res.Granted++
			if out.fence > 1 {
				res.TakenOver++
			}
		}
		if out.stale {
			res.Stale++
		}
	}
	res.Legal = true
	for _, ops := range byKey(all) {
		switch porcupine.CheckOperationsTimeout(model(), ops, time.Minute) {
		case porcupine.Ok:
		case porcupine.Illegal:
			res.Legal = false
			res.Why += describe(ops)
		default:
			return res, errors.New("the history could not be checked in time")
		}
	}
	return res, nil
}

// First checks so many histories, of one seed after the other, and returns which is the first that is not linearizable, and why; 0 if
// there is none.
func First(ctx context.Context, clock *Clock, run Run, histories int, stores ...idempotent.Store) (first int, why string, err error) {
	for n := range histories {
		run.Seed = uint64(n) //nolint:gosec // not negative
		res, err := Check(ctx, clock, run, stores...)
		if err != nil {
			return 0, "", err
		}
		if !res.Legal {
			return n + 1, res.Why, nil
		}
	}
	return 0, "", nil
}

// stayOpen lets operations without a reply end after all others: the store may have been at it until then.
func stayOpen(ops []porcupine.Operation, clock *Clock, tick *atomic.Int64) {
	for i := range ops {
		if op := &ops[i]; op.Output.(output).lost {
			in := op.Input.(input)
			in.to = clock.us.Load()
			op.Input, op.Return = in, tick.Add(1)
		}
	}
}

func byKey(ops []porcupine.Operation) map[int][]porcupine.Operation {
	out := map[int][]porcupine.Operation{}
	for _, op := range ops {
		k := op.Input.(input).key
		out[k] = append(out[k], op)
	}
	return out
}

func (w *worker) scope(key int) idempotent.Scope {
	return idempotent.Scope{Principal: "linear", Method: "/m", Key: fmt.Sprintf("seed %d key %d", w.run.Seed, key)}
}

// turn: keys take turns at what their method promises, so that every branch of the machine is visited: 0 may be executed again, 1 may
// be after a look, 2 may not.
func (w *worker) turn(key int) int { return (key + int(w.run.Seed%3)) % 3 }

func (w *worker) claim(key int, owner string) idempotent.Claim {
	print := "request"
	if w.rng.IntN(12) == 0 {
		print = "another request"
	}
	return idempotent.Claim{
		Scope: w.scope(key), Fingerprint: []byte(print), Owner: []byte(owner), Lease: Lease, Retention: 1000 * time.Hour,
		Takeover: w.turn(key) == 0, Probe: w.turn(key) == 1,
	}
}

// step does one thing: begin, or something with a grant it has had for a while.
func (w *worker) step(ctx context.Context) {
	if w.rng.IntN(2) == 0 {
		runtime.Gosched()
	}
	if w.run.NoStalls {
		w.clock.advance(time.Microsecond)
	} else if w.rng.IntN(4) == 0 {
		w.clock.advance(time.Duration(w.rng.Int64N(int64(2 * Lease))))
	}
	if n := len(w.again); n > 0 && w.rng.IntN(2) == 0 {
		h := w.again[n-1]
		w.again = w.again[:n-1]
		w.begin(ctx, h.key, h.claim)
		return
	}
	if len(w.grants) == 0 || w.rng.IntN(3) == 0 && !w.run.NoStalls {
		key := w.rng.IntN(w.run.Keys)
		w.begin(ctx, key, w.claim(key, fmt.Sprintf("%d-%d-%d", w.run.Seed, w.id, w.tick.Add(1))))
		return
	}
	i := w.rng.IntN(len(w.grants))
	h := w.grants[i]
	if w.rng.IntN(3) > 0 || w.run.NoStalls { // otherwise it will be used again, later still
		w.grants = append(w.grants[:i:i], w.grants[i+1:]...)
	}
	if lost := w.use(ctx, h); lost {
		w.grants = append(w.grants, h)
	}
}

func (w *worker) begin(ctx context.Context, key int, c idempotent.Claim) {
	in := input{kind: begin, key: key, owner: string(c.Owner), print: string(c.Fingerprint), redo: c.Takeover || c.Probe, takeover: c.Takeover}
	var got idempotent.Grant
	lost := w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) {
		res, err := s.Begin(ctx, c)
		got = res.Grant
		return output{outcome: res.Outcome, fence: res.Fence, recovery: res.Grant.Recovery, body: string(res.Answer.Body)}, err
	})
	switch {
	case lost:
		w.again = append(w.again, held{key: key, claim: c})
	case got.Fence > 0:
		w.grants = append(w.grants, held{key, got, c})
	}
}

// use does something with a grant. It reports whether the reply was lost.
func (w *worker) use(ctx context.Context, h held) (lost bool) {
	g := h.grant
	in := input{key: h.key, owner: string(g.Owner), fence: g.Fence}
	ack := func(err error) (output, error) {
		switch {
		case errors.Is(err, idempotent.ErrStale):
			return output{stale: true}, nil
		case errors.Is(err, idempotent.ErrNoRecord):
			return output{none: true}, nil
		default:
			return output{}, err
		}
	}
	n := w.rng.IntN(20)
	if w.run.NoStalls && n > 15 {
		n = 0 // nobody reaches into a living attempt
	}
	switch {
	case n < 7:
		in.kind, in.body = complete, fmt.Sprintf("answer of %s at %d", g.Owner, w.tick.Add(1))
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) {
			return ack(s.Complete(ctx, g, idempotent.Answer{OK: true, Body: []byte(in.body)}))
		})
	case n < 9:
		in.kind = release
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) { return ack(s.Release(ctx, g)) })
		if w.rng.IntN(2) == 0 { // the same caller tries once more
			w.again = append(w.again, h)
		}
	case n < 10:
		in.kind = uncertain
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) { return ack(s.Uncertain(ctx, g)) })
	case n < 12:
		in.kind = beat
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) { return ack(s.Heartbeat(ctx, g, Lease)) })
	case n < 13:
		in.kind = end
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) { return ack(s.Heartbeat(ctx, g, 0)) })
	case n < 15:
		in.kind = look
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) {
			res, err := s.Look(ctx, g)
			out, err := ack(err)
			out.outcome, out.fence, out.body = res.Outcome, res.Fence, string(res.Answer.Body)
			return out, err
		})
	case n < 16: // the answer to Begin was lost: the same caller asks again
		w.begin(ctx, h.key, h.claim)
	case n < 17:
		in.kind, in.body = resolveDone, fmt.Sprintf("found at %d", w.tick.Add(1))
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) {
			return ack(s.Resolve(ctx, g, idempotent.Verdict{Executed: true, Answer: idempotent.Answer{OK: true, Body: []byte(in.body)}}))
		})
	case n < 18:
		in.kind = resolveNot
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) {
			return ack(s.Resolve(ctx, g, idempotent.Verdict{}))
		})
	case n < 19:
		in.kind = expire
		lost = w.record(ctx, in, func(ctx context.Context, s idempotent.Store) (output, error) { return ack(s.Expire(ctx, g.Digest)) })
	default: // a purge at any time changes nothing that lives
		if _, err := w.stores[0].Purge(ctx, 10); err != nil {
			w.err = err
		}
	}
	return lost
}

// record does an operation and notes it. It reports whether the reply was lost.
func (w *worker) record(ctx context.Context, in input, do func(context.Context, idempotent.Store) (output, error)) (lost bool) {
	in.from = w.clock.us.Load()
	call := w.tick.Add(1)
	out, err := w.ask(ctx, in, do)
	ret := w.tick.Add(1)
	in.to = w.clock.us.Load()
	if err != nil {
		w.err = fmt.Errorf("%s: %w", in.kind, err)
		return false
	}
	w.ops = append(w.ops, porcupine.Operation{ClientId: w.id, Input: in, Call: call, Output: out, Return: ret})
	return out.lost
}

// ask asks one of the stores, and loses some replies on the way.
func (w *worker) ask(ctx context.Context, in input, do func(context.Context, idempotent.Store) (output, error)) (output, error) {
	store := w.stores[w.rng.IntN(len(w.stores))]
	n := w.rng.IntN(64)
	if w.run.NoStalls || in.kind == look { // of a look nothing remains
		n = 64
	}
	switch {
	case n < 2: // it never reached the store
		return output{lost: true}, nil
	case n < 4: // the store did it
		_, err := do(ctx, store)
		return output{lost: true}, err
	case n < 5: // the connection is cut somewhere
		return w.cut(ctx, store, do)
	default:
		return do(ctx, store)
	}
}

func (w *worker) cut(ctx context.Context, store idempotent.Store, do func(context.Context, idempotent.Store) (output, error)) (output, error) {
	short, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	turns := w.rng.IntN(100)
	wg.Go(func() {
		for range turns {
			runtime.Gosched()
		}
		cancel()
	})
	out, err := do(short, store)
	wg.Wait()
	if err != nil && ctx.Err() == nil {
		return output{lost: true}, nil
	}
	return out, err
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	slices.SortFunc(ops, func(x, y porcupine.Operation) int { return int(x.Call - y.Call) })
	for _, op := range ops {
		in, out := op.Input.(input), op.Output.(output)
		fmt.Fprintf(&b, "worker %d [%d,%d] clock [%d,%d]: %s\n", op.ClientId, op.Call, op.Return, in.from, in.to, line(in, out))
	}
	return b.String()
}

func line(in input, out output) string {
	return fmt.Sprintf("key %d %s fence %d owner %q %q %q -> outcome %d fence %d recovery %t %q stale %t none %t lost %t",
		in.key, in.kind, in.fence, in.owner, in.print, in.body, out.outcome, out.fence, out.recovery, out.body, out.stale, out.none, out.lost)
}
