package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// target cuts the URL of a sub-request into version, segments and query.
func target(text string) (version string, seg []string, query url.Values, ok bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", nil, nil, false
	}
	all, ok := split(u.EscapedPath())
	if ok && len(all) > 1 && all[0] == "services" && all[1] == "data" {
		all = all[2:]
	}
	if !ok || len(all) == 0 {
		return "", nil, nil, false
	}
	return all[0], all[1:], u.Query(), true
}

// isBulk reports whether a sub-request is one of those of which only few are
// allowed: queries and collections.
func isBulk(text string) bool {
	_, seg, _, ok := target(text)
	return ok && len(seg) > 0 && (seg[0] == "query" || seg[0] == "queryAll" || seg[0] == "composite")
}

// anyResource says what a composite request may use.
func anyResource(seg []string) bool {
	switch {
	case len(seg) == 0:
		return false
	case seg[0] == "sobjects", seg[0] == "query", seg[0] == "queryAll":
		return true
	}
	return seg[0] == "composite" && len(seg) > 1 && seg[1] == "sobjects"
}

// rowResource says what a composite graph may use.
func rowResource(seg []string) bool { return len(seg) > 1 && seg[0] == "sobjects" }

// batchResource says what a batch may use.
func batchResource(seg []string) bool {
	return anyResource(seg) || len(seg) == 1 && seg[0] == "limits" || len(seg) == 2 && seg[0] == "tooling"
}

// subcall runs one request inside another, in its transaction if one is given.
// It is not counted.
func (c *call) subcall(method, text string, body any, headers map[string]string, tx *store.Tx, allowed func(seg []string) bool) *answer {
	version, seg, query, ok := target(text)
	if !ok || !allowed(seg) {
		return notFound()
	}
	number, a := versionNumber(version)
	if a != nil {
		return a
	}
	r := &http.Request{
		Method: method, URL: &url.URL{Path: "/" + strings.Join(seg, "/")}, Host: c.r.Host,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody,
	}
	// Duplicate and assignment headers belong to the sub-request alone, the
	// name of the client to the connection.
	if v := c.r.Header.Get("Sforce-Call-Options"); v != "" {
		r.Header.Set("Sforce-Call-Options", v)
	}
	for name, v := range headers {
		r.Header.Set(name, v)
	}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "The body of the subrequest could not be read.")
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	sub := &call{
		Server: c.Server, r: r.WithContext(c.r.Context()), method: method, version: version[1:], number: number,
		session: c.session, query: query, plural: true, tx: tx,
	}
	return sub.route(seg)
}
