package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// MediaType is the content type of every refusal.
const MediaType = "application/problem+json"

// DocPath is the page that explains the codes; the code is the fragment.
const DocPath = "/docs"

// Violation is one broken rule. Exactly one of Pointer, Parameter and Header is set.
type Violation struct {
	// Pointer is the RFC 6901 JSON pointer into the body; a pointer to "" is the whole body.
	Pointer *string `json:"pointer,omitempty"`
	// Parameter is the name of a query or path parameter.
	Parameter string `json:"parameter,omitempty"`
	// Header is the name of a header.
	Header string `json:"header,omitempty"`
	// Code is a stable UPPER_SNAKE word for the rule.
	Code string `json:"code"`
	// Detail is for people; it never repeats the value.
	Detail string `json:"detail"`
}

// At returns a violation in the body.
func At(pointer, code, detail string) Violation {
	return Violation{Pointer: &pointer, Code: code, Detail: detail}
}

// Problem is one refusal, in the members of RFC 9457 and five of our own: code, requestId, retryable, errors and,
// in a header only, the time to wait.
type Problem struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	Instance  string      `json:"instance"`
	Code      string      `json:"code"`
	RequestID string      `json:"requestId"`
	Retryable bool        `json:"retryable"`
	Errors    []Violation `json:"errors,omitempty"`

	// RetryAfter is sent as the header Retry-After, in whole seconds, rounded up; zero sends none.
	RetryAfter time.Duration `json:"-"`
	// Meta are further facts from below, for the edge to choose headers from; they are not sent.
	Meta map[string]string `json:"-"`
}

// Table looks codes up. Make it with NewTable; it is immutable and safe for concurrent use.
type Table struct{ byCode map[string]Entry }

// NewTable indexes the catalogue.
func NewTable() *Table {
	t := &Table{byCode: map[string]Entry{}}
	for _, e := range Catalogue() {
		t.byCode[e.Code] = e
	}
	return t
}

// New returns the problem of a code in the catalogue. An empty detail means the catalogue's; for 5xx it always is.
func (t *Table) New(code, detail string, violations ...Violation) Problem {
	e, ok := t.byCode[code]
	if !ok {
		e = t.byCode[fault.ReasonInternal]
	}
	if detail == "" || e.Status >= http.StatusInternalServerError {
		detail = e.Detail
	}
	return Problem{
		Type: DocPath + "#" + e.Code, Title: e.Title, Status: e.Status, Detail: detail, Code: e.Code,
		Retryable: e.Retryable, Errors: violations, RetryAfter: time.Duration(e.RetrySeconds) * time.Second,
	}
}

// FromError returns the problem of a failed call. Only what a service of ours said through package fault is
// believed; the text of any other error (a JSON parser, the transport) is replaced. Violations are placed by where.
func (t *Table) FromError(err error, where func(fault.Field) Violation) Problem {
	fe, ok := fault.As(err)
	if !ok {
		return t.New(fault.ReasonInternal, "")
	}
	if !fault.Ours(err) {
		return t.New(t.known("", fe.Kind), "")
	}
	code := fault.ReasonOf(err)
	p := t.New(t.known(code, fe.Kind), sentence(fe.Message))
	if p.Status < http.StatusInternalServerError && p.Code != code && wellFormed(code) {
		// A reason that a service below introduced after this one was built: keep its name.
		p.Code, p.Type = code, DocPath+"#"+code
	}
	if fe.RetryAfter > 0 {
		p.RetryAfter = fe.RetryAfter
	}
	if p.Status >= http.StatusInternalServerError {
		return p // whatever else was said is about what happened inside
	}
	for _, f := range fe.Fields {
		v := where(f)
		v.Detail = rule(v.Detail)
		p.Errors = append(p.Errors, v)
	}
	if len(p.Errors) > 0 {
		p.Detail = p.Title + ": " + strconv.Itoa(len(p.Errors)) + " violation"
		if len(p.Errors) > 1 {
			p.Detail += "s"
		}
		p.Detail += ", listed in errors."
	}
	p.Meta = fe.Meta
	return p
}

// sentence makes one of what a service says in the style of its logs.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	if first := text[0]; first >= 'a' && first <= 'z' {
		text = string(first-'a'+'A') + text[1:]
	}
	if last, _ := utf8.DecodeLastRuneInString(text); !strings.ContainsRune(".!?…", last) {
		text += "."
	}
	return text
}

// rule says what the contract's validation means.
func rule(text string) string {
	if pattern, ok := strings.CutPrefix(text, "does not match regex pattern "); ok {
		return "The value must match the pattern " + pattern + "."
	}
	if rest, ok := strings.CutPrefix(text, "must "); ok {
		return sentence("the value must " + rest)
	}
	return sentence(text)
}

// known returns code if the catalogue has it, otherwise the code that stands for the kind.
func (t *Table) known(code string, kind fault.Kind) string {
	if _, ok := t.byCode[code]; ok {
		return code
	}
	generic := fault.ReasonOf(fault.New(kind, "", ""))
	if _, ok := t.byCode[generic]; ok {
		return generic
	}
	return fault.ReasonInternal
}

func wellFormed(code string) bool {
	if code == "" || len(code) > 63 {
		return false
	}
	return strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" && code[0] >= 'A' && code[0] <= 'Z'
}

// Write sends the problem. Headers that belong to it are set; others already in w stay.
func Write(w http.ResponseWriter, p Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		// A Problem holds only strings, numbers and booleans, all of which can be written.
		body = []byte(`{"title":"Something went wrong here","status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", MediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Error-Code", p.Code)
	h.Add("Link", "<"+p.Type+`>; rel="describedby"`)
	h.Del("Trailer")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(p.Status)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(body)
}
