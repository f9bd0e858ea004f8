package sap

import (
	"context"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// ReasonRelease is Precondition: this release of SAP lacks something without which nothing can be done.
const ReasonRelease = "BACKEND_RELEASE_UNSUPPORTED"

// features are what this release has, by the metadata of its services.
type features struct {
	partner, product, order, stock, delivery *odata.Metadata
	atp, prices                              bool
	// lacks is by service what is missing of it: its own name when it is not offered at all.
	lacks map[string][]string
	// isoUnit: items take ISO units. itemKey: items carry a purchase order number of their own. DeliveryStatus and orderExpand
	// are the names of what changed between releases.
	isoUnit, itemKey bool
	deliveryStatus   string
	orderExpand      string
}

// know returns what the release has, reading it once. A failure is not remembered.
func (s *System) know(ctx context.Context) (*features, error) {
	if f := s.cached(); f != nil {
		return f, nil
	}
	f := &features{lacks: map[string][]string{}}
	for _, m := range f.services() {
		read, err := s.client.Metadata(ctx, m.service)
		switch {
		case err == nil:
			*m.into = read
		case notOffered(err):
			*m.into = &odata.Metadata{}
			f.lacks[m.service] = []string{m.service}
		default:
			return nil, s.told(err, nil)
		}
	}
	f.complete()
	if s.cfg.IdentificationType != "" && !f.partner.Has("A_BuPaIdentification", "BPIdentificationType", "BPIdentificationNumber") {
		return nil, fault.New(fault.Precondition, ReasonRelease, "this SAP release keeps no identification numbers: empty identification_type")
	}
	if lacks := f.lacks[partnerService]; len(lacks) > 0 {
		return nil, fault.New(fault.Precondition, ReasonRelease, "this SAP release lacks %s", strings.Join(lacks, ", "))
	}
	if err := s.optional(ctx, f); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.features = f
	return f, nil
}

// offering is where the metadata of a service goes.
type offering struct {
	service string
	into    **odata.Metadata
}

func (f *features) services() []offering {
	return []offering{
		{partnerService, &f.partner}, {productService, &f.product}, {orderService, &f.order}, {stockService, &f.stock}, {deliveryService, &f.delivery},
	}
}

// notOffered tells whether a system answered that it does not have a service, or not for us.
func notOffered(err error) bool {
	switch fault.KindOf(err) {
	case fault.Precondition, fault.NotFound, fault.Invalid:
		return true
	default:
		return false
	}
}

// optional looks for services that a system need not offer.
func (s *System) optional(ctx context.Context, f *features) error {
	for _, o := range []struct {
		service string
		wanted  bool
		has     func(*odata.Metadata) bool
		into    *bool
	}{
		{atpService, s.cfg.CheckingRule != "", func(m *odata.Metadata) bool { return m.Functions[availability] }, &f.atp},
		{priceService, true, func(m *odata.Metadata) bool {
			return m.Has("A_SlsPrcgCndnRecdValidity", "Material", "ConditionType", "to_SlsPrcgConditionRecord")
		}, &f.prices},
	} {
		if !o.wanted {
			continue
		}
		m, err := s.client.Metadata(ctx, o.service)
		switch {
		case err == nil:
			*o.into = o.has(m)
		case !notOffered(err):
			return s.told(err, nil)
		}
		if !*o.into {
			f.lacks[o.service] = []string{o.service}
		}
	}
	return nil
}

// complete finds what is missing, and derives what depends on the release.
func (f *features) complete() {
	need := func(service string, m *odata.Metadata, set string, names ...string) {
		if slices.Equal(f.lacks[service], []string{service}) {
			return
		}
		f.lacks[service] = append(f.lacks[service], m.Lacks(set, names...)...)
	}
	need(partnerService, f.partner, "A_BusinessPartner", "BusinessPartner", "BusinessPartnerCategory", "OrganizationBPName1", "LastName", "Customer", externalID,
		"LastChangeDate", "LastChangeTime", "CreationDate", "to_BusinessPartnerRole", "to_BusinessPartnerAddress", "to_BusinessPartnerTax", "to_Customer")
	need(partnerService, f.partner, "A_BusinessPartnerAddress", "StreetName", "CityName", "PostalCode", "Region", "Country", "to_AddressUsage", "to_EmailAddress", "to_PhoneNumber")
	need(partnerService, f.partner, "A_Customer", "OrderIsBlockedForCustomer", "to_CustomerSalesArea")
	need(productService, f.product, "A_Product", "Product", "BaseUnit", "IsMarkedForDeletion", "to_Description")
	need(orderService, f.order, "A_SalesOrder", "SoldToParty", "PurchaseOrderByCustomer", "LastChangeDateTime", "OverallSDProcessStatus", "to_Item", "to_Partner")
	need(orderService, f.order, "A_SalesOrderItem", "Material", "RequestedQuantity", "UnderlyingPurchaseOrderItem", "to_PricingElement", "to_ScheduleLine")
	need(stockService, f.stock, "A_MatlStkInAcctMod", "Material", "Plant", "InventoryStockType", "MatlWrhsStkQtyInMatlBaseUnit")
	need(deliveryService, f.delivery, "A_OutbDeliveryItem", "ReferenceSDDocument", "ReferenceSDDocumentItem", "ActualDeliveryQuantity")
	need(deliveryService, f.delivery, "A_OutbDeliveryHeader", "OverallGoodsMovementStatus", "ActualGoodsMovementDate")
	f.isoUnit = f.order.Field("A_SalesOrderItem", "RequestedQuantityISOUnit").Creatable
	f.itemKey = f.order.Field("A_SalesOrderItem", "PurchaseOrderByCustomer").Creatable
	f.deliveryStatus = "OverallDeliveryStatus"
	if !f.order.Has("A_SalesOrder", f.deliveryStatus) {
		f.deliveryStatus = "OverallTotalDeliveryStatus"
	}
	f.orderExpand = "to_Item/to_PricingElement,to_Item/to_ScheduleLine,to_Partner"
	if f.order.Has("A_SalesOrder", "to_Text") {
		f.orderExpand += ",to_Text"
	}
}

// offers tells whether a service is there with everything that is needed of it.
func (f *features) offers(service string) bool { return len(f.lacks[service]) == 0 }

// knowing is know for what needs a service: CAPABILITY_MISSING, with the names of what is missing, when the release lacks it.
func (s *System) knowing(ctx context.Context, what, service string) (*features, error) {
	f, err := s.know(ctx)
	if err == nil && !f.offers(service) {
		return nil, backend.Missing(Kind, what+": this SAP release lacks "+strings.Join(f.lacks[service], ", "))
	}
	return f, err
}

// Capabilities implements remote.System: what the metadata of this release allows.
func (s *System) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	f, err := s.know(ctx)
	if err != nil {
		return backend.Capabilities{}, err
	}
	c := backend.Capabilities{
		Kind: Kind, CreateCustomers: f.partner.May("A_BusinessPartner"), DeleteCustomers: f.partner.Has("A_BusinessPartner", archived),
		CreateOrders: f.offers(orderService) && f.offers(productService) && f.order.May("A_SalesOrder"),
		Deliveries:   f.offers(deliveryService) && f.offers(orderService), Inventory: f.offers(stockService), MaxOrderLines: 999,
		MaxLength: map[string]int{
			"customer.name": 4*f.partner.Field("A_BusinessPartner", "OrganizationBPName1").MaxLength + 3,
		},
	}
	if f.offers(orderService) {
		c.MaxLength["order.customer_po"] = f.order.Field("A_SalesOrder", "PurchaseOrderByCustomer").MaxLength
	}
	for _, l := range addressFields() {
		c.MaxLength["customer.addresses."+l.path] = f.partner.Field("A_BusinessPartnerAddress", l.prop).MaxLength
	}
	for rec := range s.codes.toUnit {
		c.Units = append(c.Units, rec)
	}
	slices.Sort(c.Units)
	for _, lacks := range f.lacks {
		c.Missing = append(c.Missing, lacks...)
	}
	slices.Sort(c.Missing)
	return c, nil
}
