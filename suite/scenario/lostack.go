package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// tries is how often the phone sends one request: once, and twice more because it saw no answer.
const tries = 3

// losses is how many of the ERP's answers are lost, once for Salesforce's customer and once for the phone's.
const losses = 2

// copies is how often Salesforce delivers each event.
const copies = 3

func lostAck(ctx context.Context, r *run) error {
	fromCRM, fromPhone := "Lost Ack CRM "+r.mark, "Lost Ack Phone "+r.mark
	before, err := r.ledger(ctx)
	if err != nil {
		return err
	}
	if err := r.faults(ctx, map[string]any{"duplicate_events": copies}); err != nil {
		return err
	}
	r.step("faults", "every Salesforce event comes %d times", copies)
	if err := r.loseAcks(ctx); err != nil {
		return err
	}

	began := time.Now()
	id, err := r.demo.CRM.Create(ctx, "Account", crm.Record{"Name": fromCRM, "Phone": "+49 30 1000"})
	if err != nil {
		return err
	}
	r.step("salesforce", "account %s created", id)
	if err := until(ctx, "the event had come three times", func(context.Context) (bool, error) { return r.naive.seen(id) >= copies, nil }); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.loseAcks(ctx); err != nil {
		return err
	}
	ids, replays, err := r.phone(ctx, fromPhone)
	if err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.timeline(ctx, began, append(ids, r.goldenOf(ctx, fromCRM))...); err != nil {
		return err
	}
	return r.lostAckResult(ctx, before, fromCRM, fromPhone, ids, replays)
}

// loseAcks makes the ERP lose its next answers, on both sides.
func (r *run) loseAcks(ctx context.Context) error {
	if _, err := r.demo.SetERPFault(ctx, remote.Fault{Kind: "lose_ack", Method: "BatchUpsertCustomers", Times: losses}); err != nil {
		return err
	}
	_, err := r.naive.proxy.Set(faultproxy.Fault{Kind: faultproxy.LoseAck, Method: "CreateCustomer", Times: losses})
	r.step("faults", "the ERP's next %d answers to a write are lost", losses)
	return err
}

// phone sends one create request three times with one key, and lets the naive flow do the same without.
func (r *run) phone(ctx context.Context, name string) (ids []string, replays int, err error) {
	body, err := json.Marshal(map[string]string{"name": name, "phone": "+49 30 2000"})
	if err != nil {
		return nil, 0, err
	}
	header := http.Header{"Idempotency-Key": {"scenario-create-" + r.mark}}
	for i := range tries {
		a, err := r.demo.Mobile(ctx, http.MethodPost, "/v1/customers", header, body)
		if err != nil {
			return nil, 0, err
		}
		if a.Status >= 300 {
			return nil, 0, fmt.Errorf("the phone's request %d was answered %d: %.200s", i+1, a.Status, a.Body)
		}
		var c struct {
			ID string `json:"customerId"`
		}
		if err := json.Unmarshal(a.Body, &c); err != nil {
			return nil, 0, fmt.Errorf("read the phone's answer: %w", err)
		}
		note := ""
		if a.Replayed() {
			replays++
			note = ", replayed"
		}
		ids = append(ids, c.ID)
		r.step("phone", "POST /v1/customers, try %d: %d, %s%s", i+1, a.Status, c.ID, note)
	}
	// The naive phone has no key to send: it can only send the request again.
	for range tries {
		r.naive.create(ctx, name, "+49 30 2000")
	}
	return ids, replays, nil
}

func (r *run) lostAckResult(ctx context.Context, before *customerv1.GetLedgerResponse, fromCRM, fromPhone string, ids []string, replays int) error {
	count := map[string]int{}
	for what, conn := range map[string]string{"crm": fromCRM, "phone": fromPhone} {
		list, err := named(ctx, r.demo.ERP, conn)
		if err != nil {
			return err
		}
		count[what] = len(list)
		if list, err = named(ctx, r.naive.direct, conn); err != nil {
			return err
		}
		count["naive "+what] = len(list)
	}
	accounts, err := r.demo.CRM.Query(ctx, "SELECT Id FROM Account WHERE Name LIKE "+crm.Quote("Lost Ack %"+r.mark))
	if err != nil {
		return err
	}
	after, err := r.ledger(ctx)
	if err != nil {
		return err
	}
	duplicates := int(line(after, "salesforce").GetDuplicates() - line(before, "salesforce").GetDuplicates())
	calls, lost, err := r.upserts(ctx)
	if err != nil {
		return err
	}
	events, creates, _ := r.naive.counts()
	r.row("repeated deliveries of an event (our own writes come back as events too)", duplicates, events-1)
	r.row("calls that could create a customer in the ERP", calls, creates)
	r.row("customers in the ERP for the one created in Salesforce", count["crm"], count["naive crm"])
	r.row("customers in the ERP for the one created on the phone", count["phone"], count["naive phone"])

	r.want("the answers really were lost", lost, 2*losses)
	r.want("one ERP customer for the account created in Salesforce", count["crm"], 1)
	r.want("one ERP customer for the customer created on the phone", count["phone"], 1)
	r.want("two accounts in Salesforce, one per customer", len(accounts), 2)
	r.that("repeated events were recognised", duplicates >= copies-1, fmt.Sprintf("%d duplicates in the ledger", duplicates))
	r.that("every try of the phone got the same customer", ids[0] != "" && ids[0] == ids[1] && ids[1] == ids[2], fmt.Sprint(ids))
	r.want("tries answered from the first one's answer", replays, tries-1)
	r.that("the ledger balances", after.GetBalanced(), "it does not")
	r.that("the flow without protection made duplicates", count["naive crm"] > 1 && count["naive phone"] > 1,
		fmt.Sprintf("%d and %d customers: the faults did not do what they are for", count["naive crm"], count["naive phone"]))
	return nil
}
