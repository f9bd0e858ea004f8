package rest

import (
	"context"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Fate is what the org says about a record that a read did not return.
type Fate uint8

const (
	// Untold is a record of which the org tells nothing: a sharing rule hides it, or it was purged, or it never was.
	Untold Fate = iota
	// Alive is a record that can be read now.
	Alive
	// Gone is a record that is deleted, or of which the org tells nothing to a user who sees every record.
	Gone
)

// Fates asks what became of records that a read did not return; it has one fate per id, in order. Absence alone proves nothing: a
// record that the user may not see is absent, too. It takes one call, one more when the org tells nothing of some record, and another two
// when the user seems to see every record.
func (c *Client) Fates(ctx context.Context, object string, ids []string) ([]Fate, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out := make([]Fate, len(ids))
	untold, err := c.deletions(ctx, object, ids, out)
	if err != nil || len(untold) == 0 {
		return out, err
	}
	// Who sees every record is asked before and after: a permission that changes in between must not turn what is hidden into what
	// is gone.
	if all, err := c.seesAll(ctx, object); err != nil || !all {
		return out, err
	}
	if untold, err = c.deletions(ctx, object, ids, out); err != nil || len(untold) == 0 {
		return out, err
	}
	if all, err := c.seesAll(ctx, object); err != nil || !all {
		return out, err
	}
	for _, i := range untold {
		out[i] = Gone
	}
	return out, nil
}

// deletions fills in what the org tells, and returns the places of which it tells nothing.
func (c *Client) deletions(ctx context.Context, object string, ids []string, out []Fate) ([]int, error) {
	said, err := c.IsDeleted(ctx, object, ids)
	if err != nil && !fault.Is(err, fault.Precondition) { // an object that knows no deletion says nothing about any
		return nil, err
	}
	var untold []int
	for i, id := range ids {
		switch deleted, told := said[FullID(id)]; {
		case told && deleted:
			out[i] = Gone
		case told:
			out[i] = Alive
		default:
			out[i] = Untold
			untold = append(untold, i)
		}
	}
	return untold, nil
}

// SightQuery is the question which of some objects a user sees all records of.
func SightQuery(user string, objects []string) string {
	return "SELECT SobjectType, PermissionsViewAllRecords FROM ObjectPermissions WHERE SobjectType IN (" + QuoteAll(objects) +
		") AND ParentId IN (SELECT PermissionSetId FROM PermissionSetAssignment WHERE AssigneeId = " + Quote(user) + ")"
}

// Seen reads an answer to SightQuery: the objects, in lower case, of which one permission set at least shows all records.
func Seen(rows []Record) map[string]bool {
	out := map[string]bool{}
	for _, r := range rows {
		object, _ := r["SobjectType"].(string)
		if all, _ := r["PermissionsViewAllRecords"].(bool); all {
			out[strings.ToLower(object)] = true
		}
	}
	return out
}

// seesAll reports whether it is certain that the user of the session sees every record of an object. An org that does not say makes
// nothing certain; one that cannot be asked now is an error.
func (c *Client) seesAll(ctx context.Context, object string) (bool, error) {
	session, err := c.o.Sessions.Session(ctx)
	if err != nil {
		return false, err
	}
	if session.UserID == "" {
		return false, nil
	}
	rows, err := c.Query(ctx, SightQuery(session.UserID, []string{object}))
	refused := []fault.Kind{fault.Invalid, fault.Internal, fault.Precondition, fault.Forbidden, fault.NotFound, fault.Unimplemented}
	switch {
	case err != nil && slices.Contains(refused, fault.KindOf(err)):
		return false, nil
	case err != nil:
		return false, err
	}
	return Seen(rows)[strings.ToLower(object)], nil
}
