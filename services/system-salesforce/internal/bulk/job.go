package bulk

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// jobState is the state of a job by its name on the wire.
type jobState string

const (
	stateOpen           jobState = "Open"
	stateUploadComplete jobState = "UploadComplete"
	stateInProgress     jobState = "InProgress"
	stateComplete       jobState = "JobComplete"
	stateFailed         jobState = "Failed"
	stateAborted        jobState = "Aborted"
)

func (s jobState) final() bool { return s == stateComplete || s == stateFailed || s == stateAborted }

// jobInfo is what Salesforce says about a job.
type jobInfo struct {
	ID        string   `json:"id"`
	State     jobState `json:"state"`
	Object    string   `json:"object"`
	Operation string   `json:"operation"`
	CreatedBy string   `json:"createdById"`
	Created   string   `json:"createdDate"`
	Processed int64    `json:"numberRecordsProcessed"`
	Failed    int64    `json:"numberRecordsFailed"`
	Message   string   `json:"errorMessage"`
}

// maxAnswer bounds the description of a job, and a page of a list of jobs.
const maxAnswer = 8 << 20

const ingestPath = "jobs/ingest"

// ask makes a call that has a small JSON body or none, and a small JSON answer.
func (c *Client) ask(ctx context.Context, x rest.Exchange, in, out any) error {
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		x.Body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		x.ContentType = "application/json; charset=UTF-8"
	}
	resp, err := c.o.API.Exchange(ctx, x)
	if err != nil {
		return err //nolint:wrapcheck // a fault already
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return broken(ctx, err, x.Write)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		e := fault.New(fault.Unavailable, rest.ReasonAnswerInvalid, "the answer of Salesforce cannot be read")
		if x.Write {
			e = fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "the answer of Salesforce cannot be read")
		}
		return e
	}
	return nil
}

// broken classifies the failure of reading an answer that had begun.
func broken(ctx context.Context, err error, write bool) error {
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(fault.Canceled, fault.ReasonCanceled, err, "the call was cancelled")
	case ctx.Err() != nil:
		return fault.Wrap(fault.Timeout, fault.ReasonTimeout, err, "Salesforce did not answer in time")
	case write:
		return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the answer of Salesforce broke off")
	}
	return fault.Wrap(fault.Unavailable, rest.ReasonUnavailable, err, "the answer of Salesforce broke off")
}

// create makes a job that waits for its rows.
func (c *Client) create(ctx context.Context, s *Spec) (jobInfo, error) {
	in := map[string]string{
		"object": s.Object, "operation": "upsert", "externalIdFieldName": s.ExternalID, "contentType": "CSV",
		"lineEnding": string(s.LineEnding), "columnDelimiter": string(s.Delimiter),
	}
	if s.AssignmentRule != "" {
		in["assignmentRuleId"] = s.AssignmentRule
	}
	var j jobInfo
	err := c.ask(ctx, rest.Exchange{Method: http.MethodPost, Path: ingestPath, Write: true}, in, &j)
	if err == nil && j.ID == "" {
		err = fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "Salesforce made a job without an id")
	}
	if err == nil {
		c.user.Store(&j.CreatedBy)
	}
	return j, err
}

// upload sends the rows of a part.
func (c *Client) upload(ctx context.Context, dir string, head []byte, p *part) error {
	x := rest.Exchange{Method: http.MethodPut, Path: ingestPath + "/" + p.Job + "/batches", ContentType: "text/csv; charset=UTF-8", Write: true}
	x.Body = func() (io.ReadCloser, error) { return openPart(dir, head, p) }
	if c.o.Compress {
		x.ContentEncoding = "gzip"
		x.Body = func() (io.ReadCloser, error) {
			in, err := openPart(dir, head, p)
			if err != nil {
				return nil, err
			}
			return pack(in), nil
		}
	}
	return c.ask(ctx, x, nil, nil)
}

// openPart reads a part with its header.
func openPart(dir string, head []byte, p *part) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(dir, p.File))
	if err != nil {
		return nil, fmt.Errorf("read the rows of a load: %w", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), io.NewSectionReader(f, p.From, p.To-p.From)), f}, nil
}

// pack compresses what is read. Closing ends the goroutine that does so.
func pack(in io.ReadCloser) io.ReadCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err == nil {
			_, err = io.Copy(z, in)
			err = errors.Join(err, z.Close())
		}
		_ = w.CloseWithError(err) // never fails
	}()
	return &packed{PipeReader: r, in: in, done: done}
}

type packed struct {
	*io.PipeReader
	in   io.Closer
	done chan struct{}
}

// Close implements io.Closer.
func (p *packed) Close() error {
	_ = p.PipeReader.Close() // never fails
	<-p.done
	return p.in.Close() //nolint:wrapcheck // a reader adds nothing
}

// change moves a job to another state.
func (c *Client) change(ctx context.Context, job string, to jobState) error {
	return c.ask(ctx, rest.Exchange{Method: http.MethodPatch, Path: ingestPath + "/" + job, Write: true}, map[string]jobState{"state": to}, nil)
}

func (c *Client) status(ctx context.Context, job string) (jobInfo, error) {
	var j jobInfo
	err := c.ask(ctx, rest.Exchange{Method: http.MethodGet, Path: ingestPath + "/" + job}, nil, &j)
	return j, err
}

