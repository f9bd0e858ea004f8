package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Deletion is a record that went away.
type Deletion struct {
	// ID is the record's id, 18 characters.
	ID string
	// At is when it was deleted.
	At time.Time
}

// Deletions are the deletions of a period.
type Deletions struct {
	// Records are in no particular order.
	Records []Deletion
	// Earliest is the time before which the org has forgotten deletions: a period that begins earlier is not complete.
	Earliest time.Time
}

// Updated returns the ids of the live records of an object that were made or changed in a period, in no particular order.
// Salesforce ignores the seconds of both times and wants a minute at least between them.
//
// Errors: Precondition with ReasonPeriodTooLarge when there are more ids than one answer holds, with ReasonPeriodInvalid when
// the period is too long ago or cannot be listed yet.
func (c *Client) Updated(ctx context.Context, object string, from, until time.Time) ([]string, error) {
	var answer struct {
		IDs []string `json:"ids"`
	}
	if err := c.call(ctx, period("updated", object, from, until), &answer); err != nil {
		return nil, fmt.Errorf("list what changed of %s: %w", object, err)
	}
	for i, id := range answer.IDs {
		answer.IDs[i] = FullID(id)
	}
	return answer.IDs, nil
}

// Deleted returns the records of an object that were deleted in a period. Times and errors are as for Updated.
func (c *Client) Deleted(ctx context.Context, object string, from, until time.Time) (Deletions, error) {
	var answer struct {
		Records []struct {
			ID   string `json:"id"`
			Date string `json:"deletedDate"`
		} `json:"deletedRecords"`
		Earliest string `json:"earliestDateAvailable"`
	}
	if err := c.call(ctx, period("deleted", object, from, until), &answer); err != nil {
		return Deletions{}, fmt.Errorf("list what was deleted of %s: %w", object, err)
	}
	var out Deletions
	var err error
	if answer.Earliest != "" { // absent: nothing was ever forgotten
		if out.Earliest, err = parseTime(answer.Earliest); err != nil {
			return Deletions{}, err
		}
	}
	for _, r := range answer.Records {
		at, err := parseTime(r.Date)
		if err != nil {
			return Deletions{}, err
		}
		out.Records = append(out.Records, Deletion{ID: FullID(r.ID), At: at})
	}
	return out, nil
}

// IsDeleted asks for records by id, deleted ones included: true is a record in the recycle bin, false one that is alive. An id that
// is missing from the answer names a record of which Salesforce tells nothing: it is hidden from the user, or purged, or never was.
//
// Errors: Precondition when the object knows no deletion; otherwise those of Query.
func (c *Client) IsDeleted(ctx context.Context, object string, ids []string) (map[string]bool, error) {
	out := make(map[string]bool, len(ids))
	for part := range slices.Chunk(ids, inList) {
		rows, err := c.pages(ctx, "queryAll", "SELECT Id, IsDeleted FROM "+object+" WHERE Id IN ("+QuoteAll(part)+")")
		if err != nil {
			return nil, fmt.Errorf("ask which records of %s are deleted: %w", object, err)
		}
		for _, row := range rows {
			id, _ := row["Id"].(string)
			if deleted, ok := row["IsDeleted"].(bool); ok && id != "" {
				out[FullID(id)] = deleted
			}
		}
	}
	return out, nil
}

// Masters asks which deleted records a merge put another one in the place of: the id of that one by theirs. A record that was deleted
// for itself, or that left the recycle bin, is not among them.
//
// Errors: Precondition when the object knows no merges; otherwise those of Query.
func (c *Client) Masters(ctx context.Context, object string, ids []string) (map[string]string, error) {
	out := map[string]string{}
	for part := range slices.Chunk(ids, inList) {
		rows, err := c.pages(ctx, "queryAll", "SELECT Id, MasterRecordId FROM "+object+" WHERE MasterRecordId != null AND Id IN ("+QuoteAll(part)+")")
		if err != nil {
			return nil, fmt.Errorf("ask which records of %s were merged: %w", object, err)
		}
		for _, row := range rows {
			id, _ := row["Id"].(string)
			if master, _ := row["MasterRecordId"].(string); id != "" && master != "" {
				out[FullID(id)] = FullID(master)
			}
		}
	}
	return out, nil
}

// ServerTime returns the time by Salesforce's clock, up to a second and the duration of a call behind it. Until the first answer
// it is the time by ours.
func (c *Client) ServerTime() time.Time { return c.o.Now().Add(time.Duration(c.clock.ahead.Load())) }

// ReadClock asks Salesforce for the time, by the one call that it does not count.
func (c *Client) ReadClock(ctx context.Context) (time.Time, error) {
	if err := c.call(ctx, request{method: http.MethodGet, path: "/services/data"}, nil); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	return c.ServerTime(), nil
}

// ClockSkew returns how far Salesforce's clock is ahead of ours, and false until the first answer.
func (c *Client) ClockSkew() (time.Duration, bool) {
	return time.Duration(c.clock.ahead.Load()), c.clock.known.Load()
}

func period(what, object string, from, until time.Time) request {
	return request{method: http.MethodGet, path: "sobjects/" + object + "/" + what + "/", query: url.Values{
		"start": {from.UTC().Format(time.RFC3339)}, "end": {until.UTC().Format(time.RFC3339)},
	}}
}

func parseTime(text string) (time.Time, error) {
	for _, form := range []string{"2006-01-02T15:04:05.000-0700", time.RFC3339Nano} {
		if at, err := time.Parse(form, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Internal, ReasonAnswerInvalid, "the answer of Salesforce holds a time that cannot be read")
}
