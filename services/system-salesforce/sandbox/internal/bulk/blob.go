package bulk

import (
	"errors"
	"io"
)

// blockSize is how much memory a blob grows by.
const blockSize = 256 << 10

// errTooLarge says that a blob reached its limit.
var errTooLarge = errors.New("the content is larger than allowed")

// blob is bytes that are written once, from front to back, and then read. It
// grows by whole blocks, so that growing never copies what is there: a large
// upload is in memory exactly once.
type blob struct {
	blocks [][]byte
	size   int64
	limit  int64 // 0 means none
}

// Write implements io.Writer.
func (b *blob) Write(p []byte) (int, error) {
	if b.limit > 0 && b.size+int64(len(p)) > b.limit {
		return 0, errTooLarge
	}
	n := len(p)
	for len(p) > 0 {
		last := len(b.blocks) - 1
		if last < 0 || len(b.blocks[last]) == cap(b.blocks[last]) {
			b.blocks = append(b.blocks, make([]byte, 0, blockSize))
			last++
		}
		block := b.blocks[last]
		take := min(len(p), cap(block)-len(block))
		b.blocks[last] = append(block, p[:take]...)
		p = p[take:]
	}
	b.size += int64(n)
	return n, nil
}

// WriteString appends a text.
func (b *blob) WriteString(s string) (int, error) { return b.Write([]byte(s)) }

// ReadAt implements io.ReaderAt.
func (b *blob) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < b.size {
		block := b.blocks[off/blockSize]
		c := copy(p[n:], block[off%blockSize:])
		n += c
		off += int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// section reads from one place to another.
func (b *blob) section(from, to int64) *io.SectionReader {
	return io.NewSectionReader(b, from, to-from)
}
