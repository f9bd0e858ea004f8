package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// maxCached bounds the cache of products; beyond it the cache starts anew.
const maxCached = 50_000

// goods caches master data of products and the last stock figures. The zero values of its options were filled by Open.
type goods struct {
	sys    Goods
	o      Options
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]cached[erp.Product]
	stock map[string]cached[[]erp.Stock]
}

type cached[V any] struct {
	value V
	known bool // false remembers for a moment that there is none
	at    time.Time
}

// absentFor is how long it is remembered that a product does not exist.
const absentFor = 30 * time.Second

func newGoods(sys Goods, o Options) *goods {
	return &goods{sys: sys, o: o, known: make(map[string]cached[erp.Product]), stock: make(map[string]cached[[]erp.Stock])}
}

// unanswered tells whether the other system failed rather than refused.
func unanswered(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Uncertain, fault.Exhausted, fault.Internal:
		return true
	default:
		return false
	}
}

// products returns products by SKU out of the cache, or asks; what is too old is used as long as nobody answers.
func (g *goods) products(ctx context.Context, skus []string) (map[string]erp.Product, error) {
	now := g.o.Now()
	out := make(map[string]erp.Product, len(skus))
	var ask []string
	g.mu.Lock()
	for _, sku := range skus {
		c, ok := g.known[sku]
		ttl := g.o.ProductTTL
		if !c.known {
			ttl = absentFor
		}
		switch {
		case !ok || now.Sub(c.at) > ttl:
			ask = append(ask, sku)
		case c.known:
			out[sku] = c.value
		}
	}
	g.mu.Unlock()
	if len(ask) == 0 {
		return out, nil
	}
	slices.Sort(ask)
	got, err := g.fetch(ctx, ask)
	if err != nil {
		stale, ok := g.stale(ask, now)
		if !ok || !unanswered(err) {
			return nil, err
		}
		got = stale
	}
	maps.Copy(out, got)
	return out, nil
}

// fetch asks once for the same products, however many want them. The caller who goes first lends its values, not its end.
func (g *goods) fetch(ctx context.Context, skus []string) (map[string]erp.Product, error) {
	ch := g.flight.DoChan(fmt.Sprintf("%q", skus), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.o.Lease*3/4)
		defer cancel()
		list, err := g.sys.Products(ctx, skus)
		if err != nil {
			return nil, err
		}
		found := make(map[string]erp.Product, len(list))
		for _, p := range list {
			found[p.SKU] = p
		}
		at := g.o.Now()
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.known) > maxCached {
			clear(g.known)
		}
		for _, sku := range skus {
			p, ok := found[sku]
			g.known[sku] = cached[erp.Product]{value: p, known: ok, at: at}
		}
		return found, nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read products: %w", ctx.Err())
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		found, _ := res.Val.(map[string]erp.Product)
		return found, nil
	}
}

// stale is what is known of products beyond their time; false when one is not known or too old even for that.
func (g *goods) stale(skus []string, now time.Time) (map[string]erp.Product, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[string]erp.Product, len(skus))
	for _, sku := range skus {
		c, ok := g.known[sku]
		if !ok || !c.known || now.Sub(c.at) > g.o.ProductTTL+g.o.StaleFor {
			return nil, false
		}
		out[sku] = c.value
	}
	return out, true
}

func (g *goods) forget(sku string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.known, sku)
}

// inventory asks for stock; when nobody answers the last figures are shown, with their age, for a while.
func (g *goods) inventory(ctx context.Context, skus []string) ([]erp.Stock, error) {
	list, err := g.sys.Inventory(ctx, skus)
	now := g.o.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		if len(g.stock) > maxCached {
			clear(g.stock)
		}
		by := make(map[string][]erp.Stock, len(skus))
		for _, s := range list {
			by[s.SKU] = append(by[s.SKU], s)
		}
		for _, sku := range skus {
			g.stock[sku] = cached[[]erp.Stock]{value: by[sku], known: true, at: now}
		}
		return list, nil
	}
	if !unanswered(err) {
		return nil, err
	}
	var out []erp.Stock
	for _, sku := range skus {
		c, ok := g.stock[sku]
		if !ok || now.Sub(c.at) > g.o.StockStale {
			return nil, err
		}
		out = append(out, c.value...)
	}
	return out, nil
}

// Products implements store.Catalog.
func (s *Store) Products(ctx context.Context, skus []string) (map[string]erp.Product, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.goods.products(ctx, skus)
}

// ListProducts implements store.Catalog.
func (s *Store) ListProducts(ctx context.Context, after string, limit int) ([]erp.Product, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.sys.ListProducts(ctx, after, limit)
}

// UpsertProducts implements store.Catalog. Products are compared with what the ERP has and written one by one.
func (s *Store) UpsertProducts(ctx context.Context, products []erp.Product) ([]store.Result[erp.Product], error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	out := make([]store.Result[erp.Product], len(products))
	count := make(map[string]int, len(products))
	for _, p := range products {
		count[p.SKU]++
	}
	for i, p := range products {
		if count[p.SKU] > 1 {
			out[i].Err = fault.New(fault.Invalid, store.ReasonDuplicate, "the request names the same product twice")
			continue
		}
		if out[i].Err = p.Tidy(); out[i].Err == nil {
			out[i].Outcome, out[i].Record, out[i].Err = s.putProduct(ctx, p)
		}
	}
	return out, nil
}

