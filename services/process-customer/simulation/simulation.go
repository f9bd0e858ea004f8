// Package simulation plays whole histories of the convergence in memory, deterministically: the real intake, merge and
// delivery of one or two processes over simulated time, a simulated network, and two simulated systems, Salesforce-like
// and ERP-like, while people edit in both and everything that can fail does. When all faults have ended and nothing is
// left to do, a judge who has watched the systems themselves says whether the promise was kept.
//
// The invariant: the same story gives the same history byte for byte. Nothing runs at the same time: what happens while
// a call is under way happens inside of it, because the story says so. A story that fails can therefore be shortened,
// step by step, to the few steps that matter ([Shrink]), and is read like a protocol ([Story.String]).
//
// The package does not simulate the system services and their protocols, and it knows the database only as what keeps
// its promises: transactions are real (SQLite), power failures are those of the process.
package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Story is a history to be played: what kind of world it happens in, and what happens one after the other.
type Story struct {
	// Seed is where the story comes from; it also seeds the ids that are made.
	Seed uint64
	// Late has the feeds tell records as they are when they are read, as the real ones do, instead of as they were.
	Late bool
	// Coarse has Salesforce count versions in seconds, as the real one does.
	Coarse bool
	// Skew is how far the clock of Salesforce is ahead.
	Skew time.Duration
	// Processes is how many of our processes share the database: 1 or 2.
	Processes int
	// Deletes are the systems whose deletion is final by the rules, with commas: what is deleted there is deleted everywhere.
	Deletes string
	// Steps are what happens.
	Steps []Step
}

// String returns the story as people read it.
func (s Story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d of our processes; feeds tell records as they %s; Salesforce counts %s, its clock is %s ahead\n", s.Seed, s.Processes,
		map[bool]string{true: "are when read", false: "were when changed"}[s.Late], map[bool]string{true: "seconds", false: "milliseconds"}[s.Coarse], s.Skew)
	if s.Deletes != "" {
		fmt.Fprintf(&b, "what is deleted in %s is to be deleted everywhere\n", s.Deletes)
	}
	for i, step := range s.Steps {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, step)
	}
	return b.String()
}

// Result is what became of a story.
type Result struct {
	// Rule is the broken promise in a few words, the same for stories that fail alike; empty when all were kept.
	Rule string
	// Detail says where it was broken.
	Detail string
	// History is everything that happened, line by line.
	History []byte
	// Stats count what happened.
	Stats Stats
}

// Failed reports whether a promise was broken.
func (r Result) Failed() bool { return r.Rule != "" }

// Digest returns the SHA-256 of the history in hex.
func (r Result) Digest() string {
	sum := sha256.Sum256(r.History)
	return hex.EncodeToString(sum[:])
}

// Stats count what happened in stories, so that a simulation that tests nothing is noticed.
type Stats struct {
	Stories, Steps, Calls, Writes, Deletions, Merges, Crashes, Faults, Edits, Changes int
}

// Add adds the counts of another story.
func (s *Stats) Add(o Stats) {
	s.Stories += o.Stories
	s.Steps += o.Steps
	s.Calls += o.Calls
	s.Writes += o.Writes
	s.Deletions += o.Deletions
	s.Merges += o.Merges
	s.Crashes += o.Crashes
	s.Faults += o.Faults
	s.Edits += o.Edits
	s.Changes += o.Changes
}

// String returns the counts in one line.
func (s Stats) String() string {
	return fmt.Sprintf("%d stories, %d steps, %d edits, %d changes told, %d calls, %d records written, %d deleted, %d merges, %d faults, %d crashes",
		s.Stories, s.Steps, s.Edits, s.Changes, s.Calls, s.Writes, s.Deletions, s.Merges, s.Faults, s.Crashes)
}

// Play plays a story on a stage and judges it. Bug is broken into our side; None for the product as it is. An error
// means that the stage is broken, not the story.
func Play(ctx context.Context, stage *Stage, story Story, bug Bug) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	ctx = context.WithoutCancel(ctx) // a story is over before anybody could end it, and each query would be watched by two goroutines
	w, err := open(ctx, stage, story, bug)
	if err != nil {
		return Result{}, err
	}
	return w.play(ctx), nil
}

// broken is thrown by the judge, and by whoever sees a promise broken on the way.
type broken struct{ rule, detail string }

func breach(rule, format string, args ...any) {
	panic(broken{rule, fmt.Sprintf(format, args...)})
}

// play runs everything and turns a breach into the result.
func (w *world) play(ctx context.Context) (res Result) {
	defer func() {
		if p := recover(); p != nil {
			b, ok := p.(broken)
			if !ok {
				b = broken{"the code does not panic", fmt.Sprint(p)}
			}
			res.Rule, res.Detail = b.rule, b.detail
			w.note("BROKEN: %s: %s", b.rule, b.detail)
		}
		w.stats.Stories, w.stats.Steps = 1, len(w.story.Steps)
		for _, l := range w.lines {
			w.stats.Changes += l.fake.Told()
			w.stats.Writes += l.fake.TotalWrites()
		}
		res.History, res.Stats = w.history.Bytes(), w.stats
	}()
	for i, s := range w.story.Steps {
		w.note("%d. %s", i+1, s)
		w.do(ctx, s)
		w.clock.advance(100 * time.Millisecond)
	}
	w.calm(ctx)
	w.settle(ctx)
	w.judge(ctx)
	w.epilogue(ctx)
	w.note("both systems agree")
	return Result{}
}
