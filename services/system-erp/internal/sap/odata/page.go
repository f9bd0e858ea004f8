package odata

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// maxPages bounds how many pages one read follows, against a server whose pages never end.
const maxPages = 1_000_000

// Pages reads a collection and calls page with each page of entities, as they come; it holds one page at a time. It follows
// the server's own pages until there are no more. An error of page ends the reading and is returned.
func (c *Client) Pages(ctx context.Context, service, path string, query url.Values, page func([]json.RawMessage) error) error {
	last := ""
	for range maxPages {
		r, err := c.send(ctx, call{method: http.MethodGet, service: service, path: path, query: query})
		if err != nil {
			return err
		}
		a, err := c.answer(ctx, service, r, false)
		if err != nil {
			return err
		}
		rows, next, err := ParsePage(a.Body)
		if err != nil {
			return fault.Wrap(fault.Unavailable, ReasonAnswer, err, "SAP's answer is no collection")
		}
		if err := page(rows); err != nil {
			return err
		}
		if next == "" {
			return nil
		}
		// Only the query is taken: behind a proxy the address may name a host that only SAP knows, and whatever host it
		// names, our password does not go there.
		u, err := url.Parse(next)
		if err != nil || u.RawQuery == "" || next == last {
			return fault.New(fault.Unavailable, ReasonAnswer, "SAP's next page cannot be followed")
		}
		query, last = u.Query(), next
	}
	return fault.New(fault.Unavailable, ReasonAnswer, "SAP's pages do not end")
}

// ParsePage reads the inside of a collection: its entities, and where the next page is.
func ParsePage(body []byte) ([]json.RawMessage, string, error) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil { // the oldest services have no envelope
		return list, "", nil
	}
	var in struct {
		Results *[]json.RawMessage `json:"results"`
		Next    string             `json:"__next"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, "", err
	}
	if in.Results == nil {
		return nil, "", errors.New("no results")
	}
	return *in.Results, in.Next, nil
}

// Count asks how many entities a filter chooses.
func (c *Client) Count(ctx context.Context, service, set, filter string) (int, error) {
	q := url.Values{}
	if filter != "" {
		q.Set("$filter", filter)
	}
	r, err := c.send(ctx, call{method: http.MethodGet, service: service, path: set + "/$count", query: q, header: map[string]string{"Accept": "text/plain"}})
	if err != nil {
		return 0, err
	}
	if r.status != http.StatusOK {
		return 0, r.refusal(false)
	}
	n, err := strconv.Atoi(string(r.body))
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, ReasonAnswer, err, "SAP's count is no number")
	}
	return n, nil
}

// Page reads the first page of a collection and tells whether the server has more of it.
func (c *Client) Page(ctx context.Context, service, path string, query url.Values) ([]json.RawMessage, bool, error) {
	r, err := c.send(ctx, call{method: http.MethodGet, service: service, path: path, query: query})
	if err != nil {
		return nil, false, err
	}
	a, err := c.answer(ctx, service, r, false)
	if err != nil {
		return nil, false, err
	}
	rows, next, err := ParsePage(a.Body)
	if err != nil {
		return nil, false, fault.Wrap(fault.Unavailable, ReasonAnswer, err, "SAP's answer is no collection")
	}
	return rows, next != "", nil
}

// Settled reads changes with scan, and again from where it began as long as that took longer than slow by SAP's clock: a
// record that changed behind the back of a long reading would otherwise be older than what was read last, and be missed.
func (c *Client) Settled(since time.Time, slow time.Duration, scan func(since time.Time) error) error {
	for {
		begun := c.Clock()
		if err := scan(since); err != nil {
			return err
		}
		if begun.IsZero() || c.Clock().Sub(begun) < slow {
			return nil
		}
		since = begun.Add(-slow)
	}
}
