// Package console is the control plane of the sandbox, below /__sandbox__/: faults, stock, what a warehouse and an invoicing
// run do, and counts. Nothing of it exists in a real system.
package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/gateway"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Options are what the console works on.
type Options struct {
	Gateway *gateway.Server
	Store   *store.Store
	Laws    *business.Laws
	Faults  *faults.Faults
	Advance func(time.Duration)
	// Requests counts HTTP requests below the services.
	Requests *atomic.Int64
}

// New returns the handler of /__sandbox__/.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /__sandbox__/faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"rules": o.Faults.Rules()}) })
	mux.HandleFunc("PUT /__sandbox__/faults", func(w http.ResponseWriter, r *http.Request) {
		var plan struct {
			Seed  int64         `json:"seed"`
			Rules []faults.Rule `json:"rules"`
		}
		if read(w, r, &plan) {
			done(w, o.Faults.Set(plan.Rules, plan.Seed))
		}
	})
	mux.HandleFunc("DELETE /__sandbox__/sessions", func(w http.ResponseWriter, _ *http.Request) {
		o.Gateway.ExpireSessions()
		done(w, nil)
	})
	mux.HandleFunc("GET /__sandbox__/calls", func(w http.ResponseWriter, _ *http.Request) {
		counts := map[string]int{}
		for c, n := range o.Gateway.Calls() {
			counts[c.Method+" "+c.Service+"/"+c.Set] = n
		}
		reply(w, map[string]any{"requests": o.Requests.Load(), "operations": counts})
	})
	mux.HandleFunc("PUT /__sandbox__/stock", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Product, Plant, Quantity string }
		if read(w, r, &in) {
			done(w, o.Store.Update(func(tx *store.Tx) error {
				return o.Laws.SetStock(&business.Call{Tx: tx, Language: edm.English}, in.Product, in.Plant, in.Quantity)
			}))
		}
	})
	document := func(w http.ResponseWriter, act func(*business.Call) (string, error)) {
		var number string
		err := o.Store.Update(func(tx *store.Tx) (err error) {
			number, err = act(&business.Call{Tx: tx, Language: edm.English})
			return err
		})
		if err != nil {
			done(w, err)
			return
		}
		reply(w, map[string]string{"document": number})
	}
	mux.HandleFunc("POST /__sandbox__/orders/{id}/deliver", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Items   map[string]string
			Planned bool
			Bill    string
		}
		if r.ContentLength == 0 || read(w, r, &in) {
			document(w, func(c *business.Call) (string, error) {
				return o.Laws.Deliver(c, r.PathValue("id"), business.Shipment(in))
			})
		}
	})
	mux.HandleFunc("POST /__sandbox__/deliveries/{id}/issue", func(w http.ResponseWriter, r *http.Request) {
		document(w, func(c *business.Call) (string, error) { return o.Laws.Issue(c, r.PathValue("id")) })
	})
	mux.HandleFunc("POST /__sandbox__/orders/{id}/bill", func(w http.ResponseWriter, r *http.Request) {
		document(w, func(c *business.Call) (string, error) { return o.Laws.Bill(c, r.PathValue("id")) })
	})
	mux.HandleFunc("PUT /__sandbox__/partners/{id}", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Name, Behind string }
		if !read(w, r, &in) {
			return
		}
		behind, err := time.ParseDuration(in.Behind)
		if err != nil || behind < 0 {
			done(w, errors.New("behind is a duration such as 90s"))
			return
		}
		done(w, o.Store.Update(func(tx *store.Tx) error {
			return o.Laws.Rename(&business.Call{Tx: tx, Language: edm.English}, r.PathValue("id"), in.Name, behind)
		}))
	})
	mux.HandleFunc("POST /__sandbox__/clock", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Advance string }
		if !read(w, r, &in) {
			return
		}
		d, err := time.ParseDuration(in.Advance)
		if err == nil && d < 0 {
			err = errors.New("the clock does not go back")
		}
		if err == nil {
			o.Advance(d)
		}
		done(w, err)
	})
	return mux
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		done(w, fmt.Errorf("read the body: %w", err))
		return false
	}
	return true
}

func done(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	status := http.StatusBadRequest
	if m, ok := errors.AsType[*message.Error](err); ok {
		status = m.Status
	}
	http.Error(w, err.Error(), status)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
