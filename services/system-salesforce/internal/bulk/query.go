package bulk

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Reasons of queries.
const (
	ReasonQueryFailed = "BULK_QUERY_FAILED"
	ReasonResultGone  = "BULK_RESULT_GONE"
)

const (
	// deliverRows is how many rows a sink gets at once.
	deliverRows = 500
	maxParallel = 5
)

// Query says what is read. SOQL is required.
type Query struct {
	// SOQL is the query. It cannot group, aggregate, skip rows, or have subqueries or compound fields.
	SOQL string
	// All reads deleted and archived records as well.
	All bool
	// PageRows is how many rows one page of the result has; 0 leaves it to Salesforce.
	PageRows int
	// Parallel is how many pages are read at once, up to 5; 0 and 1 read them one after the other, in order.
	Parallel int
}

// QueryStats says what a query read.
type QueryStats struct {
	Rows  int64
	Pages int
}

// Query runs a query as a job and hands its rows over as they come, a few hundred at a time, from one goroutine at a time. An
// empty value is null. What sink is given is valid until it returns. No row is given twice, also if pages have to be read again.
//
// Errors are those of package rest and of sink, Precondition when the job fails, and Unavailable with ReasonResultGone when the
// result disappears while it is read: then rows were given to sink already, and the caller must start again.
func (c *Client) Query(ctx context.Context, q Query, sink func(columns []string, rows [][]string) error) (QueryStats, error) {
	operation := "query"
	if q.All {
		operation = "queryAll"
	}
	in := map[string]string{"operation": operation, "query": q.SOQL, "contentType": "CSV", "lineEnding": string(LF), "columnDelimiter": string(Comma)}
	job, err := c.startQuery(ctx, in)
	if err != nil {
		return QueryStats{}, err
	}
	j, err := c.await(ctx, queryPath, job, 0, nil)
	if err != nil {
		if ctx.Err() != nil {
			c.stopQuery(job)
		}
		return QueryStats{}, err
	}
	if j.State != stateComplete {
		return QueryStats{}, queryFailed(j)
	}
	r := &results{client: c, job: job, sink: sink}
	if q.Parallel > 1 {
		err = r.parallel(ctx, min(q.Parallel, maxParallel), q.PageRows)
	} else {
		err = r.sequential(ctx, q.PageRows)
	}
	c.meter.queried.Add(ctx, r.stats.Rows)
	return r.stats, err
}

// startQuery makes the job; one whose making was not answered is left to itself and another is made, for it changes nothing.
func (c *Client) startQuery(ctx context.Context, in map[string]string) (string, error) {
	for try := 1; ; try++ {
		var j jobInfo
		err := c.persist(ctx, func() error {
			return c.ask(ctx, rest.Exchange{Method: http.MethodPost, Path: queryPath, Write: true}, in, &j)
		})
		switch {
		case err == nil && jobID.MatchString(j.ID):
			return j.ID, nil
		case err == nil:
			return "", fault.New(fault.Unavailable, rest.ReasonAnswerInvalid, "Salesforce made a job without an id")
		case !fault.Is(err, fault.Uncertain) || try == maxTries || ctx.Err() != nil:
			return "", err
		}
	}
}

// stopQuery aborts a job that nobody waits for any more, if that is possible at once.
func (c *Client) stopQuery(job string) {
	ctx, cancel := context.WithTimeout(context.Background(), abandonTime)
	defer cancel()
	_ = c.change(ctx, queryPath, job, stateAborted) // it ends by itself otherwise
}

func queryFailed(j jobInfo) error {
	if j.State == stateAborted {
		return fault.New(fault.Canceled, ReasonJobAborted, "the query was aborted in Salesforce")
	}
	if name, _, _ := strings.Cut(j.Message, " :"); name == "ExceededQuota" {
		return fault.New(fault.Exhausted, ReasonAllocation, "the org's daily allocation for bulk queries is used up")
	}
	return fault.New(fault.Precondition, ReasonQueryFailed, "Salesforce could not run the query")
}

// results reads the pages of one finished job.
type results struct {
	client *Client
	job    string

	mu    sync.Mutex
	sink  func(columns []string, rows [][]string) error
	stats QueryStats
}

func (r *results) sequential(ctx context.Context, pageRows int) error {
	query := url.Values{}
	if pageRows > 0 {
		query.Set("maxRecords", strconv.Itoa(pageRows))
	}
	for {
		next, err := r.page(ctx, rest.Exchange{Method: http.MethodGet, Path: queryPath + "/" + r.job + "/results", Query: query})
		if err != nil || next == "" {
			return err
		}
		query.Set("locator", next)
	}
}

