package systemsalesforce

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/budget"
)

// Config is everything an operator decides. Start from DefaultConfig.
type Config struct {
	// Serve says where the service listens.
	Serve serve.Config `conf:"serve"`
	// Telemetry says what is logged and traced.
	Telemetry telemetry.Config `conf:"telemetry"`
	// MemoryLimit is how many bytes Go may map before it collects more eagerly; 0 for no limit. It is lifted while more than three quarters of it
	// are alive. Raise it where the service has much more to do at once, such as several large loads or a large mapping.
	MemoryLimit int64 `conf:"memory_limit" help:"bytes from which the Go runtime collects more eagerly, lifted while more than three quarters are alive; 0 for none"`
	// Store is where the service keeps what its replicas share.
	Store Store `conf:"store"`
	// Salesforce says which org is served and as whom.
	Salesforce Salesforce `conf:"salesforce"`
	// Budget says how the org's API allowance is divided.
	Budget budget.Config `conf:"budget"`

	// Listener and OpsListener are optional listeners that are already bound; Run closes them.
	Listener    net.Listener `conf:"-"`
	OpsListener net.Listener `conf:"-"`
	// Started, if set, is called once the service listens.
	Started func(serve.Addrs) `conf:"-"`
	// TelemetryOptions change how telemetry is built, for tests.
	TelemetryOptions []telemetry.Option `conf:"-"`
}

// Store is where the service keeps what its replicas share: the account of the API allowance, and the keys of events.
type Store struct {
	// DSN is sqlite:FILE, sqlite::memory: (gone after the run) or postgres://…, which replicas on several machines share; a secret
	// because it may hold a password.
	DSN conf.Secret `conf:"dsn" help:"sqlite:FILE or postgres://…; the database of this service alone, shared by its replicas"`
	// KeySecret hides idempotency keys and callers in the database; at least 16 bytes. Empty: the service makes one and keeps it in
	// the database, which hides them from nobody who can read all of it.
	KeySecret conf.Secret `conf:"key_secret" help:"hides idempotency keys in the database, 16 bytes or more; empty keeps one in the database"`
	// OldKeySecrets are secrets that were used before; keys from then are still found.
	OldKeySecrets conf.Secret `conf:"old_key_secrets" help:"secrets used before key_secret, with commas, for as long as answers are kept"`
	// AnswerKeys encrypt stored answers: ID:BASE64 of 32 bytes, with commas. The first encrypts, the others only read.
	AnswerKeys conf.Secret `conf:"answer_keys" help:"encrypt stored answers: ID:BASE64 of 32 bytes, with commas, the first encrypts; empty for none"`
	// KeyLease is how long a call that holds a key is believed to be alive without a sign of life: as long as a key is
	// blocked after a crash.
	KeyLease time.Duration `conf:"key_lease" help:"how long a crashed call blocks its idempotency key, 1s to 5m"`
}

