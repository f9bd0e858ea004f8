package rest

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Remove deletes up to MaxWrite records by id. The answer has one element per id, in order; its refusal has the kind NotFound for
// an id that names no live record. One refused record does not stop the others, and the call may be repeated.
//
// Besides classified faults it returns Uncertain when it is not known whether the records were deleted.
func (c *Client) Remove(ctx context.Context, ids []string) ([]Result, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > MaxWrite {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "a delete takes at most %d records", MaxWrite)
	}
	var answer []struct {
		Success bool          `json:"success"`
		Errors  []vendorError `json:"errors"`
	}
	query := url.Values{"ids": {strings.Join(ids, ",")}, "allOrNone": {"false"}}
	if err := c.call(ctx, request{method: http.MethodDelete, path: "composite/sobjects", query: query, op: OpUpdate}, &answer); err != nil {
		return nil, err
	}
	if len(answer) != len(ids) {
		return nil, uncertain(fault.New(fault.Internal, ReasonAnswerInvalid, "Salesforce answered %d outcomes for %d records", len(answer), len(ids)))
	}
	results := make([]Result, len(ids))
	for i, a := range answer {
		if a.Success {
			results[i] = Result{ID: FullID(ids[i])}
			continue
		}
		var e vendorError
		if len(a.Errors) > 0 {
			e = a.Errors[0]
		}
		r := e.refusal(OpUpdate)
		if r.Reason == ReasonReference { // of a deletion it says that the id names nothing
			r.Kind, r.Reason, r.Text = fault.NotFound, ReasonNotFound, "there is no such record in the CRM"
		}
		results[i] = Result{Refused: &r}
	}
	return results, nil
}
