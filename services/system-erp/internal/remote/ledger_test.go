package remote_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	gosync "sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/adapter"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
)

func sync(ctx context.Context, b adapter.Backend) error { return b.(*adapter.Store).Sync(ctx) }

// ledger is an ERP in memory that promises nothing: a second insert is a second record, whatever it carries.
type ledger struct {
	mu        gosync.Mutex
	customers map[string]*entry
	orders    map[string]*order
	serial    int
	fault     backendtest.Fault
	left      int
	die       func()
	// reads counts calls for products; down makes them fail.
	reads int
	down  bool
	// held, if any, holds answers about products back until it is closed.
	held chan struct{}
	// stuck makes the next step of orders fail.
	stuck bool
	// late runs between the reading of a page and its arrival.
	late func()
}

type entry struct {
	c    adapter.Customer
	tag  int
	mark string
}

type order struct {
	o    adapter.Order
	mark string
}

func newLedger() *ledger {
	return &ledger{customers: make(map[string]*entry), orders: make(map[string]*order), serial: 1000, die: func() {}}
}

func (l *ledger) onDie(fn func()) { l.die = fn }

func (l *ledger) arm(f backendtest.Fault, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.left = f, n
}

// outage takes the ledger away.
func (l *ledger) outage(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = away
}

// write runs a write under the armed fault.
func (l *ledger) write(fn func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return fault.New(fault.Unavailable, "", "down")
	}
	f := backendtest.Fault(0)
	if l.left > 0 {
		l.left--
		f = l.fault
	}
	lost := fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "no answer")
	switch f {
	case backendtest.Lock:
		return fault.New(fault.Conflict, adapter.ReasonLocked, "somebody works on it")
	case backendtest.Drop:
		return lost
	}
	err := fn()
	switch {
	case err == nil && f == backendtest.LoseAnswer:
		return lost
	case f == backendtest.Die:
		l.die()
	}
	return err
}

func (l *ledger) next() string { l.serial++; return strconv.Itoa(l.serial) }

func (l *ledger) Kind() string                                { return "ledger" }
func (l *ledger) Ping(context.Context) error                  { return nil }
func (l *ledger) Contacts() adapter.Source[adapter.Contact]   { return nil }
func (l *ledger) Customers() adapter.Source[adapter.Customer] { return (*party)(l) }

func (l *ledger) Capabilities(context.Context) (adapter.Capabilities, error) {
	return adapter.Capabilities{Kind: "ledger", CreateCustomers: true, DeleteCustomers: true, CreateOrders: true, Deliveries: true, Inventory: true}, nil
}

type party ledger

type snapshot = adapter.Snapshot[adapter.Customer]

func (e *entry) snapshot() snapshot {
	c := e.c
	c.Refs, c.Addresses, c.TaxIDs = slices.Clone(c.Refs), slices.Clone(c.Addresses), slices.Clone(c.TaxIDs)
	return snapshot{Record: c, Tag: strconv.Itoa(e.tag)}
}

func (p *party) Fields() []string {
	return []string{"number", "kind", "name", "email", "phone", "addresses", "tax_ids", "refs"}
}

func (p *party) Check(_ context.Context, c adapter.Customer) error {
	if len(c.Phone) > 30 {
		return fault.InvalidField("customer.phone", adapter.ReasonTooLong, "at most 30 characters")
	}
	return nil
}

func (p *party) pick(match func(e *entry) bool) []snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []snapshot
	for _, e := range p.customers {
		if match(e) {
			out = append(out, e.snapshot())
		}
	}
	slices.SortFunc(out, func(a, b snapshot) int { return cmp.Compare(a.Record.ID, b.Record.ID) })
	return out
}

func (p *party) Find(_ context.Context, keys []adapter.Key) ([][]snapshot, error) {
	out := make([][]snapshot, len(keys))
	for i, k := range keys {
		out[i] = p.pick(func(e *entry) bool { return !k.Ref.Zero() && slices.Contains(e.c.Refs, k.Ref) || e.mark == k.Mark })
	}
	return out, nil
}

func (p *party) Read(_ context.Context, ids []string) ([]snapshot, error) {
	return p.pick(func(e *entry) bool { return slices.Contains(ids, e.c.ID) }), nil
}

