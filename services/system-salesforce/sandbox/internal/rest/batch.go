package rest

import (
	"encoding/json"
	"net/http"
)

// batch serves POST /composite/batch: sub-requests that have nothing to do with
// each other.
func (c *call) batch() *answer {
	var in struct {
		Parts []struct {
			Method string `json:"method"`
			URL    string `json:"url"`
			Body   any    `json:"richInput"`
		} `json:"batchRequests"`
		Halt bool `json:"haltOnError"`
	}
	if a := c.body(&in); a != nil {
		return a
	}
	switch {
	case len(in.Parts) == 0:
		return fail(http.StatusBadRequest, "MISSING_ARGUMENT", "The batchRequests are required.")
	case len(in.Parts) > maxParts:
		return fail(http.StatusBadRequest, "LIMIT_EXCEEDED", "The request can’t contain more than 25 operations.")
	}
	type result struct {
		Status int             `json:"statusCode"`
		Result json.RawMessage `json:"result"`
	}
	results := make([]result, len(in.Parts))
	failed := false
	for i, p := range in.Parts {
		var a *answer
		if failed && in.Halt {
			a = fail(http.StatusPreconditionFailed, "BATCH_PROCESSING_HALTED", "Batch processing halted per request")
		} else {
			a = c.subcall(p.Method, p.URL, p.Body, nil, nil, batchResource)
		}
		results[i] = result{a.status, a.body}
		if len(a.body) == 0 {
			results[i].Result = json.RawMessage("null")
		}
		failed = failed || a.status >= http.StatusBadRequest
	}
	return reply(http.StatusOK, map[string]any{"hasErrors": failed, "results": results})
}
