package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// pendingWait is when a system may have a customer that it does not have yet.
const pendingWait = 2 * time.Second

// errChecked ends the transaction of a check, which takes back what it did.
var errChecked = errors.New("only checked")

// CheckCreateCustomer runs the very code of CreateCustomer and takes it back, so that the two cannot differ.
func (s *screens) CheckCreateCustomer(ctx context.Context, req *customerv1.CheckCreateCustomerRequest) (*customerv1.CheckCreateCustomerResponse, error) {
	values, err := newValues(req.GetRequest().GetCustomer())
	if err != nil {
		return nil, err
	}
	id, err := golden.NewID(golden.Customer, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("check customer: %w", err)
	}
	resp := &customerv1.CreateCustomerResponse{}
	err = s.d.Writer.Create(ctx, id, values, func(ctx context.Context, tx *store.Tx, got golden.ID, existing bool) error {
		var err error
		resp = &customerv1.CreateCustomerResponse{Existing: existing}
		if resp.Customer, err = s.customers.stored(ctx, tx, got); err != nil {
			return err
		}
		if !existing {
			resp.Customer.Id, resp.Customer.Etag = "", "" // the id will be another
		}
		return errChecked
	})
	if err := checked(err); err != nil {
		return nil, err
	}
	return &customerv1.CheckCreateCustomerResponse{Response: resp}, nil
}

// CheckUpdateCustomer runs the very code of UpdateCustomer and takes it back.
func (s *screens) CheckUpdateCustomer(ctx context.Context, req *customerv1.CheckUpdateCustomerRequest) (*customerv1.CheckUpdateCustomerResponse, error) {
	c := req.GetRequest().GetCustomer()
	version, values, err := changedValues(req.GetRequest())
	if err != nil {
		return nil, err
	}
	change, err := golden.NewID(golden.Customer, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("check customer: %w", err)
	}
	g, err := find(ctx, s.d.Store.Read(), golden.Customer, c.GetId())
	if err != nil {
		return nil, err
	}
	resp := &customerv1.UpdateCustomerResponse{}
	err = s.d.Writer.Update(ctx, g.ID, string(change), version, values, func(ctx context.Context, tx *store.Tx, id golden.ID, _ bool) error {
		var err error
		if resp.Customer, err = s.customers.stored(ctx, tx, id); err != nil {
			return err
		}
		return errChecked
	})
	if err := checked(err); err != nil {
		return nil, err
	}
	return &customerv1.CheckUpdateCustomerResponse{Response: resp}, nil
}

func checked(err error) error {
	if errors.Is(err, errChecked) {
		return nil
	}
	if err == nil {
		return fault.New(fault.Internal, "", "a check was not taken back")
	}
	return err
}

// CheckPlaceOrder looks up what the ERP would.
func (s *screens) CheckPlaceOrder(ctx context.Context, req *customerv1.CheckPlaceOrderRequest) (*customerv1.CheckPlaceOrderResponse, error) {
	asked := req.GetRequest().GetOrder()
	if _, err := s.customers.buyer(ctx, asked.GetCustomerId()); err != nil {
		return nil, err
	}
	var broken []fault.Field
	total, currency := new(big.Rat), ""
	for i, it := range asked.GetItems() {
		path := func(field string) string { return fmt.Sprintf("order.items[%d].%s", i, field) }
		quantity, ok := new(big.Rat).SetString(it.GetQuantity())
		if !ok || quantity.Sign() <= 0 {
			broken = append(broken, fault.Field{Path: path("quantity"), Reason: fault.ReasonValidationFailed, Description: "a quantity is greater than zero"})
			continue
		}
		p, err := s.d.Orders.Stock(ctx, it.GetSku())
		switch {
		case fault.Is(err, fault.NotFound):
			broken = append(broken, fault.Field{Path: path("sku"), Reason: "UNKNOWN_RECORD", Description: "no product has this SKU"})
			continue
		case err != nil:
			return nil, err
		case !p.Active:
			broken = append(broken, fault.Field{Path: path("sku"), Reason: "PRODUCT_INACTIVE", Description: "the product is not sold"})
			continue
		case p.PriceAmount == "":
			broken = append(broken, fault.Field{Path: path("sku"), Reason: "PRICE_MISSING", Description: "the product has no list price"})
			continue
		case currency != "" && currency != p.PriceCurrency:
			broken = append(broken, fault.Field{Path: path("sku"), Reason: "CURRENCY_MISMATCH", Description: "an order has one currency"})
			continue
		}
		price, ok := new(big.Rat).SetString(p.PriceAmount)
		if !ok {
			return nil, fault.New(fault.Internal, "", "the ERP's price of a product is no number")
		}
		currency = p.PriceCurrency
		total.Add(total, price.Mul(price, quantity))
	}
	if len(broken) > 0 {
		e := fault.New(fault.Invalid, fault.ReasonValidationFailed, "the order is not valid")
		e.Fields = broken
		return nil, e
	}
	return &customerv1.CheckPlaceOrderResponse{TotalAmount: total.FloatString(2), TotalCurrency: currency}, nil
}

// CheckCancelOrder looks up whose order it is, and asks the ERP.
func (s *screens) CheckCancelOrder(ctx context.Context, req *customerv1.CheckCancelOrderRequest) (*customerv1.CheckCancelOrderResponse, error) {
	customer, err := s.orderOf(ctx, req.GetRequest())
	if err != nil {
		return nil, err
	}
	o, err := s.d.Orders.CheckCancel(ctx, req.GetRequest().GetOrderId())
	if err != nil {
		return nil, err
	}
	return &customerv1.CheckCancelOrderResponse{Response: &customerv1.CancelOrderResponse{Order: orderSummary(o), CustomerId: string(customer)}}, nil
}

// CheckOpenCase looks up for whom the case would be opened.
func (s *screens) CheckOpenCase(ctx context.Context, req *customerv1.CheckOpenCaseRequest) (*customerv1.CheckOpenCaseResponse, error) {
	asked := req.GetRequest().GetCase()
	customer, _, err := s.account(ctx, asked.GetCustomerId())
	if err != nil {
		return nil, err
	}
	return &customerv1.CheckOpenCaseResponse{Response: &customerv1.OpenCaseResponse{
		Case: &customerv1.CaseDetail{
			Summary: &customerv1.CaseSummary{Subject: asked.GetSubject(), Priority: asked.GetPriority()}, Description: asked.GetDescription(),
		},
		CustomerId: string(customer),
	}}, nil
}
