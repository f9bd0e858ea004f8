package event

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Event is one stored change event. It is never modified.
type Event struct {
	// Replay is the position on the bus; events delivered twice share it.
	Replay uint64
	// Issued is when the event was published, in milliseconds since 1970.
	Issued   int64
	Layout   *Layout
	Kind     string
	RecordID string
	// Records are all records that the event is about; RecordID is the first.
	Records []string
	// Name is the id that the publisher gave the event; empty means one that
	// follows from what the event is about.
	Name string
	// Tx is the key of the transaction; empty for platform events.
	Tx string

	missing  bool
	sequence uint32 // of a change event, in its transaction
	payload  *payload
}

// Text is the wire form of the event's id, the same for every delivery of the
// event, under any replay id.
func (e *Event) Text() string {
	switch {
	case e.Name != "":
		return e.Name
	case e.Tx == "":
		return PlatformID(e.RecordID)
	}
	return uuid(md5.Sum(binary.BigEndian.AppendUint32([]byte(e.Tx), e.sequence)))
}

// Payload is the event in Avro. It is made when it is asked for first: most
// events of a large load are never read. It may be called by several at once.
func (e *Event) Payload() []byte { return e.payload.bytes() }

// Errors of cursors.
var (
	// ErrReplayID says that a position is unknown or no longer kept.
	ErrReplayID = errors.New("the replay id is not valid")
	// ErrReset says that the stream was broken on purpose.
	ErrReset = errors.New("the stream was reset")
	// ErrClosed says that the bus was shut down.
	ErrClosed = errors.New("the bus is closed")
)

// BusOptions configures a bus.
type BusOptions struct {
	Now  func() time.Time
	Seed int64
	// Retention is how long and Keep how many events can be replayed.
	Retention time.Duration
	Keep      int
	// Disturb returns how often each event is delivered and whether
	// neighbouring transactions change places. Nil means once, in order.
	Disturb func() (copies int, reorder bool)
	// Each returns how often to deliver one event; 0 means it goes missing.
	// Nil means once.
	Each func(e *Event) int
	// Hostile makes replay ids longer than eight bytes, and no numbers.
	Hostile bool
}

// Bus keeps events in order. It is safe for concurrent use.
type Bus struct {
	opt BusOptions

	mu        sync.Mutex
	log       []*Event
	first     int64  // number of log[0]
	base      uint64 // replay id before log[0]
	trimmed   bool
	held      []*Event
	rng       *rand.Rand
	wake      chan struct{}
	gen       int
	closed    bool
	published int64
	given     uint64 // the last replay id, even of a missing event
	delivered *tally
	platform  *tally
	holding   chan struct{}
}

// NewBus makes an empty bus.
func NewBus(opt BusOptions) *Bus {
	rng := rand.New(rand.NewPCG(uint64(opt.Seed), 0xb005))
	return &Bus{
		opt: opt, rng: rng, base: 1<<40 + rng.Uint64N(1<<32), wake: make(chan struct{}), holding: make(chan struct{}, 1),
		delivered: newTally(24 * time.Hour), platform: newTally(time.Hour),
	}
}

// holdTime is how long a transaction waits for another to change places with.
const holdTime = 50 * time.Millisecond

// Run releases held transactions until the context ends.
func (b *Bus) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.holding:
		}
		timer := time.NewTimer(holdTime)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		b.mu.Lock()
		b.release()
		b.mu.Unlock()
	}
}

// Publish adds the events of one transaction.
func (b *Bus) Publish(events []*Event) {
	if len(events) == 0 {
		return
	}
	copies, reorder := 1, false
	if b.opt.Disturb != nil {
		copies, reorder = b.opt.Disturb()
	}
	if copies > 1 {
		events = slices.Concat(slices.Collect(func(yield func([]*Event) bool) {
			for _, e := range events {
				if !yield(slices.Repeat([]*Event{e}, copies)) {
					return
				}
			}
		})...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if reorder && b.held == nil {
		b.held = events
		select {
		case b.holding <- struct{}{}:
		default:
		}
		return
	}
	b.append(events)
	b.release()
}

// Put publishes one event at once and returns its replay id.
func (b *Bus) Put(e *Event) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.append([]*Event{e})
	return b.Wire(e.Replay)
}

func (b *Bus) release() {
	b.append(b.held)
	b.held = nil
}

// append gives replay ids; repeated events keep the one they have.
func (b *Bus) append(events []*Event) {
	if len(events) == 0 {
		return
	}
	now := b.opt.Now().UnixMilli()
	for _, e := range events {
		first := e.Replay == 0
		if first {
			e.Replay = max(b.tip(), b.given) + 1 + b.rng.Uint64N(1000)
			e.Issued, b.given = now, e.Replay
			b.published++
			if e.Layout.Object.Event() {
				b.platform.add(b.opt.Now(), 1)
			}
		}
		copies := 1
		if e.missing {
			copies = 0
		} else if first && b.opt.Each != nil {
			copies = b.opt.Each(e)
			e.missing = copies == 0
		}
		for range copies {
			b.log = append(b.log, e)
		}
	}
	b.trim(now)
	b.signal()
}

func (b *Bus) tip() uint64 {
	if len(b.log) == 0 {
		return b.base
	}
	return b.log[len(b.log)-1].Replay
}

func (b *Bus) trim(now int64) {
	oldest := now - b.opt.Retention.Milliseconds()
	n := max(0, len(b.log)-b.opt.Keep)
	for n < len(b.log) && b.log[n].Issued < oldest {
		n++
	}
	if n == 0 {
		return
	}
	b.base, b.trimmed = b.log[n-1].Replay, true
	clear(b.log[:n])
	b.log = b.log[n:]
	b.first += int64(n)
}

func (b *Bus) signal() {
	close(b.wake)
	b.wake = make(chan struct{})
}

// Wake makes every open stream look again at what it depends on, such as the
// clock.
func (b *Bus) Wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.signal()
}

// Reset breaks every open stream.
func (b *Bus) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gen++
	b.signal()
}

// Expire gives every kept event a new replay id, so that all ids handed out
// before are invalid, and breaks every open stream. It is what a client sees
// when its organization was moved.
func (b *Bus) Expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := max(b.tip(), b.given) + 1 + b.rng.Uint64N(1<<20)
	b.base, b.trimmed = next, false
	fresh := make([]*Event, len(b.log))
	for i, e := range b.log {
		if i > 0 && b.log[i-1] == e {
			fresh[i] = fresh[i-1]
			continue
		}
		c := *e
		next += 1 + b.rng.Uint64N(1000)
		c.Replay = next
		fresh[i] = &c
	}
	b.log, b.given = fresh, next
	b.gen++
	b.signal()
}

// Close ends every stream; later ones are refused.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}

// Published is the number of events published so far.
func (b *Bus) Published() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.published
}

// Recent returns the newest events, at most n, oldest first.
func (b *Bus) Recent(n int) []*Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log[max(0, len(b.log)-n):])
}
