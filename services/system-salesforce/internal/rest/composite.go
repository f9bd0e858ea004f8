package rest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// MaxParts is how many parts one composite call has.
const MaxParts = 25

// Part is one request inside a composite call.
type Part struct {
	// Ref names the part; a later one may use "@{Ref.id}" in Path and Body.
	Ref string
	// Method and Path say what is called; Path is relative to the versioned base.
	Method, Path string
	// ID is the record's id, if the part names it so: the answer to an update does not.
	ID string
	// Body is what is sent.
	Body Record
	// Condition is what the record must still be.
	Condition Condition
	// Op is what the part does.
	Op Op
}

// PartResult is the answer to a part.
type PartResult struct {
	// ID and Created are those of the record, as far as the answer says.
	ID      string
	Created bool
	// Refused is why the part had no effect; nil when it had.
	Refused *Refusal
}

// Composite makes up to MaxParts requests in one call, in order. With all, either every part has its effect or none.
//
// Besides classified faults it returns Uncertain when it is not known whether the parts had their effect.
func (c *Client) Composite(ctx context.Context, all bool, parts []Part) ([]PartResult, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	if len(parts) > MaxParts {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "a composite call takes at most %d parts", MaxParts)
	}
	requests := make([]map[string]any, len(parts))
	op, once := OpRead, false
	for i, p := range parts {
		requests[i] = map[string]any{"method": p.Method, "url": "/services/data/v" + c.o.APIVersion + "/" + p.Path, "referenceId": p.Ref}
		if p.Body != nil {
			requests[i]["body"] = p.Body.nested()
		}
		if h := p.Condition.headers(); h != nil {
			requests[i]["httpHeaders"] = h
			once = true // as for UpdateOne
		}
		op = max(op, p.Op)
	}
	var answer struct {
		Parts []struct {
			Body   json.RawMessage `json:"body"`
			Status int             `json:"httpStatusCode"`
		} `json:"compositeResponse"`
	}
	body := map[string]any{"allOrNone": all, "collateSubrequests": false, "compositeRequest": requests}
	if err := c.call(ctx, request{method: http.MethodPost, path: "composite", body: body, op: op, once: once}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Parts) != len(parts) {
		return nil, uncertain(fault.New(fault.Internal, ReasonAnswerInvalid, "Salesforce answered %d parts of %d", len(answer.Parts), len(parts)))
	}
	out := make([]PartResult, len(parts))
	for i, a := range answer.Parts {
		out[i] = partResult(a.Status, a.Body, parts[i].Op)
		if out[i].ID == "" && out[i].Refused == nil {
			out[i].ID = FullID(parts[i].ID)
		}
		if out[i].Refused == nil && parts[i].Body != nil {
			c.o.Wrote(out[i].ID, parts[i].Body)
		}
	}
	return out, nil
}

func partResult(status int, body json.RawMessage, op Op) PartResult {
	if status >= 300 {
		if e, coded := firstError(status, body); coded {
			r := e.refusal(op)
			return PartResult{Refused: &r}
		}
		r, ok := RefusalOf(classifyStatus(status, op).err)
		if !ok {
			r = vendorError{}.refusal(op)
		}
		return PartResult{Refused: &r}
	}
	var made struct {
		ID      string `json:"id"`
		Created bool   `json:"created"`
	}
	if len(body) > 0 {
		_ = json.Unmarshal(body, &made) // an update answers nothing
	}
	return PartResult{ID: FullID(made.ID), Created: made.Created}
}