// parallel asks where the pages are, up to five at a time, and reads them side by side.
func (r *results) parallel(ctx context.Context, width, pageRows int) error {
	type pages struct {
		Pages []struct {
			URL string `json:"resultUrl"`
		} `json:"resultPages"`
		Next string `json:"nextRecordsUrl"`
		Done bool   `json:"done"`
	}
	x := rest.Exchange{Method: http.MethodGet, Path: queryPath + "/" + r.job + "/resultPages", Query: url.Values{}}
	if pageRows > 0 {
		x.Query.Set("maxRecords", strconv.Itoa(pageRows))
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(width)
	for inner.Err() == nil {
		var p pages
		if err := r.client.persist(inner, func() error { return r.client.ask(inner, x, nil, &p) }); err != nil {
			return errors.Join(g.Wait(), cmp.Or(gone(err), err))
		}
		for _, page := range p.Pages {
			path := "/" + strings.TrimPrefix(page.URL, "/")
			if !strings.HasPrefix(path, "/services/data/") {
				return errors.Join(g.Wait(), fault.New(fault.Unavailable, rest.ReasonAnswerInvalid, "Salesforce names a page elsewhere"))
			}
			g.Go(func() error {
				_, err := r.page(inner, rest.Exchange{Method: http.MethodGet, Path: path})
				return err
			})
		}
		if p.Done || !strings.HasPrefix(p.Next, "/services/data/") {
			break
		}
		x = rest.Exchange{Method: http.MethodGet, Path: p.Next}
	}
	return g.Wait() //nolint:wrapcheck // of this package
}

// gone returns the error of a result that cannot be read on, nil if err is another.
func gone(err error) error {
	if fault.Is(err, fault.NotFound) || fault.ReasonOf(err) == "QUERY_LOCATOR_INVALID" {
		return fault.Wrap(fault.Unavailable, ReasonResultGone, err, "the result of the query is gone").WithRetryAfter(time.Second)
	}
	return nil
}

// page reads one page; if it breaks off it is read again, without the rows that were handed over. next is the locator of the
// page behind it.
func (r *results) page(ctx context.Context, x rest.Exchange) (next string, err error) {
	x.Accept = "text/csv"
	given, short := int64(0), 0
	var lost error // for good
	err = r.client.persist(ctx, func() error {
		resp, err := r.client.o.API.Exchange(ctx, x)
		if err != nil {
			if lost = gone(err); lost != nil {
				return nil
			}
			return err //nolint:wrapcheck // a fault already
		}
		defer resp.Body.Close()
		want, errCount := strconv.ParseInt(resp.Header.Get("Sforce-NumberOfRecords"), 10, 64)
		next = resp.Header.Get("Sforce-Locator")
		if next == "null" {
			next = ""
		}
		if err := r.read(ctx, resp.Body, &given); err != nil {
			return err
		}
		short++
		switch {
		case errCount != nil || given == want:
			return nil
		case given < want && short < maxTries:
			return fault.New(fault.Unavailable, rest.ReasonAnswerInvalid, "a page of the result has fewer rows than it says")
		}
		return fault.New(fault.Internal, rest.ReasonAnswerInvalid, "a page of the result has other rows than it says")
	})
	if err == nil && lost == nil {
		r.mu.Lock()
		r.stats.Pages++
		r.mu.Unlock()
	}
	return next, cmp.Or(err, lost)
}

// read hands over the rows of a page behind the first given ones.
func (r *results) read(ctx context.Context, body io.Reader, given *int64) error {
	in := newReader(body, ',')
	var columns []string
	rows := make([][]string, 0, deliverRows)
	skip := *given
	for first := true; ; first = false {
		err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return r.deliver(columns, rows, given)
		case errors.Is(err, errCSV):
			return fault.Wrap(fault.Internal, rest.ReasonAnswerInvalid, err, "the result of the query cannot be read")
		case err != nil:
			// What was read whole is handed over: it does not have to be read again.
			return errors.Join(r.deliver(columns, rows, given), broken(ctx, err, false))
		case first:
			columns = texts(in.values)
			continue
		case skip > 0:
			skip--
			continue
		case len(in.values) != len(columns):
			return fault.New(fault.Internal, rest.ReasonAnswerInvalid, "a row of the result has other columns than its header")
		}
		rows = append(rows, texts(in.values))
		if len(rows) == deliverRows {
			if err := r.deliver(columns, rows, given); err != nil {
				return err
			}
			rows = rows[:0]
		}
	}
}

func (r *results) deliver(columns []string, rows [][]string, given *int64) error {
	if len(rows) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.sink(columns, rows); err != nil {
		return sinkError{err}
	}
	*given += int64(len(rows))
	r.stats.Rows += int64(len(rows))
	return nil
}

func texts(values [][]byte) []string {
	whole := make([]byte, 0, 64)
	for _, v := range values {
		whole = append(whole, v...)
	}
	all := string(whole)
	out := make([]string, len(values))
	for i, v := range values {
		out[i], all = all[:len(v)], all[len(v):]
	}
	return out
}
