package changes

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// hydrateMax is how many records one retrieve call reads.
const hydrateMax = 200

// topic returns the name of an object's channel: My_Object__c has /data/My_Object__ChangeEvent.
func topic(sobject string) string {
	if custom, ok := strings.CutSuffix(sobject, "__c"); ok {
		return "/data/" + custom + "__ChangeEvent"
	}
	return "/data/" + sobject + "ChangeEvent"
}

// changes translates events, reading the records they are about as they are now.
func (w *Watcher) changes(ctx context.Context, s source, events []pubsub.Event) ([]*salesforcev1.Change, error) {
	var ids []string
	seen := map[string]bool{}
	for _, e := range events {
		if overflow(e) || e.ChangeType == "DELETE" {
			continue
		}
		for _, id := range e.RecordIDs {
			if id = rest.FullID(id); !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	records, err := w.hydrate(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	var out []*salesforcev1.Change
	for _, e := range events {
		w.metrics.event(ctx, s.object.Name, e, w.o.Now())
		if overflow(e) {
			out = append(out, w.change(s, e, salesforcev1.ChangeKind_CHANGE_KIND_OVERFLOW, ""))
			continue
		}
		for _, id := range e.RecordIDs {
			c, err := w.recordChange(s, e, rest.FullID(id), records)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// overflow reports whether an event does not say which records changed.
func overflow(e pubsub.Event) bool {
	if e.ChangeType == "GAP_OVERFLOW" || len(e.RecordIDs) == 0 {
		return true
	}
	for _, id := range e.RecordIDs {
		if len(id) != 15 && len(id) != 18 || strings.Contains(id, "*") {
			return true
		}
	}
	return false
}

func (w *Watcher) recordChange(s source, e pubsub.Event, id string, records map[string]rest.Record) (*salesforcev1.Change, error) {
	row, alive := records[id]
	c := w.change(s, e, kindOf(e.ChangeType, alive), id)
	if !alive || c.Kind == salesforcev1.ChangeKind_CHANGE_KIND_DELETED {
		return c, nil
	}
	var err error
	switch s.kind {
	case salesforcev1.Object_OBJECT_ACCOUNT:
		c.Account, err = w.o.Mapping.ReadAccount(row)
	case salesforcev1.Object_OBJECT_CONTACT:
		c.Contact, err = w.o.Mapping.ReadContact(row)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, rest.ReasonAnswerInvalid, err, "a record of the CRM cannot be read")
	}
	return c, nil
}

func (w *Watcher) change(s source, e pubsub.Event, kind salesforcev1.ChangeKind, id string) *salesforcev1.Change {
	return &salesforcev1.Change{
		Id:   s.object.Name + ":" + base64.RawURLEncoding.EncodeToString(e.ReplayID) + ":" + id,
		Kind: kind, Object: s.kind, RecordId: id, CommitTime: timestamppb.New(e.Committed),
		ChangedFields: s.object.Names(e.Changed), OwnWrite: ownWrite(e.Origin, w.o.ClientName),
	}
}

// kindOf says what an event means for a record that is or is not there now.
func kindOf(changeType string, alive bool) salesforcev1.ChangeKind {
	if !alive {
		return salesforcev1.ChangeKind_CHANGE_KIND_DELETED
	}
	switch changeType {
	case "CREATE", "GAP_CREATE":
		return salesforcev1.ChangeKind_CHANGE_KIND_CREATED
	case "UNDELETE", "GAP_UNDELETE":
		return salesforcev1.ChangeKind_CHANGE_KIND_UNDELETED
	case "DELETE":
		return salesforcev1.ChangeKind_CHANGE_KIND_DELETED
	}
	// An update, a gap of unknown content, or a kind invented later: the record as it is now says it all.
	return salesforcev1.ChangeKind_CHANGE_KIND_UPDATED
}

// ownWrite compares the client part of an origin such as "com/salesforce/api/rest/66.0;client=selfsame", never the API part:
// that one is the same for every other integration.
func ownWrite(origin, client string) bool {
	for i, part := range strings.Split(origin, ";") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(part), "client="); ok && i > 0 && name == client {
			return client != ""
		}
	}
	return false
}

// hydrate reads records by id. It waits as long as it takes when Salesforce is away or the allowance is used up: skipping a
// record would lose its change.
func (w *Watcher) hydrate(ctx context.Context, s source, ids []string) (map[string]rest.Record, error) {
	out := make(map[string]rest.Record, len(ids))
	for len(ids) > 0 {
		some := ids[:min(len(ids), hydrateMax)]
		ids = ids[len(some):]
		for attempt := 1; ; attempt++ {
			rows, err := w.o.Records.Retrieve(ctx, s.object.SObject, some, s.object.Columns())
			if err == nil {
				for i, row := range rows {
					if row != nil {
						out[some[i]] = row
					}
				}
				break
			}
			if ctx.Err() != nil || !passing(err) {
				return nil, err
			}
			w.o.Log.LogAttrs(ctx, slog.LevelWarn, "changed records could not be read, trying again",
				slog.String("object", s.object.Name), slog.Int("attempt", attempt), slog.String("reason", fault.ReasonOf(err)))
			if !pause(ctx, max(w.backoff.Next(attempt), fault.RetryAfter(err))) {
				return nil, ctx.Err()
			}
		}
	}
	return out, nil
}

// passing reports whether waiting may mend a failed read.
func passing(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Exhausted, fault.Timeout, fault.Conflict:
		return fault.ReasonOf(err) != auth.ReasonLoginRefused
	}
	return false
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
