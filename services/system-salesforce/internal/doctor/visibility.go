package doctor

import (
	"context"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// visibility asks whether the user of the session sees every record of the objects whose changes are followed: a record that a
// sharing rule hides looks as if it were not there. Sharing itself is not looked at, so what is not granted for the whole object
// is called unproven, not wrong.
func (d *Doctor) visibility(ctx context.Context, session auth.Session) []Finding {
	var names []string
	for _, o := range d.watched() {
		names = append(names, o.SObject)
	}
	if len(names) == 0 {
		return []Finding{{Check: CheckVisibility, Severity: Skipped, Message: "no object's changes are followed"}}
	}
	rows, err := d.o.CRM.Query(ctx, rest.SightQuery(session.UserID, names))
	sees := rest.Seen(rows)
	var out []Finding
	for _, name := range names {
		f := Finding{Check: CheckVisibility, Subject: name, Severity: OK, Message: "the user sees every record"}
		if !sees[strings.ToLower(name)] {
			f.Severity, f.Message = Warning, "nothing shows that the user sees every record"
			if err != nil {
				f.Message = "the org does not say whether the user sees every record"
			}
			f.Advice = "give the user's permission set View All Records on it; changes of a hidden record are left out and counted in selfsame_salesforce_cdc_unreadable_total"
		}
		out = append(out, f)
	}
	return out
}
