package sap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
)

// Config says which SAP system, and where in it customers and orders belong. Start from DefaultConfig.
type Config struct {
	// URL is scheme and host of the system, with a path when a proxy adds one.
	URL string `conf:"url" help:"address of the S/4HANA system, https://host"`
	// Client is the three digits of the client.
	Client string `conf:"client" help:"SAP client, three digits; empty for the system's default"`
	// User and Password log on by Basic authentication.
	User     string      `conf:"user" help:"communication user"`
	Password conf.Secret `conf:"password" help:"password of the communication user"`
	// TokenURL, OAuthClient, OAuthSecret and Scope log on by access tokens of an OAuth client that speaks for itself.
	TokenURL    string      `conf:"token_url" help:"token endpoint for OAuth client credentials, in the place of user and password"`
	OAuthClient string      `conf:"oauth_client" help:"id of the OAuth client"`
	OAuthSecret conf.Secret `conf:"oauth_secret" help:"secret of the OAuth client"`
	Scope       string      `conf:"scope" help:"scope of the access tokens; empty asks for none"`
	// Certificate and Key, both PEM, log on by X.509: they are shown when a connection is made.
	Certificate conf.Secret `conf:"certificate" help:"PEM of the client certificate for X.509 logon, with its chain"`
	Key         conf.Secret `conf:"key" help:"PEM of the certificate's private key"`
	// Concurrency is how many requests may be under way, Timeout how long one may take.
	Concurrency int           `conf:"concurrency" help:"requests at the same time"`
	Timeout     time.Duration `conf:"timeout" help:"longest request"`
	// BatchSize is how many records go into one $batch.
	BatchSize int `conf:"batch_size" help:"records in one $batch, 1 to 200"`
	// PageSize is how many records are read at once.
	PageSize int `conf:"page_size" help:"records in one page, 1 to 5000"`

	// SalesOrganization, DistributionChannel and Division are the sales area; CompanyCode the company of new customers, empty
	// for none.
	SalesOrganization   string `conf:"sales_organization" help:"sales organization of orders and customers"`
	DistributionChannel string `conf:"distribution_channel" help:"distribution channel"`
	Division            string `conf:"division" help:"division"`
	CompanyCode         string `conf:"company_code" help:"company code of new customers; empty makes no company data"`
	// Grouping decides the number range of new business partners.
	Grouping string `conf:"grouping" help:"grouping of new business partners: it decides their number range"`
	// OrderType is the type of new orders.
	OrderType string `conf:"order_type" help:"type of new sales orders"`
	// PriceCondition is the condition type of a line's price; list prices are read from its records if the system offers them.
	PriceCondition string `conf:"price_condition" help:"condition type of prices"`
	// NoteText is the id of the header text that holds a note; empty refuses orders with notes.
	NoteText string `conf:"note_text" help:"id of the header text for notes; empty refuses notes"`
	// CheckingRule asks for availability; empty takes what is on hand.
	CheckingRule string `conf:"checking_rule" help:"checking rule of the availability check; empty shows stock on hand as available"`
	// OrderBlock is the code that blocks a customer for orders.
	OrderBlock string `conf:"order_block" help:"order block code of blocked customers"`
	// BillToUsage and ShipToUsage are the address types of invoices and goods.
	BillToUsage string `conf:"bill_to_usage" help:"address usage for invoices"`
	ShipToUsage string `conf:"ship_to_usage" help:"address usage for goods"`
	// DefaultCountry is the country of an address that says none.
	DefaultCountry string `conf:"default_country" help:"country of addresses that say none; empty refuses them"`
	// References are the references ("system/type") whose value may stand in BusinessPartnerIDByExtSystem.
	References []string `conf:"references" help:"references (system/type) that may stand in BusinessPartnerIDByExtSystem"`
	// IdentificationType is the type under which references are kept as identification numbers of partners; empty keeps them
	// in our own database only.
	IdentificationType string `conf:"identification_type" help:"type of identification numbers for references; empty keeps references out of SAP"`
	// Regions adds to the table of regions: DE-BY=09.
	Regions map[string]string `conf:"regions" help:"regions: ISO 3166-2=SAP, added to the built-in table"`
	// Units adds to the table of units: C62=PCE (UN/ECE Rec 20 = ISO code in SAP).
	Units map[string]string `conf:"units" help:"units: UN/ECE Rec 20=ISO code in SAP, added to the built-in table"`
	// TaxTypes adds to the table of tax number types: de_tax=DE2.
	TaxTypes map[string]string `conf:"tax_types" help:"tax numbers: scheme=SAP type; eu_vat is built in"`
	// ExternalNumbers gives orders numbers of ours, which SAP keeps unique; the number range must be external.
	ExternalNumbers bool `conf:"external_numbers" help:"give orders numbers derived from their reference; needs an external number range"`
	// Repeatability sends RequestID and RepeatabilityCreation with orders.
	Repeatability bool `conf:"repeatability" help:"send RequestID and RepeatabilityCreation; needs idempotent services in the gateway"`
}

