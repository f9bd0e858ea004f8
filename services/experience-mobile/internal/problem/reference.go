package problem

import (
	"fmt"
	"net/http"
	"strings"
)

// Reference renders the catalogue as the Markdown page docs/reference/rest-errors.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Problem codes of the REST API

Every answer of experience-mobile that is not 2xx, 304 or a CORS preflight is ` + "`application/problem+json`" + ` (RFC 9457):

` + "```json" + `
{
  "type": "https://api.example.com/docs#ETAG_MISMATCH",
  "title": "Somebody else was faster",
  "status": 412,
  "detail": "The customer has changed since it was read.",
  "instance": "urn:selfsame:request:5f0c…",
  "code": "ETAG_MISMATCH",
  "requestId": "5f0c…",
  "retryable": false
}
` + "```" + `

* ` + "`code`" + ` is stable; programs decide by it. The header ` + "`X-Error-Code`" + ` holds the same word. A code that is not in this
  table may come from a newer service below; decide by the status then.
* ` + "`retryable`" + ` is true if the same request may be sent again unchanged, with the same ` + "`Idempotency-Key`" + `.
* ` + "`errors`" + ` lists every violation found: ` + "`pointer`" + ` (RFC 6901) into the body, or ` + "`parameter`" + `, or ` + "`header`" + `, with a ` + "`code`" + ` and a ` + "`detail`" + `.
* ` + "`requestId`" + ` equals the header ` + "`X-Request-Id`" + ` and leads to the log lines and the trace.
* The ` + "`detail`" + ` of a 5xx is fixed: it never holds what another system said.

The server library itself refuses what is not HTTP (a control character in a header, headers that are too long) before
this service sees it; those few answers are plain text.

This page is generated from the catalogue in ` + "`services/experience-mobile/internal/problem`" + `.

| Code | Status | Retryable | Retry-After | Meaning | What to do |
|---|---|---|---|---|---|
`)
	for _, e := range Catalogue() {
		retry, after := "no", ""
		if e.Retryable {
			retry = "yes"
		}
		if e.RetrySeconds > 0 {
			after = fmt.Sprintf("%d s", e.RetrySeconds)
		}
		fmt.Fprintf(&b, "| `%s` | %d %s | %s | %s | %s | %s |\n", e.Code, e.Status, statusText(e.Status), retry, after, e.Detail, e.Action)
	}
	b.WriteString("\nRetry-After is the least that is sent; a service below may ask for more.\n")
	return b.String()
}

func statusText(code int) string {
	if code == statusClientClosed {
		return "Client Closed Request"
	}
	return http.StatusText(code)
}
