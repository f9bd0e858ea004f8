package edge

import (
	"net/http"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

const (
	maxTag = 255
	minKey = 16 // shorter ones are used twice by accident
	// maxSkew is how far a phone's clock may be ahead.
	maxSkew = 5 * time.Minute
)

// idempotencyKey reads the two headers that make a write safe: Idempotency-Key and If-Match.
func (e *edge) idempotencyKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		lines := r.Header.Values("Idempotency-Key")
		if !c.route.writes || onlyChecked(r) {
			if len(lines) > 0 {
				c.keyNote = "ignored"
			}
		} else if p := e.readKey(c, lines); p != nil {
			e.refuse(w, r, *p)
			return
		}
		if !c.route.writes {
			next.ServeHTTP(w, r)
			return
		}
		tag, ok := ParseIfMatch(r.Header.Values("If-Match"))
		if !ok {
			e.refuse(w, r, e.problems.New(problem.IfMatchInvalid, ""))
			return
		}
		if e.o.RequireIfMatch && c.route.tagged && len(r.Header.Values("If-Match")) == 0 {
			e.refuse(w, r, e.problems.New(problem.PreconditionRequired, ""))
			return
		}
		c.ifMatch, c.async = tag, prefersAsync(r.Header.Values("Prefer"))
		next.ServeHTTP(w, r)
	})
}

func (e *edge) readKey(c *call, lines []string) *problem.Problem {
	if len(lines) == 0 && !c.route.needsKey {
		return nil
	}
	if key, err := idempotent.ParseHeader(lines); err == nil && published(string(key), lines) {
		c.key, c.keyLine = string(key), strings.TrimSpace(lines[0])
		return e.checkAge(c.key)
	}
	code, detail := problem.IdempotencyKeyInvalid, "The header must be one line with 16 to 255 characters: letters, digits and ._~:+/=- bare, or visible ASCII in double quotes."
	if len(lines) == 0 {
		code, detail = problem.IdempotencyKeyMissing, "The header is missing."
	}
	p := e.problems.New(code, "", problem.Violation{Header: "Idempotency-Key", Code: code, Detail: detail})
	return &p
}

// respondAsync is the preference of RFC 7240 for an answer that says "later".
const respondAsync = "respond-async"

func prefersAsync(lines []string) bool {
	for _, item := range strings.Split(strings.Join(lines, ","), ",") {
		name, _, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(name), respondAsync) {
			return true
		}
	}
	return false
}

// onlyChecked reports whether the request asks for no effect. A value that is none is refused with the parameters.
func onlyChecked(r *http.Request) bool {
	return r.URL.RawQuery != "" && r.URL.Query().Get("validateOnly") == "true"
}

// KeyProblem returns why a key that is not in a header is refused; "" if it is not.
func KeyProblem(key string) string {
	if k, err := idempotent.ParseKey(key); err != nil || len(k) < minKey {
		return problem.IdempotencyKeyInvalid
	}
	return ageProblem(key)
}

// ageProblem refuses a key that carries its time (UUIDv7) and is older than anything remembered: executed again, it might
// be a second time. Below, keys are derived and carry no time, so only the edge can tell.
func ageProblem(key string) string {
	made, ok := idempotent.Key(key).MadeAt()
	if !ok {
		return ""
	}
	switch age := time.Since(made); {
	case age > idempotent.DefaultTombstone:
		return problem.IdempotencyKeyExpired
	case age < -maxSkew:
		return problem.IdempotencyKeyInvalid
	}
	return ""
}

func (e *edge) checkAge(key string) *problem.Problem {
	code := ageProblem(key)
	if code == "" {
		return nil
	}
	p := e.problems.New(code, "", problem.Violation{Header: "Idempotency-Key", Code: code, Detail: "The time in the key is too far from now."})
	return &p
}

// published reports whether a key has the format that the description of the API names.
func published(key string, lines []string) bool {
	if len(key) < minKey {
		return false
	}
	if len(lines) > 0 && strings.HasPrefix(strings.TrimLeft(lines[0], " \t"), `"`) {
		return true
	}
	return !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._~:+/=-", r)
	})
}

func visibleASCII(s string) bool {
	if s == "" || len(s) > maxTag {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// ParseIfMatch returns the entity tag of the header's lines without quotes; "" when anything matches. The second result is false for what is no such header. A weak tag is passed on with its
// mark, which no stored tag has: If-Match compares strongly, so it never matches.
func ParseIfMatch(lines []string) (string, bool) {
	if len(lines) == 0 {
		return "", true
	}
	if len(lines) > 1 {
		return "", false
	}
	tag := strings.TrimSpace(lines[0])
	if tag == "*" {
		return "", true
	}
	weak := strings.HasPrefix(tag, "W/")
	tag = strings.TrimPrefix(tag, "W/")
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return "", false
	}
	tag = tag[1 : len(tag)-1]
	if strings.Contains(tag, `"`) || !visibleASCII(tag) {
		return "", false
	}
	if weak {
		tag = "W/" + tag
	}
	return tag, true
}
