package changes

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

const (
	// echoFor is how long a write is remembered: events come within seconds, and after an outage nobody needs the hint.
	echoFor = 15 * time.Minute
	// echoMax bounds the memory; what is older is forgotten first.
	echoMax = 20_000
)

// ownWrite compares the client part of an origin such as "com/salesforce/api/rest/66.0;client=selfsame", never the API part:
// that one is the same for every other integration.
func ownWrite(origin, client string) bool {
	for i, part := range strings.Split(origin, ";") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(part), "client="); ok && i > 0 && name == client {
			return client != ""
		}
	}
	return false
}

// Echo remembers what this process wrote lately. Salesforce does not promise that collections and composite requests pass the
// name of the client on to the origin of an event; without it, an event is taken for our own when our user wrote it, and all
// that it says was changed is what we wrote to the record a moment ago.
//
// It is a hint and knows only this process: what we cannot tell is treated as somebody else's change, which costs a comparison.
// Create it with NewEcho; nil remembers nothing. It is safe for concurrent use.
type Echo struct {
	now func() time.Time

	mu     sync.Mutex
	writes map[string]write // by record id
	order  []noted          // by time; a record that was written again is in it several times
}

type noted struct {
	id string
	at time.Time
}

type write struct {
	at      time.Time
	columns []string // of every write within echoFor
}

// NewEcho returns an empty memory.
func NewEcho(now func() time.Time) *Echo { return &Echo{now: now, writes: map[string]write{}} }

// Wrote notes that fields of a record were written.
func (e *Echo) Wrote(id string, fields rest.Record) {
	if e == nil || len(id) < 15 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	w := e.writes[id[:15]]
	if now.Sub(w.at) > echoFor {
		w.columns = nil
	}
	if w.columns == nil {
		w.columns = make([]string, 0, len(fields))
	}
	for c := range fields {
		if !slices.Contains(w.columns, c) {
			w.columns = append(w.columns, c)
		}
	}
	w.at = now
	e.writes[id[:15]] = w
	e.order = append(e.order, noted{id[:15], now})
	for len(e.order) > echoMax || now.Sub(e.order[0].at) > echoFor {
		oldest := e.order[0]
		e.order = e.order[1:]
		if e.writes[oldest.id].at.Equal(oldest.at) {
			delete(e.writes, oldest.id)
		}
	}
}

// caused reports whether an event is, as far as it shows, what Wrote noted and user wrote.
func (e *Echo) caused(event pubsub.Event, id, user string) bool {
	if e == nil || len(id) < 15 || strings.Contains(event.Origin, "client=") || event.User == "" {
		return false
	}
	if len(user) < 15 || !strings.HasPrefix(event.User, user[:15]) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.writes[id[:15]]
	if !ok || e.now().Sub(w.at) > echoFor {
		return false
	}
	switch event.ChangeType {
	case "CREATE":
		return true
	case "UPDATE":
	default:
		return false
	}
	for _, changed := range event.Changed {
		if !stamped(changed) && !slices.ContainsFunc(w.columns, func(c string) bool { return sameField(c, changed) }) {
			return false
		}
	}
	return len(event.Changed) > 0
}

// stamped reports whether Salesforce sets a field itself with every write.
func stamped(field string) bool {
	switch field {
	case "LastModifiedDate", "LastModifiedById", "SystemModstamp":
		return true
	}
	return false
}

// sameField compares a column that was written with a field of an event: BillingCity is BillingAddress.City there.
func sameField(column, reported string) bool {
	if strings.EqualFold(column, reported) {
		return true
	}
	if relation, _, dotted := strings.Cut(column, "."); dotted { // Account.Key__c sets AccountId, Site__r.Key__c sets Site__c
		custom, own := strings.CutSuffix(relation, "__r")
		return own && strings.EqualFold(custom+"__c", reported) || !own && strings.EqualFold(relation+"Id", reported)
	}
	compound, part, ok := strings.Cut(reported, ".")
	if !ok {
		return false
	}
	if prefix, address := strings.CutSuffix(compound, "Address"); address {
		return strings.EqualFold(column, prefix+part)
	}
	return compound == "Name" && strings.EqualFold(column, part)
}
