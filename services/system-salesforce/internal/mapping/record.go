package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// Reasons for which a value cannot be kept.
const (
	ReasonFieldUnknown   = "FIELD_UNKNOWN"
	ReasonFieldReadOnly  = "FIELD_READ_ONLY"
	ReasonFieldTooLong   = "FIELD_TOO_LONG"
	ReasonReferenceTwice = "REFERENCE_TWICE"
	ReasonValueKind      = "VALUE_KIND_INVALID"
	ReasonPicklist       = "VALUE_NOT_IN_PICKLIST"
)

// Problem is why a record cannot be written.
type Problem struct {
	// Field is our name of the field.
	Field string
	// Reason is a stable UPPER_SNAKE word.
	Reason string
	// Message is for people and does not repeat the value.
	Message string
}

// ReadAccount translates a record read with Columns. User is the id of the user that we are; empty when it is not known.
func (m *Mapping) ReadAccount(row map[string]any, user string) (*salesforcev1.Account, error) {
	a := &salesforcev1.Account{OwnWrite: WrittenBy(row, user)}
	return a, m.Account.Read(a, row)
}

// ReadContact translates a record read with Columns. User is the id of the user that we are; empty when it is not known.
func (m *Mapping) ReadContact(row map[string]any, user string) (*salesforcev1.Contact, error) {
	c := &salesforcev1.Contact{OwnWrite: WrittenBy(row, user)}
	return c, m.Contact.Read(c, row)
}

// WrittenBy reports whether a record says that a user has changed it last.
func WrittenBy(row map[string]any, user string) bool {
	by, _ := row[ChangedBy].(string)
	return len(user) >= 15 && strings.HasPrefix(by, user[:15])
}

// ChangedBy is the column that names who has changed a record last.
const ChangedBy = "LastModifiedById"

// ReadCase translates a record read with Columns.
func (m *Mapping) ReadCase(row map[string]any) (*salesforcev1.Case, error) {
	c := &salesforcev1.Case{}
	return c, m.Case.Read(c, row)
}

// WriteAccount is Row for accounts.
func (m *Mapping) WriteAccount(a *salesforcev1.Account, mask []string) (map[string]any, *Problem) {
	return m.Account.Row(a, mask)
}

// WriteContact is Row for contacts.
func (m *Mapping) WriteContact(c *salesforcev1.Contact, mask []string) (map[string]any, *Problem) {
	return m.Contact.Row(c, mask)
}

// missing is the problem of an upsert without a record; records of a batch are validated one by one, here.
func missing(field string) *Problem {
	return &Problem{Field: field, Reason: fault.ReasonValidationFailed, Message: "the record is missing"}
}

// expand returns which fields a mask names, by their place: a message stands for all its fields. Fields the service sets itself
// may be named and are ignored.
func (o *Object) expand(mask []string) ([]bool, *Problem) {
	out := make([]bool, len(o.fields))
	for _, path := range mask {
		if i, ok := o.index[path]; ok {
			out[i] = true
			continue
		}
		if slices.Contains(reserved(), path) {
			continue
		}
		if slices.Contains(o.known, path) {
			return nil, &Problem{Field: path, Reason: ReasonFieldReadOnly, Message: "the mapping keeps this field nowhere"}
		}
		found := false
		for _, name := range o.known {
			if !strings.HasPrefix(name, path+".") {
				continue
			}
			found = true
			if i, ok := o.index[name]; ok {
				out[i] = true
			}
		}
		if !found {
			return nil, &Problem{Field: path, Reason: ReasonFieldUnknown, Message: "there is no such field"}
		}
	}
	return out, nil
}

type meta struct {
	id               string
	version          int64
	created, updated *timestamppb.Timestamp
}

func readMeta(row map[string]any) (meta, error) {
	id, _ := row["Id"].(string)
	if id == "" {
		return meta{}, errors.New("the record has no Id")
	}
	updated, err := Time(row["SystemModstamp"])
	if err != nil {
		return meta{}, fmt.Errorf("%s SystemModstamp: %w", id, err)
	}
	created, err := Time(row["CreatedDate"])
	if err != nil {
		return meta{}, fmt.Errorf("%s CreatedDate: %w", id, err)
	}
	return meta{id: id, version: updated.UnixMilli(), created: timestamppb.New(created), updated: timestamppb.New(updated)}, nil
}

// Time reads a date-time as Salesforce writes it: 2026-01-01T00:00:00.000+0000.
func Time(v any) (time.Time, error) {
	text, _ := v.(string)
	for _, layout := range []string{"2006-01-02T15:04:05.000-0700", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("not a date-time")
}
