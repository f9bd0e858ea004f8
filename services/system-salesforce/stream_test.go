package systemsalesforce_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

// load sends n records by a stream and returns the outcomes by key, and the ledger. Its errors are those of the stream, and one for a
// record that got two outcomes.
func (s *wideService) load(t *testing.T, header *salesforcev1.UpsertHeader, n int, row func(i int) *salesforcev1.RecordUpsert) (map[string]*salesforcev1.WriteResult, *salesforcev1.UpsertLedger, error) {
	t.Helper()
	var all []*salesforcev1.UpsertRecordsRequest
	for start := 0; start < n; start += 500 {
		rows := &salesforcev1.UpsertRows{}
		for i := start; i < min(n, start+500); i++ {
			rows.Upserts = append(rows.Upserts, row(i))
		}
		all = append(all, &salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: rows}})
	}
	return s.send(t, header, all...)
}

// send is load for messages.
func (s *wideService) send(t *testing.T, header *salesforcev1.UpsertHeader, all ...*salesforcev1.UpsertRecordsRequest) (map[string]*salesforcev1.WriteResult, *salesforcev1.UpsertLedger, error) {
	t.Helper()
	stream, err := s.records.UpsertRecords(t.Context())
	if err != nil {
		return nil, nil, err
	}
	if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Header{Header: header}}); err != nil {
		return nil, nil, err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for _, m := range all {
			if stream.Send(m) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	})
	out := map[string]*salesforcev1.WriteResult{}
	var ledger *salesforcev1.UpsertLedger
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, ledger, nil
		}
		if err != nil {
			return out, ledger, fault.FromStatus(err)
		}
		for _, o := range m.GetOutcomes() {
			if out[o.GetExternalId()] != nil {
				return out, ledger, fmt.Errorf("%s has two outcomes", o.GetExternalId())
			}
			out[o.GetExternalId()] = o.GetResult()
		}
		if m.GetLedger() != nil {
			ledger = m.GetLedger()
		}
	}
}

func balanced(t *testing.T, l *salesforcev1.UpsertLedger) {
	t.Helper()
	require.NotNil(t, l)
	require.Equal(t, l.GetRows(), l.GetCreated()+l.GetUpdated()+l.GetRefused()+l.GetUncertain())
}

