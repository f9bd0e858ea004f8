// Package sandbox is a local SAP S/4HANA to integrate against: OData V2 as its gateway speaks it, for business partners,
// products, sales orders, stock, availability and deliveries.
//
// The problem: an integration can be trusted only if it was seen to survive what the real system does, and the real one can
// neither be broken on request nor run in a test. The sandbox speaks the same bytes, to any client, and fails in the same
// ways when told to over a control plane.
//
// Invariant: it shares no Go types with the client of this module. Both are held to the protocol only.
//
// It keeps everything in memory, checks no authorisations and knows a small customizing. README.md lists what is served,
// what is not, and what is not known to be as in the real system.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/console"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/gateway"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// Config says how the sandbox runs. The zero value serves the 2023 release on a free local port, to anybody, without
// products.
type Config struct {
	// Listen is an address; empty means 127.0.0.1:0. Listener is used instead if it is set; the server closes it.
	Listen   string
	Listener net.Listener
	// Release is the release of the interfaces: 2020 or 2023, which is also the empty one.
	Release string
	// Client is the three digits of the only client; empty means 100.
	Client string
	// User and Password are who may log on; an empty User means anybody.
	User, Password string
	// PageSize is the most rows of an answer without $top, 0 for 1,000; PageSizeTop with $top, 0 for 5,000.
	PageSize, PageSizeTop int
	// SessionTTL is how long an unused session lasts; 0 means half an hour.
	SessionTTL time.Duration
	// ChildStamps says that a change of only an address, e-mail or tax number moves the stamp of the business partner. It is
	// not known whether every real system does that, so by default it does not.
	ChildStamps bool
	// ExternalOrders lets a caller give orders their numbers.
	ExternalOrders bool
	// Repeatability says that idempotent services are configured: RequestID and RepeatabilityCreation are honoured. Without, a
	// request with both is refused.
	Repeatability bool
	// Language, if any, is the only logon language that requests may name, and must; others are refused.
	Language string
	// Products exist from the start.
	Products []Product
	// Seed makes numbers and faults repeatable.
	Seed int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives what went wrong inside; nil means nothing is logged.
	Log *slog.Logger
}

// Product is one of the products that exist from the start, sold in pieces unless Unit says otherwise.
type Product struct {
	ID, Name, Group string
	// Unit is the internal unit: ST, KG, M …; empty means ST.
	Unit string
	// Price is the list price as a decimal number; empty means none.
	Price string
	// Stock is what is on hand in plant 1010 as a decimal number; empty means no stock record.
	Stock string
}

// Server is a sandbox. Make it with New and start it with Run.
type Server struct {
	listener net.Listener
	handler  http.Handler
	requests atomic.Int64
	clock    offset
}

// offset is a clock that can be set forward.
type offset struct {
	mu   sync.Mutex
	base func() time.Time
	by   time.Duration
}

func (o *offset) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.base().Add(o.by)
}

func (o *offset) advance(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.by += d
}

// New checks the configuration, creates the products and binds the listener. Run must follow, or it stays bound.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	model, err := edm.Load(cfg.Release)
	if err != nil {
		return nil, fmt.Errorf("sandbox configuration: %w", err)
	}
	s := &Server{}
	s.clock.base = cfg.Now
	rows := store.New()
	laws := business.New(business.Options{
		Model: model, Now: s.clock.now, Seed: cfg.Seed, ChildStamps: cfg.ChildStamps, ExternalOrders: cfg.ExternalOrders,
	})
	trouble := &faults.Faults{}
	g := gateway.New(gateway.Options{
		Model: model, Store: rows, Laws: laws, Client: cfg.Client, User: cfg.User, Password: cfg.Password, PageSize: cfg.PageSize,
		PageSizeTop: cfg.PageSizeTop, SessionTTL: cfg.SessionTTL, Locked: trouble.Locked, Repeatability: cfg.Repeatability, Language: cfg.Language, Now: s.clock.now, Log: cfg.Log,
	})
	if err := stockUp(model, rows, laws, cfg.Products); err != nil {
		return nil, err
	}
	control := console.New(console.Options{Gateway: g, Store: rows, Laws: laws, Faults: trouble, Advance: s.clock.advance, Requests: &s.requests})
	served := trouble.Wrap(g, g.ExpireSessions, gateway.Refuse)
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/__sandbox__/") {
			control.ServeHTTP(w, r)
			return
		}
		s.requests.Add(1)
		w.Header().Set("Date", s.clock.now().UTC().Format(http.TimeFormat))
		served.ServeHTTP(w, r)
	})
	if s.listener = cfg.Listener; s.listener == nil {
		if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	or := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	or(&c.Listen, "127.0.0.1:0")
	or(&c.Release, edm.Release2023)
	or(&c.Client, "100")
	if c.PageSize <= 0 {
		c.PageSize = 1000
	}
	if c.PageSizeTop <= 0 {
		c.PageSizeTop = 5000
	}
	if c.SessionTTL <= 0 {
		c.SessionTTL = 30 * time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// stockUp creates the products of the start.
func stockUp(model *edm.Model, rows *store.Store, laws *business.Laws, products []Product) error {
	set, texts := model.Set("A_Product"), model.Set("A_ProductDescription")
	for _, p := range products {
		err := rows.Update(func(tx *store.Tx) error {
			c := &business.Call{Tx: tx, Language: edm.English}
			n := &business.Node{Set: set, Row: make(store.Row, len(set.Props)), Children: map[*edm.Navigation][]*business.Node{}}
			values := map[string]string{"Product": p.ID, "ProductType": "HAWA", "ProductGroup": p.Group}
			for name, v := range values {
				kept, err := set.Props[set.At(name)].FromText(v, edm.English)
				if err != nil {
					return err
				}
				n.Row[set.At(name)] = kept
			}
			if p.Unit != "" {
				n.Row[set.At("BaseUnit")] = p.Unit
			}
			if p.Name != "" {
				text := &business.Node{Set: texts, Row: make(store.Row, len(texts.Props))}
				text.Row[texts.At("Language")], text.Row[texts.At("ProductDescription")] = "EN", p.Name
				n.Children[set.Nav("to_Description")] = []*business.Node{text}
			}
			if err := laws.Create(c, n); err != nil {
				return err
			}
			if p.Price != "" {
				price, ok := new(big.Rat).SetString(p.Price)
				if !ok || price.Sign() < 0 {
					return fmt.Errorf("the price %q is no amount", p.Price)
				}
				laws.SetPrice(c, n.Row.Text(set, "Product"), price)
			}
			if p.Stock == "" {
				return nil
			}
			return laws.SetStock(c, n.Row.Text(set, "Product"), "1010", p.Stock)
		})
		if err != nil {
			return fmt.Errorf("product %s: %w", p.ID, err)
		}
	}
	return nil
}

// Addr is the host and port where it serves.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is the address without a path.
func (s *Server) URL() string { return "http://" + s.Addr() }

// Requests is how many HTTP requests were made to services, those that failed on purpose included.
func (s *Server) Requests() int64 { return s.requests.Load() }

// Handler serves requests without the listener.
func (s *Server) Handler() http.Handler { return s.handler }

// stopTime is how long running requests may take to end.
const stopTime = 3 * time.Second

// Run serves until the context ends, then lets running requests finish. It returns nil after a stop by the context.
func (s *Server) Run(ctx context.Context) error {
	h := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if h.Shutdown(stop) != nil {
		_ = h.Close() // what does not end in time is ended
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}
