package suite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// records is how many customers TestReconcileCalls compares: go test ./suite -run ReconcileCalls -v -args -records 100000
var records = flag.Int("records", 0, "customers that the comparison of calls is made with; 400 when 0")

// customers makes n customers in the ERP by its own contract.
func customers(ctx context.Context, d *remote.Demo, n int) error {
	for from := 0; from < n; from += 200 {
		req := &erpv1.BatchUpsertCustomersRequest{}
		for i := from; i < min(from+200, n); i++ {
			req.Upserts = append(req.Upserts, &erpv1.CustomerUpsert{Customer: &erpv1.Customer{
				Name: fmt.Sprintf("Company %d of %x", i, i*7919), Kind: erpv1.CustomerKind_CUSTOMER_KIND_ORGANIZATION,
			}, Key: &erpv1.Reference{System: "test", Type: "customer", Value: fmt.Sprint(i)}})
		}
		resp, err := d.ERPCustomers.BatchUpsertCustomers(ctx, req)
		if err != nil {
			return err
		}
		for _, r := range resp.GetResults() {
			if r.GetError() != nil {
				return errors.New(r.GetError().GetReason())
			}
		}
	}
	return nil
}

// TestReconcileCalls counts, on real services, what it costs to compare systems that agree but for twenty records.
func TestReconcileCalls(t *testing.T) {
	t.Parallel()
	n := *records
	if n == 0 {
		if n = 400; testing.Short() {
			n = 60
		}
	}
	s, err := Start(t.Context(), Options{Dir: t.TempDir() + "/demo", LogLevel: "error", SalesforceCalls: 10_000_000, Tune: func(c *Configs) {
		// A margin of minutes would only make the test wait for minutes.
		c.ProcessCustomer.Reconcile.Margin, c.ProcessCustomer.Reconcile.Settle = time.Millisecond, time.Millisecond
		c.ProcessCustomer.Reconcile.Every = 0
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	d, err := remote.Open(t.Context(), s.State())
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	conn, err := grpc.NewClient(s.State().GRPC[SystemSalesforce], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	usage := salesforcev1.NewChangeServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	require.NoError(t, customers(ctx, d, n))
	_, err = d.Settle(ctx, nil)
	require.NoError(t, err)

	compare := func(system string, repair bool) (*customerv1.Reconciliation, int64) {
		before, err := usage.GetUsage(ctx, &salesforcev1.GetUsageRequest{})
		require.NoError(t, err)
		started, err := d.Operations.StartReconciliation(ctx, &customerv1.StartReconciliationRequest{System: system, Repair: repair})
		require.NoError(t, err)
		run := started.GetReconciliation()
		require.Eventually(t, func() bool {
			got, err := d.Operations.GetReconciliation(ctx, &customerv1.GetReconciliationRequest{Id: run.GetId()})
			run = got.GetReconciliation()
			return err == nil && (run.GetState() == "DONE" || run.GetState() == "FAILED")
		}, 5*time.Minute, 20*time.Millisecond)
		require.Equal(t, "DONE", run.GetState(), run.GetReason())
		after, err := usage.GetUsage(ctx, &salesforcev1.GetUsageRequest{})
		require.NoError(t, err)
		return run, after.GetOwnCalls() - before.GetOwnCalls()
	}
	findings := func(system string) (n int) {
		resp, err := d.Operations.ListFindings(ctx, &customerv1.ListFindingsRequest{System: system, PageSize: 1000})
		require.NoError(t, err)
		return len(resp.GetFindings())
	}
	systems := []string{"salesforce", "erp"}
	for _, system := range systems { // the first comparison lists everything, the second what is recent
		first, _ := compare(system, false)
		require.Zero(t, findings(system))
		require.EqualValues(t, n, first.GetCompared())
		compare(system, false)
		third, _ := compare(system, false)
		require.LessOrEqual(t, third.GetCalls(), int64(6), "systems that agree cost a digest and a short list per kind of record")
		t.Logf("%s: %d customers that agree were compared with %d calls, the first time with %d", system, n, third.GetCalls(), first.GetCalls())
	}

	// Nobody hears of twenty edits in each system, and no delivery meets them by chance.
	flow := func(paused bool) {
		for _, system := range systems {
			for _, direction := range []string{"intake", "deliver"} {
				_, err := d.Operations.SetFlow(ctx, &customerv1.SetFlowRequest{System: system, Direction: direction, Paused: paused, Reason: "test"})
				require.NoError(t, err)
			}
		}
	}
	flow(true)
	require.Eventually(t, func() bool {
		st, err := d.Operations.GetStatus(ctx, &customerv1.GetStatusRequest{})
		paused := 0
		for _, f := range st.GetFeeds() {
			if f.GetState() == "PAUSED" {
				paused++
			}
		}
		return err == nil && paused == len(systems)
	}, time.Minute, 20*time.Millisecond)
	accounts, err := d.CRM.Query(ctx, "SELECT Id, SystemModstamp FROM Account ORDER BY Id LIMIT 20")
	require.NoError(t, err)
	page, err := d.ERPCustomers.ListCustomers(ctx, &erpv1.ListCustomersRequest{PageSize: 20})
	require.NoError(t, err)
	for i := range 20 {
		id := accounts[i]["Id"].(string)
		require.Eventually(t, func() bool { // a stamp is of a second: what changes twice within one shows no difference
			if d.CRM.Update(ctx, "Account", id, crm.Record{"Phone": fmt.Sprintf("+49 30 %06d", i)}) != nil {
				return false
			}
			now, err := d.CRM.Query(ctx, "SELECT SystemModstamp FROM Account WHERE Id = '"+id+"'")
			return err == nil && len(now) == 1 && now[0]["SystemModstamp"] != accounts[i]["SystemModstamp"]
		}, time.Minute, 100*time.Millisecond)
		_, err := d.ERPCustomers.BatchUpsertCustomers(ctx, &erpv1.BatchUpsertCustomersRequest{Upserts: []*erpv1.CustomerUpsert{{
			Customer:   &erpv1.Customer{Id: page.GetCustomers()[i].GetId(), Website: fmt.Sprintf("https://w%d.example", i)},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"website"}},
		}}})
		require.NoError(t, err)
	}
	for _, system := range systems {
		run, vendor := compare(system, true)
		require.Equal(t, 20, findings(system))
		require.EqualValues(t, 20, run.GetRepaired())
		t.Logf("%s: %d customers with 20 differences were compared with %d calls (%d of Salesforce's); reading all in pages takes %d, one by one %d",
			system, n, run.GetCalls(), vendor, run.GetReadCalls(), n)
		require.LessOrEqual(t, run.GetCalls(), int64(10))
	}
	flow(false)
	report, err := d.Settle(ctx, nil)
	require.NoError(t, err)
	require.True(t, report.Agree())
}
