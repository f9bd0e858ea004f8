package processcustomer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/deliver"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/feed"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/identify"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/reconcile"
)

// Config is everything an operator and an embedding program decide. Start from DefaultConfig.
type Config struct {
	// Serve is where and how the service is reached.
	Serve serve.Config `conf:"serve"`
	// Telemetry is how it is observed.
	Telemetry telemetry.Config `conf:"telemetry"`
	// Store is where records are kept.
	Store Store `conf:"store"`
	// Salesforce and ERP say how the system services are reached. The keys are the names of the systems, as the rule file and the
	// API have them; who converges is told by name only, and knows no vendor.
	Salesforce System `conf:"salesforce"`
	ERP        System `conf:"erp"`
	// RulesFile replaces the built-in survivorship rules.
	RulesFile string `conf:"rules_file" help:"survivorship rules (YAML); empty for the built-in ones"`
	// RulesReload is how often the rule file is looked at for changes.
	RulesReload time.Duration `conf:"rules_reload" help:"how often the rule file is looked at for changes"`
	// RulesBrake is the share of records, in percent, that a change of the rules may touch before a person has to confirm it.
	RulesBrake int `conf:"rules_brake" help:"percent of the records that changed rules may touch without confirmation"`
	// BranchTimeout bounds each section of a customer view.
	BranchTimeout time.Duration `conf:"branch_timeout" help:"time limit of each section of a customer view"`
	// Feed says how the systems are read.
	Feed feed.Config `conf:"feed"`
	// Deliver says how they are written.
	Deliver deliver.Config `conf:"deliver"`
	// Reconcile says how often they are compared with what is known of them.
	Reconcile reconcile.Config `conf:"reconcile"`
	// Match says who decides which customers are one.
	Match identify.Config `conf:"match"`

	// Listener and OpsListener are optional listeners that are already bound; Run closes them.
	Listener    net.Listener `conf:"-"`
	OpsListener net.Listener `conf:"-"`
	// Started, if set, is called once all addresses are bound and served.
	Started func(serve.Addrs) `conf:"-"`
	// TelemetryOptions change how telemetry is built, for tests.
	TelemetryOptions []telemetry.Option `conf:"-"`
}

// Store says where records are kept.
type Store struct {
	// DSN is sqlite:FILE, sqlite::memory: (gone after the run) or postgres://…; a secret because it may hold a password.
	DSN conf.Secret `conf:"dsn" help:"sqlite:FILE or postgres://…; the database of this service alone"`
	// Keys says where idempotency keys and stored answers are kept: empty for the database above, in the transaction of the
	// effect, or redis://…, rediss://… A method whose policy demands more than that store gives is refused at start.
	Keys conf.Secret `conf:"keys" help:"where idempotency keys are kept: empty for the database, or redis://…"`
	// KeySecret hides idempotency keys and callers in the database; at least 16 bytes. Empty: the service makes one and
	// keeps it in the database, which hides them from nobody who can read all of it.
	KeySecret conf.Secret `conf:"key_secret" help:"hides idempotency keys in the database, 16 bytes or more; empty keeps one in the database"`
	// OldKeySecrets are secrets that were used before; keys from then are still found.
	OldKeySecrets conf.Secret `conf:"old_key_secrets" help:"secrets used before key_secret, with commas, for as long as answers are kept"`
	// AnswerKeys encrypt stored answers: ID:BASE64 of 32 bytes, with commas. The first encrypts, the others only read.
	AnswerKeys conf.Secret `conf:"answer_keys" help:"encrypt stored answers: ID:BASE64 of 32 bytes, with commas, the first encrypts; empty for none"`
	// KeyLease is how long a call that holds a key is believed to be alive without a sign of life: as long as a key is
	// blocked after a crash.
	KeyLease time.Duration `conf:"key_lease" help:"how long a crashed call blocks its idempotency key, 1s to 5m"`
	// Retention is how long settled changes stay in the inbox, where a repeated delivery of one is recognised.
	Retention time.Duration `conf:"retention" help:"how long settled changes are kept, at least as long as the systems repeat them"`
	// LetterRetention is how long settled dead letters stay, AuditRetention how long entries of the audit trail do.
	LetterRetention time.Duration `conf:"letter_retention" help:"how long settled dead letters are kept; 0 for ever"`
	AuditRetention  time.Duration `conf:"audit_retention" help:"how long entries of the audit trail are kept; 0 for ever"`
}

