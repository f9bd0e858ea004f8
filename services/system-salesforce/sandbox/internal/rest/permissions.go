package rest

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// permissionObjects are the objects that say what users may do. Their rows
// follow from the access plan; nobody writes them.
func permissionObjects() []string {
	return []string{"PermissionSet", "PermissionSetAssignment", "ObjectPermissions", "FieldPermissions"}
}

// permissionRows returns the state that holds the permission rows and the
// users, as the access plan has it now.
func (s *Server) permissionRows() (*store.Store, error) {
	s.access.mu.Lock()
	defer s.access.mu.Unlock()
	if s.access.rows != nil {
		return s.access.rows, nil
	}
	var users []*store.Record
	err := s.opt.Store.Read(func(v store.View) error {
		for u := range v.All(s.opt.Schema.Object("User")) {
			users = append(users, u)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &permissionTable{schema: s.opt.Schema, to: store.New(store.Options{Schema: s.opt.Schema, Now: s.opt.Now}), next: map[string]int{}}
	for _, u := range users {
		p.user(u, s.access.is)
	}
	if p.err != nil {
		return nil, p.err
	}
	s.access.rows = p.to
	return p.to, nil
}

// permissionTable is filled with what each user may do: by one permission set of their own, as a profile gives it.
type permissionTable struct {
	schema *schema.Schema
	to     *store.Store
	next   map[string]int
	err    error
}

// add stores a row and returns its id.
func (p *permissionTable) add(object string, values map[string]any) string {
	o := p.schema.Object(object)
	p.next[object]++
	id := sfid.New(o.Prefix, p.next[object])
	p.err = errors.Join(p.err, p.to.Seed(o, id, values))
	return id
}

func (p *permissionTable) user(u *store.Record, plan accessPlan) {
	o := u.Object
	row := map[string]any{}
	for _, f := range o.Fields {
		if f.Sys == schema.NotSystem && !f.Virtual() {
			if v := u.Get(f); v != nil {
				row[f.Name] = v
			}
		}
	}
	p.err = errors.Join(p.err, p.to.Seed(o, u.ID, row))
	username, _ := row["Username"].(string)
	if !plan.about(username) {
		plan = accessPlan{}
	}
	set := p.add("PermissionSet", map[string]any{"Name": fmt.Sprintf("X%s", u.ID[:15]), "Label": u.ID[:15], "IsOwnedByProfile": true})
	p.add("PermissionSetAssignment", map[string]any{"PermissionSetId": set, "AssigneeId": u.ID, "IsActive": true})
	for _, o := range p.schema.Objects {
		if o.Event() || o.ReadOnly {
			continue
		}
		all := among(plan.Permissions, "ModifyAllData")
		p.add("ObjectPermissions", map[string]any{
			"ParentId": set, "SobjectType": o.Name, "PermissionsRead": true, "PermissionsCreate": true, "PermissionsEdit": true, "PermissionsDelete": true,
			"PermissionsViewAllRecords": plan.seesAll(o), "PermissionsModifyAllRecords": all && plan.seesAll(o),
		})
		for _, f := range o.Fields {
			name := o.Name + "." + f.Name
			if f.Sys != schema.NotSystem || f.Required || f.Compound != "" || among(plan.Hidden, name) {
				continue // these are not for permission sets to give, or not given
			}
			p.add("FieldPermissions", map[string]any{
				"ParentId": set, "SobjectType": o.Name, "Field": name, "PermissionsRead": true, "PermissionsEdit": !f.ReadOnly() && !among(plan.ReadOnly, name),
			})
		}
	}
}

// seesAll reports whether the plan lets its users see every record.
func (p accessPlan) seesAll(o *schema.Object) bool {
	if among(p.Shared, o.Name) {
		return false
	}
	for _, id := range p.HiddenRecords {
		if strings.HasPrefix(id, o.Prefix) {
			return false
		}
	}
	return true
}

// hidden returns what tells the records that the user of the session may not
// see; nil if there are none.
func (c *call) hidden() func(id string) bool {
	return c.access.get().hiddenFrom(c.session.User.Username)
}

func (p accessPlan) hiddenFrom(username string) func(id string) bool {
	if len(p.HiddenRecords) == 0 || !p.about(username) {
		return nil
	}
	set := make(map[string]bool, len(p.HiddenRecords))
	for _, id := range p.HiddenRecords {
		set[id] = true
	}
	return func(id string) bool { return set[id] }
}

// shows reports whether the user of the session may see a record.
func (c *call) shows(r *store.Record) bool {
	hidden := c.hidden()
	return hidden == nil || !hidden(r.ID)
}

// state is where a plan has to run: permissions have a state of their own.
func (c *call) state(plan *query.Plan) func(func(store.View) error) error {
	if !among(permissionObjects(), plan.Object.Name) {
		return c.look
	}
	rows, err := c.permissionRows()
	if err != nil { // the schema has no such objects
		c.opt.Log.Error("permission rows", slog.String("error", err.Error()))
		return c.look
	}
	return rows.Read
}
