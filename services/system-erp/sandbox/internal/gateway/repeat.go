package gateway

import (
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
)

// How long idempotent services keep the answer to a request, and after that its id.
const (
	keepAnswer = 6 * time.Hour
	keepID     = 12 * time.Hour
)

// repeats are the requests that idempotent services remember. The zero value remembers none.
type repeats struct {
	mu    sync.Mutex
	known map[string]*remembered
}

// remembered is one request. Its mutex is held while it is executed: who repeats it meanwhile waits for its answer.
type remembered struct {
	mu     sync.Mutex
	at     time.Time
	answer *answer
}

// of returns the request with an id, and forgets those that are too old.
func (r *repeats) of(id string, now time.Time) *remembered {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]*remembered{}
	}
	for old, k := range r.known {
		if now.Sub(k.at) > keepID {
			delete(r.known, old)
		}
	}
	if r.known[id] == nil {
		r.known[id] = &remembered{at: now}
	}
	return r.known[id]
}

// repeatable executes a modifying request once for each RequestID: who sends it again gets the first answer again, a refusal
// of the application included. An answer that is too old is gone; that the request was executed is still known.
func (s *Server) repeatable(q request, do func() answer) answer {
	id, created := q.header.Get("RequestID"), q.header.Get("RepeatabilityCreation")
	if reads(q.method) || id == "" || created == "" {
		return do()
	}
	if !s.Repeatability {
		a := refusal(message.Bad("/IWBEP/CM_COS/001", "Idempotent services are not configured"), q.lang)
		a.header.Set("RepeatabilityResult", "unsupported")
		return a
	}
	raw, err := hex.DecodeString(id)
	first, terr := http.ParseTime(created)
	if err != nil || len(raw) != 16 || terr != nil {
		return refusal(message.Bad("/IWBEP/CM_COS/002", "RequestID or RepeatabilityCreation cannot be read"), q.lang)
	}
	now := s.Now()
	outdated := refusal(message.Bad("/IWBEP/CM_COS/005", "RequestID is outdated"), q.lang)
	if now.Sub(first) > keepID {
		return outdated
	}
	k := s.repeats.of(id, now)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answer == nil {
		a := do()
		if a.status >= http.StatusInternalServerError {
			return a
		}
		k.answer = &a
	} else if now.Sub(k.at) > keepAnswer {
		return outdated
	}
	a := *k.answer
	a.header = a.header.Clone()
	a.header.Set("RepeatabilityResult", "accepted")
	return a
}

// foreign refuses a request that does not name the logon language that is asked for; nil when it does or none is.
func (s *Server) foreign(q request, header http.Header, inside bool) error {
	if s.Language == "" {
		return nil
	}
	given := []string{q.query.Get("sap-language"), header.Get("Accept-Language")}
	named := false
	for _, text := range given {
		if text != "" && !sameLanguage(text, s.Language) {
			return message.Bad("/SANDBOX/001", "Language %s is not the one that every request must have", text)
		}
		named = named || text != ""
	}
	if !named && !inside {
		return message.Bad("/SANDBOX/001", "The request names no language")
	}
	return nil
}

func sameLanguage(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), b) }
