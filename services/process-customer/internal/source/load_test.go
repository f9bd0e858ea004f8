package source

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// loader is the part of system-salesforce that takes streams.
type loader struct {
	salesforcev1.UnimplementedRecordServiceServer
	header *salesforcev1.UpsertHeader
	rows   []*salesforcev1.RecordUpsert
	// stop ends the stream after so many outcomes; refuse ends it at the header.
	stop   int
	refuse error
}

func (l *loader) UpsertRecords(stream grpc.BidiStreamingServer[salesforcev1.UpsertRecordsRequest, salesforcev1.UpsertRecordsResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if l.header = first.GetHeader(); l.refuse != nil {
		return l.refuse
	}
	told := 0
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.Send(&salesforcev1.UpsertRecordsResponse{Ledger: &salesforcev1.UpsertLedger{Rows: int64(told)}})
		}
		if err != nil {
			return err
		}
		out := &salesforcev1.UpsertRecordsResponse{}
		for _, u := range l.records(m.GetTable()) {
			l.rows = append(l.rows, u)
			if told++; l.stop > 0 && told > l.stop {
				if err := stream.Send(out); err != nil {
					return err
				}
				return fault.New(fault.Unavailable, fault.ReasonUnavailable, "stopped")
			}
			r := &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_CREATED, Id: "001" + u.GetRecord().GetExternalId()}
			if u.GetRecord().GetFields()["name"] == nil && l.header.GetObject() == "account" {
				r = &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_REFUSED, Error: &salesforcev1.RecordError{Reason: "FIELD_REQUIRED", Field: "name"}}
			}
			// In an order of its own, as a job answers, and with the key as the CRM shows it.
			out.Outcomes = append([]*salesforcev1.RowOutcome{{ExternalId: strings.ToUpper(u.GetRecord().GetExternalId()), Result: r}}, out.GetOutcomes()...)
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// records are the records of a table, one by one.
func (l *loader) records(table *salesforcev1.UpsertTable) []*salesforcev1.RecordUpsert {
	var out []*salesforcev1.RecordUpsert
	for i, id := range table.GetExternalIds() {
		u := &salesforcev1.RecordUpsert{Record: &salesforcev1.Record{ExternalId: id, Fields: map[string]*salesforcev1.FieldValue{}}, UpdateMask: &fieldmaskpb.FieldMask{}}
		for c, column := range table.GetColumns() {
			if slices.Contains(column.GetKept(), uint32(i)) {
				continue
			}
			path := l.header.GetFields()[c]
			u.UpdateMask.Paths = append(u.UpdateMask.Paths, path)
			if text := column.GetValues()[i]; text != "" {
				u.Record.Fields[path] = &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Text{Text: text}}
			}
		}
		out = append(out, u)
	}
	return out
}

func newLoader(t *testing.T) (*loader, *Salesforce) {
	t.Helper()
	l := &loader{}
	return l, NewSalesforce("salesforce", connect(t, func(r grpc.ServiceRegistrar) { salesforcev1.RegisterRecordServiceServer(r, l) }))
}

func TestLoad(t *testing.T) {
	t.Parallel()
	writes := func(n int) []Write {
		out := make([]Write, n)
		for i := range out {
			out[i] = Write{ExternalID: fmt.Sprintf("c_%05d", i), Values: golden.Values{golden.Name: fmt.Sprint("N", i), golden.City: "Köln", golden.Website: ""}}
		}
		return out
	}
	t.Run("every write gets its own outcome, in the order of the writes", func(t *testing.T) {
		t.Parallel()
		l, s := newLoader(t)
		in := writes(1201)
		in[7].Values = golden.Values{golden.City: "Bonn"}
		results, err := s.Load(t.Context(), golden.Customer, in)
		require.NoError(t, err)
		require.Len(t, results, len(in))
		for i, r := range results {
			if i == 7 {
				require.Equal(t, fault.Invalid, fault.KindOf(r.Err))
				continue
			}
			require.NoError(t, r.Err)
			require.Equal(t, "001"+in[i].ExternalID, r.RecordID)
			require.True(t, r.Created)
		}
		require.Equal(t, "account", l.header.GetObject())
		require.EqualValues(t, 1201, l.header.GetBacklog())
		require.Equal(t, salesforcev1.Priority_PRIORITY_SYNC, l.header.GetPriority())
		_, err = s.Load(priority.With(t.Context(), priority.Bulk), golden.Customer, in[:1])
		require.NoError(t, err)
		require.Equal(t, salesforcev1.Priority_PRIORITY_BULK, l.header.GetPriority(), "as urgent as what is delivered")
		require.Equal(t, []string{"address.city", "name", "website"}, l.header.GetFields())
		require.Equal(t, "Köln", l.rows[0].GetRecord().GetFields()["address.city"].GetText())
		require.NotContains(t, l.rows[0].GetRecord().GetFields(), "website", "an empty value is cleared by the mask")
		require.Equal(t, []string{"address.city", "name", "website"}, l.rows[0].GetUpdateMask().GetPaths())
		require.Equal(t, []string{"address.city"}, l.rows[7].GetUpdateMask().GetPaths(), "what a write does not say stays as it is")
	})
	t.Run("a contact is loaded under its customer", func(t *testing.T) {
		t.Parallel()
		l, s := newLoader(t)
		_, err := s.Load(t.Context(), golden.Contact, []Write{{ExternalID: "p_1", ParentID: "001x", Values: golden.Values{golden.LastName: "L"}}})
		require.NoError(t, err)
		require.Equal(t, "contact", l.header.GetObject())
		require.Equal(t, []string{"account_id", "last_name"}, l.header.GetFields())
		require.Equal(t, "001x", l.rows[0].GetRecord().GetFields()["account_id"].GetText())
	})
	t.Run("a stream that breaks leaves what was told, and the rest uncertain", func(t *testing.T) {
		t.Parallel()
		l, s := newLoader(t)
		l.stop = 600
		results, err := s.Load(t.Context(), golden.Customer, writes(1500))
		require.NoError(t, err)
		require.Len(t, results, 1500)
		told := 0
		for _, r := range results {
			if r.Err == nil {
				told++
				continue
			}
			require.Equal(t, fault.Uncertain, fault.KindOf(r.Err))
			require.False(t, OutcomeKnown(r.Err))
		}
		require.Equal(t, 600, told)
	})
	t.Run("a load that is refused fails as a whole", func(t *testing.T) {
		t.Parallel()
		l, s := newLoader(t)
		l.refuse = fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "later")
		_, err := s.Load(t.Context(), golden.Customer, writes(700))
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
	})
	t.Run("an older service does not know loads", func(t *testing.T) {
		t.Parallel()
		_, s := newCRM(t)
		_, err := s.Load(t.Context(), golden.Customer, writes(1))
		require.Equal(t, fault.Unimplemented, fault.KindOf(err))
	})
}
