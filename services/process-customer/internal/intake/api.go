package intake

import (
	"context"
	"fmt"
	"strconv"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Reasons of refused calls.
const (
	ReasonFieldMastered   = "FIELD_MASTERED"
	ReasonCustomerDeleted = "CUSTOMER_DELETED"
	ReasonUnknown         = "CUSTOMER_UNKNOWN"
	ReasonErased          = "CUSTOMER_ERASED"
)

// Answer is called inside the transaction with what a call came to, so that its stored answer and its effect are one.
type Answer func(ctx context.Context, tx *store.Tx, id golden.ID, existing bool) error

// Create makes a customer whose id the caller has derived from its idempotency key, or finds the one that the values
// mean. Done twice with one id it is done once: the second call finds what the first one left, also after a crash.
func (in *Intake) Create(ctx context.Context, id golden.ID, values golden.Values, answer Answer) error {
	changeID := "create/" + string(id)
	err := in.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		got, existing, err := in.create(ctx, tx, id, changeID, values)
		if err != nil {
			return err
		}
		return answer(ctx, tx, got, existing)
	})
	if err != nil {
		return fmt.Errorf("create customer: %w", err)
	}
	in.marked()
	return nil
}

func (in *Intake) create(ctx context.Context, tx *store.Tx, id golden.ID, changeID string, values golden.Values) (golden.ID, bool, error) {
	unit, err := in.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
	if err != nil {
		return "", false, err
	}
	seen, err := tx.Seen(ctx, golden.SystemAPI, []string{changeID})
	if err != nil {
		return "", false, err
	}
	if before, ok := seen[changeID]; ok {
		tx.AddTotals("duplicates", map[string]int64{golden.SystemAPI: 1})
		return before, before != id, nil
	}
	tombs, err := tx.Tombs(ctx, []string{store.GoldenKey(id)})
	if err != nil {
		return "", false, err
	}
	if len(tombs.Erasure) > 0 { // the call that made it comes again
		return "", false, fault.New(fault.Precondition, ReasonErased, "what the call made was erased")
	}
	if err := unit.LoadGoldens(ctx, []golden.ID{id}); err != nil {
		return "", false, err
	}
	if unit.Golden(id) != nil {
		return id, false, nil // made so long ago that the inbox has forgotten it
	}
	if err := unit.LoadOwners(ctx, id.Object(), values); err != nil {
		return "", false, err
	}
	verdict, err := unit.Match(ctx, id.Object(), values)
	if err != nil {
		return "", false, err
	}
	if verdict.Same != "" {
		return verdict.Same, true, in.noteCall(ctx, tx, unit, changeID, verdict.Same, store.Unchanged)
	}
	unit.Create(id, changeID, verdict.Reason)
	unit.Say(id, values, changeID)
	unit.Prompt()
	if err := unit.Flush(ctx); err != nil {
		return "", false, err
	}
	got := unit.Follow(id)
	return got, got != id, in.noteCall(ctx, tx, unit, changeID, got, store.Applied)
}

// Update says values of a customer. Version is the one the caller has read, zero for any. Done twice with one change id
// it is done once.
func (in *Intake) Update(ctx context.Context, id golden.ID, changeID string, version int64, values golden.Values, answer Answer) error {
	changeID = "update/" + changeID
	err := in.store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := in.update(ctx, tx, id, changeID, version, values); err != nil {
			return err
		}
		return answer(ctx, tx, id, true)
	})
	if err != nil {
		return fmt.Errorf("update customer: %w", err)
	}
	in.marked()
	return nil
}

func (in *Intake) update(ctx context.Context, tx *store.Tx, id golden.ID, changeID string, version int64, values golden.Values) error {
	unit, err := in.folder.Begin(ctx, tx, telemetry.Traceparent(ctx))
	if err != nil {
		return err
	}
	seen, err := tx.Seen(ctx, golden.SystemAPI, []string{changeID})
	if err != nil {
		return err
	}
	if _, ok := seen[changeID]; ok {
		tx.AddTotals("duplicates", map[string]int64{golden.SystemAPI: 1})
		return nil
	}
	if err := unit.LoadGoldens(ctx, []golden.ID{id}); err != nil {
		return err
	}
	changed, err := sayable(unit, id, version, values, unit.Rules())
	if err != nil {
		return err
	}
	if len(changed) == 0 {
		return in.noteCall(ctx, tx, unit, changeID, id, store.Unchanged)
	}
	unit.Say(id, changed, changeID)
	for field, value := range changed {
		if unit.Golden(id).Values[field] != value {
			return mastered(field, fold.Decide(id.Object(), unit.Rows(id), unit.Rules()))
		}
	}
	if err := unit.Flush(ctx); err != nil {
		return err
	}
	return in.noteCall(ctx, tx, unit, changeID, id, store.Applied)
}

// sayable returns the values that would change something, or why they may not.
func sayable(unit *fold.Unit, id golden.ID, version int64, values golden.Values, rules *survive.Rules) (golden.Values, error) {
	g := unit.Golden(id)
	switch {
	case g == nil:
		return nil, fault.New(fault.NotFound, ReasonUnknown, "there is no such customer")
	case g.Deleted:
		return nil, fault.New(fault.Precondition, ReasonCustomerDeleted, "every system has deleted the customer")
	case version != 0 && version != g.Version:
		return nil, fault.New(fault.Conflict, fault.ReasonETagMismatch, "the customer has changed since it was read").
			WithMeta("etag", strconv.FormatInt(g.Version, 10))
	}
	changed := golden.Values{}
	decisions := fold.Decide(g.Object, unit.Rows(id), rules)
	for field, value := range values {
		if g.Values[field] == value {
			continue
		}
		if !rules.APIMayWrite(g.Object, field, decisions) {
			return nil, mastered(field, decisions)
		}
		changed[field] = value
	}
	return changed, nil
}

// mastered says that a value cannot win, and whose does.
func mastered(field string, decisions []golden.Decision) error {
	e := fault.New(fault.Precondition, ReasonFieldMastered, "another system decides %s", field).WithMeta("field", field)
	for _, d := range decisions {
		if d.Field == field && d.Winner != nil && d.Winner.Ref.System != golden.SystemAPI {
			return e.WithMeta("master", d.Winner.Ref.System)
		}
	}
	return e
}

// noteCall notes a call in the inbox as the change that it is.
func (in *Intake) noteCall(ctx context.Context, tx *store.Tx, unit *fold.Unit, changeID string, id golden.ID, state string) error {
	if state == store.Applied && unit.Marked(id) {
		state = store.Retrying
	}
	return tx.AddInbox(ctx, []store.Inbox{{
		System: golden.SystemAPI, ChangeID: changeID, Object: id.Object(), RecordID: string(id), GoldenID: id, State: state,
		Received: unit.Now(), Traceparent: telemetry.Traceparent(ctx),
	}})
}
