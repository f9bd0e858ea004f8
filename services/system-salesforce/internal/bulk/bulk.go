// Package bulk moves many records at once through the Bulk API 2.0, by loads that are upserts by external id.
//
// The problem: a load is a conversation of many steps with a server that works on its own, answers out of order, fails single
// rows, never reaches others, and may lose any answer; meanwhile the process may die. The invariants: every row of a load ends
// with exactly one outcome, and the ledger proves it; a row is found in the results by its business key, never by its place;
// what has not certainly been handed over is aborted before it is handed over again; a job whose load ended early is aborted, so
// that it cannot write old values over newer ones; memory does not grow with the number of
// rows. A load is kept in a folder, rows first, then each step before the next one: a process that comes after a crash goes on
// with the same jobs.
//
// It does not decide when a load is worth a job, it does not know what the columns mean, and it creates nothing without an
// external id: sending a row again finds its own record.
package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// API sends calls to Salesforce. *rest.Client is one.
type API interface {
	Exchange(ctx context.Context, x rest.Exchange) (*http.Response, error)
}

// Defaults and limits; the sizes are the vendor's.
const (
	maxPartBytes    = 100_000_000 // 150 MB once it is in base64
	defaultPartRows = 250_000
	// serialRows is the size of one batch inside a job: a job of no more rows is processed by one worker.
	serialRows      = 10_000
	defaultJobs     = 2
	defaultRounds   = 5
	defaultPatience = time.Hour
	defaultEnding   = 20 * time.Second
	defaultSpool    = 16 << 30
	maxTries        = 5
)

// Options configure a Client. API and Dir are required.
type Options struct {
	API API
	// Dir is a folder of this client alone, where loads are kept while they run. It is made if it does not exist.
	Dir string
	// Poll says how often the state of a job is asked; each time is an API call. Zero means from 20 ms growing by 1.6 to 60 s:
	// small jobs are not waited for long, and a job of an hour takes some eighty calls.
	Poll retry.Backoff
	// Retry says how long to wait before a step is tried again that found Salesforce unavailable. Zero means 1 s to 30 s.
	Retry retry.Backoff
	// PartBytes and PartRows bound what one job carries, in bytes of CSV with its header and in rows; 0 means 100,000,000 and 250,000. PartRows is
	// at most a million.
	PartBytes int64
	PartRows  int
	// Jobs is how many jobs of a load may run at once; 0 means 2.
	Jobs int
	// Rounds is how often a row may be sent in all; 0 means 5.
	Rounds int
	// Patience is how long one step is tried while Salesforce is unavailable or the allowance is used up; 0 means an hour.
	Patience time.Duration
	// Ending is how long the jobs of an unnamed load that ends early are waited for, once they are aborted; 0 means 20 s.
	Ending time.Duration
	// MaxSpool bounds the bytes that one load may keep in Dir, before sorting; 0 means 16 GiB.
	MaxSpool int64
	// Compress uploads with gzip.
	Compress bool
	// Meter counts rows and jobs; nil counts nothing.
	Meter metric.MeterProvider
	// Log gets what was coped with; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Poll.Min == 0 && o.Poll.Max == 0 {
		o.Poll = retry.Backoff{Min: 20 * time.Millisecond, Max: time.Minute, Factor: 1.6, Jitter: 0.2}
	}
	if o.Retry.Min == 0 && o.Retry.Max == 0 {
		o.Retry = retry.Backoff{Min: time.Second, Max: 30 * time.Second, Jitter: 0.5}
	}
	if o.PartBytes <= 0 || o.PartBytes > maxPartBytes {
		o.PartBytes = maxPartBytes
	}
	o.PartRows = min(orDefault(o.PartRows, defaultPartRows), rowMask)
	o.Jobs = orDefault(o.Jobs, defaultJobs)
	o.Rounds = orDefault(o.Rounds, defaultRounds)
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Ending <= 0 {
		o.Ending = defaultEnding
	}
	if o.MaxSpool <= 0 {
		o.MaxSpool = defaultSpool
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

// Client loads. Create it with New; it is safe for concurrent use.
type Client struct {
	o     Options
	meter *meter

	user  atomic.Pointer[string]
	crash func() error // of tests: called before and after each journal is written

	mu      sync.Mutex
	running map[string]*load // by folder
}

// New returns a client and drops the rows that loads without an identity left behind in Dir; EndLeftovers ends their jobs. It makes
// no call. Dir must be of this process alone: see Claim.
func New(o Options) (*Client, error) {
	if o.API == nil || o.Dir == "" {
		return nil, errors.New("bulk: API and Dir are required")
	}
	o = o.withDefaults()
	m, err := newMeter(o.Meter)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of bulk loads: %w", err)
	}
	c := &Client{o: o, meter: m, running: map[string]*load{}}
	dirs, err := c.leftovers()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := shed(dir); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// LineEnding is how the lines of a file end; the zero value is LF.
type LineEnding string

// The line endings of the Bulk API.
const (
	LF   LineEnding = "LF"
	CRLF LineEnding = "CRLF"
)

func (e LineEnding) text() string {
	if e == CRLF {
		return "\r\n"
	}
	return "\n"
}

// Delimiter is what stands between values; the zero value is a comma.
type Delimiter string

// The delimiters of the Bulk API.
const (
	Comma     Delimiter = "COMMA"
	Semicolon Delimiter = "SEMICOLON"
	Pipe      Delimiter = "PIPE"
	Tab       Delimiter = "TAB"
	Caret     Delimiter = "CARET"
	Backquote Delimiter = "BACKQUOTE"
)

// sign is the character; 0 if there is no such delimiter.
func (d Delimiter) sign() byte {
	switch d {
	case Comma:
		return ','
	case Semicolon:
		return ';'
	case Pipe:
		return '|'
	case Tab:
		return '\t'
	case Caret:
		return '^'
	case Backquote:
		return '`'
	}
	return 0
}
