package budget

import (
	"context"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
)

const (
	// longCalls is how many calls may run at once however long they take: as many longer than 20 s an org allows to everybody together.
	longCalls = 25
	// A call shorter than quickCall leaves that far away; after one of slowCall it is near.
	quickCall = time.Second
	slowCall  = 5 * time.Second
)

// gateway bounds how many calls run at once: an org refuses new ones while too many long ones run, whoever made them. When
// Salesforce says so the bound is halved, from longCalls if it was above; every call that is served widens it a little. Above longCalls it
// goes only while calls are quick, by one for each, and a slow one brings it back. The most urgent call that waits goes
// first, and less urgent ones may not take every slot.
type gateway struct {
	most int
	long float64 // how many may run however long they take

	mu      sync.Mutex
	limit   float64
	running int
	waiting [priority.Audit + 1][]chan struct{}
}

func newGateway(most int) *gateway {
	long := float64(min(most, longCalls))
	return &gateway{most: most, long: long, limit: long}
}

// allowed is how many calls may run for one of a level to start.
func (g *gateway) allowed(l priority.Level) int {
	n := int(g.limit)
	switch l {
	case priority.Interactive:
	case priority.Bulk:
		n /= 2
	case priority.Audit:
		n /= 4
	case priority.Sync, priority.Unset:
		n--
	}
	return max(1, n)
}

// room is what one load of a level may take of them.
func (g *gateway) room(l priority.Level) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(1, g.allowed(l)*3/4)
}

// enter waits for a slot. leave must follow.
func (g *gateway) enter(ctx context.Context, l priority.Level) error {
	g.mu.Lock()
	if g.running < g.allowed(l) && !g.moreUrgent(l) {
		g.running++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting[l] = append(g.waiting[l], turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting[l] {
		if w == turn {
			g.waiting[l] = append(g.waiting[l][:i:i], g.waiting[l][i+1:]...)
			return fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "no call slot became free in time")
		}
	}
	// The slot came in the same moment: it is passed on.
	g.running--
	g.wake()
	return fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "no call slot became free in time")
}

// moreUrgent reports whether calls as urgent or more wait already.
func (g *gateway) moreUrgent(l priority.Level) bool {
	for _, other := range priority.Levels() {
		if other <= l && len(g.waiting[other]) > 0 {
			return true
		}
	}
	return false
}

// leave frees a slot and takes in what its call said about the crowd, and how long it took.
func (g *gateway) leave(crowded, served bool, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	switch {
	case crowded:
		g.limit = max(1, min(g.limit, g.long)/2)
	case took >= slowCall:
		g.limit = min(g.limit, g.long)
	case served && g.limit < g.long:
		g.limit = min(g.long, g.limit+1/g.limit)
	case served && took < quickCall:
		g.limit = min(float64(g.most), g.limit+1)
	}
	g.wake()
}

// wake starts as many as may run.
func (g *gateway) wake() {
	for _, l := range priority.Levels() {
		for len(g.waiting[l]) > 0 && g.running < g.allowed(l) {
			close(g.waiting[l][0])
			g.waiting[l] = g.waiting[l][1:]
			g.running++
		}
	}
}

// state returns the bound in force, how many calls run, and how many of each level wait.
func (g *gateway) state() (limit, running int, waiting map[priority.Level]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting = map[priority.Level]int{}
	for _, l := range priority.Levels() {
		waiting[l] = len(g.waiting[l])
	}
	return int(g.limit), g.running, waiting
}
