package systemsalesforce

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/budget"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// newAccountant returns the accountant of the org's API allowance, which all replicas on the same database share.
func newAccountant(ctx context.Context, cfg Config, d *db.DB, tel *telemetry.Telemetry) (*budget.Accountant, error) {
	store, err := budget.OpenStore(ctx, d, account(cfg.Salesforce), cfg.budget())
	if err != nil {
		return nil, err
	}
	return budget.New(budget.Options{
		Store: store, Config: cfg.budget(), Replica: replica(), MaxConcurrent: cfg.Salesforce.MaxConcurrent, Now: time.Now, Meter: tel.Meter, Log: tel.Log,
	})
}

// account names the org's account before a login has told the org's id: its login host and the app.
func account(cfg Salesforce) string {
	host := cfg.LoginURL
	if u, err := url.Parse(cfg.LoginURL); err == nil {
		host = u.Host
	}
	return host + "/" + cfg.ClientID
}

// replica names this process among the replicas, and among its own restarts.
func replica() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + rand.Text()[:12]
}

// limits reads the org's limits for the accountant.
func limits(crm *rest.Client) func(ctx context.Context) ([]budget.Allowance, error) {
	return func(ctx context.Context) ([]budget.Allowance, error) {
		all, err := crm.Limits(ctx)
		if err != nil {
			return nil, err
		}
		out := make([]budget.Allowance, 0, len(all))
		for name, l := range all {
			out = append(out, budget.Allowance{Name: name, Limit: l.Max, Remaining: l.Remaining})
		}
		return out, nil
	}
}
