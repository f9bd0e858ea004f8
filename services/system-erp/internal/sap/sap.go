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
	// Now is the clock by which access tokens age and requests are dated; time.Now when nil.
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
	now    func() time.Time

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
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	hears, err := listen(d.Meter, d.Log)
	if err != nil {
		return nil, err
	}
	client, err := odata.New(odata.Options{
		OAuth: oauth,
		URL:   cfg.URL, SAPClient: cfg.Client, User: cfg.User, Password: cfg.Password.Reveal(), Language: language,
		Concurrency: cfg.Concurrency, Timeout: cfg.Timeout, Transport: d.Transport, Meter: d.Meter, Now: d.Now, Noted: hears,
	})
	if err != nil {
		return nil, err
	}
	return &System{cfg: cfg, client: client, codes: newCodes(cfg), log: d.Log, now: d.Now}, nil
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
