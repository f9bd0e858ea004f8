package seed

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

// extras is how many customers of a side get orders, warranties or cases; a large data set is about customers.
const extras = 1000

// began is the day of the first order. It is fixed so that seeding the same data twice gives the same orders.
var began = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// product is one article of the catalogue.
type product struct {
	sku, name, price string
	serialised       bool
}

var (
	products = []product{
		{"PUMP-100", "Circulation pump 100", "249.00", true},
		{"PUMP-200", "Circulation pump 200", "389.50", true},
		{"VALVE-15", "Thermostat valve 15 mm", "18.90", false},
		{"VALVE-20", "Thermostat valve 20 mm", "21.40", false},
		{"CTRL-1", "Heating controller", "129.00", true},
		{"CTRL-2", "Heating controller, wireless", "179.00", true},
		{"PIPE-CU15", "Copper pipe 15 mm, 5 m", "34.75", false},
		{"SEAL-KIT", "Seal kit", "6.20", false},
		{"SENSOR-T", "Temperature sensor", "14.30", false},
		{"BOILER-20", "Boiler 20 kW", "2190.00", true},
	}
	subjects = []string{"Delivery is incomplete", "Question about an invoice", "Device does not start", "Change of the delivery address", "Request for a quotation"}
)

// Article is one article of the catalogue: its list price in EUR, and how many pieces there are at first.
type Article struct{ SKU, Name, Price, OnHand string }

// Articles is the catalogue, for an ERP that takes none through the contract.
func Articles() []Article {
	out := make([]Article, len(products))
	for i, p := range products {
		out[i] = Article{SKU: p.sku, Name: p.name, Price: p.price, OnHand: onHand(i)}
	}
	return out
}

func onHand(i int) string { return strconv.Itoa(20 + 7*i) }

// catalogue writes the products and what is in stock. An ERP that takes none through the contract has its own.
func catalogue(ctx context.Context, conn grpc.ClientConnInterface) error {
	can, err := erpv1.NewBackendServiceClient(conn).GetCapabilities(ctx, &erpv1.GetCapabilitiesRequest{})
	if err != nil {
		return fmt.Errorf("ask what the erp takes: %w", err)
	}
	if !can.GetCapabilities().GetWriteProducts() {
		return nil
	}
	client := erpv1.NewProductServiceClient(conn)
	req := &erpv1.BatchUpsertProductsRequest{}
	for _, p := range products {
		months := int32(0)
		if p.serialised {
			months = 24
		}
		req.Products = append(req.Products, &erpv1.Product{
			Sku: p.sku, Name: p.name, Unit: "C62", Price: &erpv1.Money{Amount: p.price, Currency: "EUR"}, Serialised: p.serialised,
			Active: true, WarrantyMonths: months,
		})
	}
	res, err := client.BatchUpsertProducts(ctx, req)
	if err != nil {
		return fmt.Errorf("seed products: %w", err)
	}
	for i, r := range res.GetResults() {
		if e := r.GetError(); e != nil {
			return fmt.Errorf("seed product %s: %s %s", products[i].sku, e.GetReason(), e.GetField())
		}
		_, err := client.SetInventory(ctx, &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{
			Sku: products[i].sku, Site: "main", OnHand: onHand(i), Unit: "C62",
		}})
		if err != nil {
			return fmt.Errorf("seed inventory: %w", err)
		}
	}
	return nil
}

// orders gives the i-th customer up to two orders, and a warranty for a serialised article it bought.
func orders(ctx context.Context, conn grpc.ClientConnInterface, i int, customerID, recordID string) (int, error) {
	count := i % 3
	for n := range count {
		p := products[(i+3*n)%len(products)]
		at := began.AddDate(0, 0, (i*3+n*11)%250)
		res, err := erpv1.NewOrderServiceClient(conn).CreateOrder(ctx, &erpv1.CreateOrderRequest{Order: &erpv1.Order{
			ClientRef: fmt.Sprintf("%s/%s/%d", Legacy, recordID, n), CustomerId: customerID, OrderTime: timestamppb.New(at),
			Items: []*erpv1.OrderItem{{Sku: p.sku, Quantity: strconv.Itoa(1 + i%4), UnitPrice: &erpv1.Money{Amount: p.price, Currency: "EUR"}}},
		}})
		if err != nil {
			return n, fmt.Errorf("seed order: %w", err)
		}
		if !p.serialised {
			continue
		}
		_, err = erpv1.NewProductServiceClient(conn).UpsertWarranty(ctx, &erpv1.UpsertWarrantyRequest{Warranty: &erpv1.Warranty{
			SerialNumber: fmt.Sprintf("SN-%s-%d", recordID, n), Sku: p.sku, CustomerId: customerID, OrderId: res.GetOrder().GetId(),
			StartTime: timestamppb.New(at), EndTime: timestamppb.New(at.AddDate(2, 0, 0)), Terms: "standard",
		}})
		if err != nil {
			return n, fmt.Errorf("seed warranty: %w", err)
		}
	}
	return count, nil
}
