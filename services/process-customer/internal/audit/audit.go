// Package audit makes the trail of what happened to records tamper-evident, and keeps personal data in it where an
// erasure can reach it.
//
// Invariants: every entry carries a hash over itself and the entry before it, and positions have no holes, so an entry
// that was changed, removed, inserted or moved breaks the chain at its place ([Walk]). The end of the chain is kept apart,
// so cutting it off shows; who wants to be safe from somebody who can rewrite the whole database notes a [Mark] elsewhere
// and has the chain compared with it. Values stand in an entry's sealed detail only, under a key per subject; the hash
// covers the sealed form, so the chain holds after the key is destroyed.
//
// Trimming removes the oldest entries and leaves the hash of the last one removed as the new beginning, and says so in the
// chain itself. The package does no I/O: it is handed entries and hands them back.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
)

// KindTrimmed is the kind of the entry that says that older ones were removed: its ChangeID is the last position removed,
// its Reason the hash of that entry.
const KindTrimmed = "trimmed"

// Entry is one thing that happened, as it is stored.
type Entry struct {
	// Position counts entries from 1 without holes.
	Position int64
	// Micros is when it happened, in microseconds since 1970.
	Micros int64
	// GoldenID, Kind … Traceparent are those of store.Event, Fields joined by commas.
	GoldenID, Kind, System, RecordID, ChangeID, Fields, Reason, Traceparent string
	// Actor is who caused it; empty for the service itself.
	Actor string
	// Detail is sealed (Seal); empty when there is none.
	Detail []byte
	// Hash is Sum of this entry; empty for one from before there was a chain.
	Hash []byte
}

// Sum returns the hash of the entry after an entry with the hash prev. Every part is preceded by its length, so nothing
// can be moved from one part to the next.
func (e *Entry) Sum(prev []byte) []byte {
	h := sha256.New()
	var n [8]byte
	number := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v)) //nolint:gosec // the bits are what counts
		h.Write(n[:])
	}
	part := func(b []byte) {
		number(int64(len(b)))
		h.Write(b)
	}
	h.Write([]byte("selfsame/audit/1"))
	part(prev)
	number(e.Position)
	number(e.Micros)
	for _, s := range []string{e.GoldenID, e.Kind, e.System, e.RecordID, e.ChangeID, e.Fields, e.Reason, e.Traceparent, e.Actor} {
		part([]byte(s))
	}
	part(e.Detail)
	return h.Sum(nil)
}

// Mark is a place in the chain: a position and the hash of the entry there.
type Mark struct {
	Position int64  `json:"p"`
	Hash     []byte `json:"h,omitempty"`
}

// String returns POSITION:HASH, as ParseMark reads it.
func (m Mark) String() string {
	return strconv.FormatInt(m.Position, 10) + ":" + hex.EncodeToString(m.Hash)
}

// Kinds of problems.
const (
	// EntryMissing: the position has no entry.
	EntryMissing = "ENTRY_MISSING"
	// EntryChanged: the entry, or the one before it, is not what was written.
	EntryChanged = "ENTRY_CHANGED"
	// EndChanged: the chain does not end with the entry that was written last.
	EndChanged = "END_CHANGED"
	// BeginningChanged: the chain begins where no trimming has left it.
	BeginningChanged = "BEGINNING_CHANGED"
	// MarkDiffers: the entry is not the one that was noted elsewhere.
	MarkDiffers = "MARK_DIFFERS"
)

// Problem is a place where the chain does not hold.
type Problem struct {
	Position int64
	Kind     string
}

// Chain is where entries are read from.
type Chain interface {
	// Head returns the end of the chain, as the last writer left it.
	Head(ctx context.Context) (Mark, error)
	// Beginning returns the mark of the entry before the first one kept.
	Beginning(ctx context.Context) (Mark, error)
	// Entries returns up to limit entries after a position, in order.
	Entries(ctx context.Context, after int64, limit int) ([]Entry, error)
}

// Cursor is how far a walk has come. The zero value is the beginning.
type Cursor struct {
	At      Mark  `json:"a"`
	Begun   bool  `json:"b"`
	Trimmed *Mark `json:"t,omitempty"` // what the newest KindTrimmed entry met says
	Checked int64 `json:"n"`
}

// Report is what a walk has found.
type Report struct {
	// Cursor is where to go on; Done is true when the end was reached.
	Cursor Cursor
	Done   bool
	// Beginning and Head are the ends of the chain.
	Beginning, Head Mark
	// Problems are in the order of positions, at most MaxProblems.
	Problems []Problem
}

// MaxProblems bounds what one walk reports.
const MaxProblems = 100

const walkPage = 1000

