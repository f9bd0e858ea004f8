package sandbox

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// Config says how the sandbox runs. The zero value serves on two free local
// ports with one user and no app, so that nobody can log in; give at least one
// App.
type Config struct {
	// HTTPListen and PubSubListen are addresses; empty means 127.0.0.1:0.
	HTTPListen   string
	PubSubListen string
	// HTTPListener and PubSubListener are used instead if they are set. The
	// server closes them.
	HTTPListener   net.Listener
	PubSubListener net.Listener
	// BaseURL is the instance URL in answers. Empty means the address by which
	// the client reached the server.
	BaseURL string

	// Apps are the connected apps that may log in.
	Apps []App
	// Users are the people and programs that may log in. Empty means one
	// integration user, DefaultUser.
	Users []User
	// OrgID is the 18-character id of the organization; empty means one that
	// is always the same.
	OrgID string

	// Strict refuses assertions that real Salesforce may refuse although it
	// often accepts them: inexact audiences, expiry as text or milliseconds or
	// far ahead.
	Strict bool
	// DailyAPILimit is how many API calls a rolling day allows; 0 means 100,000.
	DailyAPILimit int
	// Limits are the other allocations.
	Limits Limits
	// KeepAlive is the longest silence on an event stream; 0 means a minute. It
	// must stay below 270 seconds.
	KeepAlive time.Duration
	// SessionTTL is how long a session lasts; 0 means two hours.
	SessionTTL time.Duration
	// SessionReuse hands out the running session of a user and app again. Who
	// revokes it ends it for all.
	SessionReuse bool
	// EventRetention is how long events can be replayed; 0 means 72 hours.
	EventRetention time.Duration
	// MaxEvents is how many events can be replayed; 0 means 500,000.
	MaxEvents int
	// IgnoreCollectionsClient leaves the client id out of the change origin of
	// writes through collections, where the vendor does not document it.
	IgnoreCollectionsClient bool

	// SchemaFiles are JSON files that add objects and fields or rename fields,
	// and define platform events, channels and managed subscriptions.
	SchemaFiles []string
	// Events says how events are made and served.
	Events EventConfig
	// FaultFile is a JSON file with the fault plan of the start; empty means
	// no faults.
	FaultFile string
	// Seed makes replay ids, transaction keys and random faults repeatable.
	Seed int64
	// Now is the clock for everything that is stored; nil means time.Now.
	Now func() time.Time
	// Log receives what went wrong inside; nil means nothing is logged.
	Log *slog.Logger
}

// App is a connected app.
type App struct {
	// ClientID is the consumer key, the issuer of assertions.
	ClientID string
	// PublicKeyPEM is an RSA public key or certificate in PEM, or the path of
	// a file that holds one. It is needed unless there is a ClientSecret.
	PublicKeyPEM string
	// ClientSecret is the consumer secret, for the client credentials and the
	// password flow. Empty means that both are refused.
	ClientSecret string
	// RunAs is the username that the client credentials flow logs in.
	RunAs string
	// Refusal makes every login of the app fail, as that of a user does.
	Refusal string
}

// User is someone who may log in.
type User struct {
	Username string
	// ID is an 18-character id that begins with 005; empty means one is made.
	ID string
	// Name is shown; empty means the part of Username before the @.
	Name  string
	Email string
	// IntegrationUser notes that the user is a program. It changes nothing in
	// what the user may do.
	IntegrationUser bool
	// Password lets the user log in by the OAuth password flow and by SOAP. It
	// is followed by SecurityToken when it is sent. Empty means that the user
	// cannot.
	Password      string
	SecurityToken string
	// Refusal makes logging in fail, for example "unapproved",
	// "not_admin_approved" or "inactive"; README.md lists all. Empty means the
	// user may log in.
	Refusal string
}

// DefaultUser is the username of the user that exists if none is configured.
const DefaultUser = "integration@selfsame.example"

// defaultOrg is the organization id if none is configured.
const defaultOrg = "00D000000000062EAA"

// maxKeepAlive is the longest silence that clients have to bear.
const maxKeepAlive = 270 * time.Second

