// Package identify decides which golden records are one customer, by all that is known of them: the online half of package
// match, with its index in the store.
//
// What is compared is a unit: a golden record with the records that are its own, as it would be without what matching has
// joined. Units have keys; those that share a rare one are scored, and pairs that may be one are kept as edges. Whenever
// something changes, the groups that it touches are made anew from edges and from what people have said. The invariant:
// the groups are a function of the units, the model and people's verdicts, not of the order in which records arrived, and
// a person's word stands against every score, for ever, whatever model comes later.
//
// Joining is a merge of golden records like any other and can be taken back: both then have what they would have had. All
// of it happens in the transaction that holds the identity lock, so of a hundred simultaneous creates of one customer
// ninety-nine find the first.
//
// Customers and contacts are decided about by the same code, each by a model of their own, customers first: whose a contact is
// is part of what contacts are compared by. Contacts of different customers are never joined unasked. A key that more than
// match.KeyCap units have had at one time finds nobody until the index is built anew, and of many candidates those with the
// rarest keys count (see candidates): where that happens, the order of arrival can matter.
package identify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/match"
)

// The modes.
const (
	// Off: exact keys alone decide.
	Off = "off"
	// Ask: exact keys decide, first come first served; a person is asked about what matching finds besides.
	Ask = "ask"
	// Join: matching decides, and a person is asked about what it is not sure of.
	Join = "join"
)

// Config says what matching may do. The zero value asks.
type Config struct {
	Mode  string `conf:"mode" help:"off; ask: a person decides what matching finds; join: matching joins what it is sure of"`
	Model string `conf:"model" help:"model file of selfsame match train; empty for the built-in one"`
	// Contacts is the mode of contacts, as Mode; empty for Ask, whatever Mode is: to join people is a decision of its own. It
	// does nothing while Mode is off.
	Contacts     string `conf:"contacts" help:"the same of contacts; empty: ask"`
	ContactModel string `conf:"contact_model" help:"model file for contacts; empty for the built-in one"`
	// MaxPerSystem bounds what scores join; a person's word does not ask.
	MaxPerSystem string `conf:"max_per_system" help:"how many records of a customer a system may have when matching joins: erp=1,salesforce=1; empty for any number"`
	// Brake is how many known customers matching may join or part within an hour.
	Brake int `conf:"brake" help:"known customers that matching may join or part within an hour, the rest waits; 0 for any number"`
	// Every is how often what has changed is looked at when it could wait.
	Every time.Duration `conf:"every" help:"how often what has changed is looked at in mode ask"`
}

// DefaultConfig asks and joins nothing.
func DefaultConfig() Config { return Config{Mode: Ask, Brake: 100, Every: 2 * time.Second} }

// Validate returns what is wrong with the configuration, the model file apart.
func (c Config) Validate() error {
	var errs []error
	switch c.Mode {
	case "", Off, Ask, Join:
	default:
		errs = append(errs, errors.New("mode: want off, ask or join"))
	}
	switch c.Contacts {
	case "", Off, Ask, Join:
	default:
		errs = append(errs, errors.New("contacts: want off, ask or join"))
	}
	if _, err := parseMost(c.MaxPerSystem); err != nil {
		errs = append(errs, fmt.Errorf("max_per_system: %w", err))
	}
	if c.Brake < 0 {
		errs = append(errs, errors.New("brake: want 0 or more"))
	}
	if c.Every != 0 && (c.Every < 100*time.Millisecond || c.Every > time.Hour) {
		errs = append(errs, errors.New("every: want 100ms to 1h"))
	}
	return errors.Join(errs...)
}

func parseMost(s string) (map[string]int, error) {
	most := map[string]int{}
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		system, number, ok := strings.Cut(part, "=")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 1 || system == "" {
			return nil, errors.New("want SYSTEM=NUMBER, with commas")
		}
		most[system] = n
	}
	return most, nil
}

// Deps are what a Decider needs. All fields but Config are required.
type Deps struct {
	Config Config
	Now    func() time.Time
	Log    *slog.Logger
}

// Decider decides. It is immutable and safe for concurrent use.
type Decider struct {
	*judge // of customers
	// contacts is nil when exact keys alone decide about contacts.
	contacts *judge
	every    time.Duration
}

// judge decides about golden records of one kind.
type judge struct {
	object  golden.Object
	mode    string
	matcher *match.Matcher
	digest  string
	fields  []string // the golden fields that the model compares
	most    map[string]int
	brake   int
	now     func() time.Time
	log     *slog.Logger
	// low and join are the scores, in bits, from which a pair is kept and from which it is joined.
	low, join float64
}

// New reads the models and returns a decider; nil when matching is off.
func New(d Deps) (*Decider, error) {
	c := d.Config
	if c.Mode == Off {
		return nil, nil //nolint:nilnil // nobody decides
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("matching: %w", err)
	}
	ms := models{}
	var err error
	if ms.customers, err = load(golden.Customer, c.Model); err != nil {
		return nil, fmt.Errorf("matching: %w", err)
	}
	if c.Contacts != Off {
		if ms.contacts, err = load(golden.Contact, c.ContactModel); err != nil {
			return nil, fmt.Errorf("matching of contacts: %w", err)
		}
	}
	return ms.decider(d)
}

