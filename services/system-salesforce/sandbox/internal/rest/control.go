package rest

import (
	"encoding/json"
	"net/http"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// control serves what the console in front of it leaves of /__sandbox__/, which
// no real Salesforce has.
func (s *Server) control(r *http.Request, seg []string) *answer {
	if len(seg) != 1 {
		return notFound()
	}
	switch r.Method + " " + seg[0] {
	case "GET bulk", "PUT bulk", "DELETE bulk":
		return s.bulkPlan(r)
	case "GET stats":
		return s.stats()
	case "GET access", "PUT access", "DELETE access":
		return s.accessPlan(r)
	case "GET logins", "PUT logins", "DELETE logins":
		return s.logins(r)
	case "GET rules", "PUT rules", "DELETE rules":
		return s.rules(r)
	case "DELETE sessions":
		return s.endSessions(r)
	case "GET bin", "DELETE bin":
		return s.bin(r)
	case "POST undelete":
		return s.undelete(r)
	}
	return notFound()
}

func badControl(message string) *answer {
	return reply(http.StatusBadRequest, map[string]string{"error": message})
}

func (s *Server) stats() *answer {
	total, byRoute := s.calls.counts()
	records := map[string]int{}
	_ = s.opt.Store.Read(func(v store.View) error { // fn never fails
		for _, o := range s.opt.Schema.Objects {
			records[o.Name] = v.Live(o)
		}
		return nil
	})
	return reply(http.StatusOK, map[string]any{
		"api_calls": total, "by_path": byRoute, "events_published": s.opt.Bus.Published(), "records": records,
	})
}

// undelete takes records out of the bin, which REST clients cannot do.
func (s *Server) undelete(r *http.Request) *answer {
	b, err := payload(r)
	if err != nil {
		return badControl("the body could not be read")
	}
	var in struct {
		IDs []string `json:"ids"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return badControl(err.Error())
	}
	results := make([]saved, len(in.IDs))
	meta := store.Meta{User: s.opt.Verifier.Users[0].ID}
	_ = s.opt.Store.Write(meta, func(tx *store.Tx) error { // failures are in the results
		for i, given := range in.IDs {
			id, _ := sfid.Normal(given)
			if refusal := tx.Undelete(id); refusal != nil {
				results[i] = failure(given, refusal)
				continue
			}
			results[i] = success(id)
		}
		return nil
	})
	return reply(http.StatusOK, results)
}
