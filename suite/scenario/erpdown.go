package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// accounts is how many are created during the outage.
const accounts = 5

func erpDown(ctx context.Context, r *run) error {
	known := "ERP Down known " + r.mark
	if _, err := r.demo.CRM.Create(ctx, "Account", crm.Record{"Name": known}); err != nil {
		return err
	}
	r.step("salesforce", "an account created before the outage")
	if err := r.settle(ctx); err != nil {
		return err
	}
	// Settling does not wait for the flow without protection.
	err := until(ctx, "the flow without protection had its customer", func(ctx context.Context) (bool, error) {
		theirs, err := named(ctx, r.naive.direct, known)
		return len(theirs) > 0, err
	})
	if err != nil {
		return err
	}
	_, creates, _ := r.naive.counts()

	if err := r.faults(ctx, nil, remote.Fault{Kind: "down"}); err != nil {
		return err
	}
	down, err := r.naive.proxy.Set(faultproxy.Fault{Kind: faultproxy.Down})
	if err != nil {
		return err
	}
	r.step("faults", "the ERP is down")
	for i := range accounts {
		if _, err := r.demo.CRM.Create(ctx, "Account", crm.Record{"Name": fmt.Sprintf("ERP Down %d %s", i, r.mark)}); err != nil {
			return err
		}
	}
	r.step("salesforce", "%d accounts created", accounts)
	if err := r.during(ctx, known); err != nil {
		return err
	}

	if err := r.demo.ClearFaults(ctx); err != nil {
		return err
	}
	r.naive.proxy.Clear(down.ID)
	r.step("faults", "the ERP is back")
	if err := r.settle(ctx); err != nil {
		return err
	}
	ours, err := named(ctx, r.demo.ERP, r.mark)
	if err != nil {
		return err
	}
	theirs, err := named(ctx, r.naive.direct, r.mark)
	if err != nil {
		return err
	}
	dead, err := r.demo.Operations.ListDeadLetters(ctx, &customerv1.ListDeadLettersRequest{})
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	_, after, lost := r.naive.counts()
	r.row("accounts created during the outage", accounts, accounts)
	r.row("of these, customers in the ERP afterwards", len(ours)-1, len(theirs)-1)
	r.row("given up", 0, lost)
	r.want("every account created during the outage reached the ERP", len(ours)-1, accounts)
	r.want("nothing became a dead letter: waiting is not failing", len(dead.GetDeadLetters()), 0)
	// It may lose more: what Selfsame writes back into the account of before is an event of that, too, and may come during the outage.
	r.that("the flow without protection lost them", lost >= accounts && len(theirs)-1 < accounts && after > creates, fmt.Sprintf("it gave %d up", lost))
	return nil
}

// during looks at the suite while the ERP is down: it waits until the flow without protection has given up, which it does
// within moments, and Selfsame has taken every account in.
func (r *run) during(ctx context.Context, known string) error {
	var status *customerv1.GetStatusResponse
	err := until(ctx, "every account was waiting", func(ctx context.Context) (bool, error) {
		_, _, lost := r.naive.counts()
		var err error
		if status, err = r.demo.Operations.GetStatus(ctx, &customerv1.GetStatusRequest{}); err != nil {
			return false, err
		}
		for _, t := range status.GetTargets() {
			if t.GetSystem() == "erp" && t.GetPending() >= accounts {
				return lost >= accounts, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	r.step("selfsame", "%d customers wait for the ERP", accounts)
	began := time.Now()
	a, err := r.demo.Mobile(ctx, http.MethodGet, "/v1/customers/"+r.goldenOf(ctx, known), nil, nil)
	if err != nil {
		return err
	}
	took := time.Since(began)
	var view struct {
		Name    string `json:"name"`
		Sources []struct {
			Section, State, Reason string
		} `json:"sources"`
	}
	if err := json.Unmarshal(a.Body, &view); err != nil {
		return fmt.Errorf("read the phone's answer: %w", err)
	}
	states := []string{}
	open := false
	for _, s := range view.Sources {
		states = append(states, s.Section+" "+s.State)
		open = open || s.Section == "orders" && s.State != "OK"
	}
	r.step("phone", "GET /v1/customers/{id}: %d after %d ms, %s", a.Status, took.Milliseconds(), strings.Join(states, ", "))
	r.want("the phone's read is answered during the outage", a.Status, http.StatusOK)
	r.that("its answer says that the orders are not fresh", open && view.Name == known, strings.Join(states, ", "))
	return nil
}
