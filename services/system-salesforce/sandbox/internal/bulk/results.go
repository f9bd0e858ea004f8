package bulk

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// atRest waits until a job that has ended is no longer being worked on, and
// reports whether its results are there.
func (s *Service) atRest(r *http.Request, j *job) bool {
	for {
		s.mu.Lock()
		final, busy, changed := j.state.final(), j.busy, s.changed
		s.mu.Unlock()
		if !final || !busy {
			return final
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return false
		}
	}
}

// results answers with one of the three result files of an ingest job.
func (s *Service) results(c Call, j *job, which string) *Response {
	if !s.atRest(c.Request, j) {
		return problem("InvalidJobState", "The results of a job can be read when it has ended")
	}
	// Nothing of an ended job changes any more.
	switch which {
	case "successfulResults":
		return download(c, func(w *bufio.Writer) error {
			return j.report(w, "sf__Created", func(o outcome) (string, string, bool) {
				return o.id, fmt.Sprint(o.created), o.fail == nil
			})
		})
	case "failedResults":
		withID := c.Version >= "53.0"
		return download(c, func(w *bufio.Writer) error {
			return j.report(w, "sf__Error", func(o outcome) (string, string, bool) {
				if o.fail == nil {
					return "", "", false
				}
				id := o.id
				if !withID {
					id = ""
				}
				return id, rowError(o.fail), true
			})
		})
	}
	return download(c, j.unprocessed)
}

// report writes the rows that pick accepts, each after its two own columns.
func (j *job) report(w *bufio.Writer, column string, pick func(outcome) (id, text string, ok bool)) error {
	head := make([]byte, j.header.to-j.header.from)
	if _, err := j.data.ReadAt(head, j.header.from); err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	line := appendQuoted(nil, "sf__Id")
	line = appendQuoted(append(line, j.delim()), column)
	if len(head) > 0 {
		line = append(append(line, j.delim()), head...)
	}
	if _, err := w.Write(append(line, j.eol()...)); err != nil {
		return fmt.Errorf("write the header: %w", err)
	}
	var raw []byte
	again := &csvReader{delim: j.delim(), ending: j.ending, eof: true}
	for _, list := range j.results {
		for _, o := range list {
			id, text, ok := pick(o)
			if !ok {
				continue
			}
			raw = slices.Grow(raw[:0], int(o.size))[:o.size]
			if _, err := j.data.ReadAt(raw, int64(o.start)); err != nil {
				return fmt.Errorf("read a row: %w", err)
			}
			line = appendQuoted(append(appendQuoted(line[:0], id), j.delim()), text)
			line = append(again.quote(append(line, j.delim()), raw), j.eol()...)
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("write a row: %w", err)
			}
		}
	}
	return nil
}

// quote appends the values of a row, all quoted. A row that is no CSV stays as
// it was sent.
func (c *csvReader) quote(out, raw []byte) []byte {
	c.buf, c.pos, c.base = raw, 0, 0
	r, err := c.record()
	if err != nil || r.bad != "" {
		return append(out, raw...)
	}
	for i, v := range r.values {
		if i > 0 {
			out = append(out, c.delim)
		}
		out = appendQuoted(out, v)
	}
	return out
}

// unprocessed writes the rows that were never reached, as they were sent.
func (j *job) unprocessed(w *bufio.Writer) error {
	spans := j.rest
	if j.header.to > j.header.from {
		spans = append([]span{j.header}, spans...)
	}
	for _, sp := range spans {
		if sp.to <= sp.from {
			continue
		}
		last := make([]byte, 1)
		if _, err := io.Copy(w, j.data.section(sp.from, sp.to)); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
		if _, err := j.data.ReadAt(last, sp.to-1); err != nil || last[0] == '\n' {
			continue
		}
		if _, err := w.WriteString(j.eol()); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
	}
	return nil
}

// download streams a CSV file, compressed if the client accepts it.
func download(c Call, write func(w *bufio.Writer) error) *Response {
	r := &Response{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/csv"}}}
	packed := strings.Contains(c.Request.Header.Get("Accept-Encoding"), "gzip")
	if packed {
		r.Header.Set("Content-Encoding", "gzip")
		r.Header.Set("Vary", "Accept-Encoding")
	}
	r.Stream = func(w io.Writer) error {
		if !packed {
			b := bufio.NewWriterSize(w, 64<<10)
			if err := write(b); err != nil {
				return err
			}
			return b.Flush()
		}
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		b := bufio.NewWriterSize(z, 64<<10)
		if err := write(b); err != nil {
			return err
		}
		if err := b.Flush(); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		return z.Close()
	}
	return r
}