func (p *party) Insert(_ context.Context, drafts []adapter.Draft[adapter.Customer]) ([]adapter.Reply[adapter.Customer], error) {
	out := make([]adapter.Reply[adapter.Customer], len(drafts))
	for i, d := range drafts {
		out[i].Err = (*ledger)(p).write(func() error {
			id := (*ledger)(p).next()
			c := d.Record
			c.Head = adapter.Head{ID: id, Refs: c.Refs, Updated: time.Now(), Created: time.Now()}
			c.Number = cmp.Or(c.Number, id)
			// What it has no place for is not kept.
			c.Currency, c.PaymentTerms, c.Extensions, c.Website, c.Language = "", "", nil, "", ""
			e := &entry{c: c, tag: 1, mark: d.Key.Mark}
			p.customers[id] = e
			out[i].Snapshot = e.snapshot()
			return nil
		})
		if out[i].Err != nil {
			out[i].Snapshot = snapshot{}
		}
	}
	return out, nil
}

func (p *party) Change(_ context.Context, drafts []adapter.Draft[adapter.Customer]) ([]adapter.Reply[adapter.Customer], error) {
	out := make([]adapter.Reply[adapter.Customer], len(drafts))
	for i, d := range drafts {
		out[i].Err = (*ledger)(p).write(func() error {
			e := p.customers[d.Record.ID]
			if e == nil || strconv.Itoa(e.tag) != d.Old.Tag {
				return fault.New(fault.Conflict, fault.ReasonETagMismatch, "another version")
			}
			c := d.Record
			e.c.Number, e.c.Kind, e.c.Name, e.c.Email, e.c.Phone = c.Number, c.Kind, c.Name, c.Email, c.Phone
			e.c.Addresses, e.c.TaxIDs, e.c.Refs, e.c.Updated = c.Addresses, c.TaxIDs, c.Refs, time.Now()
			e.tag++
			out[i].Snapshot = e.snapshot()
			return nil
		})
		if out[i].Err != nil {
			out[i].Snapshot = snapshot{}
		}
	}
	return out, nil
}

func (p *party) Retire(_ context.Context, old snapshot) (s snapshot, err error) {
	err = (*ledger)(p).write(func() error {
		e := p.customers[old.Record.ID]
		e.c.Deleted, e.c.Updated = true, time.Now()
		e.tag++
		s = e.snapshot()
		return nil
	})
	return s, err
}

