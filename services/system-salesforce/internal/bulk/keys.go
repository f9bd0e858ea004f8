package bulk

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	// runKeys is how many keys are sorted in memory at once: 1 MiB.
	runKeys = 64 << 10
	// maxDoubtful is how many rows of one load may have a key that another row has as well.
	maxDoubtful = 100_000
	entryBytes  = 16
)

// folder makes keys comparable the way Salesforce compares external ids: without case unless the field says otherwise.
type folder struct {
	exact   bool
	scratch []byte
}

// fold returns what two keys have in common that are the same; valid until the next call.
func (f *folder) fold(key []byte) []byte {
	if f.exact {
		return key
	}
	f.scratch = append(f.scratch[:0], key...)
	for i, b := range f.scratch {
		switch {
		case b >= utf8.RuneSelf:
			f.scratch = append(f.scratch[:0], bytes.ToLower(key)...)
			return f.scratch
		case 'A' <= b && b <= 'Z':
			f.scratch[i] = b + 'a' - 'A'
		}
	}
	return f.scratch
}

// entry is a key and the row it stands in.
type entry struct {
	hash uint64
	row  int64
}

func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.row, b.row))
}

// keys finds the rows of a load whose keys may be the same, with a fixed amount of memory: hashes are sorted in runs that lie
// in a file.
type keys struct {
	folder
	seed maphash.Seed
	path string
	file *os.File
	run  []entry // of the capacity of all runs
	runs int
}

func newKeys(path string, exact bool, size int) *keys {
	return &keys{folder: folder{exact: exact}, seed: maphash.MakeSeed(), path: path, run: make([]entry, 0, size)}
}

func (k *keys) add(key []byte, row int64) error {
	k.run = append(k.run, entry{maphash.Bytes(k.seed, k.fold(key)), row})
	if len(k.run) < cap(k.run) {
		return nil
	}
	return k.spill()
}

func (k *keys) spill() error {
	slices.SortFunc(k.run, compareEntries)
	if k.file == nil {
		f, err := os.Create(k.path)
		if err != nil {
			return fmt.Errorf("make the file of keys: %w", err)
		}
		k.file = f
	}
	w := bufio.NewWriterSize(k.file, 64<<10)
	var b [entryBytes]byte
	for _, e := range k.run {
		binary.LittleEndian.PutUint64(b[:], e.hash)
		binary.LittleEndian.PutUint64(b[8:], uint64(e.row))
		if _, err := w.Write(b[:]); err != nil {
			return fmt.Errorf("write keys: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	k.run = k.run[:0]
	k.runs++
	return nil
}

// doubtful returns the rows whose key has the hash of another row's key.
func (k *keys) doubtful() (map[int64]bool, error) {
	slices.SortFunc(k.run, compareEntries)
	rest := k.run
	sources := []func() (entry, error){func() (entry, error) {
		if len(rest) == 0 {
			return entry{}, io.EOF
		}
		e := rest[0]
		rest = rest[1:]
		return e, nil
	}}
	size := int64(cap(k.run)) * entryBytes
	for i := range int64(k.runs) {
		in := bufio.NewReaderSize(io.NewSectionReader(k.file, i*size, size), 4<<10)
		sources = append(sources, func() (entry, error) {
			var b [entryBytes]byte
			if _, err := io.ReadFull(in, b[:]); err != nil {
				return entry{}, err //nolint:wrapcheck // io.EOF is the end of the run
			}
			return entry{binary.LittleEndian.Uint64(b[:]), int64(binary.LittleEndian.Uint64(b[8:]))}, nil
		})
	}
	found := map[int64]bool{}
	last, first := entry{}, true
	err := merge(sources, compareEntries, func(e entry) error {
		if !first && e.hash == last.hash {
			found[e.row], found[last.row] = true, true
			if len(found) > maxDoubtful {
				return fault.New(fault.Invalid, ReasonKeysDuplicate, "more than %d rows of the load have a key that another row has as well", maxDoubtful)
			}
		}
		last, first = e, false
		return nil
	})
	return found, err
}

func (k *keys) close() error {
	if k.file == nil {
		return nil
	}
	if err := k.file.Close(); err != nil {
		return fmt.Errorf("close the file of keys: %w", err)
	}
	if err := os.Remove(k.path); err != nil {
		return fmt.Errorf("drop the file of keys: %w", err)
	}
	return nil
}
