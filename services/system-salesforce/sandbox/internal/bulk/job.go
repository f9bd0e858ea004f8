package bulk

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The kinds of job, by their names on the wire.
const (
	ingestJob = "V2Ingest"
	queryJob  = "V2Query"
	classic   = "Classic"
)

type state string

// The states of a job. Closed belongs to Bulk API 1.0 only.
const (
	open           state = "Open"
	closed         state = "Closed"
	uploadComplete state = "UploadComplete"
	inProgress     state = "InProgress"
	jobComplete    state = "JobComplete"
	failed         state = "Failed"
	aborted        state = "Aborted"
)

func (s state) final() bool { return s == jobComplete || s == failed || s == aborted }

// delimiter is the character between values, by its name on the wire; 0 if
// there is none of that name.
func delimiter(name string) byte {
	switch name {
	case "COMMA":
		return ','
	case "SEMICOLON":
		return ';'
	case "PIPE":
		return '|'
	case "TAB":
		return '\t'
	case "CARET":
		return '^'
	case "BACKQUOTE":
		return '`'
	}
	return 0
}

// job is one job of any kind. What is set when it is made never changes; the
// rest is guarded by the lock of the service.
type job struct {
	id         string
	kind       string
	operation  string
	object     *schema.Object
	external   *schema.Field
	assignment string
	version    string
	user       string
	hidden     func(id string) bool // from the user, as it was when the job was made
	fields     schema.Rights
	mute       func(o *schema.Object) bool
	delimiter  string
	ending     string
	created    time.Time

	client    string
	state     state
	message   string
	stamp     time.Time
	started   time.Time
	uploading bool
	// busy is set while the job is being processed.
	busy      bool
	data      *blob
	processed int64
	failed    int64
	retries   int
	active    time.Duration
	apex      time.Duration

	// Of ingest jobs.
	header  span
	body    int64 // where the rows begin
	results [][]outcome
	rest    []span

	// Of query jobs.
	soql    string
	deleted bool
	plan    *query.Plan
	chunks  bool
	file    *blob
	lines   []uint32

	// Of Bulk API 1.0.
	serial      bool
	contentType string
	batches     []*classicBatch
}

// outcome is what became of one row. fail is nil for a success.
type outcome struct {
	id          string
	fail        *store.Error
	start, size uint32
	created     bool
}

// span is a part of the data that was not processed.
type span struct{ from, to int64 }

// enter changes the state.
func (j *job) enter(to state, now time.Time) {
	j.state, j.stamp = to, now
	if to == inProgress {
		j.started = now
	}
}

// running reports whether rows of the job may be processed.
func (j *job) running() bool {
	if j.kind == classic {
		return j.state == open || j.state == closed
	}
	return j.state == inProgress
}

func (j *job) delim() byte { return delimiter(j.delimiter) }

func (j *job) eol() string {
	if j.ending == "CRLF" {
		return "\r\n"
	}
	return "\n"
}

// origin is the change origin of what the job writes.
func (j *job) origin() string {
	o := "com/salesforce/api/bulkapi/" + j.version
	if j.client != "" {
		o += ";client=" + j.client
	}
	return o
}

// wishes are what the job asks for besides its rows. Unlike elsewhere,
// assignment rules run only if one is named.
func (j *job) wishes() store.Wishes {
	rule := j.assignment
	if id, ok := sfid.Normal(rule); ok {
		rule = id
	}
	return store.Wishes{Assign: rule, Version: j.version}
}

// info is the wire form of a Bulk API 2.0 job.
type info struct {
	ID          string      `json:"id"`
	Operation   string      `json:"operation"`
	Object      string      `json:"object"`
	CreatedBy   string      `json:"createdById"`
	Created     string      `json:"createdDate"`
	Modstamp    string      `json:"systemModstamp"`
	State       state       `json:"state"`
	External    string      `json:"externalIdFieldName,omitempty"`
	Assignment  string      `json:"assignmentRuleId,omitempty"`
	Concurrency string      `json:"concurrencyMode"`
	ContentType string      `json:"contentType"`
	Version     json.Number `json:"apiVersion"`
	Kind        string      `json:"jobType"`
	ContentURL  string      `json:"contentUrl,omitempty"`
	Ending      string      `json:"lineEnding,omitempty"`
	Delimiter   string      `json:"columnDelimiter,omitempty"`
	*progress
}

// progress is what only the status of one job shows.
type progress struct {
	Processed int64  `json:"numberRecordsProcessed"`
	Failed    *int64 `json:"numberRecordsFailed,omitempty"`
	Retries   int    `json:"retries"`
	Total     int64  `json:"totalProcessingTime"`
	Active    *int64 `json:"apiActiveProcessingTime,omitempty"`
	Apex      *int64 `json:"apexProcessingTime,omitempty"`
	Message   string `json:"errorMessage,omitempty"`
	Chunking  *bool  `json:"isPkChunkingSupported,omitempty"`
}

// info describes the job. The lock of the service is held.
func (j *job) info(whole bool) info {
	i := info{
		ID: j.id, Operation: j.operation, Object: j.object.Name, CreatedBy: j.user, Created: wireTime(j.created), Modstamp: wireTime(j.stamp),
		State: j.state, Assignment: j.assignment, Concurrency: "Parallel", ContentType: "CSV", Version: json.Number(j.version),
		Kind: j.kind, Ending: j.ending, Delimiter: j.delimiter,
	}
	if j.kind == classic {
		i.ContentType = j.contentType
		if j.serial {
			i.Concurrency = "Serial"
		}
	}
	if j.external != nil {
		i.External = j.external.Name
	}
	if j.kind == ingestJob && j.state == open {
		i.ContentURL = fmt.Sprintf("services/data/v%s/jobs/ingest/%s/batches", j.version, j.id)
	}
	if !whole {
		return i
	}
	i.progress = &progress{Processed: j.processed, Retries: j.retries, Total: j.total().Milliseconds(), Message: j.message}
	if j.kind == queryJob {
		i.Chunking = &j.chunks
		return i
	}
	active, apex, lost := j.active.Milliseconds(), j.apex.Milliseconds(), j.failed
	i.Active, i.Apex, i.Failed = &active, &apex, &lost
	return i
}

// total is how long the job was or is being processed. The lock of the service
// is held.
func (j *job) total() time.Duration {
	if j.started.IsZero() {
		return 0
	}
	return max(0, j.stamp.Sub(j.started)) + j.apex
}

func wireTime(t time.Time) string { return t.UTC().Format(render.TimeForm) }
