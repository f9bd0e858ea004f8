package rpc

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/changes"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store/sqlstore"
)

func setup(t *testing.T) *Server {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), dbtest.Open(t, "sqlite"), sqlstore.Options{})
	require.NoError(t, err)
	feed, err := changes.New(st, changes.Options{})
	require.NoError(t, err)
	s, err := New(Deps{Store: st, Feed: feed, Meter: noop.Meter{}})
	require.NoError(t, err)
	return s
}

func key(v string) *erpv1.Reference { return &erpv1.Reference{System: "s", Type: "t", Value: v} }

// TestBatch_UnreadableRecords sends records that break the contract's own rules: each is refused alone, with its field.
func TestBatch_UnreadableRecords(t *testing.T) {
	t.Parallel()
	s := setup(t)
	t.Run("customers", func(t *testing.T) {
		t.Parallel()
		bad := map[string]*erpv1.CustomerUpsert{
			"customer":                    {Key: key("a")},
			"customer.name":               {Key: key("b"), Customer: &erpv1.Customer{Name: strings.Repeat("x", 256)}},
			"customer.currency":           {Key: key("c"), Customer: &erpv1.Customer{Name: "C", Currency: "euro"}},
			"customer.refs[0].value":      {Key: key("d"), Customer: &erpv1.Customer{Name: "D", Refs: []*erpv1.Reference{{System: "s", Type: "t"}}}},
			"key.system":                  {Key: &erpv1.Reference{Type: "t", Value: "v"}, Customer: &erpv1.Customer{Name: "E"}},
			"customer.email":              {Key: key("f"), Customer: &erpv1.Customer{Name: "F", Email: "a\x00b"}},
			"customer.extensions":         {Key: key("g"), Customer: &erpv1.Customer{Name: "G", Extensions: map[string]string{"k": "\x00"}}},
			"customer.addresses[0].city":  {Key: key("h"), Customer: &erpv1.Customer{Name: "H", Addresses: []*erpv1.Address{{City: "\x00"}}}},
			"customer.addresses[0].usage": {Key: key("i"), Customer: &erpv1.Customer{Name: "I", Addresses: []*erpv1.Address{{Usage: 99}}}},
			"customer.deleted":            {Key: key("j"), Customer: &erpv1.Customer{Name: "J", Deleted: true}},
			"update_mask":                 {Key: key("k"), Customer: &erpv1.Customer{Name: "K"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"version"}}},
			"expected_version":            {Key: key("l"), Customer: &erpv1.Customer{Name: "L"}, ExpectedVersion: -1},
		}
		req := &erpv1.BatchUpsertCustomersRequest{}
		var paths []string
		for path, u := range bad {
			paths = append(paths, path)
			req.Upserts = append(req.Upserts, u, &erpv1.CustomerUpsert{Key: key("fine " + path), Customer: &erpv1.Customer{Name: "Fine"}})
		}
		resp, err := (&customerServer{Server: s}).BatchUpsertCustomers(t.Context(), req)
		require.NoError(t, err)
		require.Len(t, resp.GetResults(), 2*len(bad))
		for i, path := range paths {
			r := resp.GetResults()[2*i]
			require.Equal(t, erpv1.Outcome_OUTCOME_REFUSED, r.GetOutcome(), path)
			require.Equal(t, path, r.GetError().GetField())
			require.Regexp(t, "^[A-Z_]+$", r.GetError().GetReason())
			require.NotEmpty(t, r.GetError().GetMessage())
			require.False(t, r.GetError().GetRetryable())
			require.Nil(t, r.GetCustomer())
			require.Equal(t, erpv1.Outcome_OUTCOME_CREATED, resp.GetResults()[2*i+1].GetOutcome(), "beside %s", path)
		}
	})
	t.Run("contacts", func(t *testing.T) {
		t.Parallel()
		resp, err := (&contactServer{Server: s}).BatchUpsertContacts(t.Context(), &erpv1.BatchUpsertContactsRequest{Upserts: []*erpv1.ContactUpsert{
			{Key: key("a"), Contact: &erpv1.Contact{LastName: "A", CustomerId: "nobody"}},
			{Key: key("b"), Contact: &erpv1.Contact{LastName: "B"}},
		}})
		require.NoError(t, err)
		require.Equal(t, "contact.customer_id", resp.GetResults()[0].GetError().GetField())
		require.Equal(t, erp.ReasonUnknownRecord, resp.GetResults()[0].GetError().GetReason())
		require.Equal(t, erpv1.Outcome_OUTCOME_CREATED, resp.GetResults()[1].GetOutcome())
	})
	t.Run("products", func(t *testing.T) {
		t.Parallel()
		resp, err := (&productServer{Server: s}).BatchUpsertProducts(t.Context(), &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{
			{Sku: "a", Name: "A", Price: &erpv1.Money{Amount: "1.5"}},
			{Sku: "b", Name: "B", Price: &erpv1.Money{Amount: "1e5", Currency: "EUR"}},
			{Sku: "c", Name: "C", Price: &erpv1.Money{Amount: "1.50", Currency: "EUR"}},
		}})
		require.NoError(t, err)
		require.Equal(t, "product.price.currency", resp.GetResults()[0].GetError().GetField())
		require.Equal(t, "price.amount", resp.GetResults()[1].GetError().GetField())
		require.Equal(t, "1.50", resp.GetResults()[2].GetProduct().GetPrice().GetAmount())
	})
}

func TestRecordError(t *testing.T) {
	t.Parallel()
	mismatch := recordError(fault.New(fault.Conflict, fault.ReasonETagMismatch, "the customer has another version"))
	require.False(t, mismatch.GetRetryable(), "the same write never fits that version again")
	require.Equal(t, fault.ReasonETagMismatch, mismatch.GetReason())
	require.True(t, recordError(fault.New(fault.Conflict, store.ReasonContention, "busy")).GetRetryable())
}

func TestGuard(t *testing.T) {
	t.Parallel()
	called := 0
	call := func(req any) error {
		_, err := Guard()(t.Context(), req, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { called++; return nil, nil })
		return err
	}
	f, ok := fault.As(call(&erpv1.LookupCustomerRequest{Ref: key("a\x00")}))
	require.True(t, ok)
	require.Equal(t, "ref.value", f.Fields[0].Path)
	require.Zero(t, called)
	require.NoError(t, call(&erpv1.LookupCustomerRequest{Ref: key("a")}))
	require.NoError(t, call(&erpv1.BatchUpsertCustomersRequest{Upserts: []*erpv1.CustomerUpsert{{Key: key("a\x00")}}}), "checked record by record")
	require.Equal(t, 2, called)
}
