// Package describe remembers what the org says about its objects.
//
// The problem: a description is a large answer that hardly ever changes and costs a call of the allowance, and it is wanted for
// every write. The invariant: an object is asked about at most once at a time and once per TTL; while the org cannot be asked,
// the last description serves, for it was right a moment ago.
//
// It does not say whether the mapping fits; that is package mapping.
package describe

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// renewPause is how old a description must be before it is doubted.
const renewPause = time.Minute

// retryPause is how long a description that could not be renewed serves before the org is asked again.
const retryPause = 10 * time.Second

// Source asks the org. *rest.Client is one.
type Source interface {
	Describe(ctx context.Context, object string) ([]rest.Field, error)
}

// Options configure a Cache. Source is required.
type Options struct {
	Source Source
	// TTL is how long a description is taken for right; 0 means 30 minutes.
	TTL time.Duration
	// Stale is how long after that it serves while the org cannot be asked; 0 means 24 hours.
	Stale time.Duration
	// Meter counts the questions; nil counts nothing.
	Meter metric.MeterProvider
	// Log gets what was coped with; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Cache remembers descriptions. Create it with New; it is safe for concurrent use.
type Cache struct {
	o     Options
	asked metric.Int64Counter

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is one object. Who holds turn may ask the org.
type entry struct {
	turn chan struct{}

	mu     sync.Mutex
	schema *mapping.Schema
	read   time.Time // when the org said so
	due    time.Time // when to ask again
}

// New returns an empty cache.
func New(o Options) *Cache {
	if o.TTL <= 0 {
		o.TTL = 30 * time.Minute
	}
	if o.Stale <= 0 {
		o.Stale = 24 * time.Hour
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cache{o: o, entries: map[string]*entry{}}
	meter := o.Meter.Meter("github.com/selfsame-io/selfsame/services/system-salesforce/internal/describe")
	// An instrument that cannot be made is a no-op.
	c.asked, _ = meter.Int64Counter("selfsame.salesforce.describe.cache", metric.WithDescription("descriptions of objects asked for, by what answered"))
	return c
}

// Schema returns the description of an sObject. NotFound when the org has no such object; other errors are those of asking, when
// there is no description that could serve.
func (c *Cache) Schema(ctx context.Context, object string) (*mapping.Schema, error) {
	e := c.entry(object)
	if s, ok := e.fresh(c.o.Now()); ok {
		c.count(ctx, "hit")
		return s, nil
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Timeout, fault.ReasonTimeout, ctx.Err(), "the object was not described in time")
	}
	if s, ok := e.fresh(c.o.Now()); ok { // somebody has asked meanwhile
		c.count(ctx, "shared")
		return s, nil
	}
	return c.ask(ctx, object, e)
}

// Renew returns a description that is newer than the one by which something was about to be refused: a value may have been added
// to a list since. It is the same one when that is less than a minute old, or the org cannot be asked.
func (c *Cache) Renew(ctx context.Context, object string, doubted *mapping.Schema) *mapping.Schema {
	e := c.entry(object)
	e.mu.Lock()
	current, read := e.schema, e.read
	e.mu.Unlock()
	switch {
	case current != doubted && current != nil:
		return current
	case c.o.Now().Sub(read) < renewPause:
		return doubted
	}
	c.Forget(object)
	if s, err := c.Schema(ctx, object); err == nil {
		return s
	}
	return doubted
}

// Forget has the next question about an object asked anew: a write was refused because of what the description said.
func (c *Cache) Forget(object string) {
	e := c.entry(object)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due = time.Time{}
}

func (c *Cache) entry(object string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[object]
	if e == nil {
		e = &entry{turn: make(chan struct{}, 1)}
		c.entries[object] = e
	}
	return e
}

func (e *entry) fresh(now time.Time) (*mapping.Schema, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.schema, e.schema != nil && now.Before(e.due)
}

func (c *Cache) ask(ctx context.Context, object string, e *entry) (*mapping.Schema, error) {
	fields, err := c.o.Source.Describe(ctx, object)
	now := c.o.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		c.count(ctx, "miss")
		e.schema, e.read, e.due = mapping.NewSchema(described(fields)), now, now.Add(c.o.TTL)
		return e.schema, nil
	case fault.Is(err, fault.NotFound):
		c.count(ctx, "error")
		e.schema = nil // the object is gone, not the org
		return nil, err
	case e.schema != nil && now.Before(e.read.Add(c.o.TTL+c.o.Stale)):
		c.count(ctx, "stale")
		c.o.Log.LogAttrs(ctx, slog.LevelWarn, "an older description of an object serves", slog.String("object", object), slog.String("reason", fault.ReasonOf(err)))
		e.due = now.Add(retryPause)
		return e.schema, nil
	}
	c.count(ctx, "error")
	return nil, fmt.Errorf("describe %s: %w", object, err)
}

func (c *Cache) count(ctx context.Context, result string) {
	c.asked.Add(ctx, 1, metric.WithAttributes(attribute.String("selfsame.result", result)))
}

// described translates a description into what the mapping compares with.
func described(fields []rest.Field) []mapping.Described {
	out := make([]mapping.Described, len(fields))
	for i, f := range fields {
		out[i] = mapping.Described{
			Name: f.Name, Type: f.Type, Length: f.Length, Writable: f.Createable && f.Updateable, Createable: f.Createable,
			Required: f.Createable && !f.Nillable && !f.Defaulted, ExternalID: f.ExternalID, Unique: f.Unique,
			Restricted: f.Restricted, Relation: f.RelationshipName,
		}
		for _, v := range f.Picklist {
			if v.Active {
				out[i].Values = append(out[i].Values, v.Value)
			}
		}
	}
	return out
}
