package source

import (
	"context"
	"math/big"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// CaseDetail is a service case with its text.
type CaseDetail struct {
	Case
	// Description is free text and personal data.
	Description string
	// Type and Origin are words of the CRM.
	Type, Origin string
	// ETag names this state.
	ETag string
	// Updated is when it last changed.
	Updated time.Time
}

// NewCase is a case to open.
type NewCase struct {
	// ExternalID is our name for the case, the same in every try: the CRM has one case per external id.
	ExternalID string
	// Account is the CRM's record of the customer.
	Account string
	// Subject and Description are what people wrote.
	Subject, Description string
	// Priority is a word of the CRM; its default when empty.
	Priority string
}

// SiteStock is what one site can promise.
type SiteStock struct {
	// Site is a plant or warehouse.
	Site string
	// Available is a decimal number.
	Available string
	// AsOf is when the figure was true.
	AsOf time.Time
}

// Stock is a product and what of it can be promised.
type Stock struct {
	// SKU is the product, Name what people call it, Unit what it is counted in.
	SKU, Name, Unit string
	// PriceAmount and PriceCurrency are the list price; empty when there is none.
	PriceAmount, PriceCurrency string
	// Active is true while it may be sold.
	Active bool
	// Available is the decimal sum over the sites.
	Available string
	// Sites are ordered by name.
	Sites []SiteStock
}

// Cancel calls an order off. One that is cancelled already stays so; a repetition finds what the first try left.
func (e *ERP) Cancel(ctx context.Context, id string) (Order, error) {
	resp, err := e.orders.SetOrderStatus(ctx, &erpv1.SetOrderStatusRequest{Id: id, State: erpv1.OrderState_ORDER_STATE_CANCELLED})
	if err != nil {
		return Order{}, fault.FromStatus(err)
	}
	return orderOf(resp.GetOrder()), nil
}

// CheckCancel returns the order as Cancel would leave it, or fails as that would, and does nothing.
func (e *ERP) CheckCancel(ctx context.Context, id string) (Order, error) {
	resp, err := e.orders.ValidateCancellation(ctx, &erpv1.ValidateCancellationRequest{Id: id})
	if err != nil {
		return Order{}, fault.FromStatus(err)
	}
	return orderOf(resp.GetOrder()), nil
}

// Stock returns a product and its stock.
func (e *ERP) Stock(ctx context.Context, sku string) (Stock, error) {
	product, err := e.products.GetProduct(ctx, &erpv1.GetProductRequest{Sku: sku})
	if err != nil {
		return Stock{}, fault.FromStatus(err)
	}
	inventory, err := e.products.ListInventory(ctx, &erpv1.ListInventoryRequest{Skus: []string{sku}})
	if err != nil {
		return Stock{}, fault.FromStatus(err)
	}
	p := product.GetProduct()
	out := Stock{
		SKU: p.GetSku(), Name: p.GetName(), Unit: p.GetUnit(), Active: p.GetActive(),
		PriceAmount: p.GetPrice().GetAmount(), PriceCurrency: p.GetPrice().GetCurrency(),
	}
	sum := new(big.Rat)
	for _, m := range inventory.GetInventory() {
		out.Sites = append(out.Sites, SiteStock{Site: m.GetSite(), Available: m.GetAvailable(), AsOf: timeOf(m.GetAsOf())})
		n, ok := new(big.Rat).SetString(m.GetAvailable())
		if !ok {
			return Stock{}, fault.New(fault.Internal, "", "the ERP's stock of a product is no number")
		}
		sum.Add(sum, n)
	}
	out.Available = decimal(sum)
	return out, nil
}

// decimal writes a number with as many of six places as it needs, which is what quantities have.
func decimal(n *big.Rat) string {
	text := n.FloatString(6)
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text
}

// CasePage returns one page of the cases of accounts, newest first, and the token of the next page.
func (s *Salesforce) CasePage(ctx context.Context, accounts []string, openOnly bool, size int, pageToken string) ([]Case, string, error) {
	if err := checkCustomers(accounts); err != nil || len(accounts) == 0 {
		return nil, "", err
	}
	resp, err := s.cases.ListCases(ctx, &salesforcev1.ListCasesRequest{AccountIds: accounts, OpenOnly: openOnly, PageSize: pageSize(size), PageToken: pageToken})
	if err != nil {
		return nil, "", fault.FromStatus(err)
	}
	out := make([]Case, 0, len(resp.GetCases()))
	for _, m := range resp.GetCases() {
		out = append(out, caseOf(m).Case)
	}
	return out, resp.GetNextPageToken(), nil
}

// Case returns one case and the account it belongs to.
func (s *Salesforce) Case(ctx context.Context, id string) (c CaseDetail, account string, err error) {
	resp, err := s.cases.GetCase(ctx, &salesforcev1.GetCaseRequest{Id: id})
	if err != nil {
		return CaseDetail{}, "", fault.FromStatus(err)
	}
	return caseOf(resp.GetCase()), resp.GetCase().GetAccountId(), nil
}

// OpenCase opens a case, or finds the one that an earlier try with the same external id opened.
func (s *Salesforce) OpenCase(ctx context.Context, c NewCase) (CaseDetail, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	asked := &salesforcev1.Case{
		ExternalId: c.ExternalID, AccountId: c.Account, Subject: c.Subject, Description: c.Description, Priority: c.Priority,
	}
	paths := []string{"account_id", "subject"}
	if c.Description != "" {
		paths = append(paths, "description")
	}
	if c.Priority != "" {
		paths = append(paths, "priority")
	}
	resp, err := s.cases.BatchUpsertCases(ctx, &salesforcev1.BatchUpsertCasesRequest{
		Upserts: []*salesforcev1.CaseUpsert{{Case: asked, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}},
	})
	if err != nil {
		return CaseDetail{}, fault.FromStatus(err)
	}
	results := salesforceResults(resp.GetResults())
	if len(results) != 1 {
		return CaseDetail{}, fault.New(fault.Internal, "", "the CRM answered %d results for one case", len(results))
	}
	if results[0].Err != nil {
		return CaseDetail{}, refusedCase(results[0].Err)
	}
	opened, _, err := s.Case(ctx, results[0].RecordID)
	return opened, err
}

// refusedCase names fields as our caller does.
func refusedCase(err error) error {
	e, ok := fault.As(err)
	if !ok || e.Kind != fault.Invalid {
		return err
	}
	out := *e
	out.Fields = nil
	for _, f := range e.Fields {
		if f.Path == "account_id" {
			return Pending()
		}
		f.Path = "case." + f.Path
		out.Fields = append(out.Fields, f)
	}
	return &out
}

func caseOf(m *salesforcev1.Case) CaseDetail {
	return CaseDetail{
		Case: Case{
			ID: m.GetId(), Number: m.GetNumber(), Subject: m.GetSubject(), Status: m.GetStatus(), Priority: m.GetPriority(),
			Closed: m.GetClosed(), Created: timeOf(m.GetCreateTime()),
		},
		Description: m.GetDescription(), Type: m.GetType(), Origin: m.GetOrigin(), ETag: m.GetEtag(), Updated: timeOf(m.GetUpdateTime()),
	}
}
