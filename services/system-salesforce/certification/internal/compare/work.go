package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// Pass is one run through all records.
type Pass struct {
	// Seconds is from the first record handed to the client to the last outcome.
	Seconds float64 `json:"seconds"`
	// Succeeded is how many records the client says were written.
	Succeeded int64 `json:"succeeded"`
	// Calls is how many API calls the sandbox counted.
	Calls int64 `json:"calls"`
}

// Rate is records per second.
func (p Pass) Rate() float64 { return float64(p.Succeeded) / p.Seconds }

// account is the i-th record of a pass, the same for every client. The names change from pass to pass.
type account struct {
	Key, Name, Phone, City string
}

// Account makes the i-th record of a pass.
func accountAt(pass, i int) account {
	return account{
		Key: fmt.Sprintf("bench-%07d", i), Name: fmt.Sprintf("Account %d, pass %d", i, pass), Phone: fmt.Sprintf("+49 30 %07d", i), City: "Berlin",
	}
}

// Passes is how often the records are written: once new, once changed.
const Passes = 2

// timed measures one pass.
func timed(ctx context.Context, o *Org, work func() (int64, error)) (Pass, error) {
	before, err := o.Stats(ctx)
	if err != nil {
		return Pass{}, err
	}
	began := time.Now()
	n, err := work()
	took := time.Since(began)
	if err != nil {
		return Pass{}, err
	}
	after, err := o.Stats(ctx)
	if err != nil {
		return Pass{}, err
	}
	return Pass{Seconds: took.Seconds(), Succeeded: n, Calls: after.Calls - before.Calls}, nil
}

// client opens a connection to the adapter.
func client(addr string) (salesforcev1.RecordServiceClient, io.Closer, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the adapter: %w", err)
	}
	return salesforcev1.NewRecordServiceClient(conn), conn, nil
}

// Upserts writes n accounts through the adapter, twice.
func (a *Adapter) Upserts(ctx context.Context, o *Org, n int) ([]Pass, error) {
	api, conn, err := client(a.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var out []Pass
	for pass := range Passes {
		p, err := timed(ctx, o, func() (int64, error) {
			head := &salesforcev1.UpsertHeader{Object: "account", Backlog: int64(n), Fields: []string{"name", "phone", "address.city"}}
			return upsert(ctx, api, head, n, func(i int) (string, []string) {
				r := accountAt(pass, i)
				return r.Key, []string{r.Name, r.Phone, r.City}
			})
		})
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Leads writes n leads of seven columns through the adapter, once.
func (a *Adapter) Leads(ctx context.Context, o *Org, n int) (Pass, error) {
	api, conn, err := client(a.Addr)
	if err != nil {
		return Pass{}, err
	}
	defer conn.Close()
	return timed(ctx, o, func() (int64, error) {
		head := &salesforcev1.UpsertHeader{
			Object: "lead", Backlog: int64(n), Fields: []string{"first_name", "last_name", "company", "email", "phone", "address.city"}, LoadId: "a-million-leads",
		}
		return upsert(ctx, api, head, n, func(i int) (string, []string) {
			return fmt.Sprintf("lead-%07d", i), []string{
				"Ada", fmt.Sprintf("Lead, number %d", i), fmt.Sprintf("Company %d", i%5000), fmt.Sprintf("lead%d@example.com", i), fmt.Sprintf("+49 30 %07d", i), "Berlin",
			}
		})
	})
}

// perMessage is how many records one message of the stream carries, as those of process-customer do.
const perMessage = 500

// upsert streams n records and returns how many were written. It fails unless every record has exactly one outcome and the ledger of
// the adapter says the same.
func upsert(ctx context.Context, api salesforcev1.RecordServiceClient, head *salesforcev1.UpsertHeader, n int, row func(i int) (string, []string)) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.UpsertRecords(ctx)
	if err != nil {
		return 0, fmt.Errorf("open the stream: %w", err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(stream, head, n, row) }()
	seen := make([]bool, n)
	var succeeded int64
	var ledger *salesforcev1.UpsertLedger
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			cancel()
			return 0, errors.Join(fmt.Errorf("read the stream: %w", err), <-sent)
		}
		if m.GetLedger() != nil {
			ledger = m.GetLedger()
		}
		for _, o := range m.GetOutcomes() {
			key := o.GetExternalId()
			i, err := strconv.Atoi(key[max(0, len(key)-7):])
			if err != nil || i < 0 || i >= n || seen[i] {
				return 0, fmt.Errorf("an outcome of %q came twice or was not asked for", key)
			}
			seen[i] = true
			switch o.GetResult().GetOutcome() {
			case salesforcev1.Outcome_OUTCOME_CREATED, salesforcev1.Outcome_OUTCOME_UPDATED:
				succeeded++
			}
		}
	}
	if err := <-sent; err != nil {
		return 0, err
	}
	if ledger == nil || ledger.GetRows() != int64(n) || ledger.GetCreated()+ledger.GetUpdated() != succeeded {
		return 0, fmt.Errorf("the ledger says %v after %d records of which %d were written", ledger, n, succeeded)
	}
	return succeeded, nil
}

func send(stream grpc.BidiStreamingClient[salesforcev1.UpsertRecordsRequest, salesforcev1.UpsertRecordsResponse], head *salesforcev1.UpsertHeader, n int, row func(i int) (string, []string)) error {
	if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Header{Header: head}}); err != nil {
		return fmt.Errorf("send the header: %w", err)
	}
	for i := 0; i < n; {
		table := &salesforcev1.UpsertTable{Columns: make([]*salesforcev1.TextColumn, len(head.GetFields()))}
		for c := range table.Columns {
			table.Columns[c] = &salesforcev1.TextColumn{}
		}
		for ; i < n && len(table.ExternalIds) < perMessage; i++ {
			key, values := row(i)
			table.ExternalIds = append(table.ExternalIds, key)
			for c, text := range values {
				table.Columns[c].Values = append(table.Columns[c].Values, text)
			}
		}
		if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Table{Table: table}}); err != nil {
			return fmt.Errorf("send records: %w", err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return fmt.Errorf("end the stream: %w", err)
	}
	return nil
}
