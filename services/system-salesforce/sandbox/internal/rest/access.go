package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// access is what users may see and do, as far as the sandbox looks at it:
// fields, records and topics. The zero value allows everything and grants no
// permission but the use of the API.
type access struct {
	mu sync.Mutex
	is accessPlan
	// rows say the same as rows of the permission objects; nil until asked for.
	rows *store.Store
}

func (a *access) set(p accessPlan) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.is, a.rows = p, nil
}

// accessPlan is the form of the control plane.
type accessPlan struct {
	// Users are the usernames that the plan is about; empty means all.
	Users []string `json:"users,omitempty"`
	// Hidden and ReadOnly are fields, as "Account.Phone".
	Hidden   []string `json:"hidden,omitempty"`
	ReadOnly []string `json:"read_only,omitempty"`
	// HiddenRecords are ids of records that cannot be read, as if a sharing rule
	// hid them. Their change events come all the same.
	HiddenRecords []string `json:"hidden_records,omitempty"`
	// Shared are objects without View All Records: who sees which of their
	// records is a matter of sharing.
	Shared []string `json:"shared,omitempty"`
	// Permissions are granted: "ModifyAllData".
	Permissions []string `json:"permissions,omitempty"`
	// NoSubscribe and NoPublish are topics, as "/data/AccountChangeEvent", that
	// the users may not use so.
	NoSubscribe []string `json:"no_subscribe,omitempty"`
	NoPublish   []string `json:"no_publish,omitempty"`
	// Unselected are objects that change data capture leaves out, as far as
	// the list of its members goes.
	Unselected []string `json:"unselected,omitempty"`
}

func (a *access) get() accessPlan {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.is
}

func (p accessPlan) about(username string) bool {
	return len(p.Users) == 0 || slices.ContainsFunc(p.Users, func(u string) bool { return strings.EqualFold(u, username) })
}

func among(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

// accessPlan shows and replaces what users may see.
func (s *Server) accessPlan(r *http.Request) *answer {
	switch r.Method {
	case http.MethodPut:
		b, err := payload(r)
		if err != nil {
			return badControl("the body could not be read")
		}
		var in accessPlan
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return badControl(err.Error())
		}
		for _, name := range slices.Concat(in.Hidden, in.ReadOnly) {
			object, field, _ := strings.Cut(name, ".")
			if o := s.opt.Schema.Object(object); o == nil || o.Field(field) == nil {
				return badControl("there is no field " + name)
			}
		}
		for _, name := range in.Shared {
			if s.opt.Schema.Object(name) == nil {
				return badControl("there is no object " + name)
			}
		}
		for _, topic := range slices.Concat(in.NoSubscribe, in.NoPublish) {
			if !strings.HasPrefix(topic, "/data/") && !strings.HasPrefix(topic, "/event/") {
				return badControl("not a topic: " + topic)
			}
		}
		for i, given := range in.HiddenRecords {
			id, ok := sfid.Normal(given)
			if !ok || s.opt.Schema.ByPrefix(id[:3]) == nil {
				return badControl("not the id of a record: " + given)
			}
			in.HiddenRecords[i] = id
		}
		s.access.set(in)
	case http.MethodDelete:
		s.access.set(accessPlan{})
		return empty(http.StatusNoContent)
	}
	return reply(http.StatusOK, s.access.get())
}

// TopicRights tells whether a user may publish and subscribe to a topic.
func (s *Server) TopicRights(username, topic string) (publish, subscribe bool) {
	p := s.access.get()
	if !p.about(username) {
		return true, true
	}
	return !among(p.NoPublish, topic), !among(p.NoSubscribe, topic)
}

// mute tells the platform events that a user may not publish; nil if there are
// none.
func (p accessPlan) mute(username string) func(o *schema.Object) bool {
	if len(p.NoPublish) == 0 || !p.about(username) {
		return nil
	}
	return func(o *schema.Object) bool { return among(p.NoPublish, "/event/"+o.Name) }
}

