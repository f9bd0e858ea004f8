// Package rulebook puts survivorship rules in force: from the file that an operator keeps, for all replicas at once, and
// only when they are valid and change no more than the operator expects.
//
// The invariant: the rules in force are a row of the database, changed under the identity lock. Every transaction that
// decides reads them under the same lock, so no two decisions are made by different rules, whatever files the replicas
// have; and after a change every golden record is decided again, in steps that a crash only delays. A file that is
// wrong, has a lower version, or would change too many records changes nothing: it is reported, or waits for a person.
//
// The package does not know what a rule means (survive does) nor what follows from a decision (fold does).
package rulebook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/fold"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

// Why rules wait.
const (
	// ReasonTouchesTooMuch means that they would change more records than the brake allows.
	ReasonTouchesTooMuch = "RULES_TOUCH_TOO_MUCH"
	// ReasonVersionLower means that their version is lower than that of the rules in force.
	ReasonVersionLower = "RULES_VERSION_LOWER"
)

// Reasons of refused calls.
const (
	// ReasonInvalid means that a rule file has mistakes; the field violations say which.
	ReasonInvalid = "RULES_INVALID"
	// ReasonNotWaiting means that the named rules do not wait.
	ReasonNotWaiting = "RULES_NOT_WAITING"
	// ReasonTouchesMore means that the named rules touch so many more records by now than when they were proposed that a person has to
	// look at them once more.
	ReasonTouchesMore = "RULES_TOUCH_MORE"
)

// Store is what is needed of the database.
type Store interface {
	Tx(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	Read() store.Reader
}

// Deps are what a Book needs. All are required but Load, Brake, Every, Step and Marked.
type Deps struct {
	Store  Store
	Folder *fold.Folder
	// Load reads the rule file; nil when the built-in rules are used.
	Load func() ([]byte, error)
	// Brake is the share of records, in percent, that rules may change without a person's consent; 0 means that every
	// change needs it, 100 none.
	Brake int
	// Every is how often the file is looked at; 5 s when zero.
	Every time.Duration
	// Step is how many golden records are decided again by one transaction; 200 when zero.
	Step int
	Now  func() time.Time
	Log  *slog.Logger
	// Marked is called after deliveries were marked.
	Marked func()
}

// Book keeps the rules in force. It is safe for concurrent use.
type Book struct {
	d Deps

	mu       sync.Mutex
	file     string // the file as last looked at
	problems string // what is wrong with it; empty when nothing is
	settled  bool   // it needs no further look until it changes
}

// New returns a book; Open puts rules in force.
func New(d Deps) *Book {
	if d.Every == 0 {
		d.Every = 5 * time.Second
	}
	if d.Step == 0 {
		d.Step = stepSize
	}
	if d.Marked == nil {
		d.Marked = func() {}
	}
	return &Book{d: d}
}

// Open puts the rules of the file in force if the database has none, or holds nothing that they could change. Otherwise
// those of the database stay in force, and Run proposes those of the file.
func (b *Book) Open(ctx context.Context, first *survive.Rules) error {
	b.note(string(first.Text()), "", false)
	var use *survive.Rules
	err := b.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		active, err := tx.Rules(ctx, store.RulesActive)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		some, err2 := tx.AllGoldens(ctx, "", 1)
		if err2 != nil {
			return err2
		}
		if err == nil && len(some) > 0 {
			rules, err := survive.Parse([]byte(active.Content))
			if err != nil {
				return fmt.Errorf("rules in force, put there by another release: %w", err)
			}
			use = rules
			return nil
		}
		use = first
		set := b.set(first, Trial{})
		set.Done = len(some) == 0
		if active.Digest == set.Digest {
			return errors.Join(tx.PutRules(ctx, set), tx.DropRules(ctx, store.RulesWaiting))
		}
		return errors.Join(tx.PutRules(ctx, set), tx.DropRules(ctx, store.RulesWaiting), b.told(ctx, tx, "rules_in_force", set, ""))
	})
	if err != nil {
		return fmt.Errorf("open rules: %w", err)
	}
	b.d.Folder.Use(use)
	return nil
}

func (b *Book) set(r *survive.Rules, t Trial) store.RuleSet {
	return store.RuleSet{
		Slot: store.RulesActive, Digest: r.Digest(), Version: int64(r.Version()), Content: string(r.Text()), Since: b.d.Now(),
		Records: t.Records, Changed: t.Touched,
	}
}

// Proposal says what became of proposed rules.
type Proposal struct {
	// Waiting says why they wait for a person; empty when they are in force.
	Waiting string
	// Trial is what they change; zero when they were in force already.
	Trial Trial
}

