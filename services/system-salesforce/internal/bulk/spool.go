package bulk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// lines is a file of rows without a header, cut into parts while it is written.
type lines struct {
	name string
	file *os.File
	w    *bufio.Writer
	size int64
	max  int64 // 0: any size
	cutter
}

// cutter decides where one part ends and the next begins. Rows of one parent stay together unless they alone fill a part.
type cutter struct {
	bytes   int64 // that the rows of a part may have
	rows    int
	grouped bool // rows come by parent
	parts   []*part
	parent  []byte
	group   int   // rows of the current part that come before those of the current parent
	since   int64 // where those of the current parent begin
}

func createLines(dir, name string, c cutter) (*lines, error) {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("make a file of rows: %w", err)
	}
	return &lines{name: name, file: f, w: bufio.NewWriterSize(f, 256<<10), cutter: c}, nil
}

// add appends a line.
func (l *lines) add(line, parent []byte) error {
	if l.max > 0 && l.size+int64(len(line)) > l.max {
		return fault.New(fault.Exhausted, ReasonTooLarge, "the load is larger than the %d MiB that may be kept", l.max>>20)
	}
	if _, err := l.w.Write(line); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	l.cut(l.name, l.size, int64(len(line)), parent)
	l.size += int64(len(line))
	return nil
}

// cut accounts for a line that lies at from.
func (c *cutter) cut(file string, from, size int64, parent []byte) {
	var p *part
	if n := len(c.parts); n > 0 {
		p = c.parts[n-1]
	}
	if c.grouped && (p == nil || string(parent) != string(c.parent)) {
		c.parent, c.since, c.group = append(c.parent[:0], parent...), from, 0
		if p != nil {
			c.group = p.Rows
		}
	}
	if p == nil || p.Rows >= c.rows || p.To-p.From+size > c.bytes {
		fresh := &part{File: file, From: from, To: from, Round: 1, Step: prepared}
		if c.group > 0 && c.since < from && from+size-c.since <= c.bytes {
			// The rows of this parent that are in the old part move along.
			fresh.From, fresh.Rows = c.since, p.Rows-c.group
			p.To, p.Rows = c.since, c.group
		}
		c.parts, c.group = append(c.parts, fresh), 0
		p = fresh
	}
	p.To = from + size
	p.Rows++
}

// finish ends the writing, so that the rows outlive the machine if they are durable.
func (l *lines) finish(durable bool) error {
	err := l.w.Flush()
	if durable {
		err = errors.Join(err, l.file.Sync())
	}
	if err := errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("keep rows: %w", err)
	}
	return nil
}

// abandon closes a file that is not needed any more.
func (l *lines) abandon() { _ = l.file.Close() } // after finish it is closed already

// prepare reads all rows and keeps them in files, ready to be handed over. What cannot be sent is refused here.
func (l *load) prepare(ctx context.Context, next func() (Row, error)) error {
	if next == nil {
		return errUnknown()
	}
	t, err := l.tell(toldPrepared)
	if err != nil {
		return err
	}
	defer t.drop()
	c := l.client
	ln := newLine(&l.spec)
	dedup := newKeys(filepath.Join(l.dir, "keys"), l.spec.CaseSensitive, runKeys)
	out, err := createLines(l.dir, "rows.csv", l.cutter(l.room()))
	if err != nil {
		return err
	}
	defer out.abandon()
	out.max = c.o.MaxSpool
	var sum *digest
	if l.named() {
		sum = newDigest(&l.spec)
	}
	count, narrow, err := l.take(ctx, next, ln, sum, out, dedup, t)
	if err := errors.Join(err, out.w.Flush()); err != nil {
		return errors.Join(err, dedup.close())
	}
	doubtful, err := dedup.doubtful()
	if err := errors.Join(err, dedup.close()); err != nil {
		return err
	}
	if l.spec.Parent != "" && ln.parent < 0 {
		return fault.New(fault.Invalid, ReasonSpec, "no row has the column %s by which rows are to be grouped", l.spec.Parent)
	}
	j := &journal{Spec: l.spec, Columns: ln.columns, Count: count, Digest: sum.sum(ln.columns), Parts: out.parts}
	if len(doubtful) > 0 || narrow < len(ln.columns) || ln.parent >= 0 || l.head(ln.columns) > l.room() {
		if err := l.rewrite(ctx, j, out, ln, doubtful, t); err != nil {
			return err
		}
	} else if err := out.finish(l.named()); err != nil {
		return err
	}
	if err := t.keep(); err != nil {
		return err
	}
	if err := l.save(j); err != nil {
		return err
	}
	c.o.Log.LogAttrs(ctx, slog.LevelInfo, "rows of a bulk load are prepared",
		slog.String("object", l.spec.Object), slog.Int64("rows", count.Rows), slog.Int("jobs", len(j.Parts)))
	return nil
}

// head is the size of the header.
func (l *load) head(columns []string) int64 {
	return int64(len(header(columns, l.spec.Delimiter.sign(), l.spec.LineEnding.text())))
}

