// Package sap is SAP S/4HANA as a remote.System: business partners as customers, products, stock, sales orders and
// deliveries over OData V2.
//
// The problem: SAP has no upsert and no unique external key, releases differ in what exists, and what it holds is shorter
// and coded otherwise than what we hold. The invariants: a record is never cut to fit but refused with our field; nothing is
// written that the release's own metadata does not have; a write is sent once.
//
// Who decides whether a record is new, what is sent again and when, and what changed, is package remote.
package sap

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// The services.
const (
	partnerService  = "API_BUSINESS_PARTNER"
	productService  = "API_PRODUCT_SRV"
	orderService    = "API_SALES_ORDER_SRV"
	stockService    = "API_MATERIAL_STOCK_SRV"
	deliveryService = "API_OUTBOUND_DELIVERY_SRV;v=0002"
	atpService      = "API_PRODUCT_AVAILY_INFO_BASIC"
	priceService    = "API_SLSPRICINGCONDITIONRECORD_SRV"
)

// Kind is the word for this back end in the configuration, in metrics and in errors.
const Kind = "sap"

// Deps are what the system works with; all may be zero.
type Deps struct {
	Transport http.RoundTripper
	Meter     metric.Meter
	Log       *slog.Logger
	// Now is the clock by which access tokens age; time.Now when nil.
	Now func() time.Time
}

// Transport is what carries requests to a system best: as many idle connections as there may be requests, made with our
// certificate if there is one.
func Transport(cfg Config) *http.Transport {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: cfg.Concurrency, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2: true,
	}
	if cfg.Certificate != "" {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.X509KeyPair([]byte(cfg.Certificate.Reveal()), []byte(cfg.Key.Reveal()))
			return &pair, err
		}}
	}
	return t
}

// System is one SAP system. Make it with New; it is safe for concurrent use.
type System struct {
	cfg    Config
	client *odata.Client
	codes  *codes
	log    *slog.Logger

	mu       sync.Mutex
	features *features
}

var _ remote.System = (*System)(nil)

// New checks the configuration. It sends nothing.
func New(cfg Config, d Deps) (*System, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of the back end sap: %w", err)
	}
	var oauth *odata.Credentials
	if cfg.TokenURL != "" {
		oauth = &odata.Credentials{TokenURL: cfg.TokenURL, ID: cfg.OAuthClient, Secret: cfg.OAuthSecret.Reveal(), Scope: cfg.Scope}
	}
	client, err := odata.New(odata.Options{
		OAuth: oauth,
		URL:   cfg.URL, SAPClient: cfg.Client, User: cfg.User, Password: cfg.Password.Reveal(), Language: language,
		Concurrency: cfg.Concurrency, Timeout: cfg.Timeout, Transport: d.Transport, Meter: d.Meter, Now: d.Now,
	})
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &System{cfg: cfg, client: client, codes: newCodes(cfg), log: d.Log}, nil
}

// language is the one in which we log on: units and partner functions are read and written in it.
const language = "en"

// Close drops idle connections.
func (s *System) Close() { s.client.Close() }

// Requests is how many HTTP requests were sent.
func (s *System) Requests() int64 { return s.client.Requests() }

// Kind implements remote.System.
func (s *System) Kind() string { return Kind }

// Ping implements remote.System. The first one reads the metadata and refuses a system that lacks what is needed.
func (s *System) Ping(ctx context.Context) error {
	if _, err := s.know(ctx); err != nil {
		return err
	}
	_, err := s.client.Get(ctx, partnerService, "", nil)
	return s.told(err, nil)
}

// features are what this release has.
type features struct {
	partner, product, order, stock, delivery *odata.Metadata
	atp, prices                              bool
	// isoUnit: items take ISO units. itemKey: items carry a purchase order number of their own. Delivery and flow are the
	// names of what changed between releases.
	isoUnit, itemKey bool
	deliveryStatus   string
	orderExpand      string
}

// know returns what the release has, reading it once. A failure is not remembered.
func (s *System) know(ctx context.Context) (*features, error) {
	s.mu.Lock()
	f := s.features
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f = &features{}
	for _, m := range []struct {
		service string
		into    **odata.Metadata
	}{{partnerService, &f.partner}, {productService, &f.product}, {orderService, &f.order}, {stockService, &f.stock}, {deliveryService, &f.delivery}} {
		read, err := s.client.Metadata(ctx, m.service)
		if err != nil {
			return nil, s.told(err, nil)
		}
		*m.into = read
	}
	if s.cfg.IdentificationType != "" && !f.partner.Has("A_BuPaIdentification", "BPIdentificationType", "BPIdentificationNumber") {
		return nil, fault.New(fault.Precondition, "BACKEND_RELEASE_UNSUPPORTED", "this SAP release keeps no identification numbers: empty identification_type")
	}
	if err := f.complete(); err != nil {
		return nil, err
	}
	if err := s.optional(ctx, f); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.features = f
	return f, nil
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
		switch fault.KindOf(err) {
		case fault.Precondition, fault.NotFound, fault.Invalid:
			if err != nil { // not offered to us
				continue
			}
		}
		if err != nil {
			return s.told(err, nil)
		}
		*o.into = o.has(m)
	}
	return nil
}

