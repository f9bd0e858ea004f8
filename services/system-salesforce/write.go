package systemsalesforce

import (
	"fmt"
	"os"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/describe"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// newWriter returns what writes records, what runs its jobs, and what to call when they are no longer used.
func newWriter(cfg Salesforce, crm *rest.Client, tel *telemetry.Telemetry) (w *write.Writer, jobs *bulk.Client, done func(), err error) {
	dir, done := cfg.BulkDir, func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "selfsame-bulk-"); err != nil {
			return nil, nil, nil, fmt.Errorf("make the folder of bulk loads: %w", err)
		}
		done = func() {
			if err := os.RemoveAll(dir); err != nil {
				tel.Log.Warn("folder of bulk loads not removed", "error", err.Error())
			}
		}
	}
	jobs, err = bulk.New(bulk.Options{API: crm, Dir: dir, Compress: true, Patience: cfg.BulkPatience, Meter: tel.Meter, Log: tel.Log})
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return write.New(write.Options{CRM: crm, Bulk: jobs, BulkFrom: cfg.BulkFrom, Meter: tel.Meter, Log: tel.Log}), jobs, done, nil
}

// newDescriptions returns what remembers the objects of the org.
func newDescriptions(cfg Salesforce, crm *rest.Client, tel *telemetry.Telemetry) *describe.Cache {
	return describe.New(describe.Options{Source: crm, TTL: cfg.DescribeTTL, Meter: tel.Meter, Log: tel.Log})
}

// newFreshDescriptions returns descriptions that remember nothing yet.
func newFreshDescriptions(crm *rest.Client) *describe.Cache {
	return describe.New(describe.Options{Source: crm})
}