// mute tells the platform events that the user of the session may not publish.
func (c *call) mute() func(o *schema.Object) bool {
	return c.access.get().mute(c.session.User.Username)
}

// rights are what the user of the session may do with fields.
func (c *call) rights() schema.Rights {
	return c.access.get().rightsOf(c.session.User.Username, c.opt.Schema)
}

// rightsOf returns the rights of a user; nil, which is all, if none is taken.
// What holds for an address holds for its parts.
func (p accessPlan) rightsOf(username string, s *schema.Schema) schema.Rights {
	if len(p.Hidden)+len(p.ReadOnly) == 0 || !p.about(username) {
		return nil
	}
	less := map[*schema.Field]schema.Right{}
	limit := func(names []string, to schema.Right) {
		for _, name := range names {
			object, field, _ := strings.Cut(name, ".")
			o := s.Object(object)
			f := o.Field(field)
			less[f] = to
			for _, part := range o.Parts(f) {
				less[part] = to
			}
		}
	}
	limit(p.ReadOnly, schema.CanRead)
	limit(p.Hidden, schema.NoRight)
	return func(f *schema.Field) schema.Right {
		if right, ok := less[f]; ok {
			return right
		}
		return schema.CanEdit
	}
}

// permissionQuery reads a query of what the user of the session may do.
func permissionQuery() *regexp.Regexp {
	return regexp.MustCompile(`(?is)^\s*SELECT\s+(.+?)\s+FROM\s+UserPermissionAccess(?:\s+LIMIT\s+\d+)?\s*$`)
}

// memberQuery reads a query of the members of the channels of change events.
func memberQuery() *regexp.Regexp {
	return regexp.MustCompile(`(?is)^\s*SELECT\s+(.+?)\s+FROM\s+PlatformEventChannelMember\s*$`)
}

// permissions answers which permissions the user of the session has.
func (c *call) permissions(list string) *answer {
	p := c.access.get()
	record := map[string]any{"attributes": map[string]string{"type": "UserPermissionAccess", "url": render.Base(c.version) + "/sobjects/UserPermissionAccess/000000000000000AAA"}}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		permission, ok := strings.CutPrefix(name, "Permissions")
		if !ok {
			return fail(http.StatusBadRequest, "INVALID_FIELD", fmt.Sprintf("No such column '%s' on entity 'UserPermissionAccess'.", name))
		}
		record[name] = permission == "ApiEnabled" || p.about(c.session.User.Username) && among(p.Permissions, permission)
	}
	return reply(http.StatusOK, map[string]any{"totalSize": 1, "done": true, "records": []any{record}})
}

// members answers which change events each channel carries.
func (c *call) members(list string) *answer {
	p := c.access.get()
	names := strings.Split(list, ",")
	records := []map[string]any{}
	add := func(channel string, o *schema.Object) {
		record := map[string]any{"attributes": map[string]string{"type": "PlatformEventChannelMember"}}
		for _, n := range names {
			switch n = strings.TrimSpace(n); strings.ToLower(n) {
			case "eventchannel":
				record["EventChannel"] = channel
			case "selectedentity":
				record["SelectedEntity"] = changeEvent(o)
			}
		}
		records = append(records, record)
	}
	for _, o := range c.opt.Schema.Objects {
		if !o.Event() && !o.ReadOnly && !among(p.Unselected, o.Name) {
			add("ChangeEvents", o)
		}
	}
	for _, channel := range c.opt.Schema.Channels {
		for _, m := range channel.Members {
			if o := c.opt.Schema.Object(m); o != nil && !o.Event() {
				add(channel.Name, o)
			}
		}
	}
	return reply(http.StatusOK, map[string]any{
		"size": len(records), "totalSize": len(records), "done": true, "queryLocator": nil, "entityTypeName": "PlatformEventChannelMember", "records": records,
	})
}

func changeEvent(o *schema.Object) string {
	if custom, ok := strings.CutSuffix(o.Name, "__c"); ok {
		return custom + "__ChangeEvent"
	}
	return o.Name + "ChangeEvent"
}
