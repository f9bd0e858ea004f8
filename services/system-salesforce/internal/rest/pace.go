package rest

import (
	"slices"
	"sync"
	"time"
)

// paceCalls is how many of the last calls the pace is taken from.
const paceCalls = 16

// pace is how long the last calls took that were served. Its zero value knows of none.
type pace struct {
	mu   sync.Mutex
	last [paceCalls]time.Duration
	n    int // calls so far
}

func (p *pace) observe(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.n%paceCalls] = took
	p.n++
}

// least is what the way there and back takes at least; 0 while it is not known. Most calls take longer, because Salesforce works or
// others are in their way.
func (p *pace) least() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 {
		return 0
	}
	return slices.Min(p.last[:min(p.n, paceCalls)])
}

// Trip returns how long the quickest of the last calls took: about what the network adds to each. It is 0 before the first answer.
func (c *Client) Trip() time.Duration { return c.pace.least() }
