package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Limit is one allowance of the org.
type Limit struct {
	// Max is the whole, Remaining what is left.
	Max       int64 `json:"Max"`
	Remaining int64 `json:"Remaining"`
}

// Limits returns the org's allowances by name. The figures may be some minutes old.
func (c *Client) Limits(ctx context.Context) (map[string]Limit, error) {
	var answer map[string]Limit
	if err := c.call(ctx, request{method: http.MethodGet, path: "limits"}, &answer); err != nil {
		return nil, fmt.Errorf("read limits: %w", err)
	}
	return answer, nil
}

// Tooling runs a query of the Tooling API, whose answer must fit one page.
func (c *Client) Tooling(ctx context.Context, soql string) ([]Record, error) {
	var answer struct {
		Records []Record `json:"records"`
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: "tooling/query", query: url.Values{"q": {soql}}}, &answer); err != nil {
		return nil, fmt.Errorf("query the tooling api: %w", err)
	}
	return answer.Records, nil
}
