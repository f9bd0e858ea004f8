package bulk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
)

// mark is what the results of a job said about a row.
type mark uint8

const (
	unseen      mark = iota
	done             // it has its outcome
	again            // it failed and is to be sent once more
	alone            // so too, by one worker at a time
	unprocessed      // the job did not reach it
)

// tally finds the rows of one part by their keys and remembers what was said about each, in nine bytes a row.
type tally struct {
	folder
	seed maphash.Seed
	// places are the hashes of the keys with the row in the last rowBits, in order; no two hashes are equal.
	places []uint64
	marks  []mark // by row
	// succeeded and failed are how many rows the two result files named.
	succeeded, failed int64
	foreign           int64 // rows in results that are not of this part
}

const (
	rowBits = 20 // a part has at most so many rows
	rowMask = 1<<rowBits - 1
)

// count reads the keys of a part.
func (l *load) count(ctx context.Context, p *part) (*tally, error) {
	t := &tally{folder: folder{exact: l.spec.CaseSensitive}, places: make([]uint64, 0, p.Rows), marks: make([]mark, p.Rows)}
	// The 44 bits of two of a million keys, which differ, may be the same; then another seed tells them apart.
	for range 4 * maxTries {
		t.seed, t.places = maphash.MakeSeed(), t.places[:0]
		err := l.lines(ctx, p, func(row int, r *reader) error {
			t.places = append(t.places, t.hash(r.values[0])|uint64(row))
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(t.places) != p.Rows {
			return nil, fmt.Errorf("the part has %d rows instead of %d", len(t.places), p.Rows)
		}
		slices.Sort(t.places)
		if t.distinct() {
			return t, nil
		}
	}
	return nil, errors.New("the keys of the part cannot be told apart")
}

// smallPart is how many rows a part may have whose keys are counted before its turn: their tally takes half a megabyte.
const smallPart = 50_000

// counting counts the keys of a small part while its job is waited for. The function returns the tally, or nil if it is to be
// counted later; it must be called.
func (l *load) counting(ctx context.Context, p *part) func() *tally {
	if p.Rows > smallPart {
		return func() *tally { return nil }
	}
	out := make(chan *tally, 1)
	go func() {
		t, err := l.count(ctx, p)
		if err != nil {
			t = nil // it will fail again, where somebody hears of it
		}
		out <- t
	}()
	return func() *tally { return <-out }
}

func (t *tally) hash(key []byte) uint64 { return maphash.Bytes(t.seed, t.fold(key)) &^ rowMask }

func (t *tally) distinct() bool {
	for i := 1; i < len(t.places); i++ {
		if t.places[i]&^rowMask == t.places[i-1]&^rowMask {
			return false
		}
	}
	return true
}

// find returns the row with a key.
func (t *tally) find(key []byte) (int, bool) {
	h := t.hash(key)
	i, _ := slices.BinarySearch(t.places, h)
	if i == len(t.places) || t.places[i]&^rowMask != h {
		return 0, false
	}
	return int(t.places[i] & rowMask), true
}

// see marks the row with a key and reports whether it had no mark before.
func (t *tally) see(key []byte, m mark) bool {
	row, ok := t.find(key)
	switch {
	case !ok:
		t.foreign++
		return false
	case t.marks[row] != unseen:
		return false // from a result file that is read once more
	}
	t.marks[row] = m
	return true
}

// has reports whether a row has one of some marks.
func (t *tally) has(marks ...mark) bool {
	return slices.ContainsFunc(t.marks, func(m mark) bool { return slices.Contains(marks, m) })
}

// complete reports whether the results named as many rows as the job says it processed.
func (t *tally) complete(j jobInfo) bool {
	return t.succeeded == j.Processed-j.Failed && t.failed == j.Failed
}

// lines reads the rows of a part.
func (l *load) lines(ctx context.Context, p *part, fn func(row int, r *reader) error) error {
	in, err := openPart(l.dir, nil, p)
	if err != nil {
		return err
	}
	defer in.Close()
	r := newReader(in, l.spec.Delimiter.sign())
	for row := 0; ; row++ {
		if row%1024 == 0 && ctx.Err() != nil {
			return fmt.Errorf("read the rows of a load: %w", ctx.Err())
		}
		if err := r.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the rows of a load: %w", err)
		}
		if err := fn(row, r); err != nil {
			return err
		}
	}
}
