package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The limits of a composite request.
const (
	maxParts     = 25
	maxBulkParts = 5 // of them queries and collections
)

// composite serves everything under /composite.
func (c *call) composite(seg []string) *answer {
	switch {
	case len(seg) == 0 && c.method == http.MethodPost:
		return c.bundle()
	case len(seg) == 0:
		return c.get(c.compositeResources)
	case seg[0] == "sobjects":
		c.plural = true
		return c.collections(seg[1:])
	case seg[0] == "tree" && len(seg) == 2 && c.method == http.MethodPost:
		return c.tree(seg[1])
	case seg[0] == "batch" && len(seg) == 1 && c.method == http.MethodPost:
		return c.batch()
	case seg[0] == "graph" && len(seg) == 1 && c.number < firstGraph:
		return notFound()
	case seg[0] == "graph" && len(seg) == 1 && c.method == http.MethodPost:
		return c.graphs()
	case seg[0] == "tree" && len(seg) == 2, (seg[0] == "batch" || seg[0] == "graph") && len(seg) == 1:
		return wrongMethod(c.method)
	}
	return notFound()
}

func (c *call) compositeResources() *answer {
	out := map[string]string{}
	for _, name := range []string{"tree", "batch", "sobjects", "graph"} {
		out[name] = render.Base(c.version) + "/composite/" + name
	}
	return reply(http.StatusOK, out)
}

// part is one sub-request.
type part struct {
	Method      string            `json:"method"`
	URL         string            `json:"url"`
	ReferenceID string            `json:"referenceId"`
	Body        any               `json:"body"`
	Headers     map[string]string `json:"httpHeaders"`
}

// partResult is the answer to one sub-request.
type partResult struct {
	Body        json.RawMessage   `json:"body"`
	Headers     map[string]string `json:"httpHeaders"`
	Status      int               `json:"httpStatusCode"`
	ReferenceID *string           `json:"referenceId"`

	// failed says that something was refused, even if the status is 200.
	failed  bool
	decoded any
}

func asPart(id *string, a *answer) *partResult {
	r := &partResult{Body: a.body, Headers: map[string]string{}, Status: a.status, ReferenceID: id}
	if len(a.body) == 0 {
		r.Body = json.RawMessage("null")
	}
	for _, name := range []string{"Location", "ETag", "Last-Modified"} {
		if v := a.header.Get(name); v != "" {
			r.Headers[name] = v
		}
	}
	r.failed = a.partial || a.status >= http.StatusBadRequest || a.status == http.StatusMultipleChoices
	return r
}

func halted() *answer {
	return fail(http.StatusBadRequest, "PROCESSING_HALTED", "The transaction was rolled back since another operation in the same transaction failed.")
}

// refuseParts is the answer to a composite request that cannot be run: the
// status is still 200 and the only result belongs to no sub-request.
func refuseParts(code, message string) *answer {
	return reply(http.StatusOK, map[string]any{"compositeResponse": []*partResult{asPart(nil, fail(http.StatusBadRequest, code, message))}})
}

// bundle serves POST /composite.
func (c *call) bundle() *answer {
	var in struct {
		AllOrNone bool `json:"allOrNone"`
		// Collate permits to run unrelated sub-requests in another order,
		// which the sandbox never does.
		Collate *bool  `json:"collateSubrequests"`
		Parts   []part `json:"compositeRequest"`
	}
	if a := c.body(&in); a != nil {
		return a
	}
	if len(in.Parts) > maxParts {
		return refuseParts("LIMIT_EXCEEDED", "The request can’t contain more than 25 operations.")
	}
	bulk := 0
	for _, p := range in.Parts {
		if isBulk(p.URL) {
			bulk++
		}
	}
	if bulk > maxBulkParts {
		return refuseParts("LIMIT_EXCEEDED", "The request can’t contain more than 5 query or sObject collections operations.")
	}
	if code, message := checkParts(in.Parts); code != "" {
		return fail(http.StatusBadRequest, code, message)
	}
	var results []*partResult
	if in.AllOrNone {
		results, _ = c.together(in.Parts, anyResource)
	} else {
		results = make([]*partResult, 0, len(in.Parts))
		known := references{}
		for i := range in.Parts {
			results = append(results, c.run(&in.Parts[i], known, nil, anyResource))
		}
	}
	return reply(http.StatusOK, map[string]any{"compositeResponse": results})
}

var (
	referenceName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	errHalted     = errors.New("a part was refused")
)

func checkParts(parts []part) (code, message string) {
	seen := map[string]bool{}
	for _, p := range parts {
		switch {
		case p.ReferenceID == "":
			return "MISSING_ARGUMENT", "Every subrequest needs a referenceId."
		case !referenceName.MatchString(p.ReferenceID):
			return "INVALID_INPUT", "Invalid reference ID: " + p.ReferenceID + ". Only letters, digits and underscores are allowed."
		case seen[p.ReferenceID]:
			return "INVALID_INPUT", "Duplicate reference ID: " + p.ReferenceID
		}
		seen[p.ReferenceID] = true
		for name := range p.Headers {
			switch http.CanonicalHeaderKey(name) {
			case "Accept", "Authorization", "Content-Type":
				return "INVALID_INPUT", "A subrequest cannot have the header " + name + "."
			}
		}
	}
	return "", ""
}

// together runs sub-requests in one transaction. If one fails, the others say
// that they were undone; the failed one keeps its own answer, so a collection
// whose own flag is off still shows rows as written that are not.
func (c *call) together(parts []part, allowed func(seg []string) bool) (results []*partResult, ok bool) {
	results = make([]*partResult, len(parts))
	failed := -1
	c.plural = true
	_ = c.write(func(tx *store.Tx) error { // the failed part is kept
		known := references{}
		for i := range parts {
			results[i] = c.run(&parts[i], known, tx, allowed)
			if results[i].failed {
				failed = i
				return errHalted
			}
		}
		return nil
	})
	if failed < 0 {
		return results, true
	}
	for i := range parts {
		if i != failed {
			results[i] = asPart(&parts[i].ReferenceID, halted())
		}
	}
	return results, false
}

// run resolves the references of one sub-request and runs it, in a transaction
// if one is given.
func (c *call) run(p *part, known references, tx *store.Tx, allowed func(seg []string) bool) *partResult {
	target, body, bad := known.fill(p)
	var a *answer
	if bad != nil {
		a = bad
	} else {
		a = c.subcall(p.Method, target, body, p.Headers, tx, allowed)
	}
	r := asPart(&p.ReferenceID, a)
	known[p.ReferenceID] = r
	return r
}
