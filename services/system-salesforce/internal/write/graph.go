package write

import (
	"context"
	"net/http"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Node is one record of a graph.
type Node struct {
	// Ref names the node; References are columns whose value is the id of the record of an earlier node.
	Ref        string
	References map[string]string
	// Object is what kind of record it is.
	Object *mapping.Object
	// ExternalID names the record to upsert, Fields are the columns to write besides the references.
	ExternalID string
	Fields     map[string]any
}

// Graph writes up to rest.MaxParts records in one transaction: all of them or none. There is one outcome for each, in order. When
// nothing was written, the records to blame say why and the others are rolled back with them.
//
// The error is that of the call: then none was written, unless it is Uncertain and reading back did not show all of them.
func (w *Writer) Graph(ctx context.Context, nodes []Node) ([]Outcome, error) {
	out := make([]Outcome, len(nodes))
	parts := make([]rest.Part, len(nodes))
	refs := map[string]bool{}
	bad := false
	for i, n := range nodes {
		body := make(rest.Record, len(n.Fields)+len(n.References))
		for c, v := range n.Fields {
			body[c] = v
		}
		for column, ref := range n.References {
			if !refs[ref] {
				out[i].Refused = &rest.Refusal{Kind: fault.Invalid, Reason: ReasonReference, Text: "a reference names no earlier node"}
			}
			body[column] = "@{" + ref + ".id}"
		}
		switch {
		case !rest.SafeKey(n.ExternalID):
			out[i].Refused = &rest.Refusal{Kind: fault.Invalid, Reason: ReasonKeyUnsafe, Text: "in a graph an external id has letters, digits, hyphens and underscores only"}
		case refs[n.Ref]:
			out[i].Refused = &rest.Refusal{Kind: fault.Invalid, Reason: ReasonReference, Text: "two nodes have the same name"}
		}
		refs[n.Ref] = true
		bad = bad || out[i].Refused != nil
		parts[i] = rest.Part{
			Ref: n.Ref, Method: http.MethodPatch, Path: "sobjects/" + n.Object.SObject + "/" + n.Object.ExternalID() + "/" + n.ExternalID, Body: body, Op: rest.OpUpsert,
		}
	}
	if bad {
		return rolledBack(out), nil
	}
	for round := 0; ; round++ {
		answers, err := w.o.CRM.Composite(ctx, true, parts)
		if err != nil {
			return w.graphFailed(ctx, nodes, err)
		}
		locked, refused := false, false
		for i, a := range answers {
			out[i] = Outcome{ID: a.ID, Created: a.Created, Refused: a.Refused}
			refused = refused || a.Refused != nil
			locked = locked || a.Refused != nil && a.Refused.Reason == rest.ReasonLocked
		}
		if !refused {
			return out, nil
		}
		if !locked || round >= w.o.LockRounds || !w.o.CRM.Repeat(ctx, round, rest.ReasonLocked) {
			return rolledBack(out), nil
		}
		w.locks.Add(ctx, int64(len(nodes)))
	}
}

// rolledBack gives every record that has nothing against it the outcome of the transaction: whatever its answer said, it is not
// there.
func rolledBack(out []Outcome) []Outcome {
	for i := range out {
		if out[i].Refused == nil {
			out[i] = Outcome{Refused: &rest.Refusal{
				Kind: fault.Conflict, Reason: rest.ReasonRolledBack, Class: rest.Conflicted, Retryable: true, Text: "the record was rolled back together with others",
			}}
		}
	}
	return out
}

// graphFailed asks what became of a graph whose call got no answer: a transaction shows all its records or none.
func (w *Writer) graphFailed(ctx context.Context, nodes []Node, err error) ([]Outcome, error) {
	out := undecided(make([]Outcome, len(nodes)), err)
	if !fault.Is(err, fault.Uncertain) {
		return out, err
	}
	ids := map[string]string{}
	for i, n := range nodes {
		row := Row{ExternalID: n.ExternalID, Fields: make(map[string]any, len(n.Fields)+len(n.References))}
		for c, v := range n.Fields {
			row.Fields[c] = v
		}
		for column, ref := range n.References {
			row.Fields[column] = ids[ref] // an earlier node, which was read back
		}
		b := &batch{w: w, object: n.Object, rows: []Row{row}, out: out[i : i+1]}
		b.readBack(ctx, []int{0})
		if !out[i].Written() {
			return undecided(out, err), err
		}
		ids[n.Ref] = out[i].ID
	}
	return out, nil
}

// undecided gives every record of a graph the same outcome: that some of them show their values proves nothing when others do not.
func undecided(out []Outcome, err error) []Outcome {
	for i := range out {
		out[i] = Outcome{Failed: err}
	}
	return out
}