// DefaultConfig returns the configuration without address and user: the model company of S/4HANA.
func DefaultConfig() Config {
	return Config{
		Concurrency: 4, Timeout: time.Minute, BatchSize: 100, PageSize: 500,
		SalesOrganization: "1010", DistributionChannel: "10", Division: "00", CompanyCode: "1010", Grouping: "BP02", OrderType: "OR",
		PriceCondition: "PPR0", NoteText: "TX01", CheckingRule: "A", OrderBlock: "01", BillToUsage: "BILL_TO", ShipToUsage: "SHIP_TO",
		References: []string{"selfsame/customer", "salesforce/account"},
	}
}

// Validate returns every problem.
func (c Config) Validate() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
	}
	if !strings.HasPrefix(c.URL, "http://") && !strings.HasPrefix(c.URL, "https://") {
		add("url", "want http:// or https://")
	}
	errs = append(errs, c.logon()...)
	if c.Client != "" && (len(c.Client) != 3 || strings.Trim(c.Client, "0123456789") != "") {
		add("client", "want three digits")
	}
	for _, f := range []struct {
		key, value string
		most       int
		need       bool
	}{
		{"sales_organization", c.SalesOrganization, 4, true},
		{"distribution_channel", c.DistributionChannel, 2, true},
		{"division", c.Division, 2, true},
		{"company_code", c.CompanyCode, 4, false},
		{"grouping", c.Grouping, 4, false},
		{"order_type", c.OrderType, 4, true},
		{"price_condition", c.PriceCondition, 4, true},
		{"note_text", c.NoteText, 4, false},
		{"checking_rule", c.CheckingRule, 2, false},
		{"order_block", c.OrderBlock, 2, true},
		{"bill_to_usage", c.BillToUsage, 10, true},
		{"ship_to_usage", c.ShipToUsage, 10, true},
		{"default_country", c.DefaultCountry, 2, false},
		{"identification_type", c.IdentificationType, 6, false},
	} {
		if f.need && f.value == "" || len(f.value) > f.most {
			add(f.key, "want up to %d characters", f.most)
		}
	}
	if c.BillToUsage == c.ShipToUsage || c.BillToUsage == defaultUsage || c.ShipToUsage == defaultUsage {
		add("bill_to_usage", "the usages of addresses must differ")
	}
	for _, n := range []struct {
		key             string
		value, min, max int
	}{{"concurrency", c.Concurrency, 1, 100}, {"batch_size", c.BatchSize, 1, 200}, {"page_size", c.PageSize, 1, 5000}} {
		if n.value < n.min || n.value > n.max {
			add(n.key, "want %d to %d", n.min, n.max)
		}
	}
	if c.Timeout <= 0 {
		add("timeout", "must be positive")
	}
	for _, r := range c.References {
		if system, kind, ok := strings.Cut(r, "/"); !ok || system == "" || kind == "" {
			add("references", "%q is not system/type", r)
		}
	}
	for k, v := range c.Regions {
		if _, _, ok := strings.Cut(k, "-"); !ok || v == "" || len(v) > 3 {
			add("regions", "%s=%s is not like DE-BY=09", k, v)
		}
	}
	return errors.Join(errs...)
}

// logon returns the problems of how we log on: by at most one of user and access tokens, with or without a certificate.
func (c Config) logon() []error {
	var errs []error
	if (c.TokenURL == "") != (c.OAuthClient == "") || (c.TokenURL == "") != (c.OAuthSecret == "") {
		errs = append(errs, errors.New("token_url: it goes with oauth_client and oauth_secret"))
	}
	if u, err := url.Parse(c.TokenURL); c.TokenURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !backend.Loopback(u.Hostname()))) {
		errs = append(errs, errors.New("token_url: want https://, or http:// on this machine"))
	}
	if c.TokenURL != "" && c.User != "" {
		errs = append(errs, errors.New("token_url: either access tokens or user and password"))
	}
	if c.Certificate == "" && c.Key == "" {
		return errs
	}
	if _, err := tls.X509KeyPair([]byte(c.Certificate.Reveal()), []byte(c.Key.Reveal())); err != nil {
		errs = append(errs, errors.New("certificate, key: no PEM of a certificate and its private key"))
	}
	return errs
}
