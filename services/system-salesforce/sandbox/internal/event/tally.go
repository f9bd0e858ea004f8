package event

import "time"

// tally counts over a rolling window, by the minute. It is not safe for
// concurrent use.
type tally struct {
	slots  []int
	minute int64
	sum    int
}

func newTally(window time.Duration) *tally {
	return &tally{slots: make([]int, int(window/time.Minute))}
}

// at forgets the minutes that have left the window.
func (t *tally) at(now time.Time) {
	m := now.Unix() / 60
	for n := 0; t.minute < m && n < len(t.slots); n++ {
		// After a long pause only the last minutes matter.
		if m-t.minute > int64(len(t.slots)) {
			t.minute = m - int64(len(t.slots))
		}
		t.minute++
		slot := &t.slots[t.minute%int64(len(t.slots))]
		t.sum -= *slot
		*slot = 0
	}
}

func (t *tally) add(now time.Time, n int) {
	t.at(now)
	t.slots[t.minute%int64(len(t.slots))] += n
	t.sum += n
}

// CountDelivered notes events that went to a subscriber.
func (b *Bus) CountDelivered(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delivered.add(b.opt.Now(), n)
}

// Delivered is how many events went to subscribers in the last 24 hours, each
// counted once for every subscriber.
func (b *Bus) Delivered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delivered.at(b.opt.Now())
	return b.delivered.sum
}

// PublishedPlatform is how many platform events were published in the last
// hour.
func (b *Bus) PublishedPlatform() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.platform.at(b.opt.Now())
	return b.platform.sum
}
