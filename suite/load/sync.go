package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/suite"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// SyncOptions says what [Sync] syncs.
type SyncOptions struct {
	// Accounts is how many different customers there are, see [Generate].
	Accounts int
	// Age is how long the loaded records are left alone before the services start. The change feed looks back five minutes,
	// so what was loaded within them is read twice, which is not so for records that are there already.
	Age time.Duration
}

// SystemResult is what the initial sync asked of one system.
type SystemResult struct {
	System string `json:"system"`
	// Records are the accounts and contacts that the system holds afterwards.
	Records int `json:"records"`
	// Calls are those made to it, by what was called.
	Calls map[string]int `json:"calls"`
	Total int            `json:"total"`
	// Per100Records and Per100Accounts are calls per hundred records, and per hundred accounts, of this system.
	Per100Records  float64 `json:"per_100_records"`
	Per100Accounts float64 `json:"per_100_accounts"`
}

// SyncResult is one initial sync.
type SyncResult struct {
	Circumstances

	// Accounts are the different customers, Rows the accounts and contacts that both systems held before.
	Accounts int `json:"accounts"`
	Rows     int `json:"rows"`
	// AgeSeconds is how old the records were at the least when the services started.
	AgeSeconds float64 `json:"age_seconds"`
	// Seconds passed from the start of the services above the two systems to the last change.
	Seconds float64        `json:"seconds"`
	Systems []SystemResult `json:"systems"`
	// Peak is the memory of each service at its most.
	Peak map[string]Memory `json:"peak"`
	// Processor is the processor time of each service, in seconds.
	Processor map[string]float64 `json:"processor"`
}

// Sync loads customers into both systems and measures the initial sync of them.
func Sync(ctx context.Context, o Options, so SyncOptions) (_ *SyncResult, err error) {
	set := Generate(so.Accounts)
	out := &SyncResult{Circumstances: begin(), Accounts: so.Accounts, Rows: len(set.Accounts) + len(set.Contacts), AgeSeconds: so.Age.Seconds()}
	var sandbox string
	var before map[string]int
	var began time.Time
	var statsErr error
	run, err := o.start(ctx, fmt.Sprintf("sync-%d", so.Accounts), set, func(s *suite.Options) {
		s.Tune = func(c *suite.Configs) { sandbox = c.SystemSalesforce.Salesforce.LoginURL }
		step := s.Step
		s.Step = func(name, detail string, took time.Duration) {
			step(name, detail, took)
			if name == "erp data" {
				// Both systems are loaded and nothing has looked at them yet.
				sleepUntil(ctx, time.Now().Add(so.Age))
				before, statsErr = salesforceCalls(ctx, sandbox)
				out.LoadBefore, began = loadAverage(), time.Now()
			}
		}
	})
	if err != nil {
		return nil, errors.Join(err, statsErr)
	}
	defer func() { err = errors.Join(err, run.stop()) }()
	if statsErr != nil {
		return nil, statsErr
	}
	if err := out.watch(ctx, o, run, began); err != nil {
		return nil, err
	}
	after, err := salesforceCalls(ctx, sandbox)
	if err != nil {
		return nil, err
	}
	// The proxy starts after the loading: it has seen nothing of it.
	erp := run.suite.Proxy().Totals()
	// Only now: the comparison reads both systems.
	if err := out.count(ctx, run, minus(after, before), minus(erp, nil)); err != nil {
		return nil, err
	}
	out.end()
	return out, nil
}

// watch waits for the end of the sync and notes time, memory and processor time.
func (out *SyncResult) watch(ctx context.Context, o Options, run *running, began time.Time) error {
	pids := run.suite.State().PIDs
	watching, stop := context.WithCancel(ctx)
	anonymous := make(chan map[string]int64, 1)
	go func() { anonymous <- watchPeak(watching, pids, 100*time.Millisecond) }()
	next := time.Now().Add(5 * time.Second)
	last, err := run.settled(ctx, o.quiet(), func(p remote.Progress) {
		if time.Now().After(next) {
			next = time.Now().Add(5 * time.Second)
			o.progress("  %d records read, %d customers, %d contacts, %d pending, %d dead letters", p.Scanned, p.Customers, p.Contacts, p.Pending, p.Dead)
		}
	})
	stop()
	peaks := <-anonymous
	if err != nil {
		return err
	}
	out.Seconds = last.Sub(began).Seconds()
	out.Peak, out.Processor = map[string]Memory{}, map[string]float64{}
	for name, pid := range pids {
		m, err := memory(pid)
		if err != nil {
			return err
		}
		m.Anonymous = peaks[name]
		used, err := cpuTime(pid)
		if err != nil {
			return err
		}
		out.Peak[name], out.Processor[name] = m, used.Seconds()
	}
	return nil
}

// count relates the calls to the records, after making sure that the systems agree.
func (out *SyncResult) count(ctx context.Context, run *running, salesforce, erp map[string]int) error {
	report, err := run.demo.Verify(ctx, false)
	if err != nil {
		return fmt.Errorf("compare the systems: %w", err)
	}
	if !report.Agree() {
		return fmt.Errorf("the systems differ in %d ways after the sync: what was measured is not a sync", len(report.Differences))
	}
	system := func(name string, calls map[string]int, accounts, contacts int) SystemResult {
		r := SystemResult{System: name, Records: accounts + contacts, Calls: calls}
		for _, n := range calls {
			r.Total += n
		}
		r.Per100Records = 100 * float64(r.Total) / float64(max(1, r.Records))
		r.Per100Accounts = 100 * float64(r.Total) / float64(max(1, accounts))
		return r
	}
	out.Systems = []SystemResult{
		system("Salesforce", salesforce, report.Customers.Salesforce, report.Contacts.Salesforce),
		system("ERP", erp, report.Customers.ERP, report.Contacts.ERP),
	}
	return nil
}

// salesforceCalls asks the sandbox for the REST calls it has counted, by route.
func salesforceCalls(ctx context.Context, sandbox string) (map[string]int, error) {
	var out struct {
		ByPath map[string]int `json:"by_path"`
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if err := getJSON(ctx, client, sandbox+"/__sandbox__/stats", &out); err != nil {
		return nil, fmt.Errorf("ask the sandbox for its calls: %w", err)
	}
	return out.ByPath, nil
}

// minus returns what was added to counts.
func minus(after, before map[string]int) map[string]int {
	out := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if n := after[name] - before[name]; n > 0 {
			out[strings.TrimPrefix(name, "/")] = n
		}
	}
	return out
}

// ledger returns how many changes came in so far, repeated ones included, and how many are retrying.
func (r *running) ledger(ctx context.Context) (received, retrying int64, err error) {
	l, err := r.demo.Operations.GetLedger(ctx, &customerv1.GetLedgerRequest{})
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the ledger: %w", err)
	}
	for _, line := range l.GetLines() {
		received += line.GetReceived() + line.GetDuplicates()
		retrying += line.GetRetrying()
	}
	return received, retrying, nil
}