// complete derives what depends on the release, or says what is missing.
func (f *features) complete() error {
	var lacks []string
	need := func(m *odata.Metadata, set string, names ...string) { lacks = append(lacks, m.Lacks(set, names...)...) }
	need(f.partner, "A_BusinessPartner", "BusinessPartner", "BusinessPartnerCategory", "OrganizationBPName1", "LastName", "Customer", externalID,
		"LastChangeDate", "LastChangeTime", "CreationDate", "to_BusinessPartnerRole", "to_BusinessPartnerAddress", "to_BusinessPartnerTax", "to_Customer")
	need(f.partner, "A_BusinessPartnerAddress", "StreetName", "CityName", "PostalCode", "Region", "Country", "to_AddressUsage", "to_EmailAddress", "to_PhoneNumber")
	need(f.partner, "A_Customer", "OrderIsBlockedForCustomer", "to_CustomerSalesArea")
	need(f.product, "A_Product", "Product", "BaseUnit", "IsMarkedForDeletion", "to_Description")
	need(f.order, "A_SalesOrder", "SoldToParty", "PurchaseOrderByCustomer", "LastChangeDateTime", "OverallSDProcessStatus", "to_Item", "to_Partner")
	need(f.order, "A_SalesOrderItem", "Material", "RequestedQuantity", "UnderlyingPurchaseOrderItem", "to_PricingElement", "to_ScheduleLine")
	need(f.stock, "A_MatlStkInAcctMod", "Material", "Plant", "InventoryStockType", "MatlWrhsStkQtyInMatlBaseUnit")
	need(f.delivery, "A_OutbDeliveryItem", "ReferenceSDDocument", "ReferenceSDDocumentItem", "ActualDeliveryQuantity")
	need(f.delivery, "A_OutbDeliveryHeader", "OverallGoodsMovementStatus", "ActualGoodsMovementDate")
	if len(lacks) > 0 {
		return fault.New(fault.Precondition, "BACKEND_RELEASE_UNSUPPORTED", "this SAP release lacks %s", strings.Join(lacks, ", "))
	}
	f.isoUnit = f.order.Field("A_SalesOrderItem", "RequestedQuantityISOUnit").Creatable
	f.itemKey = f.order.Field("A_SalesOrderItem", "PurchaseOrderByCustomer").Creatable
	f.deliveryStatus = "OverallDeliveryStatus"
	if !f.order.Has("A_SalesOrder", f.deliveryStatus) {
		f.deliveryStatus = "OverallTotalDeliveryStatus"
	}
	f.orderExpand = "to_Item/to_PricingElement,to_Item/to_ScheduleLine,to_Partner,to_Text"
	return nil
}

// Capabilities implements remote.System.
func (s *System) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	f, err := s.know(ctx)
	if err != nil {
		return backend.Capabilities{}, err
	}
	c := backend.Capabilities{
		Kind: Kind, CreateCustomers: f.partner.Sets["A_BusinessPartner"].Creatable, DeleteCustomers: f.partner.Has("A_BusinessPartner", archived),
		CreateOrders: f.order.Sets["A_SalesOrder"].Creatable, Deliveries: true, Inventory: true, MaxOrderLines: 999,
		MaxLength: map[string]int{
			"customer.name": 4*f.partner.Field("A_BusinessPartner", "OrganizationBPName1").MaxLength + 3, "order.customer_po": f.order.Field("A_SalesOrder", "PurchaseOrderByCustomer").MaxLength,
		},
	}
	for _, l := range addressFields() {
		c.MaxLength["customer.addresses."+l.path] = f.partner.Field("A_BusinessPartnerAddress", l.prop).MaxLength
	}
	for rec := range s.codes.toUnit {
		c.Units = append(c.Units, rec)
	}
	return c, nil
}

// Customers implements remote.System.
func (s *System) Customers() remote.Source[erp.Customer] { return customers{s} }

// Contacts implements remote.System: contacts are not kept in SAP.
func (s *System) Contacts() remote.Source[erp.Contact] { return nil }

// told turns an error of SAP into one of ours: with SAP's own words for the operator, and with our field where SAP names one
// of its own.
func (s *System) told(err error, field func(property string) string) error {
	p := odata.ProblemOf(err)
	e, ok := fault.As(err)
	if p == nil || !ok {
		return err
	}
	out := *e
	if e.Kind == fault.Invalid && field != nil {
		for _, name := range p.Fields() {
			if path := field(name); path != "" {
				out.Fields = append(out.Fields, fault.Field{Path: path, Reason: backend.ReasonRejected, Description: "SAP refuses this value"})
			}
		}
	}
	if e.Kind == fault.Invalid && len(out.Fields) == 0 {
		out.Kind = fault.Precondition
	}
	return backend.Native(&out, Kind, p.Code, impersonal(p.Message), p.Transaction)
}