func (c Config) withDefaults() (Config, error) {
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	set(&c.HTTPListen, "127.0.0.1:0")
	set(&c.PubSubListen, "127.0.0.1:0")
	set(&c.OrgID, defaultOrg)
	if c.DailyAPILimit == 0 {
		c.DailyAPILimit = 100_000
	}
	c.Limits = c.Limits.withDefaults()
	if c.KeepAlive == 0 {
		c.KeepAlive = time.Minute
	}
	if c.SessionTTL == 0 {
		c.SessionTTL = 2 * time.Hour
	}
	if c.EventRetention == 0 {
		c.EventRetention = 72 * time.Hour
	}
	if c.MaxEvents == 0 {
		c.MaxEvents = 500_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Users) == 0 {
		c.Users = []User{{Username: DefaultUser, Name: "Integration User", Email: DefaultUser, IntegrationUser: true}}
	}
	c.Events = c.Events.withDefaults()
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	return c, c.check()
}

func (c Config) check() error {
	errs := []error{c.Events.check(), c.Limits.check()}
	if id, ok := sfid.Normal(c.OrgID); !ok || id != c.OrgID || id[:3] != "00D" {
		errs = append(errs, fmt.Errorf("organization id %q is not an 18-character id that begins with 00D", c.OrgID))
	}
	if c.KeepAlive < 0 || c.KeepAlive >= maxKeepAlive {
		errs = append(errs, fmt.Errorf("keepalive %v is not below %v", c.KeepAlive, maxKeepAlive))
	}
	if c.DailyAPILimit < 0 || c.MaxEvents < 0 || c.SessionTTL < 0 || c.EventRetention < 0 {
		errs = append(errs, errors.New("limits cannot be negative"))
	}
	for _, a := range c.Apps {
		if !auth.KnownRefusal(a.Refusal) {
			errs = append(errs, fmt.Errorf("app refusal %q is unknown", a.Refusal))
		}
	}
	for _, u := range c.Users {
		if u.Username == "" {
			errs = append(errs, errors.New("a user without a username"))
		}
		if !auth.KnownRefusal(u.Refusal) {
			errs = append(errs, fmt.Errorf("user refusal %q is unknown", u.Refusal))
		}
		if id, ok := sfid.Normal(u.ID); u.ID != "" && (!ok || id[:3] != "005") {
			errs = append(errs, fmt.Errorf("user id %q is not an id that begins with 005", u.ID))
		}
	}
	return errors.Join(errs...)
}

// accounts returns the users with ids and names filled in.
func (c Config) accounts() []auth.User {
	out := make([]auth.User, len(c.Users))
	for i, u := range c.Users {
		id, _ := sfid.Normal(u.ID)
		if id == "" {
			id = sfid.New("005", i+1)
		}
		if u.Name == "" {
			u.Name, _, _ = strings.Cut(u.Username, "@")
		}
		out[i] = auth.User{
			ID: id, Username: u.Username, Name: u.Name, Email: u.Email, Refusal: u.Refusal,
			Password: u.Password, SecurityToken: u.SecurityToken,
		}
	}
	return out
}

func (c Config) keys() (map[string]*rsa.PublicKey, error) {
	out := map[string]*rsa.PublicKey{}
	for _, a := range c.Apps {
		if a.PublicKeyPEM == "" && a.ClientSecret != "" {
			continue
		}
		text := []byte(a.PublicKeyPEM)
		if !strings.Contains(a.PublicKeyPEM, "-----BEGIN") {
			var err error
			if text, err = os.ReadFile(a.PublicKeyPEM); err != nil {
				return nil, fmt.Errorf("public key of app %s: %w", a.ClientID, err)
			}
		}
		k, err := auth.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("public key of app %s: %w", a.ClientID, err)
		}
		out[a.ClientID] = k
	}
	return out, nil
}

// clients returns what apps have besides their keys.
func (c Config) clients() map[string]auth.App {
	out := make(map[string]auth.App, len(c.Apps))
	for _, a := range c.Apps {
		out[a.ClientID] = auth.App{Secret: a.ClientSecret, RunAs: a.RunAs, Refusal: a.Refusal}
	}
	return out
}

func (c Config) documents() ([][]byte, error) {
	var out [][]byte
	for _, path := range c.SchemaFiles {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("schema file: %w", err)
		}
		out = append(out, b)
	}
	return out, nil
}
