package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// org answers the doctor's questions; the zero value of a field means that all is well.
type org struct {
	sessionErr error
	scope      string
	query      func() ([]rest.Record, error)
	tooling    func() ([]rest.Record, error)
	limits     map[string]rest.Limit
	limitsErr  error
	skew       time.Duration
	noClock    bool
	missing    map[string]bool
	topicErr   error
	deaf       bool
	plain      bool
	views      []rest.Record
	viewsErr   error
	asked      string // of ObjectPermissions
}

func (o *org) Query(_ context.Context, soql string) ([]rest.Record, error) {
	if strings.Contains(soql, "FROM ObjectPermissions") {
		o.asked = soql
		return o.views, o.viewsErr
	}
	return o.query()
}

func (o *org) Tooling(context.Context, string) ([]rest.Record, error) {
	return o.tooling()
}

func (o *org) Limits(context.Context) (map[string]rest.Limit, error) { return o.limits, o.limitsErr }
func (o *org) ClockSkew() (time.Duration, bool)                      { return o.skew, !o.noClock }

// describe says of every mapped column that it is as it should be.
func (o *org) describe(m *mapping.Mapping) func(context.Context, string) (*mapping.Schema, error) {
	return func(_ context.Context, sobject string) (*mapping.Schema, error) {
		if o.missing[sobject] {
			return nil, fault.New(fault.NotFound, "RECORD_NOT_FOUND", "there is no such object")
		}
		var fields []mapping.Described
		for _, object := range m.Objects() {
			if object.SObject != sobject {
				continue
			}
			for _, c := range object.Columns() {
				if !o.missing[sobject+"."+c] {
					relation, _, dotted := strings.Cut(c, ".")
					if dotted {
						c = relation + "Id"
					} else {
						relation = ""
					}
					fields = append(fields, mapping.Described{Name: c, Relation: relation, Writable: true, Createable: true, ExternalID: true, Unique: !o.plain})
				}
			}
		}
		return mapping.NewSchema(fields), nil
	}
}

func setup(t *testing.T) (*org, func() []Finding) {
	t.Helper()
	m, err := mapping.Default()
	require.NoError(t, err)
	o := &org{scope: "api", missing: map[string]bool{}, limits: map[string]rest.Limit{
		"DailyApiRequests": {Max: 100, Remaining: 90}, "DailyDeliveredPlatformEvents": {Max: 100, Remaining: 90}, "DailyBulkApiBatches": {Max: 100, Remaining: 90},
	}}
	o.query = func() ([]rest.Record, error) { return []rest.Record{{"PermissionsApiEnabled": true}}, nil }
	o.views = []rest.Record{
		{"SobjectType": "Account", "PermissionsViewAllRecords": true},
		{"SobjectType": "Account", "PermissionsViewAllRecords": false},
		{"SobjectType": "Contact", "PermissionsViewAllRecords": true},
	}
	o.tooling = func() ([]rest.Record, error) {
		return []rest.Record{
			{"EventChannel": "ChangeEvents", "SelectedEntity": "AccountChangeEvent"}, {"EventChannel": "ChangeEvents", "SelectedEntity": "ContactChangeEvent"},
		}, nil
	}
	return o, func() []Finding {
		return New(Options{
			LoginURL: "https://acme.my.salesforce.com", CRM: o, Describe: o.describe(m), Mapping: m, Watched: []string{"account", "contact"},
			Session: func(context.Context) (auth.Session, error) {
				return auth.Session{OrgID: "00D", UserID: "005000000000001AAA", Scope: o.scope}, o.sessionErr
			},
			Topic: func(context.Context, auth.Session, string) (bool, error) { return !o.deaf, o.topicErr },
		}).Examine(t.Context())
	}
}

func of(all []Finding, check string) (out []Finding) {
	for _, f := range all {
		if f.Check == check {
			out = append(out, f)
		}
	}
	return out
}

