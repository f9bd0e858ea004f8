package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
)

// orders say which apps and users the token endpoint refuses, and how.
type orders struct {
	Apps  map[string]string `json:"apps"`
	Users map[string]string `json:"users"`
}

// logins shows and replaces the refusals of apps and users.
func (s *Server) logins(r *http.Request) *answer {
	o := &s.opt.Verifier.Orders
	switch r.Method {
	case http.MethodPut:
		b, err := payload(r)
		if err != nil {
			return badControl("the body could not be read")
		}
		var in orders
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return badControl(err.Error())
		}
		for _, set := range []map[string]string{in.Apps, in.Users} {
			for who, name := range set {
				if !auth.KnownRefusal(name) {
					return badControl(who + ": the refusal " + name + " is none of " + strings.Join(auth.RefusalNames(), ", "))
				}
			}
		}
		o.Set(in.Apps, in.Users)
	case http.MethodDelete:
		o.Set(nil, nil)
		return empty(http.StatusNoContent)
	}
	var out orders
	out.Apps, out.Users = o.Get()
	return reply(http.StatusOK, out)
}

// endSessions ends the sessions of the user named by the parameter "username",
// or all.
func (s *Server) endSessions(r *http.Request) *answer {
	name := r.URL.Query().Get("username")
	if name == "" {
		s.opt.Sessions.ExpireAll()
		return empty(http.StatusNoContent)
	}
	for _, u := range s.opt.Verifier.Users {
		if strings.EqualFold(u.Username, name) {
			s.opt.Sessions.Expire(u.ID)
			return empty(http.StatusNoContent)
		}
	}
	return badControl("no user has this name")
}