func (p *party) Changed(_ context.Context, since time.Time, page func([]snapshot) error) error {
	var ids []string
	for _, s := range p.pick(func(e *entry) bool { return !e.c.Updated.Before(since) }) {
		ids = append(ids, s.Record.ID)
	}
	for some := range slices.Chunk(ids, 50) {
		chunk := p.pick(func(e *entry) bool { return slices.Contains(some, e.c.ID) }) // as it is when this page is asked for
		if p.late != nil {
			p.late()
		}
		if err := page(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (p *party) Similar(_ context.Context, c adapter.Customer, limit int) ([]snapshot, error) {
	found := p.pick(func(e *entry) bool { return e.c.Name == c.Name && c.Name != "" })
	return found[:min(len(found), limit)], nil
}

func (l *ledger) Products(_ context.Context, skus []string) ([]adapter.Product, error) {
	l.mu.Lock()
	l.reads++
	held := l.held
	l.mu.Unlock()
	if held != nil {
		<-held
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, fault.New(fault.Unavailable, "", "down")
	}
	var out []adapter.Product
	for _, sku := range skus {
		if sku == "P-1" || sku == "P-2" {
			price, _ := adapter.ParseDecimal("12.50")
			out = append(out, adapter.Product{SKU: sku, Name: "Product " + sku, Unit: adapter.Piece, Active: true, Price: adapter.Money{Amount: price, Currency: "EUR"}})
		}
	}
	return out, nil
}

func (l *ledger) ListProducts(ctx context.Context, after string, limit int) ([]adapter.Product, error) {
	all, err := l.Products(ctx, []string{"P-1", "P-2"})
	all = slices.DeleteFunc(all, func(p adapter.Product) bool { return p.SKU <= after })
	return all[:min(limit, len(all))], err
}

func (l *ledger) PutProduct(context.Context, adapter.Product) error {
	return adapter.Missing("ledger", "write products")
}

func (l *ledger) Inventory(_ context.Context, skus []string) ([]adapter.Stock, error) {
	if l.isDown() {
		return nil, fault.New(fault.Unavailable, "", "down")
	}
	var out []adapter.Stock
	for _, sku := range skus {
		out = append(out, adapter.Stock{SKU: sku, Site: "1", Unit: adapter.Piece, AsOf: time.Now()})
	}
	return out, nil
}

func (l *ledger) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

func (l *ledger) SetInventory(context.Context, adapter.Stock) error {
	return adapter.Missing("ledger", "set stock")
}

func (l *ledger) CheckOrder(context.Context, adapter.Order) error { return nil }

func (l *ledger) filter(match func(o *order) bool) []adapter.Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []adapter.Order
	for _, o := range l.orders {
		if match(o) {
			c := o.o
			c.Items = slices.Clone(c.Items)
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b adapter.Order) int { return cmp.Or(b.Ordered.Compare(a.Ordered), cmp.Compare(b.ID, a.ID)) })
	return out
}

func (l *ledger) FindOrders(_ context.Context, k adapter.Key) ([]adapter.Order, error) {
	return l.filter(func(o *order) bool { return o.mark == k.Mark || k.Ref.Value != "" && o.o.ClientRef == k.Ref.Value }), nil
}

func (l *ledger) InsertOrder(_ context.Context, o adapter.Order, k adapter.Key) (adapter.Order, error) {
	err := l.write(func() error {
		o.ID, o.Version, o.Updated = l.next(), 1, time.Now()
		l.orders[o.ID] = &order{o: o, mark: k.Mark}
		return nil
	})
	if err != nil {
		return adapter.Order{}, err
	}
	return o, nil
}

func (l *ledger) AdvanceOrder(_ context.Context, id string) (adapter.Order, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.orders[id]
	if o == nil {
		return adapter.Order{}, fmt.Errorf("no order %s", id)
	}
	if l.stuck {
		return adapter.Order{}, fault.New(fault.Unavailable, "", "down")
	}
	if o.o.State == adapter.OrderReceived {
		o.o.State, o.o.Updated = adapter.OrderConfirmed, time.Now()
	}
	return o.o, nil
}

func (l *ledger) Orders(_ context.Context, ids []string) ([]adapter.Order, error) {
	return l.filter(func(o *order) bool { return slices.Contains(ids, o.o.ID) }), nil
}

func (l *ledger) ListOrders(_ context.Context, customers []string, after *adapter.OrderCursor, limit int) ([]adapter.Order, error) {
	all := l.filter(func(o *order) bool {
		if !slices.Contains(customers, o.o.CustomerID) {
			return false
		}
		at := o.o.Ordered.UnixMicro()
		return after == nil || at < after.Ordered || at == after.Ordered && o.o.ID < after.ID
	})
	return all[:min(limit, len(all))], nil
}

func (l *ledger) ChangedOrders(_ context.Context, since time.Time, page func([]adapter.Order) error) error {
	if since.Year() < 1 {
		return fault.New(fault.Invalid, "", "no calendar has such a year") // says every real one
	}
	return page(l.filter(func(o *order) bool { return !o.o.Updated.Before(since) }))
}

func (l *ledger) MoveOrder(context.Context, string, adapter.OrderState, adapter.Progress, adapter.Progress) (adapter.Order, error) {
	return adapter.Order{}, adapter.Missing("ledger", "move orders")
}

func (l *ledger) Deliveries(context.Context, string) ([]adapter.Delivery, error) { return nil, nil }

// The ledger seen from a desk in the other house.

func (l *ledger) outside(match func(e *entry) bool) []string {
	var out []string
	for _, s := range (*party)(l).pick(match) {
		out = append(out, s.Record.ID)
	}
	return out
}

type desk struct{ *ledger }

func (d desk) Customers(_ context.Context, ref adapter.Ref) ([]string, error) {
	return d.outside(func(e *entry) bool { return slices.Contains(e.c.Refs, ref) }), nil
}

func (d desk) Orders(_ context.Context, clientRef string) ([]string, error) {
	var out []string
	for _, o := range d.filter(func(o *order) bool { return o.o.ClientRef == clientRef }) {
		out = append(out, o.ID)
	}
	return out, nil
}

func (d desk) Rename(_ context.Context, id, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.customers[id]
	e.c.Name, e.c.Updated = name, time.Now()
	e.tag++
	return nil
}

func (d desk) Make(_ context.Context, name string, ref adapter.Ref) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.next()
	d.customers[id] = &entry{c: adapter.Customer{
		Head: adapter.Head{ID: id, Refs: []adapter.Ref{ref}, Created: time.Now(), Updated: time.Now()}, Number: id, Kind: adapter.Organization, Name: name,
	}, tag: 1}
	return id, nil
}
