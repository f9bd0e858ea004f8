package systemerp

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
)

// Config is everything an operator and an embedding program decide. Start from DefaultConfig.
type Config struct {
	// Serve is where and how the service is reached.
	Serve serve.Config `conf:"serve"`
	// Telemetry is how it is observed.
	Telemetry telemetry.Config `conf:"telemetry"`
	// Store is where records are kept.
	Store Store `conf:"store"`
	// Backend is the ERP behind the contract.
	Backend Backend `conf:"backend"`
	// Changes is how the feed of changes behaves.
	Changes Changes `conf:"changes"`

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
	// KeySecret hides idempotency keys and callers in the database; at least 16 bytes. Empty: the service makes one and
	// keeps it in the database, which hides them from nobody who can read all of it.
	KeySecret conf.Secret `conf:"key_secret" help:"hides idempotency keys in the database, 16 bytes or more; empty keeps one in the database"`
	// OldKeySecrets are secrets that were used before; keys from then are still found.
	OldKeySecrets conf.Secret `conf:"old_key_secrets" help:"secrets used before key_secret, with commas, for as long as answers are kept"`
	// AnswerKeys encrypt stored answers: ID:BASE64 of 32 bytes, with commas. The first encrypts, the others only read.
	AnswerKeys conf.Secret `conf:"answer_keys" help:"encrypt stored answers: ID:BASE64 of 32 bytes, with commas, the first encrypts; empty for none"`
	// KeyLease is how long a call that holds a key is believed to be alive without a sign of life: as long as a key is
	// blocked after a crash. Zero means 30 s.
	KeyLease time.Duration `conf:"key_lease" help:"how long a crashed call blocks its idempotency key, 1s to 5m"`
}

// Changes says how the feed of changes behaves.
type Changes struct {
	// Retention is how long changes are kept; zero keeps them for ever. A reader that was away for longer starts over.
	Retention time.Duration `conf:"retention" help:"how long changes are kept; 0 for ever"`
	// Poll is how often the service looks for changes that another replica committed.
	Poll time.Duration `conf:"poll" help:"how often to look for changes of other replicas"`
	// Heartbeat is the longest silence of a stream, at most 30 s.
	Heartbeat time.Duration `conf:"heartbeat" help:"longest silence of a stream of changes, at most 30s"`
}

// DefaultConfig returns a configuration that works on one machine: a database file in the working directory.
func DefaultConfig() Config {
	s := serve.DefaultConfig()
	s.Listen, s.Ops = "127.0.0.1:9201", "127.0.0.1:9291"
	return Config{
		Serve:     s,
		Telemetry: telemetry.DefaultConfig(),
		Store:     Store{DSN: "sqlite:erp.db", KeyLease: 30 * time.Second},
		Backend:   defaultBackend(),
		Changes:   Changes{Retention: 14 * 24 * time.Hour, Poll: 500 * time.Millisecond, Heartbeat: 20 * time.Second},
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
	add("backend", c.Backend.Validate())
	dsn := c.Store.DSN.Reveal()
	if !strings.HasPrefix(dsn, "sqlite:") && !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		add("store.dsn", errors.New("want sqlite:FILE or postgres://…"))
	}
	if n := len(c.Store.KeySecret); n > 0 && n < 16 {
		add("store.key_secret", errors.New("want at least 16 bytes"))
	}
	if _, err := keys.ParseSecrets(c.Store.OldKeySecrets.Reveal()); err != nil {
		add("store.old_key_secrets", err)
	}
	if _, err := keys.ParseRing(c.Store.AnswerKeys.Reveal()); err != nil {
		add("store.answer_keys", err)
	}
	if l := c.Store.KeyLease; l != 0 && (l < time.Second || l > 5*time.Minute) {
		add("store.key_lease", errors.New("want 1s to 5m"))
	}
	if c.Changes.Retention < 0 {
		add("changes.retention", errors.New("must not be negative"))
	}
	if c.Changes.Poll <= 0 {
		add("changes.poll", errors.New("must be positive"))
	}
	if c.Changes.Heartbeat <= 0 || c.Changes.Heartbeat > 30*time.Second {
		add("changes.heartbeat", errors.New("must be positive and at most 30s"))
	}
	return errors.Join(errs...)
}