// Salesforce is the access to one org.
type Salesforce struct {
	// LoginURL is the authorization server: My Domain, https://login.salesforce.com or https://test.salesforce.com.
	LoginURL string `conf:"login_url" help:"authorization server, for example https://acme.my.salesforce.com"`
	// Audience is the aud claim of the login; empty means LoginURL.
	Audience string `conf:"audience" help:"aud claim of the login; empty means login_url"`
	// ClientID is the consumer key of the connected app.
	ClientID string `conf:"client_id" help:"consumer key of the connected app"`
	// Username is the integration user.
	Username string `conf:"username" help:"integration user"`
	// PrivateKey is the RSA key, in PEM form, whose certificate the connected app has.
	// "file:PATH" and "env:NAME" say where it is; a file is read at every login, so a new key needs no restart.
	PrivateKey conf.Secret `conf:"private_key" help:"RSA private key (PEM) of the connected app's certificate, or file:PATH, or env:NAME"`
	// Password, with the security token behind it, and ClientSecret log in by the username-password flow, for development only: it is
	// refused unless LoginURL leads to this machine.
	Password     conf.Secret `conf:"password" help:"username-password flow, for a sandbox on this machine only"`
	ClientSecret conf.Secret `conf:"client_secret" help:"consumer secret for the username-password flow"`
	// PubSubEndpoint is host:port of the Pub/Sub API.
	PubSubEndpoint string `conf:"pubsub_endpoint" help:"host:port of the Pub/Sub API"`
	// PubSubPlaintext talks to the Pub/Sub API without TLS: for the sandbox only.
	PubSubPlaintext bool `conf:"pubsub_plaintext" help:"no TLS to the Pub/Sub API; for the sandbox only"`
	// Channel is the Pub/Sub channel with the changes of all watched objects, "/data/Selfsame__chn"; empty subscribes to the
	// channel of each object.
	Channel string `conf:"channel" help:"channel with the changes of all objects; empty means the channel of each object"`
	// APIVersion is the REST API version, "66.0".
	APIVersion string `conf:"api_version" help:"REST API version"`
	// ClientName marks our writes in the org's logs and change events; each writer to an org needs its own.
	ClientName string `conf:"client_name" help:"name that marks our writes in change events"`
	// MappingFile says how records are kept where that differs from the built-in mapping; empty means nowhere.
	MappingFile string `conf:"mapping_file" help:"YAML file with what differs from the built-in mapping"`
	// MaxConcurrent is how many REST calls may run at once; more than 25 only while they are quick.
	MaxConcurrent int `conf:"max_concurrent" help:"REST calls that may run at once, more than 25 only while they are quick"`
	// LimitPause is how long calls are held back after the org's allowance was used up.
	LimitPause time.Duration `conf:"limit_pause" help:"how long to hold calls back when the API allowance is used up"`
	// CircuitPause is how long calls are held back after most of the last ones failed.
	CircuitPause time.Duration `conf:"circuit_pause" help:"how long to hold calls back when most of the last ones failed"`
	// DescribeTTL is how long what the org says about its objects is taken for right.
	DescribeTTL time.Duration `conf:"describe_ttl" help:"how long descriptions of objects are remembered"`
	// BulkFrom is the number of records of one stream from which they are written by a job of the Bulk API.
	BulkFrom int `conf:"bulk_from" help:"records of one stream from which a bulk job is run"`
	// SwiftTo is up to how many announced records of one stream collections are written instead of a job, where calls take so long
	// that this is faster, and less than half of the allowance is used; 0 for never.
	SwiftTo int `conf:"swift_to" help:"announced records of one stream up to which collections are written instead of a job where that is faster and less than half of the allowance is used; 0 for never"`
	// BulkDir is the folder where bulk loads are kept while they run, for this process alone. Empty means one beside the SQLite
	// database of the service or, with another database, one of this org and client in the machine's temporary folder.
	BulkDir string `conf:"bulk_dir" help:"folder of running bulk loads, of this process alone; empty means one beside the SQLite database, else a temporary one"`
	// BulkPatience is how long one step of a bulk load waits for Salesforce or for the allowance, within the caller's time limit.
	BulkPatience time.Duration `conf:"bulk_patience" help:"how long a step of a bulk load waits for Salesforce or the allowance"`
	// Watchdog is how long a change stream may be silent before it is opened again. Salesforce sends something every minute.
	Watchdog time.Duration `conf:"watchdog" help:"longest silence of a change stream"`
}

// DefaultConfig returns a configuration that lacks only the access to the org.
func DefaultConfig() Config {
	s := serve.DefaultConfig()
	s.Listen, s.Ops = ":9101", ":9102"
	s.BusyHeap = 16 << 20 // a load of a million rows is to fit into 64 MiB, the program's own text included
	return Config{
		// What is alive is far less, also in a load of a million rows; on a busy machine the heap would run ahead of the collector.
		MemoryLimit: 28 << 20,
		Serve:       s, Telemetry: telemetry.DefaultConfig(), Store: Store{DSN: "sqlite:salesforce.db", KeyLease: 30 * time.Second}, Budget: budget.DefaultConfig(),
		Salesforce: Salesforce{
			LoginURL: "https://login.salesforce.com", PubSubEndpoint: "api.pubsub.salesforce.com:443", APIVersion: "66.0",
			ClientName: "selfsame", MaxConcurrent: 64, LimitPause: 5 * time.Minute, CircuitPause: 5 * time.Second,
			DescribeTTL: 30 * time.Minute, BulkFrom: 2000, SwiftTo: 10000, BulkPatience: time.Hour, Watchdog: 100 * time.Second,
		},
	}
}

