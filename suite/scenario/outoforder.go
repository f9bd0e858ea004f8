package scenario

import (
	"context"
	"fmt"

	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
)

const (
	first  = "+49 30 3001"
	older  = "+49 30 3002"
	newer  = "+49 30 3003"
	before = "+49 30 3004"
	last   = "+49 30 3005"
)

func outOfOrder(ctx context.Context, r *run) error {
	name := "Out of Order " + r.mark
	id, err := r.demo.CRM.Create(ctx, "Account", crm.Record{"Name": name, "Phone": first})
	if err != nil {
		return err
	}
	r.step("salesforce", "account %s created", id)
	if err := r.settle(ctx); err != nil {
		return err
	}
	if _, _, err := r.phones(ctx, name); err != nil { // both have the customer
		return err
	}
	if err := r.overtaken(ctx, id); err != nil {
		return err
	}
	protected, naive, err := r.phones(ctx, name)
	if err != nil {
		return err
	}
	r.row("the ERP ended with the newest number (1 yes, 0 no)", yes(protected == newer), yes(naive == newer))
	r.that("the older update did not win", protected == newer, "the ERP does not have the newest number")
	r.that("without protection it did", naive == older, "the faults did not do what they are for")

	if err := r.swapped(ctx, id); err != nil {
		return err
	}
	if protected, _, err = r.phones(ctx, name); err != nil {
		return err
	}
	rec, err := r.demo.CRM.Query(ctx, "SELECT Phone FROM Account WHERE Id = "+crm.Quote(id))
	if err != nil {
		return err
	}
	r.that("swapped events: both systems end with the newest number", protected == last && len(rec) == 1 && rec[0].Text("Phone") == last,
		"one of them does not")
	return r.timeline(ctx, r.began, r.goldenOf(ctx, name))
}

// overtaken lets an update fail and a newer one pass it before it is tried again.
func (r *run) overtaken(ctx context.Context, id string) error {
	if err := r.faults(ctx, nil, remote.Fault{Kind: "down", Method: "BatchUpsertCustomers", Times: 3}); err != nil {
		return err
	}
	if _, err := r.naive.proxy.Set(faultproxy.Fault{Kind: faultproxy.Down, Method: "UpdateCustomer", Times: 1}); err != nil {
		return err
	}
	r.step("faults", "the next writes to the ERP fail")
	if err := r.demo.CRM.Update(ctx, "Account", id, crm.Record{"Phone": older}); err != nil {
		return err
	}
	r.step("salesforce", "phone number changed")
	// The newer change comes only when the older one has failed on both sides.
	err := until(ctx, "the first update had failed", func(ctx context.Context) (bool, error) {
		faults, err := r.demo.ERPFaults(ctx)
		return len(faults) > 0 && faults[0].Hits > 0 && r.naive.waiting() > 0, err
	})
	if err != nil {
		return err
	}
	seen := r.naive.seen(id)
	if err := r.demo.CRM.Update(ctx, "Account", id, crm.Record{"Phone": newer}); err != nil {
		return err
	}
	r.step("salesforce", "phone number changed again")
	if err := until(ctx, "the second update had come", func(context.Context) (bool, error) { return r.naive.seen(id) > seen, nil }); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	r.naive.retry(ctx)
	return r.demo.ClearFaults(ctx)
}

// swapped makes two changes whose events arrive in the wrong order.
func (r *run) swapped(ctx context.Context, id string) error {
	if err := r.faults(ctx, map[string]any{"reorder_events": true}); err != nil {
		return err
	}
	r.step("faults", "Salesforce swaps neighbouring events")
	for _, phone := range []string{before, last} {
		if err := r.demo.CRM.Update(ctx, "Account", id, crm.Record{"Phone": phone}); err != nil {
			return err
		}
		r.step("salesforce", "phone number changed")
	}
	return r.settle(ctx)
}

// phones returns the number each ERP has for the one customer of a name.
func (r *run) phones(ctx context.Context, name string) (protected, naive string, err error) {
	ours, err := named(ctx, r.demo.ERP, name)
	if err != nil {
		return "", "", err
	}
	// The naive flow is not waited for by settle.
	err = until(ctx, "the flow without protection had its customer", func(ctx context.Context) (bool, error) {
		theirs, err := named(ctx, r.naive.direct, name)
		if len(theirs) == 1 {
			naive = theirs[0].GetPhone()
		}
		return len(theirs) > 0, err
	})
	if err != nil {
		return "", "", err
	}
	if len(ours) != 1 {
		return "", "", fmt.Errorf("the erp has %d customers named %q, not one", len(ours), name)
	}
	return ours[0].GetPhone(), naive, nil
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
