package bulk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Names in the folder of a client.
const (
	anonymous   = "anonymous-" // loads that cannot be gone on with
	named       = "load-"
	journalFile = "journal.json"
)

// step says how far a part has come. Each is written down before the next one begins.
type step string

const (
	prepared step = "prepared" // nothing of it was handed over
	created  step = "created"  // there is a job; whether it has the rows is not known
	uploaded step = "uploaded" // the job has all rows
	closed   step = "closed"   // Salesforce may process it
	settled  step = "settled"  // every row has an outcome or is in Again
)

// part is rows that go into one job: a piece of a file of lines.
type part struct {
	File string `json:"file"`
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Rows int    `json:"rows"`
	// Serial parts go one after the other, each small enough for one worker of the vendor.
	Serial bool   `json:"serial,omitempty"`
	Round  int    `json:"round"`
	Step   step   `json:"step"`
	Job    string `json:"job,omitempty"`
	Tries  int    `json:"tries,omitempty"` // jobs that were made for it
	Count  Ledger `json:"count"`
	// Again are the parts made of the rows that are to be sent again.
	Again []*part `json:"again,omitempty"`

	tally *tally
}

// journal is what is known of a load whose rows have all been read.
type journal struct {
	Spec    Spec     `json:"spec"`
	Columns []string `json:"columns"`
	// Count holds what was settled before anything was sent: the rows that were read, and those refused.
	Count Ledger `json:"count"`
	// Digest tells the rows that were read from others; empty in journals of older versions.
	Digest string `json:"digest,omitempty"`
	// Counted is what the metrics have been told.
	Counted Ledger  `json:"counted,omitzero"`
	Parts   []*part `json:"parts"`
}

// all calls fn for every part, also those of later rounds.
func (j *journal) all(fn func(*part)) {
	var walk func(parts []*part)
	walk = func(parts []*part) {
		for _, p := range parts {
			fn(p)
			walk(p.Again)
		}
	}
	walk(j.Parts)
}

// open returns the parts of the earliest round that has parts which are not settled.
func (j *journal) open() []*part {
	var out []*part
	j.all(func(p *part) {
		switch {
		case p.Step == settled, len(out) > 0 && p.Round > out[0].Round:
		case len(out) > 0 && p.Round < out[0].Round:
			out = []*part{p}
		default:
			out = append(out, p)
		}
	})
	return out
}

// ledger adds up what is settled.
func (j *journal) ledger() Ledger {
	sum := j.Count
	j.all(func(p *part) {
		sum.add(p.Count)
		sum.Rounds = max(sum.Rounds, p.Round)
	})
	return sum
}

func (c *Client) folder(load string) string {
	sum := sha256.Sum256([]byte(load))
	return filepath.Join(c.o.Dir, named+hex.EncodeToString(sum[:16]))
}

// read returns the journal in a folder, nil if there is none.
func read(dir string) (*journal, error) {
	data, err := os.ReadFile(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a load that has not been prepared has none
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of a load: %w", err)
	}
	j := &journal{}
	if err := json.Unmarshal(data, j); err != nil {
		return nil, fmt.Errorf("read the journal of a load: %w", err)
	}
	return j, nil
}

// write replaces the journal in a folder, durably and at once: a crash leaves the old one or the new one.
func (j *journal) write(dir string) error {
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("write the journal of a load: %w", err)
	}
	path := filepath.Join(dir, journalFile)
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("write the journal of a load: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the journal of a load: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it was doing
	}
	return errors.Join(d.Sync(), d.Close())
}

func (c *Client) isRunning(dir string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[dir] != nil
}

func errUnknown() error {
	return fault.New(fault.NotFound, ReasonUnknown, "there is no unfinished load of this name")
}
