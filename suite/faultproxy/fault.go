package faultproxy

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind is what a fault does.
type Kind string

const (
	// LoseAck lets the callee do its work and drops the answer; the caller sees UNAVAILABLE.
	LoseAck Kind = "lose_ack"
	// Down refuses calls with UNAVAILABLE and cuts those under way.
	Down Kind = "down"
	// Delay holds a call back before it is passed on.
	Delay Kind = "delay"
	// HoldAnswer lets the callee do its work and holds its answer back before it is passed on.
	HoldAnswer Kind = "hold_answer"
)

// Fault is one thing that goes wrong.
type Fault struct {
	// ID is assigned by Set.
	ID string
	// Kind says what goes wrong.
	Kind Kind
	// Method is a pattern over the full method name without its leading slash, in the sense of path.Match applied to
	// "service/method"; a pattern without a slash is about the method's own name. Empty means every method.
	Method string
	// Times is how often the fault hits before it is spent; zero means until it is cleared.
	Times int
	// Delay is how long a call, or its answer, is held back; only for Kind Delay and HoldAnswer.
	Delay time.Duration
	// Hits counts the calls the fault has hit.
	Hits int
}

// FaultError says what is wrong with a fault.
type FaultError struct {
	// Field is the JSON name of the offending field.
	Field string
	// Reason is for people.
	Reason string
}

// Error implements error.
func (e *FaultError) Error() string { return "fault: " + e.Field + ": " + e.Reason }

// check refuses a fault that could never hit or says two things.
func (f Fault) check() error {
	switch f.Kind {
	case LoseAck, Down:
		if f.Delay != 0 {
			return &FaultError{"delay_ms", "only a delay has one"}
		}
	case Delay, HoldAnswer:
		if f.Delay <= 0 {
			return &FaultError{"delay_ms", "must be positive"}
		}
	default:
		return &FaultError{"kind", fmt.Sprintf("%q is none of lose_ack, down, delay, hold_answer", string(f.Kind))}
	}
	if f.Times < 0 {
		return &FaultError{"times", "must not be negative"}
	}
	if _, err := path.Match(f.Method, ""); err != nil {
		return &FaultError{"method", "not a pattern"}
	}
	return nil
}

func (f Fault) matches(method string) bool {
	if f.Method == "" {
		return true
	}
	method = strings.TrimPrefix(method, "/")
	if !strings.Contains(f.Method, "/") {
		method = path.Base(method)
	}
	ok, _ := path.Match(f.Method, method)
	return ok
}

// board holds the active faults. The zero value has none.
type board struct {
	mu     sync.Mutex
	nextID int
	faults []Fault
}

func (b *board) set(f Fault) Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextID++
	f.ID = "f" + strconv.Itoa(b.nextID)
	f.Hits = 0
	b.faults = append(b.faults, f)
	return f
}

// take returns the oldest active fault about the method and counts the hit.
func (b *board) take(method string) (Fault, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.faults {
		f := &b.faults[i]
		if (f.Times > 0 && f.Hits >= f.Times) || !f.matches(method) {
			continue
		}
		f.Hits++
		return *f, true
	}
	return Fault{}, false
}

func (b *board) clear(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, f := range b.faults {
		if f.ID == id {
			b.faults = append(b.faults[:i:i], b.faults[i+1:]...)
			return true
		}
	}
	return false
}

func (b *board) clearAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

func (b *board) list() []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Fault(nil), b.faults...)
}

// Set makes a fault active and returns it with its id. Down also cuts the calls under way. A *FaultError is returned when
// the fault makes no sense.
func (p *Proxy) Set(f Fault) (Fault, error) {
	if err := f.check(); err != nil {
		return Fault{}, err
	}
	f = p.faults.set(f)
	if f.Kind == Down {
		p.cut(f)
	}
	return f, nil
}

// Clear ends one fault; false when there is none of that id.
func (p *Proxy) Clear(id string) bool { return p.faults.clear(id) }

// ClearAll ends every fault.
func (p *Proxy) ClearAll() { p.faults.clearAll() }

// Faults returns the faults set and not cleared, spent ones among them, with their hits.
func (p *Proxy) Faults() []Fault { return p.faults.list() }
