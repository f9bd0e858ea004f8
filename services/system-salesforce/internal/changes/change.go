package changes

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// hydrateMax is how many records one retrieve call of the live feed reads.
const hydrateMax = 200

const (
	objectAccount = "account"
	objectContact = "contact"
)

// source is one kind of record.
type source struct {
	name    string
	sobject string
	object  *mapping.Object
	kind    salesforcev1.Object
	columns []string
	// put sets the record of a change.
	put func(ctx context.Context, c *salesforcev1.Change, row rest.Record, user string) error
}

// source returns the source of one of our names.
func (w *Watcher) source(name string) (*source, error) {
	m := w.o.Mapping
	s := &source{name: name}
	switch name {
	case objectAccount:
		s.object, s.kind = m.Account, salesforcev1.Object_OBJECT_ACCOUNT
		s.put = func(_ context.Context, c *salesforcev1.Change, row rest.Record, user string) (err error) {
			c.Account, err = m.ReadAccount(row, user)
			return err
		}
	case objectContact:
		s.object, s.kind = m.Contact, salesforcev1.Object_OBJECT_CONTACT
		s.put = func(_ context.Context, c *salesforcev1.Change, row rest.Record, user string) (err error) {
			c.Contact, err = m.ReadContact(row, user)
			return err
		}
	default:
		o, ok := m.Object(name)
		if !ok || o.Event {
			return nil, notMapped(name)
		}
		s.object, s.kind = o, salesforcev1.Object_OBJECT_OTHER
		s.put = func(ctx context.Context, c *salesforcev1.Change, row rest.Record, _ string) error {
			var schema *mapping.Schema
			err := w.patiently(ctx, name, "the describe", func() (err error) {
				schema, err = w.o.Schema(ctx, o.SObject)
				return err
			})
			if err == nil {
				c.Record, err = o.ReadRecord(row, schema)
			}
			return err
		}
	}
	s.sobject, s.columns = s.object.SObject, s.object.Columns()
	return s, nil
}

func notMapped(name string) error {
	return fault.New(fault.Precondition, ReasonNotMapped, "the mapping does not declare %q", name)
}

// ReasonNotMapped means that the mapping does not declare an object.
const ReasonNotMapped = "OBJECT_NOT_MAPPED"

// topic returns the name of an object's channel: My_Object__c has /data/My_Object__ChangeEvent.
func topic(sobject string) string {
	if custom, ok := strings.CutSuffix(sobject, "__c"); ok {
		return "/data/" + custom + "__ChangeEvent"
	}
	return "/data/" + sobject + "ChangeEvent"
}

// recordChange returns what an event means for one record; nil when the record is unreadable.
func (l *lane) recordChange(ctx context.Context, s *source, e pubsub.Event, id string, records *reading) (*salesforcev1.Change, error) {
	kind, ok := kindOf(e.ChangeType, records.fate(id))
	if !ok {
		return nil, nil
	}
	c := &salesforcev1.Change{
		Id:   s.name + ":" + base64.RawURLEncoding.EncodeToString(e.ReplayID) + ":" + id,
		Kind: kind, Object: s.kind, ObjectName: s.name, RecordId: id, CommitTime: timestamppb.New(e.Committed),
		ChangedFields: s.object.Names(e.Changed), OwnWrite: ownWrite(e.Origin, l.w.o.ClientName) || l.w.o.Echo.caused(e, id, l.user),
	}
	if kind == salesforcev1.ChangeKind_CHANGE_KIND_DELETED {
		c.MergedInto = records.masters[id]
		return c, nil
	}
	return c, s.set(ctx, c, records.rows[id], l.user)
}

// set puts the record into a change, as the user that we are sees it.
func (s *source) set(ctx context.Context, c *salesforcev1.Change, row rest.Record, user string) error {
	err := s.put(ctx, c, row, user)
	if _, ok := fault.As(err); err == nil || ok || ctx.Err() != nil {
		return err
	}
	return fault.Wrap(fault.Internal, rest.ReasonAnswerInvalid, err, "a record of the CRM cannot be read")
}

// kindOf says what an event means for a record with that fate now; false when it says nothing. Only an event that tells of a
// deletion, or the org that knows the record as deleted, makes a deletion.
func kindOf(changeType string, now fate) (salesforcev1.ChangeKind, bool) {
	switch {
	case changeType == "DELETE", now == deleted, now == unreadable && changeType == "GAP_DELETE":
		return salesforcev1.ChangeKind_CHANGE_KIND_DELETED, true
	case now == unreadable:
		return salesforcev1.ChangeKind_CHANGE_KIND_UNSPECIFIED, false
	}
	switch changeType {
	case "CREATE", "GAP_CREATE":
		return salesforcev1.ChangeKind_CHANGE_KIND_CREATED, true
	case "UNDELETE", "GAP_UNDELETE":
		return salesforcev1.ChangeKind_CHANGE_KIND_UNDELETED, true
	}
	// An update, a gap of unknown content, or a kind invented later: the record as it is now says it all.
	return salesforcev1.ChangeKind_CHANGE_KIND_UPDATED, true
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
