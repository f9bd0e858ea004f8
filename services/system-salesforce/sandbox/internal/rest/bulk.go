package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/bulk"
)

// jobs serves /services/data/vNN.0/jobs.
func (c *call) jobs(seg []string) *answer {
	return asAnswer(c.opt.Bulk.Jobs(bulk.Call{Request: c.r, Method: c.method, Version: c.version, User: c.session.User.ID, Client: c.client(), Hidden: c.hidden(), Fields: c.rights(), Mute: c.mute()}, seg))
}

func asAnswer(r *bulk.Response) *answer {
	return &answer{status: r.Status, header: r.Header, body: r.Body, stream: r.Stream}
}

// async serves /services/async/NN.0, Bulk API 1.0. It has sessions in a header
// and errors in a form of its own.
func (s *Server) async(r *http.Request, seg []string) *answer {
	if len(seg) == 0 {
		return asAnswer(bulk.Fault(r, "InvalidUrl", "The URL is not served"))
	}
	n, refusal := versionNumber("v" + seg[0])
	if refusal != nil {
		return asAnswer(bulk.Fault(r, "InvalidVersion", "The API version "+seg[0]+" is not served"))
	}
	token := r.Header.Get("X-SFDC-Session")
	if token == "" {
		token = bearer(r)
	}
	session, ok := s.opt.Sessions.Check(token)
	if !ok {
		return asAnswer(bulk.Fault(r, "InvalidSessionId", "Invalid session id"))
	}
	if !s.calls.take(r.Method + " /async/" + routeName(seg[1:min(len(seg), 2)])) {
		return asAnswer(bulk.Fault(r, "ExceededQuota", "TotalRequests Limit exceeded."))
	}
	c := &call{Server: s, r: r, method: r.Method, version: seg[0], number: n, session: session}
	return asAnswer(s.opt.Bulk.Async(bulk.Call{Request: r, Method: r.Method, Version: seg[0], User: session.User.ID, Client: c.client(), Hidden: c.hidden(), Fields: c.rights(), Mute: c.mute()}, seg[1:]))
}

// stream writes a body that is not kept.
func (s *Server) stream(w http.ResponseWriter, write func(io.Writer) error) {
	if err := write(w); err != nil { // mostly a client that is gone
		s.opt.Log.Debug("a result could not be sent", "error", err)
	}
}

// bulkPlan shows and replaces the plan of bulk processing.
func (s *Server) bulkPlan(r *http.Request) *answer {
	switch r.Method {
	case http.MethodPut:
		b, err := payload(r)
		if err != nil {
			return badControl("the body could not be read")
		}
		var p bulk.Plan
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil {
			return badControl(err.Error())
		}
		if message := s.opt.Bulk.SetPlan(p); message != "" {
			return badControl(message)
		}
	case http.MethodDelete:
		_ = s.opt.Bulk.SetPlan(bulk.Plan{}) // an empty plan is always valid
		return empty(http.StatusNoContent)
	}
	return reply(http.StatusOK, s.opt.Bulk.Plan())
}