func TestStream(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	s.upsert(t, account("A-1", "Acme"))
	row := func(i int) *salesforcev1.RecordUpsert {
		plan := "Pro"
		if i%100 == 99 {
			plan = "Gold" // refused here
		}
		return record(fmt.Sprint("K-", i), values{"account": textValue("A-1"), "plan": textValue(plan), "price": numberValue(fmt.Sprint(i, ".5"))})
	}
	header := func(backlog int64) *salesforcev1.UpsertHeader {
		return &salesforcev1.UpsertHeader{Object: "subscription", Backlog: backlog, Fields: []string{"account", "plan", "price", "note"}, Priority: salesforcev1.Priority_PRIORITY_BULK}
	}
	t.Run("some hundred go by collections, 200 in a call", func(t *testing.T) {
		out, ledger, err := s.load(t, header(0), 450, row)
		require.NoError(t, err)
		balanced(t, ledger)
		require.Len(t, out, 450)
		require.EqualValues(t, 450, ledger.GetRows())
		require.EqualValues(t, 446, ledger.GetCreated())
		require.EqualValues(t, 4, ledger.GetRefused())
		require.Equal(t, "VALUE_NOT_IN_PICKLIST", out["K-99"].GetError().GetReason())
		require.Equal(t, salesforcev1.Transport_TRANSPORT_COLLECTIONS, ledger.GetTransport())
		require.LessOrEqual(t, ledger.GetCalls(), int64(3))
		require.Equal(t, 446, c.live("Subscription__c"))
	})
	t.Run("thousands go by a job, with the same outcomes", func(t *testing.T) {
		out, ledger, err := s.load(t, header(3000), 3000, row)
		require.NoError(t, err)
		balanced(t, ledger)
		require.Len(t, out, 3000)
		require.EqualValues(t, 2970-446, ledger.GetCreated(), out["K-2500"].String())
		require.EqualValues(t, 446, ledger.GetUpdated())
		require.EqualValues(t, 30, ledger.GetRefused())
		require.Equal(t, salesforcev1.Transport_TRANSPORT_BULK, ledger.GetTransport())
		require.Less(t, ledger.GetCalls(), int64(3000/150))
		got, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "K-2500"}})
		require.NoError(t, err)
		require.Equal(t, "2500.5", got.GetRecord().GetFields()["price"].GetNumber())
		require.Equal(t, "A-1", got.GetRecord().GetFields()["account"].GetText())
	})
	t.Run("a stream that turns out to be long becomes a job, and a cleared field is cleared", func(t *testing.T) {
		_, ledger, err := s.load(t, header(0), 2100, func(i int) *salesforcev1.RecordUpsert {
			u := record(fmt.Sprint("K-", i), nil)
			u.UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{"account", "price"}}
			return u
		})
		require.NoError(t, err)
		balanced(t, ledger)
		require.Equal(t, salesforcev1.Transport_TRANSPORT_BULK, ledger.GetTransport())
		got, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: "K-2000"}})
		require.NoError(t, err)
		require.NotContains(t, got.GetRecord().GetFields(), "account")
		require.NotContains(t, got.GetRecord().GetFields(), "price")
		require.Contains(t, got.GetRecord().GetFields(), "plan")
	})
	t.Run("records that cannot be part of a stream are refused one by one", func(t *testing.T) {
		out, ledger, err := s.load(t, header(0), 4, func(i int) *salesforcev1.RecordUpsert {
			u := record(fmt.Sprint("Z-", i), values{"plan": textValue("Pro")})
			switch i {
			case 0:
				u.Record.ExternalId = ""
			case 1:
				u.Record.Id = "a00000000000001AAA"
			case 2:
				u.Record.Fields["active"] = &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Flag{Flag: true}}
			}
			return u
		})
		require.NoError(t, err)
		balanced(t, ledger)
		require.Equal(t, "EXTERNAL_ID_REQUIRED", out[""].GetError().GetReason())
		require.Equal(t, "id", out["Z-1"].GetError().GetField())
		require.Equal(t, "FIELD_NOT_ANNOUNCED", out["Z-2"].GetError().GetReason())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, out["Z-3"].GetOutcome())
	})
	for name, backlog := range map[string]int64{"records that come by columns fare as others do": 0, "and so they do by a job": 5000} {
		t.Run(name, func(t *testing.T) {
			id := func(i int) string { return fmt.Sprint("T", backlog, "-", i) }
			table := &salesforcev1.UpsertTable{}
			columns := make([]*salesforcev1.TextColumn, 4)
			for i := range columns {
				columns[i] = &salesforcev1.TextColumn{}
			}
			for i := range 300 {
				table.ExternalIds = append(table.ExternalIds, id(i))
				columns[0].Values = append(columns[0].Values, "A-1")
				columns[1].Values = append(columns[1].Values, []string{"Pro", "Gold", "Basic"}[i%3]) // Gold is refused, in the middle of its row
				columns[2].Values = append(columns[2].Values, fmt.Sprint(i, ".5"))
				columns[3].Values = append(columns[3].Values, "a note")
				if i%2 == 1 {
					columns[2].Kept = append(columns[2].Kept, uint32(i))
					columns[3].Kept = append(columns[3].Kept, uint32(i))
				}
			}
			table.ExternalIds[3], table.Columns = "", columns
			out, ledger, err := s.send(t, header(backlog), &salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Table{Table: table}},
				&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: &salesforcev1.UpsertRows{Upserts: []*salesforcev1.RecordUpsert{row(500)}}}})
			require.NoError(t, err)
			balanced(t, ledger)
			require.Equal(t, backlog > 0, ledger.GetTransport() == salesforcev1.Transport_TRANSPORT_BULK)
			require.EqualValues(t, 301, ledger.GetRows())
			require.EqualValues(t, 101, ledger.GetRefused())
			require.Equal(t, "EXTERNAL_ID_REQUIRED", out[""].GetError().GetReason())
			require.Equal(t, "VALUE_NOT_IN_PICKLIST", out[id(1)].GetError().GetReason())
			for i, price := range map[int]string{2: "2.5", 5: "", 8: "8.5", 299: ""} {
				got, err := s.records.GetRecord(t.Context(), &salesforcev1.GetRecordRequest{Object: "subscription", Key: &salesforcev1.GetRecordRequest_ExternalId{ExternalId: id(i)}})
				require.NoError(t, err)
				require.Equal(t, price, got.GetRecord().GetFields()["price"].GetNumber(), i)
			}
		})
	}
	t.Run("a table that does not fit its header ends the stream", func(t *testing.T) {
		column := func(kept ...uint32) *salesforcev1.TextColumn {
			return &salesforcev1.TextColumn{Values: []string{"a", "b"}, Kept: kept}
		}
		for name, columns := range map[string][]*salesforcev1.TextColumn{
			"too few columns":      {column(), column(), column()},
			"too few values":       {column(), column(), column(), {Values: []string{"a"}}},
			"places out of order":  {column(), column(), column(), column(1, 0)},
			"a place of no record": {column(), column(), column(), column(2)},
		} {
			_, _, err := s.send(t, header(0), &salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Table{
				Table: &salesforcev1.UpsertTable{ExternalIds: []string{"U-1", "U-2"}, Columns: columns},
			}})
			require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		}
	})
	t.Run("a stream without a header, or for fields that nobody declared, ends", func(t *testing.T) {
		h := header(0)
		h.Fields = []string{"nonsense"}
		_, _, err := s.load(t, h, 0, row)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		stream, err := s.records.UpsertRecords(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: &salesforcev1.UpsertRows{Upserts: []*salesforcev1.RecordUpsert{row(0)}}}}))
		_, err = stream.Recv()
		require.Equal(t, fault.Invalid, fault.KindOf(fault.FromStatus(err)))
	})
}

func TestStreamGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	dir, store := t.TempDir(), "sqlite:"+filepath.Join(t.TempDir(), "s.db")
	keep := func(cfg *systemsalesforce.Config) {
		cfg.Salesforce.BulkDir, cfg.Store.DSN = dir, conf.Secret(store)
	}
	const n = 2500
	c, s := wide(t, keep)
	header := &salesforcev1.UpsertHeader{Object: "subscription", Backlog: n, Fields: []string{"plan"}, LoadId: "load-1"}
	row := func(i int) *salesforcev1.RecordUpsert {
		plan := "Pro"
		if i == 7 {
			plan = "Gold"
		}
		return record(fmt.Sprint("K-", i), values{"plan": textValue(plan)})
	}
	c.do("PUT", "/__sandbox__/bulk", map[string]any{"hold": "processing", "hold_after": 1000})
	ended := make(chan error, 1)
	go func() {
		_, _, err := s.load(t, header, n, row)
		ended <- err
	}()
	require.Eventually(t, func() bool { return c.live("Subscription__c") >= 1000 }, waitFor, tick)
	require.NoError(t, s.stop())
	require.Error(t, <-ended, "the stream breaks with the process")
	c.do("DELETE", "/__sandbox__/bulk", nil)

	cfg := config(t, c)
	cfg.Salesforce.MappingFile = "testdata/mapping.yaml"
	keep(&cfg)
	again := widen(t, startReady(t, cfg))
	out, ledger, err := again.load(t, header, n, row)
	require.NoError(t, err)
	balanced(t, ledger)
	require.Len(t, out, n)
	require.EqualValues(t, n-1, ledger.GetCreated(), "as the job that was left running reports them")
	require.EqualValues(t, 1, ledger.GetRefused())
	require.Equal(t, n-1, c.live("Subscription__c"))
}

func TestSwiftLoad(t *testing.T) {
	t.Parallel()
	c, s := wide(t, func(cfg *systemsalesforce.Config) { cfg.Salesforce.BulkFrom, cfg.Salesforce.SwiftTo = 200, 500 })
	c.faults(map[string]any{"latency": "10ms"})
	transport := func(n int) salesforcev1.Transport {
		_, ledger, err := s.load(t, &salesforcev1.UpsertHeader{Object: "account", Backlog: int64(n), Fields: []string{"name"}}, n, func(i int) *salesforcev1.RecordUpsert {
			return record(fmt.Sprint("A-", i), values{"name": textValue(fmt.Sprint("Account ", i))})
		})
		require.NoError(t, err)
		balanced(t, ledger)
		require.Equal(t, n, c.live("Account"))
		return ledger.GetTransport()
	}
	ops := s.operations(t)
	require.Eventually(t, func() bool { // the allowance has to be known, and the calls to be slow
		_, err := s.accounts.ListAccounts(t.Context(), &salesforcev1.ListAccountsRequest{})
		require.NoError(t, err)
		b, err := ops.GetBudget(t.Context(), &salesforcev1.GetBudgetRequest{})
		return err == nil && b.GetLimit() > 0 && transport(400) == salesforcev1.Transport_TRANSPORT_COLLECTIONS
	}, waitFor, tick, "slow calls side by side")
	require.Equal(t, salesforcev1.Transport_TRANSPORT_BULK, transport(501))
}

func TestEveryAccountCallCounts(t *testing.T) {
	t.Parallel()
	c, s := wide(t)
	const n = 4_000
	_, ledger, err := s.load(t, &salesforcev1.UpsertHeader{Object: "account", Backlog: n, Fields: []string{"name", "phone", "address.city"}}, n, func(i int) *salesforcev1.RecordUpsert {
		return record(fmt.Sprint("A-", i), values{"name": textValue(fmt.Sprint("Account ", i)), "phone": textValue("+49 30 " + fmt.Sprint(i)), "address.city": textValue(strings.Repeat("B", i%40+1))})
	})
	require.NoError(t, err)
	balanced(t, ledger)
	require.EqualValues(t, n, ledger.GetCreated())
	t.Logf("%d calls for %d accounts", ledger.GetCalls(), n)
	require.LessOrEqual(t, ledger.GetCalls(), int64(n/150))
	require.Equal(t, n, c.live("Account"))
}
