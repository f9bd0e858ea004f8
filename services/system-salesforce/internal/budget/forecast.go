package budget

import "time"

const (
	// slotLength is the resolution of the history of usage.
	slotLength = 15 * time.Minute
	// window is the period over which Salesforce counts.
	window = 24 * time.Hour
	// slots is how many slots the window has.
	slots = int64(window / slotLength)
)

func slotOf(t time.Time) int64 { return t.Unix() / int64(slotLength/time.Second) }

// endOf is when the calls of a slot begin to leave the window for good: after the last of them has.
func endOf(slot int64) time.Time { return time.Unix((slot+1)*int64(slotLength/time.Second), 0).UTC() }

// reading is the usage as last reported in a slot, and how many calls of our own it held.
type reading struct {
	slot, used, own int64
}

// history is how many calls were counted in each slot, worked out from readings.
//
// The usage of a rolling window rises by what is new and falls by what was new a day before; so each reading tells what was
// new since the one before it. What was there at the first reading, but for our own calls, is taken to have come evenly over the
// day before.
type history struct {
	counted map[int64]int64
	last    reading
}

func newHistory(readings []reading) history {
	h := history{counted: map[int64]int64{}}
	for i, r := range readings {
		if i == 0 || r.slot-h.last.slot >= slots {
			h.counted = map[int64]int64{}
			own := min(r.own, r.used)
			h.spread(r.slot-slots, r.slot, r.used-own)
			h.counted[r.slot] += own
			h.last = r
			continue
		}
		var gone int64
		for s := h.last.slot + 1; s <= r.slot; s++ {
			gone += h.counted[s-slots]
		}
		h.spread(h.last.slot, r.slot, max(0, r.used-h.last.used+gone))
		h.last = r
	}
	return h
}

// spread distributes n calls evenly over the slots after from, up to and with to.
func (h history) spread(from, to, n int64) {
	length := to - from
	for i := range length {
		h.counted[from+1+i] += n*(i+1)/length - n*i/length
	}
}

// resume is when need calls will have left the window since the last reading, if nobody makes new ones; at the latest a day
// from now. It is now when they must have left it already and only the next figure has to show it.
func (h history) resume(need int64, now time.Time) time.Time {
	for s := h.last.slot - slots + 1; s <= h.last.slot; s++ {
		if need -= h.counted[s]; need <= 0 {
			return maxTime(now, endOf(s).Add(window))
		}
	}
	return now.Add(window)
}

// rate is how many calls per slot were counted in the last hour.
func (h history) rate() float64 {
	var n int64
	for s := h.last.slot - 3; s <= h.last.slot; s++ {
		n += h.counted[s]
	}
	return float64(n) / 4
}

// exhaustion is when the usage reaches most at the rate of the last hour; the zero time when not within a day.
func (h history) exhaustion(used, most int64, now time.Time) time.Time {
	if most <= 0 {
		return time.Time{}
	}
	level, rate := float64(used), h.rate()
	first := slotOf(now)
	for s := first; s < first+slots; s++ {
		if level >= float64(most) {
			return maxTime(now, endOf(s-1))
		}
		level = max(0, level+rate-float64(h.counted[s-slots]))
	}
	return time.Time{}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