func TestExamine(t *testing.T) {
	t.Parallel()
	refused := errors.New("INVALID_TYPE")
	t.Run("an org without fault passes every check", func(t *testing.T) {
		t.Parallel()
		_, examine := setup(t)
		all := examine()
		require.True(t, Passed(all), "%+v", all)
		for _, check := range []string{
			CheckSession, CheckScopes, CheckPermission, CheckVisibility, CheckObject, CheckExternalID, CheckChanges, CheckPubSub, CheckLimits, CheckClock,
		} {
			require.NotEmpty(t, of(all, check), check)
		}
	})
	for name, c := range map[string]struct {
		harm  func(o *org)
		check string
		want  Severity
	}{
		"a login that is refused":            {func(o *org) { o.sessionErr = fault.New(fault.Unavailable, "SALESFORCE_LOGIN_REFUSED", "no") }, CheckSession, Failed},
		"a session that may do everything":   {func(o *org) { o.scope = "full web" }, CheckScopes, Warning},
		"a session without the API":          {func(o *org) { o.scope = "id" }, CheckScopes, Failed},
		"an org that does not say the scope": {func(o *org) { o.scope = "" }, CheckScopes, Skipped},
		"a user who may change everything": {func(o *org) {
			o.query = func() ([]rest.Record, error) {
				return []rest.Record{{"PermissionsApiEnabled": true, "PermissionsModifyAllData": true}}, nil
			}
		}, CheckPermission, Warning},
		"a user without the API": {func(o *org) {
			o.query = func() ([]rest.Record, error) { return []rest.Record{{"PermissionsApiEnabled": false}}, nil }
		}, CheckPermission, Failed},
		"permissions that cannot be asked for":  {func(o *org) { o.query = func() ([]rest.Record, error) { return nil, refused } }, CheckPermission, Skipped},
		"an object whose records may be hidden": {func(o *org) { o.views = o.views[:2] }, CheckVisibility, Warning},
		"a sight that cannot be asked for":      {func(o *org) { o.views, o.viewsErr = nil, refused }, CheckVisibility, Warning},
		"an object that is missing":             {func(o *org) { o.missing["Account"] = true }, CheckObject, Failed},
		"a field that is missing":               {func(o *org) { o.missing["Account.Phone"] = true }, CheckField, Failed},
		"an external id that is not unique":     {func(o *org) { o.plain = true }, CheckExternalID, Failed},
		"an object without change events": {func(o *org) {
			o.tooling = func() ([]rest.Record, error) {
				return []rest.Record{{"EventChannel": "Other__chn", "SelectedEntity": "AccountChangeEvent"}}, nil
			}
		}, CheckChanges, Failed},
		"change events that cannot be asked for": {func(o *org) { o.tooling = func() ([]rest.Record, error) { return nil, refused } }, CheckChanges, Skipped},
		"a topic that is forbidden":              {func(o *org) { o.topicErr = fault.New(fault.Forbidden, "", "no") }, CheckPubSub, Failed},
		"a topic without subscribers":            {func(o *org) { o.deaf = true }, CheckPubSub, Failed},
		"a Pub/Sub API out of reach":             {func(o *org) { o.topicErr = fault.New(fault.Unavailable, "", "no") }, CheckPubSub, Failed},
		"an allowance that ends":                 {func(o *org) { o.limits["DailyApiRequests"] = rest.Limit{Max: 100, Remaining: 19} }, CheckLimits, Warning},
		"an allowance that has ended":            {func(o *org) { o.limits["DailyDeliveredPlatformEvents"] = rest.Limit{Max: 100} }, CheckLimits, Failed},
		"a limit that is not told":               {func(o *org) { delete(o.limits, "DailyBulkApiBatches") }, CheckLimits, Skipped},
		"limits that cannot be read":             {func(o *org) { o.limitsErr = refused }, CheckLimits, Failed},
		"a clock that is a minute away":          {func(o *org) { o.skew = -time.Minute }, CheckClock, Warning},
		"a clock that is three minutes away":     {func(o *org) { o.skew = 3 * time.Minute }, CheckClock, Failed},
		"a clock nobody knows":                   {func(o *org) { o.noClock = true }, CheckClock, Skipped},
	} {
		t.Run(name+" is found", func(t *testing.T) {
			t.Parallel()
			o, examine := setup(t)
			c.harm(o)
			all := examine()
			require.Equal(t, c.want != Failed, Passed(all))
			worst := OK
			for _, f := range of(all, c.check) {
				if f.Severity > worst {
					worst = f.Severity
				}
			}
			require.Equal(t, c.want, worst, "%+v", of(all, c.check))
		})
	}
	t.Run("sight of all records is asked for the user of the session, by any of its permission sets", func(t *testing.T) {
		t.Parallel()
		o, examine := setup(t)
		findings := of(examine(), CheckVisibility)
		require.Len(t, findings, 2)
		require.Contains(t, o.asked, "SobjectType IN ('Account', 'Contact')")
		require.Contains(t, o.asked, "AssigneeId = '005000000000001AAA'")
	})
	t.Run("an object that need not be there is no failure", func(t *testing.T) {
		t.Parallel()
		o, examine := setup(t)
		m, err := mapping.Default()
		require.NoError(t, err)
		for _, object := range m.Objects() {
			if !object.Required {
				o.missing[object.SObject] = true
			}
		}
		all := examine()
		require.True(t, Passed(all))
		skipped := 0
		for _, f := range of(all, CheckObject) {
			if f.Severity == Skipped {
				skipped++
			}
		}
		require.Equal(t, len(o.missing), skipped)
	})
	t.Run("without a session nothing is passed", func(t *testing.T) {
		t.Parallel()
		o, examine := setup(t)
		o.sessionErr = errors.New("dial: jane@example.test")
		for _, f := range examine() {
			require.NotEqual(t, OK, f.Severity)
			require.NotContains(t, f.Message, "jane", "what lies underneath may hold data")
		}
	})
}
