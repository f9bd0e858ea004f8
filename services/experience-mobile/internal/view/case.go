package view

import (
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

// Case shapes a case as lists show it.
func Case(c *customerv1.CaseSummary) *mobilev1.Case {
	return &mobilev1.Case{
		CaseId: c.GetId(), Number: c.GetNumber(), Subject: c.GetSubject(), Status: c.GetStatus(),
		Priority: c.GetPriority(), CreateTime: c.GetCreateTime(),
	}
}

// CaseDetail shapes a case with its text.
func CaseDetail(c *customerv1.CaseDetail) *mobilev1.Case {
	out := Case(c.GetSummary())
	out.Description, out.Closed, out.UpdateTime = c.GetDescription(), c.GetClosed(), c.GetUpdateTime()
	return out
}

// CaseScreen shapes the case screen.
func CaseScreen(v *customerv1.GetCaseViewResponse) *mobilev1.Case {
	out := CaseDetail(v.GetCase())
	out.Customer = Customer(v.GetCustomer())
	for _, o := range v.GetOrders() {
		out.Orders = append(out.Orders, Order(o))
	}
	for _, w := range v.GetWarranties() {
		out.Warranties = append(out.Warranties, warranty(w))
	}
	out.Sources = appendSource(out.Sources, "orders", v.GetOrdersStatus())
	out.Sources = appendSource(out.Sources, "warranties", v.GetWarrantiesStatus())
	return out
}

// NewCase takes a case to open.
func NewCase(c *mobilev1.NewCase) *customerv1.NewCase {
	return &customerv1.NewCase{
		CustomerId: c.GetCustomerId(), Subject: c.GetSubject(), Description: c.GetDescription(), Priority: c.GetPriority(),
	}
}

// Availability shapes a product's stock.
func Availability(a *customerv1.GetAvailabilityResponse) *mobilev1.Availability {
	out := &mobilev1.Availability{
		Sku: a.GetSku(), Name: a.GetName(), Unit: a.GetUnit(), Active: a.GetActive(), Available: a.GetAvailable(),
	}
	if a.GetPriceAmount() != "" {
		out.Price = &mobilev1.Money{Amount: a.GetPriceAmount(), Currency: a.GetPriceCurrency()}
	}
	for _, s := range a.GetSites() {
		out.Sites = append(out.Sites, &mobilev1.SiteAvailability{Site: s.GetSite(), Available: s.GetAvailable(), AsOf: s.GetAsOf()})
	}
	return out
}

func warranty(w *customerv1.WarrantySummary) *mobilev1.Warranty {
	return &mobilev1.Warranty{SerialNumber: w.GetSerialNumber(), Sku: w.GetSku(), Status: w.GetStatus(), EndTime: w.GetEndTime()}
}
