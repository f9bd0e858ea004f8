package bulk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

const (
	// runBytes is how much is sorted in memory at once.
	runBytes = 8 << 20
	// maxRuns is how many sorted files are read side by side.
	maxRuns = 64
)

// grouped is a line and the value it is grouped by.
type grouped struct{ parent, line []byte }

func compareGroups(a, b grouped) int { return bytes.Compare(a.parent, b.parent) }

// sorter brings lines with the same parent together, with a fixed amount of memory. Lines of one parent stay in the order in
// which they came.
type sorter struct {
	dir   string
	size  int // of what is sorted in memory; 0 means runBytes
	width int // of a merge; 0 means maxRuns
	arena []byte
	index []grouped // into arena
	files []string
	made  int
}

func (s *sorter) add(parent, line []byte) error {
	if len(s.arena)+len(parent)+len(line) > orDefault(s.size, runBytes) {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.arena == nil {
		s.arena = make([]byte, 0, orDefault(s.size, runBytes)+maxRecord)
	}
	from := len(s.arena)
	s.arena = append(append(s.arena, parent...), line...)
	s.index = append(s.index, grouped{s.arena[from : from+len(parent)], s.arena[from+len(parent):]})
	return nil
}

// spill sorts what is in memory and writes it to a file.
func (s *sorter) spill() error {
	slices.SortStableFunc(s.index, compareGroups)
	w, err := s.create()
	if err != nil {
		return err
	}
	for _, g := range s.index {
		w.put(g)
	}
	if err := w.close(); err != nil {
		return err
	}
	s.arena, s.index = s.arena[:0], s.index[:0]
	if len(s.files) < orDefault(s.width, maxRuns) {
		return nil
	}
	old := s.files
	s.files = nil
	if w, err = s.create(); err != nil {
		return err
	}
	err = mergeFiles(old, func(g grouped) error { w.put(g); return nil })
	if err != nil {
		_ = w.close() // the other error says more
		return err
	}
	return w.close()
}

// each yields all lines, grouped, and removes the files.
func (s *sorter) each(yield func(grouped) error) error {
	if len(s.files) == 0 {
		slices.SortStableFunc(s.index, compareGroups)
		for _, g := range s.index {
			if err := yield(g); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	return mergeFiles(s.files, yield)
}

// run is a file of sorted lines that is written.
type run struct {
	file *os.File
	w    *bufio.Writer
	fail error
}

func (s *sorter) create() (*run, error) {
	s.made++
	path := filepath.Join(s.dir, "run-"+strconv.Itoa(s.made))
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make a file for sorting: %w", err)
	}
	s.files = append(s.files, path)
	return &run{file: f, w: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (r *run) put(g grouped) {
	var head [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(len(g.parent)))
	n += binary.PutUvarint(head[n:], uint64(len(g.line)))
	for _, b := range [][]byte{head[:n], g.parent, g.line} {
		if _, err := r.w.Write(b); err != nil && r.fail == nil {
			r.fail = fmt.Errorf("write a file for sorting: %w", err)
		}
	}
}

func (r *run) close() error {
	if err := r.w.Flush(); err != nil && r.fail == nil {
		r.fail = fmt.Errorf("write a file for sorting: %w", err)
	}
	if err := r.file.Close(); err != nil && r.fail == nil {
		r.fail = fmt.Errorf("close a file for sorting: %w", err)
	}
	return r.fail
}

// mergeFiles yields the lines of sorted files in order, and removes the files.
func mergeFiles(paths []string, yield func(grouped) error) error {
	var sources []func() (grouped, error)
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("read a file for sorting: %w", err)
		}
		defer f.Close()
		sources = append(sources, source(f))
	}
	if err := merge(sources, compareGroups, yield); err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("drop a file for sorting: %w", err)
		}
	}
	return nil
}

// source reads the lines of a file; each is valid until the next call.
func source(f io.Reader) func() (grouped, error) {
	in := bufio.NewReaderSize(f, 64<<10)
	var buf []byte
	return func() (grouped, error) {
		parent, err := binary.ReadUvarint(in)
		if err != nil {
			return grouped{}, err //nolint:wrapcheck // io.EOF is the end of the file
		}
		length, err := binary.ReadUvarint(in)
		if err != nil || parent > maxRecord || length > maxRecord {
			return grouped{}, fmt.Errorf("read a file for sorting: %w", io.ErrUnexpectedEOF)
		}
		buf = slices.Grow(buf[:0], int(parent+length))[:parent+length]
		if _, err := io.ReadFull(in, buf); err != nil {
			return grouped{}, fmt.Errorf("read a file for sorting: %w", io.ErrUnexpectedEOF)
		}
		return grouped{buf[:parent], buf[parent:]}, nil
	}
}
