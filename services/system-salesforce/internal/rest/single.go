package rest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Condition is what a record must still be for a write to happen. The zero value asks for nothing.
type Condition struct {
	// ETag is the entity tag that Salesforce gave; only accounts have one.
	ETag string
	// Unmodified is the time after which the record must not have changed, in whole seconds, rounded down.
	Unmodified time.Time
}

func (c Condition) headers() map[string]string {
	switch {
	case c.ETag != "":
		return map[string]string{"If-Match": c.ETag}
	case !c.Unmodified.IsZero():
		return map[string]string{"If-Unmodified-Since": c.Unmodified.UTC().Format(http.TimeFormat)}
	}
	return nil
}

// Validators are what an answer says for later conditions.
type Validators struct {
	// ETag is the entity tag; empty for objects that have none.
	ETag string
	// Date is when Salesforce answered, by its clock; zero when it did not say.
	Date time.Time
}

// Row reads one record and what a later write of it can be conditional on. NotFound when it is not there.
func (c *Client) Row(ctx context.Context, object, id string, fields []string) (Record, Validators, error) {
	var row Record
	var v Validators
	r := request{
		method: http.MethodGet, path: "sobjects/" + object + "/" + url.PathEscape(id), query: url.Values{"fields": {strings.Join(fields, ",")}},
		answer: func(h http.Header) {
			v.ETag = h.Get("ETag")
			v.Date, _ = http.ParseTime(h.Get("Date")) // zero when there is none
		},
	}
	if err := c.call(ctx, r, &row); err != nil {
		return nil, v, err
	}
	return row, v, nil
}

// SafeKey reports whether an external id may stand in a URL as it is. Others travel in the body: Salesforce cuts the path at
// slashes and takes a dot for the beginning of a file extension, encoded or not.
func SafeKey(value string) bool {
	return value != "" && strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// UpsertOne writes one record by an external id. A record refused because another writer made it in the same moment is sent
// once more. The result says why the record was refused; errors are those of the call, as for Upsert.
func (c *Client) UpsertOne(ctx context.Context, object, externalID, value string, fields Record) (Result, error) {
	if !SafeKey(value) {
		row := make(Record, len(fields)+1)
		for k, v := range fields {
			row[k] = v
		}
		row[externalID] = value
		results, err := c.Upsert(ctx, object, externalID, []Record{row})
		if err != nil {
			return Result{}, err
		}
		return results[0], nil
	}
	body := fields.nested()
	delete(body, externalID)
	r := request{method: http.MethodPatch, path: "sobjects/" + object + "/" + externalID + "/" + value, body: body, op: OpUpsert}
	result, err := c.writeOne(ctx, r)
	if err == nil && result.Refused != nil && result.Refused.Reason == ReasonDuplicateValue && result.Refused.names(externalID) {
		// Whatever comes of the second attempt, the first outcome stands if it fails.
		if second, err := c.writeOne(ctx, r); err == nil {
			return second, nil
		}
	}
	return result, err
}

// UpdateOne writes one record by id, if the condition holds; a condition that does not hold is the refusal ETAG_MISMATCH. Errors
// are as for UpsertOne.
func (c *Client) UpdateOne(ctx context.Context, object, id string, fields Record, condition Condition) (Result, error) {
	r := request{method: http.MethodPatch, path: "sobjects/" + object + "/" + url.PathEscape(id), body: fields.nested(), op: OpUpdate, headers: condition.headers()}
	r.once = r.headers != nil // a repetition would meet its own first attempt and take it for somebody else's change
	result, err := c.writeOne(ctx, r)
	if err == nil && result.Refused == nil {
		result.ID = FullID(id)
	}
	return result, err
}

// writeOne makes a call for one record and tells a refusal of the record from a failure of the call.
func (c *Client) writeOne(ctx context.Context, r request) (Result, error) {
	var answer struct {
		ID      string `json:"id"`
		Created bool   `json:"created"`
	}
	var out any
	if r.op == OpUpsert {
		out = &answer
	}
	err := c.call(ctx, r, out)
	if err == nil {
		return Result{ID: FullID(answer.ID), Created: answer.Created}, nil
	}
	refusal, ok := RefusalOf(err)
	if !ok || fault.Is(err, fault.Uncertain) || !refusal.aboutRecord() {
		return Result{}, err
	}
	return Result{Refused: &refusal}, nil
}

// Publish makes up to MaxWrite platform events. Events have no key: a call that may have been taken is never repeated, and its
// error is Uncertain.
func (c *Client) Publish(ctx context.Context, event string, records []Record) ([]Result, error) {
	return c.write(ctx, http.MethodPost, "composite/sobjects", event, OpCreate, records)
}
