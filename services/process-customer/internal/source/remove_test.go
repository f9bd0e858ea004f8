package source

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func (c *crm) table(object string) *table {
	if object == "contact" {
		return c.contacts
	}
	return c.accounts
}

func (c *crm) BatchGetRecords(_ context.Context, req *salesforcev1.BatchGetRecordsRequest) (*salesforcev1.BatchGetRecordsResponse, error) {
	t := c.table(req.GetObject())
	t.mu.Lock()
	defer t.mu.Unlock()
	resp := &salesforcev1.BatchGetRecordsResponse{}
	for _, ext := range req.GetExternalIds() {
		for _, id := range t.ids() {
			if get(t.rows[id], "external_id").String() == ext {
				resp.Records = append(resp.Records, &salesforcev1.Record{Id: id, ExternalId: ext})
			}
		}
	}
	return resp, nil
}

func (c *crm) BatchDeleteRecords(_ context.Context, req *salesforcev1.BatchDeleteRecordsRequest) (*salesforcev1.BatchDeleteRecordsResponse, error) {
	t := c.table(req.GetObject())
	t.mu.Lock()
	defer t.mu.Unlock()
	resp := &salesforcev1.BatchDeleteRecordsResponse{}
	for _, id := range req.GetIds() {
		res := &salesforcev1.DeleteResult{Id: id, Deleted: true, Missing: t.rows[id] == nil || t.deleted(id)}
		switch {
		case c.keeps[id]:
			res = &salesforcev1.DeleteResult{Id: id, Error: &salesforcev1.RecordError{Reason: "SALESFORCE_REFUSED"}}
		case !res.GetMissing():
			t.store(id, &salesforcev1.Account{Deleted: true, Version: get(t.rows[id], "version").Int()})
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

func (b *backend) find(t *table, ref *erpv1.Reference) (string, error) {
	for _, id := range t.ids() {
		for _, have := range t.rows[id].(referenced).GetRefs() {
			if proto.Equal(have, ref) {
				return id, nil
			}
		}
	}
	return "", fault.New(fault.NotFound, fault.ReasonNotFound, "no record has the reference")
}

func (b *backend) LookupCustomer(_ context.Context, req *erpv1.LookupCustomerRequest) (*erpv1.LookupCustomerResponse, error) {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	if b.readErr != nil {
		return nil, b.readErr
	}
	id, err := b.find(b.customers, req.GetRef())
	if err != nil {
		return nil, err
	}
	return &erpv1.LookupCustomerResponse{Customer: b.customers.rows[id].(*erpv1.Customer)}, nil
}

func (b *backend) DeleteCustomer(_ context.Context, req *erpv1.DeleteCustomerRequest) (*erpv1.DeleteCustomerResponse, error) {
	b.customers.mu.Lock()
	defer b.customers.mu.Unlock()
	row := b.customers.rows[req.GetId()]
	if row == nil {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such customer")
	}
	if !b.customers.deleted(req.GetId()) {
		row = &erpv1.Customer{Deleted: true, Version: get(row, "version").Int()}
		b.customers.store(req.GetId(), row)
	}
	return &erpv1.DeleteCustomerResponse{Customer: row.(*erpv1.Customer)}, nil
}

func TestRemove(t *testing.T) {
	t.Parallel()
	t.Run("a record that the CRM keeps is refused, the others go", func(t *testing.T) {
		t.Parallel()
		c, sys := newCRM(t)
		a, b := c.Create(golden.Customer, "", name("A")), c.Create(golden.Customer, "", name("B"))
		c.keeps = map[string]bool{a: true}
		results, err := sys.Remove(t.Context(), golden.Customer, []string{a, b})
		require.NoError(t, err)
		require.Equal(t, fault.Precondition, fault.KindOf(results[0].Err))
		require.NoError(t, results[1].Err)
		require.True(t, c.accounts.deleted(b))
	})
	t.Run("what the ERP never had is gone", func(t *testing.T) {
		t.Parallel()
		_, sys := newBackend(t)
		results, err := sys.Remove(t.Context(), golden.Customer, []string{"77"})
		require.NoError(t, err)
		require.True(t, results[0].Unchanged)
	})
	t.Run("an ERP that cannot look references up is no ERP that has nothing", func(t *testing.T) {
		t.Parallel()
		b, sys := newBackend(t)
		b.readErr = fault.New(fault.Unavailable, "DOWN", "down")
		_, err := sys.Find(t.Context(), golden.Customer, []string{"c_x"})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
	t.Run("a proxy that knows no route has deleted nothing, and proves no absence", func(t *testing.T) {
		t.Parallel()
		conn := connectTo(t, grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			return status.Error(codes.NotFound, "no route")
		})))
		for _, sys := range []System{NewERP("erp", conn), NewSalesforce("salesforce", conn)} {
			_, err := sys.Remove(t.Context(), golden.Customer, []string{"77"})
			require.Equal(t, fault.ReasonForeignAnswer, fault.ReasonOf(err), sys.Name())
			_, err = sys.Find(t.Context(), golden.Customer, []string{"c_x"})
			require.Equal(t, fault.ReasonForeignAnswer, fault.ReasonOf(err), sys.Name())
		}
	})
}
