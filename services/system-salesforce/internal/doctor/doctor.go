// Package doctor says whether an org is set up for this service.
//
// The problem: what an integration user may see and do is decided by many settings of an org, each of which breaks something else,
// often silently: a field that is hidden is simply missing, an object without change events never changes. The invariant: every
// check ends with one finding at least, also when it could not be made; nothing is passed that was not looked at. It changes
// nothing in the org.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Severity is how bad a finding is.
type Severity uint8

// The severities.
const (
	// OK is as it should be.
	OK Severity = iota + 1
	// Skipped could not be checked.
	Skipped
	// Warning works, and should be otherwise.
	Warning
	// Failed does not work.
	Failed
)

// The checks, in their order.
const (
	CheckSession    = "session"
	CheckScopes     = "scopes"
	CheckPermission = "permissions"
	CheckVisibility = "visibility"
	CheckObject     = "object"
	CheckField      = "field"
	CheckExternalID = "external-id"
	CheckChanges    = "change-events"
	CheckPubSub     = "pub-sub"
	CheckLimits     = "limits"
	CheckClock      = "clock"
)

// Finding is the result of one check. It holds no personal data.
type Finding struct {
	// Check is what was checked, Subject on what; Subject may be empty.
	Check, Subject string
	// Severity is how bad it is.
	Severity Severity
	// Message says what was found, Advice what to do about it.
	Message, Advice string
}

// CRM is what the doctor asks of package rest.
type CRM interface {
	Query(ctx context.Context, soql string) ([]rest.Record, error)
	Tooling(ctx context.Context, soql string) ([]rest.Record, error)
	Limits(ctx context.Context) (map[string]rest.Limit, error)
	ClockSkew() (time.Duration, bool)
}

// Options are what a Doctor works with. All are required but Channel.
type Options struct {
	// LoginURL is where the service logs in.
	LoginURL string
	// Session logs in.
	Session func(ctx context.Context) (auth.Session, error)
	CRM     CRM
	// Describe asks the org, not what is remembered.
	Describe func(ctx context.Context, sobject string) (*mapping.Schema, error)
	// Topic reports whether the user may subscribe to a topic of the Pub/Sub API.
	Topic   func(ctx context.Context, session auth.Session, topic string) (bool, error)
	Mapping *mapping.Mapping
	// Watched are our names of the objects whose changes are followed.
	Watched []string
	// Channel is the channel with the changes of all of them; empty means the channel of each.
	Channel string
}

// Doctor examines one org. It is safe for concurrent use.
type Doctor struct{ o Options }

// New returns a doctor.
func New(o Options) *Doctor { return &Doctor{o: o} }

// Examine makes every check. Without a session nothing else can be looked at.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	session, err := d.o.Session(ctx)
	if err != nil {
		out := []Finding{{
			Check: CheckSession, Severity: Failed, Message: text(err),
			Advice: "see the connected app, its pre-authorised permission sets and its certificate",
		}}
		for _, c := range []string{CheckScopes, CheckPermission, CheckVisibility, CheckObject, CheckChanges, CheckPubSub, CheckLimits, CheckClock} {
			out = append(out, Finding{Check: c, Severity: Skipped, Message: "there is no session to look with"})
		}
		return out
	}
	out := []Finding{d.session(session), scopes(session.Scope)}
	out = append(out, d.permissions(ctx))
	out = append(out, d.visibility(ctx, session)...)
	out = append(out, d.objects(ctx)...)
	out = append(out, d.changeEvents(ctx)...)
	out = append(out, d.topics(ctx, session)...)
	out = append(out, d.limits(ctx)...)
	return append(out, d.clock())
}

// Passed reports whether nothing failed.
func Passed(all []Finding) bool {
	for _, f := range all {
		if f.Severity == Failed {
			return false
		}
	}
	return true
}

// text is what an error says to people; what lies underneath may hold data.
func text(err error) string {
	if fe, ok := fault.As(err); ok {
		return fe.Reason + ": " + fe.Message
	}
	return "the check failed"
}

func (d *Doctor) session(s auth.Session) Finding {
	f := Finding{Check: CheckSession, Subject: s.OrgID, Severity: OK, Message: "logged in"}
	if strings.HasPrefix(d.o.LoginURL, "http://") && !auth.Loopback(d.o.LoginURL) {
		f.Severity, f.Message = Warning, "logged in without TLS"
		f.Advice = "use an https login URL; without it the session can be read on the way"
	}
	return f
}

// scopes compares what the session may be used for with what the service needs: the API.
func scopes(scope string) Finding {
	f := Finding{Check: CheckScopes, Severity: OK, Message: "api only"}
	var excess []string
	api := false
	for _, s := range strings.Fields(scope) {
		switch s {
		case "api":
			api = true
		case "id", "openid", "profile", "email":
		case "full":
			api = true
			excess = append(excess, s)
		default:
			excess = append(excess, s)
		}
	}
	switch {
	case scope == "":
		return Finding{Check: CheckScopes, Severity: Skipped, Message: "the org did not say what the session may be used for"}
	case !api:
		return Finding{Check: CheckScopes, Severity: Failed, Message: "the session may not be used for the API", Advice: "give the connected app the scope api"}
	case len(excess) > 0:
		f.Severity, f.Message = Warning, "more than needed: "+strings.Join(excess, " ")
		f.Advice = "leave the connected app the scope api"
	}
	return f
}