func (s *Store) putProduct(ctx context.Context, p erp.Product) (erp.Outcome, erp.Product, error) {
	giveBack, err := s.alone(ctx, objectProduct, hashed("sku", p.SKU))
	if err != nil {
		return erp.Refused, p, err
	}
	defer giveBack()
	before, err := s.sys.Products(ctx, []string{p.SKU})
	if err != nil {
		return erp.Refused, p, err
	}
	if len(before) > 0 && p.Same(before[0]) {
		return erp.Unchanged, before[0], nil
	}
	if err := s.sys.PutProduct(ctx, p); err != nil {
		return erp.Refused, p, err
	}
	s.goods.forget(p.SKU)
	after, err := s.sys.Products(ctx, []string{p.SKU})
	if err != nil {
		return erp.Refused, p, err
	}
	if len(after) == 0 {
		return erp.Refused, p, fmt.Errorf("a product that was written is missing")
	}
	if len(before) > 0 {
		return erp.Updated, after[0], nil
	}
	return erp.Created, after[0], nil
}

// alone waits until nobody else writes under a name that nothing is remembered of, and returns what lets the next one in.
func (s *Store) alone(ctx context.Context, object erp.Object, name string) (giveBack func(), err error) {
	cl, unlock, err := s.claims.take(ctx, object, name)
	if err != nil {
		return nil, err
	}
	return func() {
		defer unlock()
		nctx, cancel := s.noting(ctx)
		defer cancel()
		if derr := s.claims.move(nctx, stateFree, "", nil, cl); derr != nil {
			s.o.Log.WarnContext(ctx, "a claim could not be given back", "object", objectName(object), "error", derr)
		}
	}, nil
}

// Inventory implements store.Catalog.
func (s *Store) Inventory(ctx context.Context, skus []string) ([]erp.Stock, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.goods.inventory(ctx, skus)
}

// SetInventory implements store.Catalog.
func (s *Store) SetInventory(ctx context.Context, st erp.Stock) (erp.Stock, erp.Outcome, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if c, err := s.Capabilities(ctx); err != nil || !c.SetInventory {
		if err == nil {
			err = backend.Missing(s.sys.Kind(), "set stock")
		}
		return erp.Stock{}, erp.Refused, err
	}
	giveBack, err := s.alone(ctx, objectProduct, hashed("stock", st.SKU, st.Site))
	if err != nil {
		return erp.Stock{}, erp.Refused, err
	}
	defer giveBack()
	before, known, err := s.stockAt(ctx, st)
	if err != nil {
		return erp.Stock{}, erp.Refused, err
	}
	if known && before.OnHand.Cmp(st.OnHand) == 0 {
		return before, erp.Unchanged, nil
	}
	if err := s.sys.SetInventory(ctx, st); err != nil {
		return erp.Stock{}, erp.Refused, err
	}
	after, there, err := s.stockAt(ctx, st)
	if err == nil && !there {
		err = errors.New("stock of a site is missing")
	}
	if err != nil {
		return erp.Stock{}, erp.Refused, err
	}
	if known {
		return after, erp.Updated, nil
	}
	return after, erp.Created, nil
}

// stockAt asks the other system for the stock of a product at a site.
func (s *Store) stockAt(ctx context.Context, st erp.Stock) (have erp.Stock, known bool, err error) {
	all, err := s.sys.Inventory(ctx, []string{st.SKU})
	for _, have := range all {
		if have.Site == st.Site && err == nil {
			return have, true, nil
		}
	}
	return erp.Stock{}, false, err
}

// ListWarranties implements store.Catalog: warranties are ours, kept in the mirror.
func (s *Store) ListWarranties(ctx context.Context, customerID string, after *store.WarrantyCursor, limit int) ([]erp.Warranty, error) {
	return s.mirror.ListWarranties(ctx, customerID, after, limit)
}

// UpsertWarranty implements store.Catalog. What it names is brought into the mirror first. The order of a warranty is in the
// other system and cannot be checked by the database; it is refused rather than kept unchecked.
func (s *Store) UpsertWarranty(ctx context.Context, w erp.Warranty) (erp.Warranty, erp.Outcome, error) {
	if w.OrderID != "" {
		return w, erp.Refused, fault.InvalidField("warranty.order_id", "FIELD_NOT_SUPPORTED", "warranties of this back end name no order")
	}
	if _, err := s.customers.Get(ctx, []string{w.CustomerID}); err != nil {
		return w, erp.Refused, err
	}
	found, err := s.Products(ctx, []string{w.SKU})
	if err != nil {
		return w, erp.Refused, err
	}
	if p, ok := found[w.SKU]; ok {
		if _, err := s.mirror.UpsertProducts(ctx, []erp.Product{p}); err != nil {
			return w, erp.Refused, err
		}
	}
	return s.mirror.UpsertWarranty(ctx, w)
}
