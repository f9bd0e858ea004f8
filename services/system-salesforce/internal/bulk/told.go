package bulk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// told is a file of outcomes that were reported. A process that goes on with a load reports them once more, for whoever heard them
// may be gone as well. The file of a part counts only once the journal says that the part is settled. A nil told keeps nothing.
type told struct {
	file *os.File
	w    *bufio.Writer
	line []byte
}

const toldPrepared = "told.csv" // of rows that were refused as they were read

// file is where the outcomes of the part are kept.
func (p *part) told() string { return "told-" + strconv.FormatInt(p.From, 10) + "-" + p.File }

// tell opens the file for outcomes; nil for a load that nobody goes on with.
func (l *load) tell(name string) (*told, error) {
	if !l.named() {
		return nil, nil //nolint:nilnil // says what it means
	}
	f, err := os.Create(filepath.Join(l.dir, name))
	if err != nil {
		return nil, fmt.Errorf("make a file of outcomes: %w", err)
	}
	return &told{file: f, w: bufio.NewWriterSize(f, 32<<10)}, nil
}

func (t *told) put(o Outcome) error {
	if t == nil {
		return nil
	}
	t.line = appendCell(t.line[:0], []byte(o.Key), ',')
	t.line = strconv.AppendInt(append(t.line, ','), o.Index, 10)
	t.line = strconv.AppendUint(append(t.line, ','), uint64(o.State), 10)
	t.line = appendCell(append(t.line, ','), []byte(o.ID), ',')
	t.line = strconv.AppendBool(append(t.line, ','), o.Created)
	t.line = strconv.AppendInt(append(t.line, ','), int64(o.Round), 10)
	t.line = append(t.line, ',')
	if o.State != Succeeded {
		why, err := json.Marshal(o.Refusal)
		if err != nil {
			return fmt.Errorf("keep an outcome: %w", err)
		}
		t.line = appendCell(t.line, why, ',')
	}
	if _, err := t.w.Write(append(t.line, '\n')); err != nil {
		return fmt.Errorf("keep an outcome: %w", err)
	}
	return nil
}

// keep makes the outcomes durable.
func (t *told) keep() error {
	if t == nil {
		return nil
	}
	if err := errors.Join(t.w.Flush(), t.file.Sync(), t.file.Close()); err != nil {
		return fmt.Errorf("keep outcomes: %w", err)
	}
	return nil
}

// drop closes the file; after keep it does nothing.
func (t *told) drop() {
	if t != nil {
		_ = t.file.Close() // its content does not count
	}
}

// retell reports every outcome that an earlier process reported and wrote down.
func (l *load) retell(ctx context.Context) error {
	names := []string{toldPrepared}
	l.j.all(func(p *part) {
		if p.Step == settled {
			names = append(names, p.told())
		}
	})
	for _, name := range names {
		if err := l.retellFile(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) retellFile(ctx context.Context, name string) error {
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return fmt.Errorf("read outcomes: %w", err)
	}
	defer f.Close()
	for r := newReader(f, ','); ; {
		err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read outcomes: %w", err)
		case ctx.Err() != nil:
			return fmt.Errorf("read outcomes: %w", ctx.Err())
		}
		o, err := outcomeOf(texts(r.values))
		if err != nil {
			return fmt.Errorf("read outcomes: %w", err)
		}
		if err := l.emit(nil, o); err != nil {
			return err
		}
	}
}

func outcomeOf(v []string) (Outcome, error) {
	if len(v) != 7 {
		return Outcome{}, errCSV
	}
	index, err1 := strconv.ParseInt(v[1], 10, 64)
	state, err2 := strconv.ParseUint(v[2], 10, 8)
	created, err3 := strconv.ParseBool(v[4])
	round, err4 := strconv.Atoi(v[5])
	o := Outcome{Key: v[0], Index: index, State: State(state), ID: v[3], Created: created, Round: round}
	var err5 error
	if v[6] != "" {
		err5 = json.Unmarshal([]byte(v[6]), &o.Refusal)
	}
	return o, errors.Join(err1, err2, err3, err4, err5)
}

func texts(values [][]byte) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
