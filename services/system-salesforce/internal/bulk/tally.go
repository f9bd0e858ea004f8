package bulk

import (
	"cmp"
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

// tally finds the rows of one part by their keys and remembers what was said about each, in 17 bytes a row.
type tally struct {
	folder
	seed    maphash.Seed
	entries []entry // by hash; no two are equal
	marks   []mark  // by row
	// succeeded and failed are how many rows the two result files named.
	succeeded, failed int64
	foreign           int64 // rows in results that are not of this part
}

// count reads the keys of a part.
func (l *load) count(ctx context.Context, p *part) (*tally, error) {
	t := &tally{folder: folder{exact: l.spec.CaseSensitive}, entries: make([]entry, 0, p.Rows), marks: make([]mark, p.Rows)}
	for range maxTries {
		t.seed, t.entries = maphash.MakeSeed(), t.entries[:0]
		err := l.lines(ctx, p, func(row int, r *reader) error {
			t.entries = append(t.entries, entry{maphash.Bytes(t.seed, t.fold(r.values[0])), int64(row)})
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(t.entries) != p.Rows {
			return nil, fmt.Errorf("the part has %d rows instead of %d", len(t.entries), p.Rows)
		}
		slices.SortFunc(t.entries, compareEntries)
		same := func(a, b entry) bool { return a.hash == b.hash }
		if len(slices.CompactFunc(slices.Clone(t.entries), same)) == p.Rows {
			return t, nil
		}
		// Two of the keys, which differ, have one hash: another seed tells them apart.
	}
	return nil, errors.New("the keys of the part cannot be told apart")
}

// find returns the row with a key.
func (t *tally) find(key []byte) (int, bool) {
	h := maphash.Bytes(t.seed, t.fold(key))
	i, ok := slices.BinarySearchFunc(t.entries, h, func(e entry, h uint64) int { return cmp.Compare(e.hash, h) })
	if !ok {
		return 0, false
	}
	return int(t.entries[i].row), true
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
