package bulk

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// Limits of one CSV record, as documented.
const (
	maxCSVField = 32_000  // characters
	maxCSVRow   = 400_000 // characters
	maxColumns  = 5_000
)

// Errors that make a whole file unusable.
var (
	errLineEnding = errors.New("the line ending is not the declared one")
	errOpenQuote  = errors.New("a quoted value is not closed before the end of the data")
)

// row is one record of a CSV file. Its values are valid until the next one is
// read.
type row struct {
	// start and end are where the record lies in the data, without its line
	// ending.
	start, end int64
	values     [][]byte
	// bad says why the record cannot be used, or is empty. A bad record does
	// not keep the following ones from being read.
	bad string
}

// csvReader reads records one by one with little memory. It follows the rules
// of the bulk API: one declared delimiter, one declared line ending, quotes
// doubled inside quotes, nothing trimmed. The zero ending accepts both.
type csvReader struct {
	in    io.Reader
	delim byte
	// ending is "LF", "CRLF", or empty for either.
	ending string

	buf      []byte
	pos      int
	base     int64 // offset of buf[0]
	eof      bool
	fail     error
	arena    []byte
	ends     []int
	quoted   bool
	complain string
	values   [][]byte
}

func newCSV(in io.Reader, from int64, delim byte, ending string) *csvReader {
	return &csvReader{in: in, delim: delim, ending: ending, base: from, buf: make([]byte, 0, 64<<10)}
}

// fill replaces the buffer, which was used up.
func (c *csvReader) fill() bool {
	if c.eof { // also of a reader whose buffer was set from outside
		return false
	}
	c.base += int64(len(c.buf))
	c.pos = 0
	n, err := io.ReadFull(c.in, c.buf[:cap(c.buf)])
	c.buf = c.buf[:n]
	if err != nil {
		c.eof = true
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			c.fail = err
		}
	}
	return n > 0
}

// peek returns the next byte; ok is false at the end.
func (c *csvReader) peek() (b byte, ok bool) {
	if c.pos == len(c.buf) && !c.fill() {
		return 0, false
	}
	return c.buf[c.pos], true
}

func (c *csvReader) offset() int64 { return c.base + int64(c.pos) }

// read returns the next record, io.EOF after the last, or an error that makes
// the rest unreadable. Empty lines are skipped.
func (c *csvReader) read() (row, error) {
	for {
		r, err := c.record()
		if err != nil {
			return r, err
		}
		if r.start < r.end {
			return r, nil
		}
	}
}

func (c *csvReader) record() (row, error) {
	c.arena, c.ends, c.complain = c.arena[:0], c.ends[:0], ""
	if _, ok := c.peek(); !ok {
		if c.fail != nil {
			return row{}, c.fail
		}
		return row{}, io.EOF
	}
	r := row{start: c.offset()}
	for {
		more, end, err := c.value()
		if err != nil {
			return r, err
		}
		c.ends = append(c.ends, len(c.arena))
		if len(c.ends) > maxColumns {
			c.bad("the record has more than 5,000 fields")
			c.ends, c.arena = c.ends[:0], c.arena[:0]
		}
		if !more {
			r.end = end
			break
		}
	}
	c.values = c.values[:0]
	start := 0
	for _, e := range c.ends {
		v := c.arena[start:e:e]
		if len(v) > maxCSVField && utf8.RuneCount(v) > maxCSVField {
			c.bad("a value has more than 32,000 characters")
		}
		c.values = append(c.values, v)
		start = e
	}
	switch {
	case len(c.arena) > maxCSVRow && utf8.RuneCount(c.arena) > maxCSVRow:
		c.bad("the record has more than 400,000 characters")
	case !utf8.Valid(c.arena):
		c.bad("the record is not UTF-8")
	}
	r.values, r.bad = c.values, c.complain
	return r, nil
}

func (c *csvReader) bad(why string) {
	if c.complain == "" {
		c.complain = why
	}
}

// value reads one value into the arena. more is true if another one follows in
// the record; otherwise end is where the record ends.
func (c *csvReader) value() (more bool, end int64, err error) {
	b, ok := c.peek()
	if ok && b == '"' {
		c.pos++
		if err := c.inQuotes(); err != nil {
			return false, 0, err
		}
		c.quoted = true
	} else {
		c.quoted = false
	}
	return c.bare()
}

// bare reads what is not quoted up to a delimiter or line ending. After a
// quoted value nothing may stand there.
func (c *csvReader) bare() (more bool, end int64, err error) {
	for {
		if c.pos == len(c.buf) && !c.fill() {
			return false, c.offset(), c.fail
		}
		rest := c.buf[c.pos:]
		n := 0
		for n < len(rest) && rest[n] != c.delim && rest[n] != '\n' && rest[n] != '\r' && rest[n] != '"' {
			n++
		}
		c.text(rest[:n])
		c.pos += n
		if n == len(rest) {
			continue
		}
		at := c.offset()
		c.pos++
		switch rest[n] {
		case c.delim:
			return true, 0, nil
		case '\n':
			if c.ending == "CRLF" {
				return false, at, errLineEnding
			}
			return false, at, nil
		case '\r':
			if next, ok := c.peek(); ok && next == '\n' {
				c.pos++
				if c.ending == "LF" {
					return false, at, errLineEnding
				}
				return false, at, nil
			}
			c.text([]byte{'\r'})
		case '"':
			// After a quote or in the middle of a bare value: what follows may
			// hold delimiters and line ends, so it is read as quoted to find
			// the end of the record.
			c.bad("a quote stands where none may stand")
			if err := c.inQuotes(); err != nil {
				return false, 0, err
			}
		}
	}
}

func (c *csvReader) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if c.quoted {
		c.bad("text stands next to a quote")
	}
	c.arena = append(c.arena, b...)
}

// inQuotes reads up to and with the closing quote.
func (c *csvReader) inQuotes() error {
	for {
		if c.pos == len(c.buf) && !c.fill() {
			if c.fail != nil {
				return c.fail
			}
			return errOpenQuote
		}
		rest := c.buf[c.pos:]
		n := bytes.IndexByte(rest, '"')
		if n < 0 {
			c.arena = append(c.arena, rest...)
			c.pos = len(c.buf)
			continue
		}
		c.arena = append(c.arena, rest[:n]...)
		c.pos += n + 1
		if next, ok := c.peek(); !ok || next != '"' {
			return nil
		}
		c.pos++
		c.arena = append(c.arena, '"')
	}
}

// appendQuoted appends one value of a result file.
func appendQuoted[T string | []byte](b []byte, v T) []byte {
	b = append(b, '"')
	for i := range len(v) {
		if v[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, v[i])
	}
	return append(b, '"')
}
