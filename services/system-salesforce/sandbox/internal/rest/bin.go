package rest

import (
	"net/http"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// bin shows the recycle bin, or empties it.
func (s *Server) bin(r *http.Request) *answer {
	type entry struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Deleted string `json:"deletedDate"`
	}
	out := []entry{}
	ids := []string{}
	_ = s.opt.Store.Read(func(v store.View) error { // fn never fails
		for _, r := range v.Bin() {
			out = append(out, entry{r.ID, r.Object.Name, wireTime(time.Unix(r.Modified, 0))})
			ids = append(ids, r.ID)
		}
		return nil
	})
	if r.Method == http.MethodGet {
		return reply(http.StatusOK, out)
	}
	s.opt.Store.Purge(ids)
	return empty(http.StatusNoContent)
}