// risky are permissions that an integration user should not have. The first one it must have.
func risky() []struct{ name, why string } {
	return []struct{ name, why string }{
		{"ApiEnabled", ""},
		{"ModifyAllData", "Modify All Data"},
		{"ViewAllData", "View All Data"},
		{"ManageUsers", "Manage Users"},
		{"CustomizeApplication", "Customize Application"},
		{"AuthorApex", "Author Apex"},
		{"BulkApiHardDelete", "Bulk API Hard Delete"},
	}
}

// permissions asks the org what the user of the session may do.
func (d *Doctor) permissions(ctx context.Context) Finding {
	columns := make([]string, 0, len(risky()))
	for _, p := range risky() {
		columns = append(columns, "Permissions"+p.name)
	}
	rows, err := d.o.CRM.Query(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM UserPermissionAccess")
	if err != nil || len(rows) != 1 {
		return Finding{
			Check: CheckPermission, Severity: Skipped, Message: "the org does not say what the user may do",
			Advice: "look at the user's permission sets: API Enabled, and nothing that ends in All Data",
		}
	}
	var excess []string
	for _, p := range risky() {
		has, _ := rows[0]["Permissions"+p.name].(bool)
		switch {
		case p.why == "" && !has:
			return Finding{Check: CheckPermission, Severity: Failed, Message: "the user may not use the API", Advice: "give the user's permission set API Enabled"}
		case p.why != "" && has:
			excess = append(excess, p.why)
		}
	}
	if len(excess) > 0 {
		return Finding{
			Check: CheckPermission, Severity: Warning, Message: "more than needed: " + strings.Join(excess, ", "),
			Advice: "take it away; access to the mapped objects and fields is enough",
		}
	}
	return Finding{Check: CheckPermission, Severity: OK, Message: "no more than needed"}
}

// objects compares every object of the mapping with the org.
func (d *Doctor) objects(ctx context.Context) []Finding {
	var out []Finding
	for _, o := range d.o.Mapping.Objects() {
		bad, note := Failed, ""
		if !o.Required {
			bad, note = Warning, "; calls for it are refused, everything else works"
		}
		schema, err := d.o.Describe(ctx, o.SObject)
		switch {
		case fault.Is(err, fault.NotFound) && !o.Required:
			out = append(out, Finding{Check: CheckObject, Subject: o.SObject, Severity: Skipped, Message: "the org has no such object, or hides it" + note})
			continue
		case fault.Is(err, fault.NotFound):
			out = append(out, Finding{
				Check: CheckObject, Subject: o.SObject, Severity: Failed, Message: "the org has no such object that the integration user may see",
				Advice: "give the user's permission set read, create and edit access to it, or map " + o.Name + " to another object",
			})
			continue
		case err != nil:
			out = append(out, Finding{Check: CheckObject, Subject: o.SObject, Severity: bad, Message: text(err)})
			continue
		}
		out = append(out, object(o, schema, bad, note)...)
	}
	return out
}

// object compares one object.
func object(o *mapping.Object, schema *mapping.Schema, bad Severity, note string) []Finding {
	var out []Finding
	for _, problem := range parts(o.Fits(schema)) {
		out = append(out, Finding{
			Check: CheckField, Subject: o.SObject, Severity: bad, Message: problem.Error() + note,
			Advice: "give the user's permission set access to the field, or correct the mapping file",
		})
	}
	if len(out) == 0 {
		out = append(out, Finding{Check: CheckObject, Subject: o.SObject, Severity: OK, Message: fmt.Sprintf("%d columns are as mapped", len(o.Columns()))})
	}
	if f, ok := externalID(o, schema, bad); ok {
		out = append(out, f)
	}
	return out
}

// parts splits a joined error.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// externalID checks what keeps a record from being made twice.
func externalID(o *mapping.Object, schema *mapping.Schema, bad Severity) (Finding, bool) {
	column := o.ExternalID()
	if column == "" || o.Event {
		return Finding{}, false
	}
	for _, f := range schema.Fields() {
		if !strings.EqualFold(f.Name, column) {
			continue
		}
		subject := o.SObject + "." + column
		if f.Unique && f.ExternalID {
			return Finding{Check: CheckExternalID, Subject: subject, Severity: OK, Message: "unique"}, true
		}
		return Finding{
			Check: CheckExternalID, Subject: subject, Severity: bad, Message: "not a unique external id: two writers at once may make a record twice",
			Advice: "make the field an external id with unique values",
		}, true
	}
	return Finding{}, false // the field itself is a finding
}
