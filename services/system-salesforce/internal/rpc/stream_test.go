package rpc

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// wire is a stream whose messages are known beforehand.
type wire struct {
	grpc.ServerStream
	ctx  context.Context //nolint:containedctx // as a stream has it
	in   []*salesforcev1.UpsertRecordsRequest
	sent []*salesforcev1.UpsertRecordsResponse
}

func (w *wire) Context() context.Context { return w.ctx }

func (w *wire) Recv() (*salesforcev1.UpsertRecordsRequest, error) {
	if len(w.in) == 0 {
		return nil, io.EOF
	}
	m := w.in[0]
	w.in = w.in[1:]
	return m, nil
}

func (w *wire) Send(m *salesforcev1.UpsertRecordsResponse) error {
	w.sent = append(w.sent, m)
	return nil
}

// plain describes every account column as text.
type plain struct{ nobody }

func (plain) Schema(context.Context, string) (*mapping.Schema, error) {
	m, err := mapping.Default()
	if err != nil {
		return nil, err
	}
	var fields []mapping.Described
	for _, c := range m.Account.Columns() {
		fields = append(fields, mapping.Described{Name: c, Writable: true, Createable: true, ExternalID: true, Unique: true})
	}
	return mapping.NewSchema(fields), nil
}

func TestUpsertRecords(t *testing.T) {
	t.Parallel()
	header := func() *salesforcev1.UpsertRecordsRequest {
		return &salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Header{Header: &salesforcev1.UpsertHeader{Object: "account", Fields: []string{"name"}}}}
	}
	rows := func(keys ...string) *salesforcev1.UpsertRecordsRequest {
		m := &salesforcev1.UpsertRows{}
		for _, key := range keys {
			m.Upserts = append(m.Upserts, &salesforcev1.RecordUpsert{Record: &salesforcev1.Record{ExternalId: key, Fields: map[string]*salesforcev1.FieldValue{
				"name": {Value: &salesforcev1.FieldValue_Text{Text: key}},
			}}})
		}
		return &salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: m}}
	}
	told := func(w *wire) map[string]*salesforcev1.WriteResult {
		out := map[string]*salesforcev1.WriteResult{}
		for _, m := range w.sent {
			for _, o := range m.GetOutcomes() {
				out[o.GetExternalId()] = o.GetResult()
			}
		}
		return out
	}
	t.Run("what is known of some records is told even though the load fails", func(t *testing.T) {
		t.Parallel()
		_, accounts := setup(t)
		accounts.Describe = plain{}
		// The record that comes again ends the batch before it; the message after that breaks the stream.
		w := &wire{ctx: t.Context(), in: []*salesforcev1.UpsertRecordsRequest{header(), rows("A", "", "B"), rows("a"), header()}}
		err := (&records{Server: accounts.Server}).UpsertRecords(w)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		out := told(w)
		require.Len(t, out, 3)
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, out["A"].GetOutcome())
		require.Equal(t, salesforcev1.Outcome_OUTCOME_CREATED, out["B"].GetOutcome())
		require.Equal(t, "EXTERNAL_ID_REQUIRED", out[""].GetError().GetReason())
		for _, m := range w.sent {
			require.Nil(t, m.GetLedger(), "a load that is not finished has no ledger")
		}
	})
	t.Run("a record that waits for the allowance says until when", func(t *testing.T) {
		t.Parallel()
		c, accounts := setup(t)
		accounts.Describe = plain{}
		at := time.Date(2026, 5, 1, 18, 0, 0, 0, time.UTC)
		c.upsertErr = fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "kept for others").WithRetryAfter(time.Minute).WithMeta("resume_time", at.Format(time.RFC3339))
		w := &wire{ctx: t.Context(), in: []*salesforcev1.UpsertRecordsRequest{header(), rows("A")}}
		require.NoError(t, (&records{Server: accounts.Server}).UpsertRecords(w))
		e := told(w)["A"].GetError()
		require.Equal(t, "API_BUDGET_EXHAUSTED", e.GetReason())
		require.Equal(t, at, e.GetResumeTime().AsTime())
		require.Equal(t, time.Minute, e.GetRetryAfter().AsDuration())

		r := accounts.result(accounts.Mapping.Account, write.Outcome{Refused: &rest.Refusal{Reason: "API_BUDGET_EXHAUSTED", Class: rest.WaitForQuota, Resume: at}})
		require.Equal(t, at, r.GetError().GetResumeTime().AsTime())
		require.Equal(t, salesforcev1.ErrorClass_ERROR_CLASS_WAIT_FOR_QUOTA, r.GetError().GetClass())
		require.Nil(t, accounts.result(accounts.Mapping.Account, write.Outcome{Refused: &rest.Refusal{Reason: "x"}}).GetError().GetResumeTime())
	})
}