// Propose puts rules in force unless a person has to look at them first.
func (b *Book) Propose(ctx context.Context, r *survive.Rules) (Proposal, error) {
	active, err := b.d.Store.Read().Rules(ctx, store.RulesActive)
	if err != nil {
		return Proposal{}, err
	}
	if active.Digest == r.Digest() {
		return Proposal{}, b.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.DropRules(ctx, store.RulesWaiting) })
	}
	trial, err := b.Try(ctx, r, 0)
	if err != nil {
		return Proposal{}, err
	}
	p := Proposal{Trial: trial, Waiting: b.waits(active, r, trial)}
	if p.Waiting == "" {
		return p, b.activate(ctx, r, trial, active.Digest, "")
	}
	set := b.set(r, trial)
	set.Slot, set.Reason, set.Done = store.RulesWaiting, p.Waiting, true
	err = b.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		waiting, err := tx.Rules(ctx, store.RulesWaiting)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil && waiting.Version > set.Version {
			return nil // a replica with an older file does not push newer rules out
		}
		if err == nil && waiting.Digest == set.Digest {
			return tx.PutRules(ctx, set) // tried again
		}
		return errors.Join(tx.PutRules(ctx, set), b.told(ctx, tx, "rules_waiting", set, p.Waiting))
	})
	if err == nil {
		b.d.Log.WarnContext(ctx, "rules wait for confirmation", slog.String("reason", p.Waiting), slog.String("digest", set.Digest),
			slog.Int64("version", set.Version), slog.Int64("touched", trial.Touched), slog.Int64("records", trial.Records))
	}
	return p, err
}

// Brake is the share of records, in percent, that rules may change without a person's consent.
func (b *Book) Brake() int { return b.d.Brake }

// Waits says why rules that change so much would wait for a person; empty when they would be put in force at once.
func (b *Book) Waits(ctx context.Context, r *survive.Rules, t Trial) (string, error) {
	active, err := b.d.Store.Read().Rules(ctx, store.RulesActive)
	if err != nil || active.Digest == r.Digest() {
		return "", err
	}
	return b.waits(active, r, t), nil
}

func (b *Book) waits(active store.RuleSet, r *survive.Rules, t Trial) string {
	switch {
	case int64(r.Version()) < active.Version:
		return ReasonVersionLower
	case t.Touched*100 > t.Records*int64(b.d.Brake):
		return ReasonTouchesTooMuch
	default:
		return ""
	}
}

// Confirm puts the waiting rules with this digest in force. They are tried again first: when they touch more records than were shown,
// by more than the brake, what is shown is brought up to date and a person has to confirm that. Confirming rules that are in force
// changes nothing.
func (b *Book) Confirm(ctx context.Context, digest string) error {
	read := b.d.Store.Read()
	active, err := read.Rules(ctx, store.RulesActive)
	if err != nil {
		return err
	}
	if active.Digest == digest {
		return nil
	}
	waiting, err := read.Rules(ctx, store.RulesWaiting)
	if errors.Is(err, store.ErrNotFound) || (err == nil && waiting.Digest != digest) {
		return fault.New(fault.NotFound, ReasonNotWaiting, "no rules with this digest wait for confirmation")
	}
	if err != nil {
		return err
	}
	rules, err := survive.Parse([]byte(waiting.Content))
	if err != nil {
		return fmt.Errorf("waiting rules: %w", err)
	}
	trial, err := b.Try(ctx, rules, 0)
	if err != nil {
		return err
	}
	if (trial.Touched-waiting.Changed)*100 > trial.Records*int64(b.d.Brake) {
		return b.grown(ctx, waiting, trial)
	}
	return b.activate(ctx, rules, trial, "", waiting.Reason)
}

// grown has rules wait on with what they would touch now, and returns the error that says so.
func (b *Book) grown(ctx context.Context, shown store.RuleSet, trial Trial) error {
	set := shown
	set.Records, set.Changed = trial.Records, trial.Touched
	err := b.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		waiting, err := tx.Rules(ctx, store.RulesWaiting)
		if errors.Is(err, store.ErrNotFound) || (err == nil && waiting.Digest != set.Digest) {
			return nil // others wait by now, or none
		}
		if err != nil {
			return err
		}
		entry := set
		entry.Since = b.d.Now()
		return errors.Join(tx.PutRules(ctx, set), b.told(ctx, tx, "rules_waiting", entry, ReasonTouchesMore))
	})
	if err != nil {
		return fmt.Errorf("keep what waiting rules would touch: %w", err)
	}
	return fault.New(fault.Precondition, ReasonTouchesMore,
		"the rules would touch %d of %d records by now, %d of %d were shown: look at them again and confirm once more",
		trial.Touched, trial.Records, shown.Changed, shown.Records).
		WithMeta("touched", strconv.FormatInt(trial.Touched, 10)).WithMeta("shown", strconv.FormatInt(shown.Changed, 10))
}

// told leaves an entry about rules in the audit trail, with the rules themselves: the table has those of today only. Why is why they
// wait, or why those that are in force by a person's word had waited.
func (b *Book) told(ctx context.Context, tx *store.Tx, kind string, set store.RuleSet, why string) error {
	return tx.AddEvents(ctx, []store.Event{{
		At: set.Since, Kind: kind, Reason: why, Traceparent: telemetry.Traceparent(ctx),
		Note: fmt.Sprintf("# version %d, digest %s: changes %d of %d records\n%s", set.Version, set.Digest, set.Changed, set.Records, set.Content),
	}})
}

