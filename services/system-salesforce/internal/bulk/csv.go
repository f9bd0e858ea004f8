package bulk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRecord is the longest record that is read: the vendor's 400,000 characters in four bytes each, and quotes.
const maxRecord = 4 << 20

var errCSV = errors.New("the file is not well-formed CSV")

// appendCell adds one value. It is quoted when a reader would otherwise take it for something else, and when it begins or ends
// with a blank, which some readers drop.
func appendCell(dst, value []byte, delim byte) []byte {
	if !mustQuote(value, delim) {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(value, '"')
		if i < 0 {
			break
		}
		dst = append(append(dst, value[:i]...), '"', '"')
		value = value[i+1:]
	}
	return append(append(dst, value...), '"')
}

func mustQuote(value []byte, delim byte) bool {
	if len(value) == 0 {
		return false
	}
	if blank(value[0]) || blank(value[len(value)-1]) {
		return true
	}
	for _, b := range value {
		if b == delim || b == '"' || b == '\n' || b == '\r' {
			return true
		}
	}
	return false
}

func blank(b byte) bool { return b == ' ' || b == '\t' }

// reader reads records one by one, with the memory of one record. Unlike encoding/csv it keeps line ends inside values as they
// are, and gives the bytes of a record back unchanged. Both line endings are read. Empty lines are skipped.
type reader struct {
	in    io.Reader
	delim byte

	buf      []byte
	pos, end int   // of what is unread in buf
	fail     error // what the input ended with
	raw      []byte
	values   [][]byte
	arena    []byte
}

func newReader(in io.Reader, delim byte) *reader {
	return &reader{in: in, delim: delim, buf: make([]byte, 64<<10)}
}

// next reads a record: r.raw are its bytes without the line end, r.values its values. Both are valid until the next call. The
// error is io.EOF after the last record, io.ErrUnexpectedEOF inside a quoted value, errCSV, or that of the input.
func (r *reader) next() error {
	for {
		if err := r.line(); err != nil {
			return err
		}
		if len(r.raw) > 0 {
			return r.split()
		}
	}
}

// line sets raw to the bytes up to the next line end outside quotes: one after an even number of quotes.
func (r *reader) line() error {
	from, odd := r.pos, false
	for {
		window := r.buf[from:r.end]
		i := bytes.IndexByte(window, '\n')
		if i >= 0 {
			odd = odd != (bytes.Count(window[:i], quote)%2 == 1)
			from += i + 1
			if odd {
				continue
			}
			r.raw = bytes.TrimSuffix(r.buf[r.pos:from-1], []byte{'\r'})
			r.pos = from
			return nil
		}
		odd = odd != (bytes.Count(window, quote)%2 == 1)
		seen := r.end - r.pos
		if r.fail != nil {
			return r.last(odd)
		}
		if err := r.fill(); err != nil {
			return err
		}
		from = r.pos + seen
	}
}

var quote = []byte{'"'}

// last is the record that no line end follows.
func (r *reader) last(odd bool) error {
	switch {
	case !errors.Is(r.fail, io.EOF):
		return r.fail
	case r.pos == r.end:
		return io.EOF
	case odd:
		return io.ErrUnexpectedEOF
	}
	r.raw = bytes.TrimSuffix(r.buf[r.pos:r.end], []byte{'\r'})
	r.pos = r.end
	return nil
}

// fill reads more behind what is unread.
func (r *reader) fill() error {
	if r.pos > 0 {
		copy(r.buf, r.buf[r.pos:r.end])
		r.end -= r.pos
		r.pos = 0
	}
	if r.end == len(r.buf) {
		if len(r.buf) >= maxRecord {
			return fmt.Errorf("%w: a record is longer than %d bytes", errCSV, maxRecord)
		}
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	for range 100 {
		n, err := r.in.Read(r.buf[r.end:])
		r.end += n
		r.fail = err
		if n > 0 || err != nil {
			return nil
		}
	}
	return io.ErrNoProgress
}

// split sets values to those of raw.
func (r *reader) split() error {
	r.values, r.arena = r.values[:0], r.arena[:0]
	rest := r.raw
	for {
		if len(rest) > 0 && rest[0] == '"' {
			value, after, err := r.unquote(rest[1:])
			if err != nil {
				return err
			}
			r.values = append(r.values, value)
			if len(after) == 0 {
				return nil
			}
			if after[0] != r.delim {
				return fmt.Errorf("%w: text stands behind a quoted value", errCSV)
			}
			rest = after[1:]
			continue
		}
		i := bytes.IndexByte(rest, r.delim)
		if i < 0 {
			r.values = append(r.values, rest)
			return nil
		}
		r.values = append(r.values, rest[:i])
		rest = rest[i+1:]
	}
}

// unquote returns the value up to its closing quote, and what follows.
func (r *reader) unquote(rest []byte) (value, after []byte, err error) {
	start, whole := len(r.arena), true
	for {
		i := bytes.IndexByte(rest, '"')
		switch {
		case i < 0:
			return nil, nil, fmt.Errorf("%w: a quoted value is not closed", errCSV)
		case i+1 < len(rest) && rest[i+1] == '"':
			whole = false
			r.arena = append(r.arena, rest[:i+1]...)
			rest = rest[i+2:]
		case whole:
			return rest[:i], rest[i+1:], nil
		default:
			r.arena = append(r.arena, rest[:i]...)
			return r.arena[start:len(r.arena):len(r.arena)], rest[i+1:], nil
		}
	}
}
