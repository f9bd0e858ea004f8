package write

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// maxWait bounds the wait for the second of a record's last change to pass.
const maxWait = 3 * time.Second

// sendConditional writes rows that must still be what their caller saw.
//
// Salesforce has entity tags for accounts only; for the others it compares times, in whole seconds. Comparing what the record holds with
// the etag, after the second of its last change has passed, sees every change up to then; the condition of the write sees every
// later one, for it falls into a later second. So nothing slips through between.
func (b *batch) sendConditional(ctx context.Context, index []int) {
	index = slices.DeleteFunc(index, func(i int) bool {
		if _, ok := mapping.EtagTime(b.rows[i].Match); ok {
			return false
		}
		b.out[i] = Outcome{Refused: &rest.Refusal{Kind: fault.Invalid, Reason: ReasonETagInvalid, Text: "this is no etag of this service"}}
		return true
	})
	if len(index) == 1 && b.object.SObject == "Account" && b.rows[index[0]].ID != "" {
		b.matchOne(ctx, index[0])
		return
	}
	for part := range slices.Chunk(index, rest.MaxWrite) {
		b.compareAndWrite(ctx, part)
	}
}

// matchOne writes one account under the entity tag that it has while its values are compared.
func (b *batch) matchOne(ctx context.Context, i int) {
	row, v, err := b.w.o.CRM.Row(ctx, b.object.SObject, b.rows[i].ID, b.object.Columns())
	switch {
	case fault.Is(err, fault.NotFound):
		b.out[i] = gone()
		return
	case err != nil:
		b.out[i] = Outcome{Failed: err}
		return
	case v.ETag == "":
		b.compareAndWrite(ctx, []int{i}) // an org, or a proxy before it, that sends none
		return
	}
	if b.changed(i, row) {
		return
	}
	r, err := b.w.o.CRM.UpdateOne(ctx, b.object.SObject, b.rows[i].ID, b.rows[i].Fields, rest.Condition{ETag: v.ETag})
	b.conclude(ctx, []int{i}, []rest.Result{r}, err)
}

// changed compares a record with the etag of its row, and notes the conflict.
func (b *batch) changed(i int, row rest.Record) bool {
	etag, err := b.object.Etag(row)
	if err != nil {
		b.out[i] = Outcome{Failed: fault.Wrap(fault.Internal, rest.ReasonAnswerInvalid, err, "a record of the CRM cannot be read")}
		return true
	}
	if etag == b.rows[i].Match {
		return false
	}
	b.out[i] = conflict(etag)
	return true
}

func conflict(etag string) Outcome {
	return Outcome{Etag: etag, Refused: &rest.Refusal{Kind: fault.Conflict, Reason: fault.ReasonETagMismatch, Class: rest.Conflicted, Text: "the record has changed meanwhile"}}
}

func gone() Outcome {
	return Outcome{Refused: &rest.Refusal{Kind: fault.NotFound, Reason: rest.ReasonNotFound, Text: "there is no such record in the CRM"}}
}

// compareAndWrite reads rows, compares, and writes the unchanged ones under the condition that they were not changed since.
func (b *batch) compareAndWrite(ctx context.Context, index []int) {
	if err := b.settle(ctx, index); err != nil {
		b.fail(index, err)
		return
	}
	rows, err := b.read(ctx, index, b.object.Columns()[1:]) // the first is Id
	if err != nil {
		b.fail(index, err)
		return
	}
	var unchanged []int
	ids := map[int]string{}
	for _, i := range index {
		row, ok := rows[i]
		if !ok {
			b.out[i] = gone()
			continue
		}
		if !b.changed(i, row) {
			ids[i], _ = row["Id"].(string)
			unchanged = append(unchanged, i)
		}
	}
	for part := range slices.Chunk(unchanged, rest.MaxParts) {
		results, err := b.update(ctx, part, ids)
		b.conclude(ctx, part, results, err)
	}
}

// settle waits until the second of the last change of every row has passed, by Salesforce's clock.
func (b *batch) settle(ctx context.Context, index []int) error {
	var newest time.Time
	for _, i := range index {
		if at, _ := mapping.EtagTime(b.rows[i].Match); at.After(newest) {
			newest = at
		}
	}
	// ServerTime is never ahead of that clock.
	wait := newest.Truncate(time.Second).Add(time.Second).Sub(b.w.o.CRM.ServerTime())
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(min(wait, maxWait))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "the record changed too recently to be compared in time")
	case <-timer.C:
		return nil
	}
}

func (b *batch) fail(index []int, err error) {
	for _, i := range index {
		b.out[i] = Outcome{Failed: err}
	}
}

// update writes rows by id, each under the condition that it was not changed since the second of its etag.
func (b *batch) update(ctx context.Context, index []int, ids map[int]string) ([]rest.Result, error) {
	condition := func(i int) rest.Condition {
		at, _ := mapping.EtagTime(b.rows[i].Match)
		return rest.Condition{Unmodified: at.Truncate(time.Second)}
	}
	if len(index) == 1 {
		i := index[0]
		r, err := b.w.o.CRM.UpdateOne(ctx, b.object.SObject, ids[i], b.rows[i].Fields, condition(i))
		return []rest.Result{r}, err
	}
	parts := make([]rest.Part, len(index))
	for j, i := range index {
		parts[j] = rest.Part{
			Ref: fmt.Sprintf("r%d", j), Method: http.MethodPatch, Path: "sobjects/" + b.object.SObject + "/" + ids[i], ID: ids[i],
			Body: b.rows[i].Fields, Condition: condition(i), Op: rest.OpUpdate,
		}
	}
	answers, err := b.w.o.CRM.Composite(ctx, false, parts)
	if err != nil {
		return nil, err
	}
	results := make([]rest.Result, len(index))
	for j, a := range answers {
		results[j] = rest.Result{ID: a.ID, Refused: a.Refused}
	}
	return results, nil
}

// conclude notes the outcomes of conditional writes; for conflicts it looks what the records are now.
func (b *batch) conclude(ctx context.Context, index []int, results []rest.Result, err error) {
	if err != nil {
		b.fail(index, err)
		if fault.Is(err, fault.Uncertain) {
			b.readBack(ctx, index)
		}
		return
	}
	var late []int
	for j, i := range index {
		b.out[i] = outcome(results[j])
		if r := results[j].Refused; r != nil && r.Reason == fault.ReasonETagMismatch {
			late = append(late, i)
		}
	}
	if len(late) == 0 {
		return
	}
	rows, _ := b.read(ctx, late, b.object.Columns()[1:]) // a conflict is one without its etag, too
	for i, row := range rows {
		if etag, err := b.object.Etag(row); err == nil {
			b.out[i].Etag = etag
		}
	}
}
