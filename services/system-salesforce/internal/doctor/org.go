package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
)

const (
	// lowShare is the part of an allowance below which it is worth a warning.
	lowShare = 0.2
	// skewWarning and skewMost are how far clocks may be apart: a login is good for three minutes.
	skewWarning = 30 * time.Second
	skewMost    = 150 * time.Second
)

// everyChange is the channel that the Setup page of change data capture fills.
const everyChange = "ChangeEvents"

// event returns the name of the change event of an object.
func event(sobject string) string {
	if custom, ok := strings.CutSuffix(sobject, "__c"); ok {
		return custom + "__ChangeEvent"
	}
	return sobject + "ChangeEvent"
}

// watched returns the objects whose changes are followed.
func (d *Doctor) watched() []*mapping.Object {
	var out []*mapping.Object
	for _, name := range d.o.Watched {
		if o, ok := d.o.Mapping.Object(name); ok {
			out = append(out, o)
		}
	}
	return out
}

// changeEvents asks the org which objects it publishes changes of. An object that is left out never changes, without any error.
func (d *Doctor) changeEvents(ctx context.Context) []Finding {
	channel := everyChange
	if name, ok := strings.CutPrefix(d.o.Channel, "/data/"); ok {
		channel = name
	}
	rows, err := d.o.CRM.Tooling(ctx, "SELECT EventChannel, SelectedEntity FROM PlatformEventChannelMember")
	if err != nil {
		return []Finding{{
			Check: CheckChanges, Subject: channel, Severity: Skipped, Message: "the org does not say which objects it publishes changes of",
			Advice: "look at Setup, Change Data Capture; the user needs View Setup and Configuration for this check only",
		}}
	}
	members := map[string]bool{}
	for _, r := range rows {
		at, _ := r["EventChannel"].(string)
		entity, _ := r["SelectedEntity"].(string)
		if strings.EqualFold(at, channel) {
			members[strings.ToLower(entity)] = true
		}
	}
	var out []Finding
	for _, o := range d.watched() {
		f := Finding{Check: CheckChanges, Subject: o.SObject, Severity: OK, Message: "published on " + channel}
		if !members[strings.ToLower(event(o.SObject))] {
			f.Severity, f.Message = Failed, "its changes are not published on "+channel
			f.Advice = "select it in Setup, Change Data Capture, or add it to the channel"
		}
		out = append(out, f)
	}
	return out
}

// topics asks the Pub/Sub API what the user may subscribe to.
func (d *Doctor) topics(ctx context.Context, session auth.Session) []Finding {
	topics := []string{d.o.Channel}
	if d.o.Channel == "" {
		topics = nil
		for _, o := range d.watched() {
			topics = append(topics, "/data/"+event(o.SObject))
		}
	}
	var out []Finding
	for _, topic := range topics {
		may, err := d.o.Topic(ctx, session, topic)
		f := Finding{Check: CheckPubSub, Subject: topic, Severity: OK, Message: "may be subscribed to"}
		switch kind := fault.KindOf(err); {
		case err == nil && !may, err != nil && (kind == fault.Forbidden || kind == fault.NotFound):
			f.Severity, f.Message = Failed, "the user may not subscribe to it, or it does not exist"
			f.Advice = "give the user's permission set read access to the object, and publish its changes"
		case err != nil:
			f.Severity, f.Message = Failed, "the Pub/Sub API cannot be reached"
			f.Advice = "see salesforce.pubsub_endpoint and the way to it; port 443 must let HTTP/2 pass"
		}
		out = append(out, f)
	}
	return out
}

// limits looks at the allowances that the service itself uses.
func (d *Doctor) limits(ctx context.Context) []Finding {
	all, err := d.o.CRM.Limits(ctx)
	if err != nil {
		return []Finding{{Check: CheckLimits, Severity: Failed, Message: text(err)}}
	}
	var out []Finding
	for _, l := range []struct{ name, then string }{
		{"DailyApiRequests", "see selfsame budget for who uses them, or buy more"},
		{"DailyDeliveredPlatformEvents", "without any left changes arrive late; other subscribers use them too"},
		{"DailyBulkApiBatches", "large loads wait without any left"},
	} {
		have, ok := all[l.name]
		if !ok || have.Max == 0 {
			out = append(out, Finding{Check: CheckLimits, Subject: l.name, Severity: Skipped, Message: "the org does not say"})
			continue
		}
		f := Finding{Check: CheckLimits, Subject: l.name, Severity: OK, Message: fmt.Sprintf("%d of %d left", have.Remaining, have.Max)}
		switch share := float64(have.Remaining) / float64(have.Max); {
		case have.Remaining <= 0:
			f.Severity, f.Advice = Failed, l.then
		case share < lowShare:
			f.Severity, f.Advice = Warning, l.then
		}
		out = append(out, f)
	}
	return out
}

// clock compares our clock with that of the org's answers, which have whole seconds.
func (d *Doctor) clock() Finding {
	skew, ok := d.o.CRM.ClockSkew()
	if !ok {
		return Finding{Check: CheckClock, Severity: Skipped, Message: "no answer said the time"}
	}
	f := Finding{Check: CheckClock, Severity: OK, Message: fmt.Sprintf("%s apart", skew.Abs().Truncate(time.Second))}
	switch {
	case skew.Abs() > skewMost:
		f.Severity = Failed
	case skew.Abs() > skewWarning:
		f.Severity = Warning
	default:
		return f
	}
	f.Advice = "synchronise this machine's clock: a login is refused when it is minutes away"
	return f
}