// await asks for a job until it is in a final state. It has so many rows; 0 if that is not known. wake makes it ask at once.
func (c *Client) await(ctx context.Context, job string, rows int64, wake <-chan struct{}) (jobInfo, error) {
	began := c.o.Now()
	for polls := 1; ; polls++ {
		var j jobInfo
		asked := c.o.Now()
		err := c.persist(ctx, func() (err error) { j, err = c.status(ctx, job); return err })
		if err != nil || j.State.final() {
			return j, err
		}
		now := c.o.Now()
		timer := time.NewTimer(c.untilPoll(polls, now.Sub(began), now.Sub(asked), rows, j.Processed))
		select {
		case <-timer.C:
		case <-wake:
			timer.Stop()
			wake = nil // once is enough
		case <-ctx.Done():
			timer.Stop()
			return j, fault.Wrap(fault.Canceled, fault.ReasonCanceled, ctx.Err(), "the job was left to itself")
		}
	}
}

// untilPoll is how long to wait before a job is asked for again: until it ends, if what it has done so far says when that is, less
// the time in which the answer before and the question travel. The number of polls so far bounds it both ways: each is a call, and a job that begins
// slowly may hurry later. trip is how long the last poll took.
func (c *Client) untilPoll(polls int, spent, trip time.Duration, rows, processed int64) time.Duration {
	backoff := c.o.Poll.Next(polls)
	if rows == 0 || processed == 0 || processed > rows {
		return backoff
	}
	left := time.Duration(float64(spent) * float64(rows-processed) / float64(processed))
	return min(max(left+left/16-trip, backoff/4), 2*backoff, c.o.Poll.Next(1<<20))
}

// persist repeats a step that failed for a reason that passes, as patiently as the options say. The allowance being used up is
// such a reason: the step waits until it may go on, and is never taken for done.
func (c *Client) persist(ctx context.Context, fn func() error) error {
	began := c.o.Now()
	for attempt := 1; ; attempt++ {
		err := fn()
		if _, callers := errors.AsType[sinkError](err); callers || err == nil || !fault.Retryable(err) || ctx.Err() != nil {
			return err
		}
		wait := max(c.o.Retry.Next(attempt), fault.RetryAfter(err))
		if c.o.Now().Add(wait).Sub(began) > c.o.Patience {
			return err
		}
		c.meter.wait(ctx, fault.ReasonOf(err))
		c.o.Log.Info("bulk step waits", "reason", fault.ReasonOf(err), "wait", wait.String(), "attempt", attempt)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

var fieldInMessage = regexp.MustCompile(`^InvalidBatch : (?:Field name not found|Duplicate field name in the header) : ([A-Za-z][A-Za-z0-9_.:]{0,254})$`)

// verdict is what the end of a job says about the rows it did not reach.
type verdict struct {
	// again means they may be sent once more, serial that it should be done by one worker at a time.
	again, serial bool
	refusal       rest.Refusal
}

// judge reads the message of a job that failed.
func judge(message string) verdict {
	name, _, _ := strings.Cut(message, " :")
	switch strings.TrimSpace(name) {
	case "TooManyLockFailure":
		return verdict{again: true, serial: true, refusal: rest.Refusal{Kind: fault.Conflict, Reason: rest.ReasonLocked, Text: "too many records were locked", Retryable: true}}
	case "Timeout":
		return verdict{again: true, refusal: rest.Refusal{Kind: fault.Timeout, Reason: ReasonJobFailed, Text: "the job took Salesforce too long", Retryable: true}}
	case "ExceededQuota":
		return verdict{refusal: rest.Refusal{Kind: fault.Exhausted, Reason: ReasonAllocation, Text: "the org's daily allocation for bulk jobs is used up", Retryable: true}}
	case "InvalidBatch", "InvalidJob", "InvalidEntity", "ClientInputError", "FeatureNotEnabled", "InvalidUser":
		r := rest.Refusal{Kind: fault.Precondition, Reason: ReasonJobRefused, Text: "Salesforce refused the file of rows"}
		if m := fieldInMessage.FindStringSubmatch(message); m != nil {
			r.Text, r.Fields = "a column does not exist, may not be written or comes twice", []string{m[1]}
		}
		return verdict{refusal: r}
	}
	return verdict{again: true, refusal: rest.Refusal{Kind: fault.Unavailable, Reason: ReasonJobFailed, Text: "the job failed in Salesforce", Retryable: true}}
}

// rowError reads the error of a failed row: "CODE:message:Field, Other --".
func rowError(text string) rest.Refusal {
	code, rest0, _ := strings.Cut(text, ":")
	message := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest0), "--"))
	var fields []string
	if i := strings.LastIndexByte(message, ':'); i >= 0 {
		for f := range strings.SplitSeq(message[i+1:], ",") {
			if f = strings.TrimSpace(f); objectName.MatchString(f) {
				fields = append(fields, f)
			}
		}
		message = message[:i]
	}
	return rest.Explain(code, message, fields)
}

// resultPath is where one of the result files of a job is.
func resultPath(job, which string) string {
	return ingestPath + "/" + url.PathEscape(job) + "/" + which
}
