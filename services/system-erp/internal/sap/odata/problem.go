package odata

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Reasons of failures, besides those of package fault.
const (
	// ReasonUnreachable is Unavailable: there is no connection to SAP.
	ReasonUnreachable = "BACKEND_UNREACHABLE"
	// ReasonLogon is Unavailable: SAP does not know us, or not with this client.
	ReasonLogon = "BACKEND_LOGON_REFUSED"
	// ReasonToken is Unavailable: SAP hands out no token against forged requests.
	ReasonToken = "BACKEND_TOKEN_REFUSED"
	// ReasonAnswer is Unavailable: a read was answered with something that is no answer.
	ReasonAnswer = "BACKEND_ANSWER_INVALID"
	// ReasonForbidden is Precondition: the user lacks an authorisation.
	ReasonForbidden = "BACKEND_FORBIDDEN"
	// ReasonLocked is Conflict: somebody works on the object.
	ReasonLocked = "RECORD_LOCKED"
	// ReasonRejected is Invalid or Precondition: a rule of SAP; MetaCode and the others have its words.
	ReasonRejected = "BACKEND_REJECTED"
	reasonBusy     = "BACKEND_BUSY"
)

// Problem is an error as SAP says it. It is the cause of a *fault.Error: find it with errors.As.
type Problem struct {
	Status      int
	Code        string
	Message     string
	Transaction string
	Details     []Message
}

// Message is one line of an error, or of what is said beside a success.
type Message struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Property string `json:"propertyref"`
	Target   string `json:"target"`
	Severity string `json:"severity"`
}

// phrase is a text, alone or with its language: gateways write both, and SAP's adapter for its newer servers writes the second
// where they write the first.
type phrase string

// UnmarshalJSON reads "…", {"lang": …, "value": …} and null.
func (p *phrase) UnmarshalJSON(b []byte) error {
	var in struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(b, &in); err == nil {
		*p = phrase(in.Value)
		return nil
	}
	return json.Unmarshal(b, (*string)(p))
}

// Error holds no message: it may name people.
func (p *Problem) Error() string {
	return "SAP answered " + strconv.Itoa(p.Status) + " " + p.Code + " (transaction " + p.Transaction + ")"
}

// Fields are the properties to blame, without repetition, in order.
func (p *Problem) Fields() []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, d := range p.Details {
		for _, name := range []string{d.Target, d.Property} {
			name = name[strings.LastIndex(name, "/")+1:]
			if !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	return out
}

// ParseProblem reads an error body; whatever it is, there is an answer.
func ParseProblem(status int, body []byte) *Problem {
	p := &Problem{Status: status}
	var in struct {
		Error struct {
			Code    string          `json:"code"`
			Message phrase          `json:"message"`
			Inner   json.RawMessage `json:"innererror"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &in) != nil {
		return p
	}
	p.Code, p.Message = in.Error.Code, string(in.Error.Message)
	var inner struct {
		Transaction string `json:"transactionid"`
		Details     []struct {
			Message
			Text phrase `json:"message"`
		} `json:"errordetails"`
	}
	err := json.Unmarshal(in.Error.Inner, &inner)
	if p.Transaction = inner.Transaction; err != nil { // details in another form take nothing from what is above
		return p
	}
	for _, d := range inner.Details {
		d.Message.Message = string(d.Text)
		p.Details = append(p.Details, d.Message)
	}
	return p
}

// locked are the words and numbers by which SAP says that somebody works on an object. It has no status for that.
var locked = regexp.MustCompile(`(?i)currently being (processed|edited|used)|is (already )?locked|locked by|wird (gerade|zur Zeit|bereits) (von|bearbeitet|durch)|gesperrt durch`)

// Locked tells whether the problem is that somebody works on the object.
func (p *Problem) Locked() bool {
	if p.Status != http.StatusBadRequest && p.Status != http.StatusConflict && p.Status != http.StatusLocked {
		return false
	}
	if p.Status == http.StatusLocked || locked.MatchString(p.Message) {
		return true
	}
	for _, d := range p.Details {
		if d.Severity == "error" && locked.MatchString(d.Message) {
			return true
		}
	}
	return false
}

// refusal says what an answer that is no success means.
func (r reply) refusal(write bool) error {
	p := ParseProblem(r.status, r.body)
	wait := retryAfter(r.header)
	switch {
	case p.Locked():
		return p.fault(fault.Conflict, ReasonLocked, "somebody works on the object in SAP")
	case r.status == http.StatusUnauthorized:
		return p.fault(fault.Unavailable, ReasonLogon, "SAP refuses the logon")
	case r.status == http.StatusForbidden && strings.EqualFold(r.header.Get("X-Csrf-Token"), "Required"):
		return p.fault(fault.Unavailable, ReasonToken, "SAP does not take its own token; nothing was executed")
	case r.status == http.StatusForbidden:
		return p.fault(fault.Precondition, ReasonForbidden, "the user in SAP may not do that")
	case r.status == http.StatusNotFound:
		return p.fault(fault.NotFound, fault.ReasonNotFound, "SAP does not have that")
	case r.status == http.StatusPreconditionFailed:
		return p.fault(fault.Conflict, fault.ReasonETagMismatch, "the record was changed in SAP meanwhile")
	case r.status == http.StatusTooManyRequests:
		return p.fault(fault.Exhausted, fault.ReasonExhausted, "SAP takes no more requests for now").WithRetryAfter(max(wait, time.Second))
	case r.status == http.StatusServiceUnavailable:
		return p.fault(fault.Unavailable, fault.ReasonUnavailable, "SAP is not available").WithRetryAfter(wait)
	case r.status >= 500 || r.status < 400:
		if write { // also a dump: what was committed before it stays
			return lost(p)
		}
		return p.fault(fault.Unavailable, fault.ReasonUnavailable, "SAP failed to answer")
	}
	return p.fault(fault.Invalid, ReasonRejected, "SAP refuses this")
}

func (p *Problem) fault(k fault.Kind, reason, text string) *fault.Error {
	return fault.Wrap(k, reason, p, "%s", text)
}

// ProblemOf is SAP's own error behind err; nil when there is none.
func ProblemOf(err error) *Problem {
	p, _ := errors.AsType[*Problem](err)
	return p
}

func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 24*3600 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		if now, err := http.ParseTime(h.Get("Date")); err == nil && at.After(now) { // both by SAP's clock
			return min(at.Sub(now), 24*time.Hour)
		}
	}
	return 0
}

// notes reads what is said beside a success.
func notes(h http.Header) []Message {
	text := h.Get("Sap-Message")
	if text == "" {
		return nil
	}
	var in struct {
		Message
		Details []Message `json:"details"`
	}
	if json.Unmarshal([]byte(text), &in) != nil {
		return []Message{{Severity: "info"}} // in another form; it is no error
	}
	return append([]Message{in.Message}, in.Details...)
}

// gravest is the worst of what was said; of equal ones the first.
func gravest(said []Message) (worst Message) {
	rank := map[string]int{"info": 1, "warning": 2, "error": 3}
	for i, m := range said {
		if i == 0 || rank[m.Severity] > rank[worst.Severity] {
			worst = m
		}
	}
	return worst
}

// problem is what was said as an error.
func (m Message) problem(status int) *Problem {
	return &Problem{Status: status, Code: m.Code, Message: m.Message, Details: []Message{m}}
}

// unread turns an Uncertain error into what it is for a request that writes nothing.
func unread(err error) error {
	if fault.Is(err, fault.Uncertain) {
		return fault.Wrap(fault.Unavailable, fault.ReasonUnavailable, err, "SAP failed to answer a read")
	}
	return err
}
