package faultproxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

// keepCalls is how many calls the journal remembers.
const keepCalls = 2000

// Call is one call that went through the proxy. It names no content.
type Call struct {
	// Time is when the call arrived.
	Time time.Time `json:"time"`
	// Method is the full method name with its leading slash.
	Method string `json:"method"`
	// Took is how long the call lasted.
	Took time.Duration `json:"took_ns"`
	// Code is the status the caller saw.
	Code string `json:"code"`
	// Fault is the kind of fault that hit; empty when none did.
	Fault Kind `json:"fault,omitempty"`
}

// journal remembers the last calls and counts all of them. The zero value is empty.
type journal struct {
	mu    sync.Mutex
	calls []Call
	total map[string]int
}

func (j *journal) add(c Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.total == nil {
		j.total = map[string]int{}
	}
	j.total[c.Method]++
	if len(j.calls) == keepCalls {
		j.calls = append(j.calls[:0], j.calls[1:]...)
	}
	j.calls = append(j.calls, c)
}

// Calls returns the last calls that ended, at most 2,000, oldest first.
func (p *Proxy) Calls() []Call {
	p.calls.mu.Lock()
	defer p.calls.mu.Unlock()
	return append([]Call(nil), p.calls.calls...)
}

// Totals counts the calls that ended since the start, by full method name.
func (p *Proxy) Totals() map[string]int {
	p.calls.mu.Lock()
	defer p.calls.mu.Unlock()
	out := make(map[string]int, len(p.calls.total))
	for k, v := range p.calls.total {
		out[k] = v
	}
	return out
}

// faultJSON is a fault on the control API.
type faultJSON struct {
	ID      string `json:"id,omitempty"`
	Kind    Kind   `json:"kind"`
	Method  string `json:"method,omitempty"`
	Times   int    `json:"times,omitempty"`
	DelayMS int64  `json:"delay_ms,omitempty"`
	Hits    int    `json:"hits"`
}

func toJSON(f Fault) faultJSON {
	return faultJSON{ID: f.ID, Kind: f.Kind, Method: f.Method, Times: f.Times, DelayMS: f.Delay.Milliseconds(), Hits: f.Hits}
}

// Control is the control API:
//
//	GET    /faults        the faults set, with their hits
//	POST   /faults        {"kind":"lose_ack","method":"BatchUpsert*","times":1} sets one; 201 with its id
//	DELETE /faults        clears all
//	DELETE /faults/{id}   clears one; 404 when there is none
//	GET    /calls         {"totals":{method: n},"calls":[…]}
func (p *Proxy) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		list := []faultJSON{}
		for _, f := range p.Faults() {
			list = append(list, toJSON(f))
		}
		answer(w, http.StatusOK, map[string]any{"faults": list})
	})
	mux.HandleFunc("POST /faults", p.postFault)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		p.ClearAll()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !p.Clear(r.PathValue("id")) {
			answer(w, http.StatusNotFound, map[string]string{"error": "no such fault"})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"totals": p.Totals(), "calls": p.Calls()})
	})
	return mux
}

func (p *Proxy) postFault(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	var in faultJSON
	if err := dec.Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "not a fault: " + err.Error()})
		return
	}
	f, err := p.Set(Fault{Kind: in.Kind, Method: in.Method, Times: in.Times, Delay: time.Duration(in.DelayMS) * time.Millisecond})
	var refused *FaultError
	if errors.As(err, &refused) {
		answer(w, http.StatusBadRequest, map[string]string{"error": refused.Reason, "field": refused.Field})
		return
	}
	answer(w, http.StatusCreated, toJSON(f))
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client may have gone away; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
}
