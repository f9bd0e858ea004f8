package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

// stallTimeout is how long a streamed call may make no progress at all.
const stallTimeout = 2 * time.Minute

// Exchange is a call whose bodies are streams of any length.
type Exchange struct {
	// Method and Path say what is called; Path is relative to the versioned base unless it begins with a slash.
	Method, Path string
	// Query is added to the path.
	Query url.Values
	// Body opens what is sent, once for each time it is sent; nil sends nothing.
	Body func() (io.ReadCloser, error)
	// ContentType and ContentEncoding describe the body.
	ContentType, ContentEncoding string
	// Accept is the type of answer wanted; empty means JSON.
	Accept string
	// Write says that the call changes something: a lost answer is then Uncertain.
	Write bool
}

// Exchange sends the call and returns the answer as soon as it begins; the caller closes its body. Only an ended session makes
// it send twice, for nothing has happened then. It is ended when nothing moves for two minutes, not by its length; the time the
// caller takes between reads does not count.
//
// Errors are classified as those of every other call, and Uncertain when a write got no complete answer. Errors of reading the
// body are those of the connection.
func (c *Client) Exchange(ctx context.Context, x Exchange) (*http.Response, error) {
	end, settle, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	var told CallOutcome
	resp, t := c.exchange(ctx, x, &told)
	settle(t)
	if t != nil {
		told.failed(t)
		end(told)
		if x.Write && t.ran {
			return nil, uncertain(t.err)
		}
		return nil, t.err
	}
	told.Served = true
	resp.Body = &held{ReadCloser: resp.Body, release: sync.OnceFunc(func() { end(told) })}
	return resp, nil
}

func (c *Client) exchange(ctx context.Context, x Exchange, told *CallOutcome) (*http.Response, *trouble) {
	session, err := c.o.Sessions.Session(ctx)
	if err != nil {
		return nil, &trouble{err: asFault(err)}
	}
	resp, t := c.stream(ctx, session, x, told)
	if t == nil || t.err.Reason != reasonSessionEnded {
		return resp, t
	}
	if session, err = c.o.Sessions.Renew(ctx, session); err != nil {
		return nil, &trouble{err: asFault(err)}
	}
	resp, t = c.stream(ctx, session, x, told)
	if t != nil && t.err.Reason == reasonSessionEnded {
		t.err = fault.New(fault.Unavailable, auth.ReasonSessionRefused, "Salesforce refuses the session it has just issued").WithRetryAfter(time.Second)
	}
	return resp, t
}

func (c *Client) stream(ctx context.Context, session auth.Session, x Exchange, told *CallOutcome) (*http.Response, *trouble) {
	var sent atomic.Bool
	inner, cancel := context.WithCancel(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}))
	stall := time.AfterFunc(stallTimeout, cancel)
	end := func() { stall.Stop(); cancel() }
	req, err := c.build(inner, session, request{method: x.Method, path: x.Path, query: x.Query, op: x.op()}, nil)
	if err != nil {
		end()
		return nil, &trouble{err: asFault(err)}
	}
	if err := x.dress(req, stall); err != nil {
		end()
		return nil, &trouble{err: asFault(err)}
	}
	c.sent(ctx)
	told.Sends++
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		end()
		if !sent.Load() {
			told.Sends--
		}
		return nil, lost(ctx, err, sent.Load())
	}
	told.note(resp.Header)
	c.usage.observe(resp.Header)
	if resp.StatusCode >= 300 {
		defer end()
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return nil, lost(ctx, err, true)
		}
		t := classify(resp.StatusCode, data, x.op())
		if t.err.Reason == ReasonLimit {
			t.err = t.err.WithRetryAfter(c.o.LimitPause)
		}
		return nil, t
	}
	c.o.Sessions.Accepted(session)
	stall.Stop()
	resp.Body = &watched{ReadCloser: resp.Body, stall: stall, cancel: cancel}
	return resp, nil
}

func (x Exchange) op() Op {
	if x.Write {
		return OpUpsert
	}
	return OpRead
}

// dress adds what a streamed call has besides the others.
func (x Exchange) dress(req *http.Request, stall *time.Timer) error {
	if x.Accept != "" {
		req.Header.Set("Accept", x.Accept)
	}
	if x.Body == nil {
		return nil
	}
	body, err := x.Body()
	if err != nil {
		return fmt.Errorf("open the body: %w", err)
	}
	req.Body = &moving{ReadCloser: body, stall: stall}
	req.ContentLength = -1
	req.Header.Set("Content-Type", x.ContentType)
	if x.ContentEncoding != "" {
		req.Header.Set("Content-Encoding", x.ContentEncoding)
	}
	return nil
}

// moving is a request body: each part that is taken shows that the call makes progress.
type moving struct {
	io.ReadCloser
	stall *time.Timer
}

// Read implements io.Reader.
func (m *moving) Read(p []byte) (int, error) {
	m.stall.Reset(stallTimeout)
	return m.ReadCloser.Read(p)
}

// watched is an answer that may take any time as a whole, and little for each read.
type watched struct {
	io.ReadCloser
	stall  *time.Timer
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.stall.Reset(stallTimeout)
	defer w.stall.Stop()
	return w.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.stall.Stop()
	w.cancel()
	return err
}

// held is an answer whose call slot is taken until it is closed.
type held struct {
	io.ReadCloser
	release func()
}

// Close implements io.Closer.
func (h *held) Close() error {
	err := h.ReadCloser.Close()
	h.release()
	return err
}

// Explain returns what an error code means that Salesforce gave for one row, outside the answer of a call.
func Explain(code, message string, fields []string) Refusal {
	return vendorError{ErrorCode: strings.TrimSpace(code), Message: message, Fields: fields}.refusal(OpUpsert)
}

// Reasons that only calls about bulk jobs have.
const (
	ReasonBulkAllocation = "BULK_ALLOCATION_EXHAUSTED"
	ReasonBulkState      = "BULK_JOB_STATE"
	ReasonBulkRow        = "BULK_ROW_INVALID"
)

// bulkRefusal is the part of the catalogue that the bulk APIs have for themselves. They write the names of their errors in
// capitals where it is a call that fails.
func bulkRefusal(code string) (Refusal, bool) {
	switch strings.ToUpper(code) {
	case "EXCEEDEDQUOTA":
		return Refusal{Kind: fault.Exhausted, Reason: ReasonBulkAllocation, Text: "the org's daily allocation for bulk jobs is used up", Retryable: true}, true
	case "INVALIDJOBSTATE":
		return Refusal{Kind: fault.Precondition, Reason: ReasonBulkState, Text: "the bulk job is in another state"}, true
	case "TOOMANYLOCKFAILURE":
		return locked(), true
	case "INVALIDENTITY", "INVALIDJOB", "FEATURENOTENABLED", "INVALIDUSER":
		return Refusal{Kind: fault.Precondition, Reason: ReasonRefused, Text: "Salesforce refused the bulk job with " + printable(strings.ToUpper(code))}, true
	case "CLIENTINPUTERROR", "INVALIDBATCH":
		return Refusal{Kind: fault.Invalid, Reason: ReasonBulkRow, Text: "Salesforce could not read the row"}, true
	}
	return Refusal{}, false
}