// System says how to reach a system service.
type System struct {
	// Target is host:port or any gRPC target.
	Target string `conf:"target" help:"address of the system service"`
	// TLS protects the connection and shows who we are.
	TLS serve.TLS `conf:"tls"`
}

const day = 24 * time.Hour

// DefaultConfig returns a configuration that works on one machine: a database file in the working directory.
func DefaultConfig() Config {
	s := serve.DefaultConfig()
	s.Listen, s.Ops = "127.0.0.1:9301", "127.0.0.1:9391"
	s.BusyHeap = 64 << 20 // views that wait for systems have many stacks, which are looked through at each collection
	return Config{
		Serve: s, Telemetry: telemetry.DefaultConfig(),
		Store:      Store{DSN: "sqlite:customer.db", KeyLease: 30 * time.Second, Retention: 14 * day, LetterRetention: 90 * day, AuditRetention: 400 * day},
		Salesforce: System{Target: "127.0.0.1:9101"}, ERP: System{Target: "127.0.0.1:9201"},
		RulesReload: 5 * time.Second, RulesBrake: 10, BranchTimeout: 800 * time.Millisecond, Feed: feed.DefaultConfig(), Deliver: deliver.DefaultConfig(), Reconcile: reconcile.DefaultConfig(), Match: identify.DefaultConfig(),
	}
}

// Validate returns every problem of the configuration.
func (c Config) Validate() error {
	var errs []error
	add := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	add("serve", c.Serve.Validate())
	add("telemetry", c.Telemetry.Validate())
	add("match", c.Match.Validate())
	dsn := c.Store.DSN.Reveal()
	if !strings.HasPrefix(dsn, "sqlite:") && !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		add("store.dsn", errors.New("want sqlite:FILE or postgres://…"))
	}
	if n := len(c.Store.KeySecret.Reveal()); n > 0 && n < 16 {
		add("store.key_secret", errors.New("want at least 16 bytes"))
	}
	if _, err := keys.ParseSecrets(c.Store.OldKeySecrets.Reveal()); err != nil {
		add("store.old_key_secrets", err)
	}
	if _, err := keys.ParseRing(c.Store.AnswerKeys.Reveal()); err != nil {
		add("store.answer_keys", err)
	}
	if keys := c.Store.Keys.Reveal(); keys != "" && !strings.HasPrefix(keys, "redis://") && !strings.HasPrefix(keys, "rediss://") {
		add("store.keys", errors.New("want nothing, redis://… or rediss://…"))
	}
	if l := c.Store.KeyLease; l != 0 && (l < time.Second || l > 5*time.Minute) {
		add("store.key_lease", errors.New("want 1s to 5m"))
	}
	if c.Store.Retention != 0 && c.Store.Retention < day {
		add("store.retention", errors.New("want at least 24h"))
	}
	for key, d := range map[string]time.Duration{"store.letter_retention": c.Store.LetterRetention, "store.audit_retention": c.Store.AuditRetention} {
		if d != 0 && d < day {
			add(key, errors.New("want at least 24h, or 0"))
		}
	}
	for key, s := range map[string]System{"salesforce": c.Salesforce, "erp": c.ERP} {
		if s.Target == "" {
			add(key+".target", errors.New("must not be empty"))
		}
		add(key, s.TLS.Validate())
	}
	if c.RulesReload != 0 && (c.RulesReload < 100*time.Millisecond || c.RulesReload > time.Hour) {
		add("rules_reload", errors.New("want 100ms to 1h"))
	}
	if c.RulesBrake < 0 || c.RulesBrake > 100 {
		add("rules_brake", errors.New("want 0 to 100"))
	}
	if c.BranchTimeout < 0 || c.BranchTimeout > 10*time.Second {
		add("branch_timeout", errors.New("want at most 10s"))
	}
	if c.Deliver.Lease > 0 && c.Deliver.Timeout > 0 && c.Deliver.Lease <= c.Deliver.Timeout {
		add("deliver.lease", errors.New("must be longer than deliver.timeout"))
	}
	if c.Deliver.DeleteBrake < 0 {
		add("deliver.delete_brake", errors.New("want 0 or more"))
	}
	return errors.Join(errs...)
}
