package evaluate

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// posting says that a record has a key.
type posting struct {
	key    uint64
	record uint32
}

const (
	// postingSize is how many bytes a posting takes in a file.
	postingSize = 12
	// runSize is how many postings are sorted in memory at once: 32 MiB of them.
	runSize = 2 << 20
)

// spill sorts more postings than fit into memory, by key and record. It holds runSize of them; the rest is in files of the
// directory, which the caller removes.
type spill struct {
	dir  string
	run  []posting
	runs []*os.File
	most int
}

func newSpill(dir string, most int) *spill { return &spill{dir: dir, most: most} }

func (s *spill) add(key uint64, record uint32) error {
	if len(s.run) == s.most {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.run = append(s.run, posting{key, record})
	return nil
}

// flush writes what is in memory as a sorted run.
func (s *spill) flush() error {
	slices.SortFunc(s.run, func(a, b posting) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.record, b.record)) })
	f, err := os.CreateTemp(s.dir, "keys")
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	w := bufio.NewWriterSize(f, 1<<16)
	var b [postingSize]byte
	for _, p := range s.run {
		binary.LittleEndian.PutUint64(b[:8], p.key)
		binary.LittleEndian.PutUint32(b[8:], p.record)
		if _, err := w.Write(b[:]); err != nil {
			return fmt.Errorf("write sorted keys: %w", err)
		}
	}
	s.run = s.run[:0]
	return w.Flush()
}

// done writes what is still in memory, and frees it.
func (s *spill) done() error {
	err := s.flush()
	s.run = nil
	return err
}

func (s *spill) close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// head is the next posting of a run.
type head struct {
	posting
	r *bufio.Reader
}

func (h *head) next() (more bool, err error) {
	var b [postingSize]byte
	if _, err := io.ReadFull(h.r, b[:]); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read sorted keys: %w", err)
	}
	h.key, h.record = binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint32(b[8:])
	return true, nil
}

// each calls fn with the records of each key, sorted; with the first most of them when there are more. The slice is valid
// until the next call. It can be called again.
func (s *spill) each(most int, fn func(records []uint32)) error {
	var heads []*head
	for _, f := range s.runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		h := &head{r: bufio.NewReaderSize(f, 1<<16)}
		if more, err := h.next(); err != nil {
			return err
		} else if more {
			heads = append(heads, h)
		}
	}
	var records []uint32
	var key uint64
	for len(heads) > 0 {
		first := 0
		for i, h := range heads {
			if c := cmp.Or(cmp.Compare(h.key, heads[first].key), cmp.Compare(h.record, heads[first].record)); c < 0 {
				first = i
			}
		}
		h := heads[first]
		if h.key != key && len(records) > 0 {
			fn(records)
			records = records[:0]
		}
		if key = h.key; len(records) < most {
			records = append(records, h.record)
		}
		more, err := h.next()
		if err != nil {
			return err
		}
		if !more {
			heads = slices.Delete(heads, first, first+1)
		}
	}
	if len(records) > 0 {
		fn(records)
	}
	return nil
}
