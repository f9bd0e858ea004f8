package tryton

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
)

// System is one Tryton. Make it with New; it is safe for concurrent use.
type System struct {
	client  *client
	confirm bool
	company string

	loading sync.Mutex
	master  atomic.Pointer[master]
}

var _ remote.System = (*System)(nil)

// New returns a System. Transport carries the calls; http.DefaultTransport when nil. Nothing is sent yet.
func New(cfg Config, transport http.RoundTripper) (*System, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of Tryton: %w", err)
	}
	return &System{client: newClient(cfg, transport), confirm: cfg.Confirm, company: cfg.Company}, nil
}

// master is what the server's administrator keeps: it changes rarely and is read again every hour.
type master struct {
	at           time.Time
	company      int64
	currency     string // of the company
	currencies   map[string]int64
	currencyOf   map[int64]string
	rounding     map[string]erp.Decimal // the smallest amount of a currency; zero or missing for exact ones
	sizes        map[string]int         // the longest text of a field, by our path; fields without a limit are missing
	countries    map[string]int64
	countryOf    map[int64]string
	subdivisions map[string]int64 // "DE-NW"
	subdivOf     map[int64]string
	uoms         map[int64]uom
	warehouses   []warehouse
}

type uom struct {
	code   string // UN/ECE Recommendation 20; empty for one that is not in the table
	symbol string
	digits int
}

type warehouse struct {
	id   int64
	site string
}

// masterFor is how long master data is used.
const masterFor = time.Hour

// units are Tryton's symbols and their codes in UN/ECE Recommendation 20.
func unitCode(symbol string) string {
	switch symbol {
	case "u":
		return "C62"
	case "kg":
		return "KGM"
	case "g":
		return "GRM"
	case "t":
		return "TNE"
	case "lb":
		return "LBR"
	case "oz":
		return "ONZ"
	case "m":
		return "MTR"
	case "cm":
		return "CMT"
	case "mm":
		return "MMT"
	case "km":
		return "KMT"
	case "ft":
		return "FOT"
	case "in":
		return "INH"
	case "l":
		return "LTR"
	case "m³":
		return "MTQ"
	case "m²":
		return "MTK"
	case "s":
		return "SEC"
	case "min":
		return "MIN"
	case "h":
		return "HUR"
	case "d":
		return "DAY"
	default:
		return ""
	}
}

// data returns the master data, reading it when it is not known or too old. What is too old is used when nobody answers.
func (s *System) data(ctx context.Context) (*master, error) {
	if m := s.master.Load(); m != nil && time.Since(m.at) < masterFor {
		return m, nil
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	old := s.master.Load()
	if old != nil && time.Since(old.at) < masterFor {
		return old, nil
	}
	m, err := s.load(ctx)
	if err != nil {
		if old != nil {
			return old, nil
		}
		return nil, err
	}
	s.master.Store(m)
	return m, nil
}

func (s *System) load(ctx context.Context) (*master, error) {
	m := &master{
		at: time.Now(), currencies: map[string]int64{}, currencyOf: map[int64]string{}, countries: map[string]int64{}, countryOf: map[int64]string{},
		subdivisions: map[string]int64{}, subdivOf: map[int64]string{}, uoms: map[int64]uom{}, rounding: map[string]erp.Decimal{},
	}
	if err := s.loadCompany(ctx, m); err != nil {
		return nil, err
	}
	if err := s.loadSizes(ctx, m); err != nil {
		return nil, err
	}
	countries, err := s.find(ctx, "country.country", []any{}, 0, "code")
	if err != nil {
		return nil, err
	}
	for _, r := range countries {
		m.countries[r.str("code")], m.countryOf[r.id("id")] = r.id("id"), r.str("code")
	}
	subdivisions, err := s.find(ctx, "country.subdivision", []any{}, 0, "code")
	if err != nil {
		return nil, err
	}
	for _, r := range subdivisions {
		m.subdivisions[r.str("code")], m.subdivOf[r.id("id")] = r.id("id"), r.str("code")
	}
	units, err := s.find(ctx, "product.uom", []any{}, 0, "symbol", "digits")
	if err != nil {
		return nil, err
	}
	for _, r := range units {
		m.uoms[r.id("id")] = uom{code: unitCode(r.str("symbol")), symbol: r.str("symbol"), digits: int(r.id("digits"))}
	}
	houses, err := s.find(ctx, "stock.location", []any{clause("type", "=", "warehouse")}, 0, "code", "name")
	if err != nil {
		return nil, err
	}
	for _, r := range houses {
		site := r.str("code")
		if site == "" {
			site = r.str("name")
		}
		m.warehouses = append(m.warehouses, warehouse{id: r.id("id"), site: site})
	}
	return m, nil
}

func (s *System) loadCompany(ctx context.Context, m *master) error {
	var prefs map[string]any
	if err := s.client.call(ctx, false, &prefs, "model.res.user.get_preferences", true, map[string]any{}); err != nil {
		return err
	}
	m.company = record(prefs).id("company")
	companies, err := s.find(ctx, "company.company", []any{}, 0, "rec_name", "currency")
	if err != nil {
		return err
	}
	var currency int64
	for _, r := range companies {
		if s.company != "" && strings.EqualFold(r.str("rec_name"), s.company) || s.company == "" && r.id("id") == m.company {
			m.company, currency = r.id("id"), r.id("currency")
		}
	}
	if currency == 0 {
		return fault.New(fault.Precondition, "BACKEND_NOT_SET_UP", "the user of the ERP has no such company")
	}
	currencies, err := s.find(ctx, "currency.currency", []any{}, 0, "code", "rounding")
	if err != nil {
		return err
	}
	for _, r := range currencies {
		m.currencies[r.str("code")], m.currencyOf[r.id("id")] = r.id("id"), r.str("code")
		if m.rounding[r.str("code")], err = r.decimal("rounding"); err != nil {
			return err
		}
	}
	m.currency = m.currencyOf[currency]
	return nil
}

// uom returns a unit by its code.
func (m *master) unit(code string) (int64, bool) {
	best := int64(0)
	for id, u := range m.uoms {
		if u.code == code && (best == 0 || id < best) {
			best = id
		}
	}
	return best, best != 0
}

// Kind implements remote.System.
func (s *System) Kind() string { return Kind }

// Ping implements remote.System: it needs a session.
func (s *System) Ping(ctx context.Context) error {
	_, err := s.search(ctx, "party.party", []any{}, 1)
	return err
}

// Capabilities implements remote.System.
func (s *System) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	m, err := s.data(ctx)
	if err != nil {
		return backend.Capabilities{}, err
	}
	units := make([]string, 0, len(m.uoms))
	for _, u := range m.uoms {
		if u.code != "" {
			units = append(units, u.code)
		}
	}
	currencies := make([]string, 0, len(m.currencies))
	for c := range m.currencies {
		currencies = append(currencies, c)
	}
	slices.Sort(units)
	slices.Sort(currencies)
	return backend.Capabilities{
		Kind: Kind, Release: "6.0", CreateCustomers: true, DeleteCustomers: true, CreateOrders: true, SetOrderStatus: true,
		Deliveries: true, Inventory: true, MaxOrderLines: 200, Units: slices.Compact(units), Currencies: currencies, MaxLength: maps.Clone(m.sizes),
	}, nil
}

// Customers implements remote.System.
func (s *System) Customers() remote.Source[erp.Customer] { return parties{s} }

// Contacts implements remote.System: Tryton has no contacts of its own; package remote keeps them.
func (s *System) Contacts() remote.Source[erp.Contact] { return nil }