// activate puts rules in force, unless others than expected are by now; an empty digest expects any. Overruled is why they had to
// wait for a person, if they had to.
func (b *Book) activate(ctx context.Context, r *survive.Rules, trial Trial, expected, overruled string) error {
	set := b.set(r, trial)
	put := false
	err := b.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		put = false
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		active, err := tx.Rules(ctx, store.RulesActive)
		if err != nil {
			return err
		}
		if active.Digest == set.Digest || (expected != "" && active.Digest != expected) {
			return nil
		}
		put = true
		return errors.Join(tx.PutRules(ctx, set), tx.DropRules(ctx, store.RulesWaiting), b.told(ctx, tx, "rules_in_force", set, overruled))
	})
	if err != nil {
		return fmt.Errorf("put rules in force: %w", err)
	}
	if put {
		b.d.Folder.Use(r)
		b.d.Log.InfoContext(ctx, "rules in force", slog.String("digest", set.Digest), slog.Int64("version", set.Version),
			slog.Int64("touched", trial.Touched), slog.Int64("records", trial.Records))
	}
	return nil
}

// stepSize is how many golden records are decided again by one transaction, unless [Deps] say otherwise.
const stepSize = 200

// Step decides some golden records again that the rules in force have not been applied to. It reports whether there may
// be more.
func (b *Book) Step(ctx context.Context) (more bool, err error) {
	active, err := b.d.Store.Read().Rules(ctx, store.RulesActive)
	if err != nil || active.Done {
		return false, err
	}
	ctx = priority.With(ctx, priority.Bulk)
	err = b.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		unit, err := b.d.Folder.Begin(ctx, tx, "")
		if err != nil {
			return err
		}
		set, err := tx.Rules(ctx, store.RulesActive)
		if err != nil || set.Done {
			more = false
			return err
		}
		page, err := tx.AllGoldens(ctx, set.Cursor, b.d.Step)
		if err != nil {
			return err
		}
		ids := idsOf(page)
		if err := unit.LoadGoldens(ctx, ids); err != nil {
			return err
		}
		cause := fmt.Sprintf("rules/%d/%.12s", set.Version, set.Digest)
		for _, g := range page {
			if g.MergedInto == "" {
				unit.Remerge(g.ID, cause)
			}
			set.Cursor = string(g.ID)
		}
		more = len(page) == b.d.Step
		set.Done = !more
		if err := unit.Flush(ctx); err != nil {
			return err
		}
		return tx.PutRules(ctx, set)
	})
	if err != nil {
		return false, fmt.Errorf("apply rules: %w", err)
	}
	b.d.Marked()
	return more, nil
}

// Run follows the file and applies the rules in force until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(b.d.Every)
	defer tick.Stop()
	for {
		if err := b.Turn(ctx); err != nil && ctx.Err() == nil {
			b.d.Log.ErrorContext(ctx, "rules not applied", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Turn looks at the file once, takes up rules that another replica has put in force, and applies those in force.
func (b *Book) Turn(ctx context.Context) error {
	b.look(ctx)
	content, other, err := b.d.Store.Read().RulesIfNot(ctx, b.d.Folder.Rules().Digest())
	if err != nil {
		return err
	}
	if other {
		rules, err := survive.Parse([]byte(content))
		if err != nil {
			return fmt.Errorf("rules in force, put there by another release: %w", err)
		}
		b.d.Folder.Use(rules)
	}
	for more := true; more; {
		if more, err = b.Step(ctx); err != nil {
			return err
		}
	}
	return nil
}

const unreadable = "the rule file cannot be read"

// look reads the file again and proposes it when it has changed, or could not be proposed before.
func (b *Book) look(ctx context.Context) {
	text, settled := b.File(), b.isSettled()
	if b.d.Load != nil {
		read, err := b.d.Load()
		if err != nil {
			if b.note(text, unreadable, settled) {
				b.d.Log.ErrorContext(ctx, "rule file not read, the rules in force stay", slog.String("error", err.Error()))
			}
			return
		}
		settled = settled && string(read) == text && b.Problems() != unreadable
		text = string(read)
	}
	if settled {
		return
	}
	rules, err := survive.Parse([]byte(text))
	if err != nil {
		if b.note(text, err.Error(), true) {
			b.d.Log.ErrorContext(ctx, "rule file has mistakes, the rules in force stay", slog.String("error", err.Error()))
		}
		return
	}
	_, err = b.Propose(ctx, rules)
	if err != nil && ctx.Err() == nil {
		b.d.Log.ErrorContext(ctx, "rules not proposed", slog.String("error", err.Error()))
	}
	b.note(text, "", err == nil)
}

// note remembers the file as it was looked at, what is wrong with it, and whether it needs no further look; it reports
// whether there is news.
func (b *Book) note(file, problems string, settled bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.file != file || b.problems != problems
	b.file, b.problems, b.settled = file, problems, settled
	return news
}

func (b *Book) isSettled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settled
}

// File returns the rule file as it was looked at last.
func (b *Book) File() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.file
}

// Problems returns what is wrong with the file, one line each; empty when nothing is.
func (b *Book) Problems() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problems
}
