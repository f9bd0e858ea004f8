package systemsalesforce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/budget"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/describe"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// newWriter returns what writes records, what runs its jobs, and what to call when they are no longer used.
func newWriter(cfg Config, crm *rest.Client, accountant *budget.Accountant, tel *telemetry.Telemetry) (w *write.Writer, jobs *bulk.Client, done func(), err error) {
	dir, done, err := claimBulkDir(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	s := cfg.Salesforce
	jobs, err = bulk.New(bulk.Options{API: crm, Dir: dir, Compress: !auth.Loopback(s.LoginURL), Patience: s.BulkPatience, Meter: tel.Meter, Log: tel.Log})
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	o := write.Options{CRM: crm, Bulk: jobs, BulkFrom: s.BulkFrom, SwiftTo: s.SwiftTo, Trip: crm.Trip, Spare: accountant.Spare, Meter: tel.Meter, Log: tel.Log}
	o.Together = func(ctx context.Context) int { return accountant.Room(priority.From(ctx)) }
	return write.New(o), jobs, done, nil
}

// mostReplicas is how many processes of one default folder may run on a machine.
const mostReplicas = 32

// claimBulkDir takes hold of the folder of bulk loads. A folder that nobody chose has a stable name, so that the next start removes the
// rows that a killed process left in it; further processes get folders beside it.
func claimBulkDir(cfg Config) (dir string, release func(), err error) {
	if dir = cfg.Salesforce.BulkDir; dir != "" {
		if release, err = bulk.Claim(dir); err != nil {
			return "", nil, fmt.Errorf("salesforce.bulk_dir: %w", err)
		}
		return dir, release, nil
	}
	base := defaultBulkDir(cfg)
	for n := 1; n <= mostReplicas; n++ {
		if dir = base; n > 1 {
			dir = fmt.Sprintf("%s-%d", base, n)
		}
		if release, err = bulk.Claim(dir); err == nil {
			return dir, release, nil
		}
	}
	return "", nil, fmt.Errorf("salesforce.bulk_dir: no folder can be used: %w", err)
}

// defaultBulkDir is beside the database when that is a file, else in the temporary folder under a name of this org, client and user.
func defaultBulkDir(cfg Config) string {
	if file, ok := strings.CutPrefix(cfg.Store.DSN.Reveal(), "sqlite:"); ok && file != ":memory:" {
		return file + ".bulk"
	}
	s := cfg.Salesforce
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d", s.LoginURL, s.ClientID, s.ClientName, os.Getuid()))
	return filepath.Join(os.TempDir(), "selfsame-bulk-"+hex.EncodeToString(sum[:8]))
}

// newDescriptions returns what remembers the objects of the org.
func newDescriptions(cfg Salesforce, crm *rest.Client, tel *telemetry.Telemetry) *describe.Cache {
	return describe.New(describe.Options{Source: crm, TTL: cfg.DescribeTTL, Meter: tel.Meter, Log: tel.Log})
}

// newFreshDescriptions returns descriptions that remember nothing yet.
func newFreshDescriptions(crm *rest.Client) *describe.Cache {
	return describe.New(describe.Options{Source: crm})
}
