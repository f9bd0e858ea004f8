package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// faults sets Salesforce's fault plan and faults in front of the ERP.
func (r *run) faults(ctx context.Context, plan map[string]any, erp ...remote.Fault) error {
	errs := []error{r.demo.SetSalesforceFaults(ctx, plan)}
	for _, f := range erp {
		_, err := r.demo.SetERPFault(ctx, f)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ledger reads the conservation ledger.
func (r *run) ledger(ctx context.Context) (*customerv1.GetLedgerResponse, error) {
	l, err := r.demo.Operations.GetLedger(ctx, &customerv1.GetLedgerRequest{})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return l, nil
}

func line(l *customerv1.GetLedgerResponse, system string) *customerv1.LedgerLine {
	for _, x := range l.GetLines() {
		if x.GetSystem() == system {
			return x
		}
	}
	return nil
}

// goldenOf returns the golden id of the customer whose name begins so; empty when there is none.
func (r *run) goldenOf(ctx context.Context, name string) string {
	res, err := r.demo.Customers.ListCustomers(ctx, &customerv1.ListCustomersRequest{NamePrefix: name})
	if err != nil || len(res.GetCustomers()) == 0 {
		return ""
	}
	return res.GetCustomers()[0].GetId()
}

// calls returns what went through the fault proxy since a time.
func (r *run) calls(ctx context.Context, since time.Time) ([]faultproxy.Call, error) {
	var out struct {
		Calls []faultproxy.Call `json:"calls"`
	}
	if _, err := r.demo.JSON(ctx, http.MethodGet, r.demo.State.Control+"/calls", nil, &out); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out.Calls, func(c faultproxy.Call) bool { return c.Time.Before(since) }), nil
}

// upserts counts the calls since the scenario began that could have created a customer, and those of which the answer was
// lost.
func (r *run) upserts(ctx context.Context) (calls, lost int, err error) {
	all, err := r.calls(ctx, r.began)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range all {
		if strings.HasSuffix(c.Method, "/BatchUpsertCustomers") {
			calls++
			if c.Fault == faultproxy.LoseAck {
				lost++
			}
		}
	}
	return calls, lost, nil
}

// timeline adds what the ERP was asked and what the process service recorded about the customers.
func (r *run) timeline(ctx context.Context, since time.Time, ids ...string) error {
	calls, err := r.calls(ctx, since)
	if err != nil {
		return err
	}
	for _, c := range calls {
		method := path.Base(c.Method)
		switch {
		case c.Fault == faultproxy.LoseAck:
			r.stepAt(c.Time.Add(c.Took), "erp", "%s: committed, answer LOST", method)
		case c.Fault == faultproxy.Down:
			r.stepAt(c.Time.Add(c.Took), "erp", "%s: not reached", method)
		case strings.HasPrefix(method, "BatchUpsert"):
			r.stepAt(c.Time.Add(c.Took), "erp", "%s: %s", method, c.Code)
		}
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if id == "" {
			continue
		}
		res, err := r.demo.Operations.ListEvents(ctx, &customerv1.ListEventsRequest{Id: id})
		if err != nil {
			return fmt.Errorf("read events of %s: %w", id, err)
		}
		for _, e := range res.GetEvents() {
			if at := e.GetTime().AsTime(); !at.Before(since) {
				what := e.GetKind() + " " + id
				for _, extra := range []string{e.GetReason(), strings.Join(e.GetFields(), " ")} {
					if extra != "" {
						what += " · " + extra
					}
				}
				who := "selfsame"
				if e.GetSystem() != "" {
					who += " " + e.GetSystem()
				}
				r.stepAt(at, who, "%s", what)
			}
		}
	}
	return nil
}
