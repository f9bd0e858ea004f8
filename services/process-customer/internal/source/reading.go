package source

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// MaxCustomers is the greatest number of records of one customer whose orders or cases can be read together.
const MaxCustomers = 20

// Order is an order as people want to see it at a glance.
type Order struct {
	// ID is the order's number.
	ID string
	// OrderTime is when it was placed.
	OrderTime time.Time
	// State is RECEIVED, CONFIRMED, COMPLETED or CANCELLED; empty when not known.
	State string
	// Fulfilment and Billing are NONE, PARTIAL or FULL; empty when not known.
	Fulfilment, Billing string
	// TotalAmount is a decimal number, TotalCurrency its ISO 4217 code.
	TotalAmount, TotalCurrency string
	// Items is the number of lines.
	Items int
	// Version grows with every change; Updated is when the last one was.
	Version int64
	Updated time.Time
}

// Case is a service case at a glance.
type Case struct {
	// ID is the case's id, Number what people see.
	ID, Number string
	// Subject is free text and personal data.
	Subject string
	// Status and Priority are words of the CRM.
	Status, Priority string
	// Closed is true when it needs no more work.
	Closed bool
	// Created is when it was opened.
	Created time.Time
}

// Warranty covers one piece.
type Warranty struct {
	// SerialNumber identifies it.
	SerialNumber string
	// SKU is the product.
	SKU string
	// Status is PENDING, ACTIVE or EXPIRED; empty when not known.
	Status string
	// End is the first moment no longer covered.
	End time.Time
}

// Orders returns one page of the orders of customers, newest first, and the token of the next page.
func (e *ERP) Orders(ctx context.Context, customers []string, size int, pageToken string) ([]Order, string, error) {
	if err := checkCustomers(customers); err != nil || len(customers) == 0 {
		return nil, "", err
	}
	resp, err := e.orders.ListOrders(ctx, &erpv1.ListOrdersRequest{CustomerIds: customers, PageSize: pageSize(size), PageToken: pageToken})
	if err != nil {
		return nil, "", fault.FromStatus(err)
	}
	out := make([]Order, 0, len(resp.GetOrders()))
	for _, m := range resp.GetOrders() {
		out = append(out, orderOf(m))
	}
	return out, resp.GetNextPageToken(), nil
}

// Warranties returns up to size warranties of customers, those that end last first.
func (e *ERP) Warranties(ctx context.Context, customers []string, size int) ([]Warranty, error) {
	if err := checkCustomers(customers); err != nil {
		return nil, err
	}
	var out []Warranty
	for _, id := range customers {
		resp, err := e.products.ListWarranties(ctx, &erpv1.ListWarrantiesRequest{CustomerId: id, PageSize: pageSize(size)})
		if err != nil {
			return nil, fault.FromStatus(err)
		}
		for _, m := range resp.GetWarranties() {
			out = append(out, Warranty{
				SerialNumber: m.GetSerialNumber(), SKU: m.GetSku(), End: timeOf(m.GetEndTime()),
				Status: word(m.GetStatus().String(), "WARRANTY_STATUS_"),
			})
		}
	}
	slices.SortStableFunc(out, func(a, b Warranty) int { return b.End.Compare(a.End) })
	return out[:min(max(0, size), len(out))], nil
}

// Cases returns up to size cases of accounts, newest first; only those that still need work when openOnly is true.
func (s *Salesforce) Cases(ctx context.Context, accounts []string, openOnly bool, size int) ([]Case, error) {
	if err := checkCustomers(accounts); err != nil || len(accounts) == 0 {
		return nil, err
	}
	resp, err := s.cases.ListCases(ctx, &salesforcev1.ListCasesRequest{AccountIds: accounts, OpenOnly: openOnly, PageSize: pageSize(size)})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	out := make([]Case, 0, len(resp.GetCases()))
	for _, m := range resp.GetCases() {
		out = append(out, Case{
			ID: m.GetId(), Number: m.GetNumber(), Subject: m.GetSubject(), Status: m.GetStatus(), Priority: m.GetPriority(),
			Closed: m.GetClosed(), Created: timeOf(m.GetCreateTime()),
		})
	}
	return out, nil
}

func checkCustomers(ids []string) error {
	if len(ids) > MaxCustomers {
		return fault.New(fault.Precondition, "TOO_MANY_RECORDS", "the customer has %d records in one system, at most %d can be read together", len(ids), MaxCustomers)
	}
	return nil
}

// maxPage is the greatest page of every listing above.
const maxPage = 200

func pageSize(size int) int32 {
	return int32(max(0, min(size, maxPage))) //nolint:gosec // bounded above
}

// word returns the name of an enum value without its prefix; "" for the unspecified one.
func word(name, prefix string) string {
	name = strings.TrimPrefix(name, prefix)
	if name == "UNSPECIFIED" {
		return ""
	}
	return name
}