// Walk checks up to limit entries after from. An error is about reading; what is wrong with the chain is in the report.
// Entries may be added and trimmed meanwhile.
func Walk(ctx context.Context, c Chain, from Cursor, limit int) (Report, error) {
	w := walk{chain: c, Report: Report{Cursor: from}}
	if err := w.ends(ctx); err != nil {
		return Report{}, fmt.Errorf("verify audit: %w", err)
	}
	if !from.Begun {
		w.Cursor = Cursor{At: w.Beginning, Begun: true}
	}
	for n := 0; w.Cursor.At.Position < w.Head.Position; {
		if n >= limit || len(w.Problems) >= MaxProblems {
			return w.Report, nil
		}
		got, err := w.page(ctx)
		if err != nil {
			return Report{}, fmt.Errorf("verify audit: %w", err)
		}
		if got == 0 {
			w.problem(w.Cursor.At.Position+1, EntryMissing)
			break
		}
		n += got
	}
	w.end()
	return w.Report, nil
}

type walk struct {
	chain Chain
	Report
}

// ends reads the ends of the chain: the beginning first, so that the entry about its trimming is before the head.
func (w *walk) ends(ctx context.Context) error {
	var err error
	if w.Beginning, err = w.chain.Beginning(ctx); err != nil {
		return err
	}
	w.Head, err = w.chain.Head(ctx)
	return err
}

func (w *walk) problem(at int64, kind string) { w.Problems = append(w.Problems, Problem{at, kind}) }

// page checks the next entries up to the head and returns how many there were.
func (w *walk) page(ctx context.Context) (int, error) {
	entries, err := w.chain.Entries(ctx, w.Cursor.At.Position, walkPage)
	if err != nil {
		return 0, err
	}
	if len(entries) == 0 || entries[0].Position != w.Cursor.At.Position+1 {
		// Perhaps they were trimmed since the walk began.
		if err := w.ends(ctx); err != nil {
			return 0, err
		}
		if w.Beginning.Position > w.Cursor.At.Position {
			w.Cursor.At = w.Beginning
			return 1, nil
		}
	}
	n := 0
	for i := range entries {
		if entries[i].Position > w.Head.Position || len(w.Problems) >= MaxProblems {
			break
		}
		w.entry(&entries[i])
		n++
	}
	return n, nil
}

func (w *walk) entry(e *Entry) {
	switch {
	case e.Position != w.Cursor.At.Position+1:
		w.problem(w.Cursor.At.Position+1, EntryMissing)
	case !bytes.Equal(e.Sum(w.Cursor.At.Hash), e.Hash):
		w.problem(e.Position, EntryChanged)
	}
	if e.Kind == KindTrimmed {
		m, err := ParseMark(e.ChangeID + ":" + e.Reason)
		if err != nil {
			w.problem(e.Position, EntryChanged)
		}
		w.Cursor.Trimmed = &m
	}
	w.Cursor.At = Mark{e.Position, e.Hash}
	w.Cursor.Checked++
}

// end compares the ends of the chain with what is known of them.
func (w *walk) end() {
	w.Done = true
	if w.Cursor.At.Position >= w.Head.Position && !bytes.Equal(w.Cursor.At.Hash, w.Head.Hash) {
		w.problem(w.Head.Position, EndChanged)
	}
	// The mark of before there was a chain has no hash and was left by nobody.
	trimmed := w.Cursor.Trimmed
	if len(w.Beginning.Hash) > 0 && (trimmed == nil || !same(*trimmed, w.Beginning)) {
		w.problem(w.Beginning.Position, BeginningChanged)
	}
}

func same(a, b Mark) bool { return a.Position == b.Position && bytes.Equal(a.Hash, b.Hash) }

// Compare reports whether the entry at a mark that was noted elsewhere is still the same: false with known true when it
// is not, known false when it was trimmed and nobody can say.
func Compare(ctx context.Context, c Chain, noted Mark) (equal, known bool, err error) {
	begin, err := c.Beginning(ctx)
	if err != nil {
		return false, false, fmt.Errorf("compare audit: %w", err)
	}
	switch {
	case noted.Position < begin.Position:
		return false, false, nil
	case noted.Position == begin.Position:
		return same(noted, begin), true, nil
	}
	entries, err := c.Entries(ctx, noted.Position-1, 1)
	if err != nil {
		return false, false, fmt.Errorf("compare audit: %w", err)
	}
	return len(entries) == 1 && same(noted, Mark{entries[0].Position, entries[0].Hash}), true, nil
}

// ParseMark reads POSITION:HASH.
func ParseMark(text string) (Mark, error) {
	at, hash, ok := bytes.Cut([]byte(text), []byte(":"))
	if !ok {
		return Mark{}, fmt.Errorf("want POSITION:HASH, not %q", text)
	}
	position, err := strconv.ParseInt(string(at), 10, 64)
	if err != nil || position < 0 {
		return Mark{}, fmt.Errorf("want POSITION:HASH, not %q", text)
	}
	sum, err := hex.DecodeString(string(hash))
	if err != nil {
		return Mark{}, fmt.Errorf("want POSITION:HASH, not %q", text)
	}
	return Mark{position, sum}, nil
}