// models are those that a decider decides by.
type models struct{ customers, contacts model }

// decider returns what decides by the models as configured.
func (ms models) decider(d Deps) (*Decider, error) {
	c := d.Config
	mode := cmp.Or(c.Mode, Ask)
	most, err := parseMost(c.MaxPerSystem)
	if err != nil {
		return nil, err
	}
	out := &Decider{judge: ms.customers.judge(d, mode, most), every: cmp.Or(c.Every, DefaultConfig().Every)}
	if contacts := cmp.Or(c.Contacts, Ask); contacts != Off {
		out.contacts = ms.contacts.judge(d, contacts, most)
	}
	return out, nil
}

func (m model) judge(d Deps, mode string, most map[string]int) *judge {
	bands := m.matcher.Model().Bands
	return &judge{
		object: m.object, mode: mode, matcher: m.matcher, digest: m.digest, fields: m.fields, most: most, brake: d.Config.Brake,
		now: d.Now, log: d.Log, low: match.Bits(bands.Review), join: match.Bits(bands.Auto),
	}
}

// of returns who decides about a kind; nil when nobody does.
func (d *Decider) of(obj golden.Object) *judge {
	switch obj {
	case golden.Customer:
		return d.judge
	case golden.Contact:
		return d.contacts
	default:
		return nil
	}
}

// judges returns who decides, about customers first.
func (d *Decider) judges() []*judge {
	if d.contacts == nil {
		return []*judge{d.judge}
	}
	return []*judge{d.judge, d.contacts}
}

// Kinds returns the kinds that are decided about.
func (d *Decider) Kinds() []golden.Object {
	var out []golden.Object
	for _, j := range d.judges() {
		out = append(out, j.object)
	}
	return out
}

// Bands returns the probabilities from which a person is asked and from which matching is sure.
func (d *judge) Bands() match.Bands { return d.matcher.Model().Bands }

// Decides reports whether scores decide about new records of a kind.
func (d *Decider) Decides(obj golden.Object) bool {
	j := d.of(obj)
	return j != nil && j.mode == Join
}

// Open makes the index one of these models. After a change of a model or of its mode everything is matched again, in the
// background.
func (d *Decider) Open(ctx context.Context, s Store) error {
	err := s.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		for _, j := range d.judges() {
			if err := j.open(ctx, tx); err != nil {
				return err
			}
		}
		if d.contacts == nil {
			return off(ctx, tx, golden.Contact)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("open the index of matching: %w", err)
	}
	return nil
}

// Close forgets the indexes while matching is off: nobody keeps them up to date.
func Close(ctx context.Context, s Store) error {
	err := s.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		return errors.Join(off(ctx, tx, golden.Customer), off(ctx, tx, golden.Contact))
	})
	if err != nil {
		return fmt.Errorf("forget the index of matching: %w", err)
	}
	return nil
}

func off(ctx context.Context, tx *store.Tx, obj golden.Object) error {
	model, mode, err := tx.MatchModel(ctx, obj)
	if err != nil || model+mode == "" || mode == Off {
		return err
	}
	return errors.Join(tx.EmptyMatching(ctx, obj), tx.NoteMatching(ctx, obj, "", Off), tx.DropMatchDueOf(ctx, obj))
}

func (d *judge) open(ctx context.Context, tx *store.Tx) error {
	model, mode, err := tx.MatchModel(ctx, d.object)
	if err != nil || (model == d.digest && mode == d.mode) {
		return err
	}
	if model != "" && model != d.digest { // without a model there is nothing, and looking for it reads the whole index
		if err := tx.EmptyMatching(ctx, d.object); err != nil {
			return err
		}
	}
	return tx.MatchAgain(ctx, d.object, d.digest, d.mode, d.now())
}

// Store is what is needed of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Settle looks again at the groups that a unit of work touches, those of customers first: joining them changes whose their
// contacts are. What can wait is only noted in mode ask.
func (d *Decider) Settle(ctx context.Context, tx *store.Tx, u *fold.Unit) error {
	for _, j := range d.judges() {
		ids, parted := u.TakeChanged(j.object), u.TakeParted(j.object)
		if len(ids) == 0 && len(parted) == 0 {
			continue
		}
		if j.mode == Ask && len(parted) == 0 && !u.Prompted() {
			if err := tx.AddMatchDue(ctx, ids, u.Now()); err != nil {
				return err
			}
			continue
		}
		if err := j.begin(tx, u).settle(ctx, ids, parted); err != nil {
			return err
		}
	}
	return nil
}

// record returns the values of a record in the order of the model.
func (d *judge) record(system, id string, v golden.Values) match.Record {
	r := match.Record{Source: system, ID: id, Values: make([]string, len(d.fields))}
	for i, f := range d.fields {
		r.Values[i] = v[f]
	}
	return r
}

// salt keeps the keys of contacts apart from those of customers.
const salt = 0x5851f42d4c957f2d

// keys returns the keys of a prepared record.
func (d *judge) keys(p *match.Prepared) []int64 {
	keys := d.matcher.Keys(p)
	out := make([]int64, 0, len(keys))
	for _, k := range keys {
		if d.object == golden.Contact {
			k.Hash ^= salt
		}
		out = append(out, int64(k.Hash)) //nolint:gosec // bits, not a number
	}
	return out
}
