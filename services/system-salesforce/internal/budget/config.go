package budget

import (
	"errors"
	"fmt"
	"time"

	"github.com/selfsame-io/selfsame/pkg/priority"
)

// Config says how the allowance is divided. Start from DefaultConfig.
type Config struct {
	// InteractiveReserve, SyncReserve, BulkReserve and AuditReserve are the shares of the allowance (0 to 1) that calls of a
	// priority leave untouched: bulk work stops when less than BulkReserve of the allowance is left.
	InteractiveReserve float64 `conf:"interactive_reserve" help:"share of the allowance that interactive calls leave to the org's other programs"`
	SyncReserve        float64 `conf:"sync_reserve" help:"share of the allowance that sync leaves to interactive calls"`
	BulkReserve        float64 `conf:"bulk_reserve" help:"share of the allowance that bulk work leaves to those above it"`
	AuditReserve       float64 `conf:"audit_reserve" help:"share of the allowance that audits leave to those above them"`
	// Lag is how late a usage figure may be when it is told: calls answered within it are taken to be missing in the figure, and
	// a lower figure is believed only after that long. Half of it is for Salesforce, half for the replica that tells it.
	Lag time.Duration `conf:"lag" help:"how late the org's usage figures may be"`
	// Stale is how old a figure may be before calls are handed out a few at a time, until one has brought a new figure.
	Stale time.Duration `conf:"stale" help:"age at which a usage figure is no longer trusted"`
	// Pause is how long calls are held back after Salesforce has refused one because the allowance was used up; the service sets it
	// to its limit_pause.
	Pause time.Duration `conf:"-"`
	// Recheck is the longest that a refused caller is told to wait; asking again costs no call.
	Recheck time.Duration `conf:"recheck" help:"longest time after which refused work asks again"`
	// Refresh is how often the limits of the org are read, by one replica; one call each.
	Refresh time.Duration `conf:"refresh" help:"how often the limits of the org are read"`
	// Lease is how long the calls of a replica that has vanished are counted as under way.
	Lease time.Duration `conf:"lease" help:"how long calls of a vanished replica count as under way"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		InteractiveReserve: 0, SyncReserve: 0.10, BulkReserve: 0.30, AuditReserve: 0.50,
		Lag: time.Minute, Stale: 15 * time.Minute, Pause: 5 * time.Minute, Recheck: 5 * time.Minute,
		Refresh: 15 * time.Minute, Lease: 5 * time.Minute,
	}
}

func (c Config) reserve(l priority.Level) float64 {
	switch l {
	case priority.Interactive:
		return c.InteractiveReserve
	case priority.Bulk:
		return c.BulkReserve
	case priority.Audit:
		return c.AuditReserve
	case priority.Sync, priority.Unset:
	}
	return c.SyncReserve
}

// Validate returns every problem.
func (c Config) Validate() error {
	var errs []error
	before := 0.0
	for _, l := range priority.Levels() {
		r := c.reserve(l)
		if r < 0 || r >= 1 {
			errs = append(errs, fmt.Errorf("%s_reserve: must be at least 0 and less than 1", l))
		}
		if r < before {
			errs = append(errs, fmt.Errorf("%s_reserve: must not be less than that of more urgent calls", l))
		}
		before = r
	}
	for name, d := range map[string]time.Duration{"pause": c.Pause, "recheck": c.Recheck, "refresh": c.Refresh, "lease": c.Lease, "stale": c.Stale} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be positive", name))
		}
	}
	if c.Lag < 4*tick {
		errs = append(errs, fmt.Errorf("lag: must be at least %s", 4*tick))
	}
	return errors.Join(errs...)
}