// budget is how the allowance is divided; the pause is the client's.
func (c Config) budget() budget.Config {
	b := c.Budget
	b.Pause = c.Salesforce.LimitPause
	return b
}

// keyProblems returns what is wrong with what rotates and encrypts the keys.
func (s Store) keyProblems() (errs []error) {
	if _, err := keys.ParseSecrets(s.OldKeySecrets.Reveal()); err != nil {
		errs = append(errs, fmt.Errorf("store.old_key_secrets: %w", err))
	}
	if _, err := keys.ParseRing(s.AnswerKeys.Reveal()); err != nil {
		errs = append(errs, fmt.Errorf("store.answer_keys: %w", err))
	}
	if l := s.KeyLease; l != 0 && (l < time.Second || l > 5*time.Minute) {
		errs = append(errs, errors.New("store.key_lease: want 1s to 5m"))
	}
	return errs
}

// Validate returns every problem that can be seen without asking Salesforce.
func (c Config) Validate() error {
	errs := []error{c.Serve.Validate(), c.Telemetry.Validate()}
	s := c.Salesforce
	problem := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("salesforce."+format, args...))
		}
	}
	if c.MemoryLimit < 0 {
		errs = append(errs, errors.New("memory_limit: must not be negative"))
	}
	dsn := c.Store.DSN.Reveal()
	if !strings.HasPrefix(dsn, "sqlite:") && !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		errs = append(errs, errors.New("store.dsn: want sqlite:FILE or postgres://…"))
	}
	if err := c.budget().Validate(); err != nil {
		errs = append(errs, fmt.Errorf("budget: %w", err))
	}
	u, err := url.Parse(s.LoginURL)
	problem(err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http", "login_url: must be an https URL")
	problem(s.ClientID == "", "client_id: required")
	problem(s.Username == "", "username: required")
	problem(s.PrivateKey == "" && s.Password == "", "private_key: required; give private_key_file to read it from a file")
	problem(s.Password != "" && !auth.Loopback(s.LoginURL), "password: the username-password flow is for development; log in with a private key")
	problem(s.Password != "" && s.PrivateKey != "", "password: there is a private_key too")
	_, _, err = net.SplitHostPort(s.PubSubEndpoint)
	problem(err != nil, "pubsub_endpoint: must be host:port")
	problem(s.Channel != "" && !regexp.MustCompile(`^/data/[A-Za-z0-9_]{1,80}$`).MatchString(s.Channel), "channel: must look like /data/Selfsame__chn")
	problem(!regexp.MustCompile(`^\d{2,3}\.0$`).MatchString(s.APIVersion), "api_version: must look like 66.0")
	problem(!regexp.MustCompile(`^[A-Za-z0-9_./-]{1,64}$`).MatchString(s.ClientName), "client_name: 1 to 64 letters, digits and _ . / -")
	problem(s.MaxConcurrent < 1 || s.MaxConcurrent > 100, "max_concurrent: must be 1 to 100")
	problem(s.LimitPause <= 0, "limit_pause: must be positive")
	if n := len(c.Store.KeySecret.Reveal()); n > 0 && n < 16 {
		errs = append(errs, errors.New("store.key_secret: want at least 16 bytes"))
	}
	errs = append(errs, c.Store.keyProblems()...)
	problem(s.CircuitPause <= 0, "circuit_pause: must be positive")
	problem(s.DescribeTTL <= 0, "describe_ttl: must be positive")
	problem(s.BulkFrom < 1, "bulk_from: must be positive")
	problem(s.SwiftTo < 0, "swift_to: must not be negative")
	problem(s.BulkPatience <= 0, "bulk_patience: must be positive")
	problem(s.Watchdog <= 0, "watchdog: must be positive")
	return errors.Join(errs...)
}