// room is what a part leaves for its header while the columns are not known.
func (l *load) room() int64 {
	if len(l.spec.Columns) > 0 {
		return l.head(l.spec.Columns)
	}
	return min(64<<10, l.client.o.PartBytes/10)
}

func (l *load) cutter(room int64) cutter {
	return cutter{bytes: max(1, l.client.o.PartBytes-room), rows: l.client.o.PartRows}
}

// take writes every row that can be sent. narrow is the least number of values of a line.
func (l *load) take(ctx context.Context, next func() (Row, error), ln *line, sum *digest, out *lines, dedup *keys, t *told) (count Ledger, narrow int, err error) {
	narrow = maxColumns + 1
	sent := int64(0)
	for index := int64(0); ; index++ {
		if index%1024 == 0 && ctx.Err() != nil {
			return count, narrow, fmt.Errorf("read rows: %w", ctx.Err())
		}
		row, err := next()
		if errors.Is(err, io.EOF) {
			if sent == 0 {
				narrow = len(ln.columns)
			}
			return count, narrow, nil
		}
		if err != nil {
			return count, narrow, fmt.Errorf("read rows: %w", err)
		}
		count.Rows++
		problem := ln.set(row, l.spec.Parent)
		sum.row(ln, problem)
		if problem != nil {
			count.Refused++
			if err := l.emit(t, Outcome{Key: string(ln.key), Index: index, State: Refused, Refusal: *problem}); err != nil {
				return count, narrow, err
			}
			continue
		}
		if err := errors.Join(out.add(ln.out, nil), dedup.add(ln.key, sent)); err != nil {
			return count, narrow, err
		}
		narrow = min(narrow, len(ln.columns))
		if sent++; sent == 1 && (l.spec.Parent == "" || ln.parent >= 0) {
			l.begin(ctx)
		}
	}
}

// rewrite makes the second file: without the rows whose keys come twice, every line as wide as the header, grouped by parent.
func (l *load) rewrite(ctx context.Context, j *journal, from *lines, ln *line, doubtful map[int64]bool, t *told) error {
	twice, err := l.twice(ctx, from, doubtful)
	if err != nil {
		return err
	}
	cut := l.cutter(l.head(ln.columns))
	cut.grouped = ln.parent >= 0
	out, err := createLines(l.dir, "load.csv", cut)
	if err != nil {
		return err
	}
	defer out.abandon()
	s := &sorter{dir: l.dir}
	var buf []byte
	err = l.each(ctx, from, func(row int64, r *reader) error {
		if twice[row] {
			j.Count.Refused++
			problem := refuse(ReasonKeyDuplicate, "another row of the load has the same external id; none of them was sent", l.spec.ExternalID)
			return l.emit(t, Outcome{Key: string(r.values[0]), Index: unknownIndex, State: Refused, Refusal: *problem})
		}
		buf = append(buf[:0], r.raw...)
		for range len(ln.columns) - len(r.values) {
			buf = append(buf, ln.delim)
		}
		buf = append(buf, ln.eol...)
		if ln.parent < 0 {
			return out.add(buf, nil)
		}
		var parent []byte
		if ln.parent < len(r.values) {
			parent = r.values[ln.parent]
		}
		return s.add(parent, buf)
	})
	if err == nil && ln.parent >= 0 {
		err = s.each(func(g grouped) error { return out.add(g.line, g.parent) })
	}
	if err = errors.Join(err, from.file.Close()); err != nil {
		return err
	}
	if err := out.finish(l.named()); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(l.dir, from.name)); err != nil {
		return fmt.Errorf("drop a file of rows: %w", err)
	}
	j.Parts = out.parts
	return nil
}

// each reads the rows of a file that is being written.
func (l *load) each(ctx context.Context, from *lines, fn func(row int64, r *reader) error) error {
	r := newReader(io.NewSectionReader(from.file, 0, from.size), l.spec.Delimiter.sign())
	for row := int64(0); ; row++ {
		if row%1024 == 0 && ctx.Err() != nil {
			return fmt.Errorf("read rows again: %w", ctx.Err())
		}
		if err := r.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read rows again: %w", err)
		}
		if err := fn(row, r); err != nil {
			return err
		}
	}
}

// twice looks at the keys of the doubtful rows themselves.
func (l *load) twice(ctx context.Context, from *lines, doubtful map[int64]bool) (map[int64]bool, error) {
	out := map[int64]bool{}
	if len(doubtful) == 0 {
		return out, nil
	}
	f := folder{exact: l.spec.CaseSensitive}
	first := map[string]int64{}
	err := l.each(ctx, from, func(row int64, r *reader) error {
		if !doubtful[row] {
			return nil
		}
		key := string(f.fold(r.values[0]))
		if before, ok := first[key]; ok {
			out[before], out[row] = true, true
			return nil
		}
		first[key] = row
		return nil
	})
	return out, err
}
