package event

// Cursor reads the bus from a position. It is not safe for concurrent use.
type Cursor struct {
	bus  *Bus
	next int64
	last uint64
	gen  int
}

// Latest starts after the newest event.
func (b *Bus) Latest() *Cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Cursor{bus: b, next: b.first + int64(len(b.log)), last: b.tip(), gen: b.gen}
}

// Earliest starts at the oldest event that is kept.
func (b *Bus) Earliest() *Cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim(b.opt.Now().UnixMilli())
	return &Cursor{bus: b, next: b.first, last: b.base, gen: b.gen}
}

// After starts behind a replay id that the bus gave out, or fails with
// ErrReplayID.
func (b *Bus) After(id []byte) (*Cursor, error) {
	want, ok := b.number(id)
	if !ok {
		return nil, ErrReplayID
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim(b.opt.Now().UnixMilli())
	c := &Cursor{bus: b, last: want, gen: b.gen, next: b.first}
	if want == b.base && (!b.trimmed || len(b.log) == 0) {
		return c, nil
	}
	lo, hi := 0, len(b.log) // the first event behind the wanted one
	for lo < hi {
		mid := (lo + hi) / 2
		if b.log[mid].Replay <= want {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 || b.log[lo-1].Replay != want {
		return nil, ErrReplayID
	}
	c.next += int64(lo)
	return c, nil
}

// Read returns up to max matching events, limited to about maxBytes of
// payload, and moves behind them and behind everything that did not match.
func (c *Cursor) Read(fits func(*Event) bool, max, maxBytes int) ([]*Event, error) {
	found, err := c.find(fits, max)
	if err != nil {
		return nil, err
	}
	// Payloads are made here, where nobody waits for the bus.
	var out []*Event
	size := 0
	for _, f := range found {
		data := f.event.Payload()
		if data == nil {
			continue // it cannot be encoded, which was logged
		}
		if size > 0 && size+len(data) > maxBytes {
			c.next, c.last = f.at, f.before
			break
		}
		out = append(out, f.event)
		size += len(data)
	}
	return out, nil
}

// match is an event that was found: at is its place on the bus, before the
// replay id that precedes it.
type match struct {
	event  *Event
	at     int64
	before uint64
}

func (c *Cursor) find(fits func(*Event) bool, max int) ([]match, error) {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, ErrClosed
	case c.gen != b.gen:
		return nil, ErrReset
	case c.next < b.first:
		return nil, ErrReplayID
	}
	var out []match
	for ; c.next < b.first+int64(len(b.log)); c.next++ {
		e := b.log[c.next-b.first]
		if fits(e) {
			if len(out) == max {
				break
			}
			out = append(out, match{e, c.next, c.last})
		}
		c.last = e.Replay
	}
	return out, nil
}

// Position is the replay id of the last event that was read or passed over.
func (c *Cursor) Position() uint64 { return c.last }

// More returns a channel that is closed when something new may be there. Take
// it before Read, so that nothing is missed in between.
func (c *Cursor) More() <-chan struct{} {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	return c.bus.wake
}

// Check reports, without moving, whether the stream was broken or the bus
// closed.
func (c *Cursor) Check() error {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	switch {
	case c.bus.closed:
		return ErrClosed
	case c.gen != c.bus.gen:
		return ErrReset
	}
	return nil
}
