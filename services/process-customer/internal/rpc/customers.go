package rpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/intake"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

type customers struct {
	customerv1.UnimplementedCustomerServiceServer
	d Deps
}

const reasonUnknown = "CUSTOMER_UNKNOWN"

// find returns a customer by id, following a merge.
func find(ctx context.Context, r reader, obj golden.Object, text string) (*store.Golden, error) {
	id, ok := golden.ParseID(text)
	for range mostMerges {
		if !ok || (obj != "" && id.Object() != obj) {
			break
		}
		got, err := r.Goldens(ctx, []golden.ID{id})
		if err != nil {
			return nil, err
		}
		if len(got) == 0 {
			break
		}
		if got[0].MergedInto == "" {
			return got[0], nil
		}
		id = got[0].MergedInto
	}
	return nil, fault.New(fault.NotFound, reasonUnknown, "there is no such record")
}

// mostMerges is how many merges a read follows, one after the other.
const mostMerges = 8

// shown returns what is shown of a customer by id, following a merge.
func shown(ctx context.Context, r store.Reader, text string) (*store.Shown, error) {
	id, ok := golden.ParseID(text)
	for range mostMerges {
		if !ok || id.Object() != golden.Customer {
			break
		}
		got, err := r.Shown(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		if got.Golden.MergedInto == "" {
			return got, nil
		}
		id = got.Golden.MergedInto
	}
	return nil, fault.New(fault.NotFound, reasonUnknown, "there is no such record")
}

// living returns what is shown of a customer that some system has.
func living(ctx context.Context, r store.Reader, text string) (*store.Shown, error) {
	c, err := shown(ctx, r, text)
	if err == nil && c.Golden.Deleted {
		err = fault.New(fault.Precondition, intake.ReasonCustomerDeleted, "every system has deleted the customer")
	}
	return c, err
}

func (s *customers) message(ctx context.Context, r reader, g *store.Golden) (*customerv1.Customer, error) {
	out, err := messages(ctx, r, []*store.Golden{g})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (s *customers) GetCustomer(ctx context.Context, req *customerv1.GetCustomerRequest) (*customerv1.GetCustomerResponse, error) {
	c, err := shown(ctx, s.d.Store.Brief(), req.GetId())
	if err != nil {
		return nil, err
	}
	return &customerv1.GetCustomerResponse{Customer: customer(c.Golden, c.Links, c.Marked)}, nil
}

// cursor is where a page ends.
type cursor struct {
	ID string `json:"i"`
}

func (s *customers) ListCustomers(ctx context.Context, req *customerv1.ListCustomersRequest) (*customerv1.ListCustomersResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	if req.GetSystem() != "" || req.GetRecordId() != "" {
		return s.bySystem(ctx, r, req)
	}
	filter := page.Hash("customers", req.GetNamePrefix())
	var at cursor
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	prefix := match.Fold(req.GetNamePrefix())
	if req.GetNamePrefix() != "" && prefix == "" {
		return &customerv1.ListCustomersResponse{}, nil
	}
	goldens, err := r.ListGoldens(ctx, golden.Customer, prefix, golden.ID(at.ID), size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListCustomersResponse{}
	if len(goldens) > size {
		goldens = goldens[:size]
		if resp.NextPageToken, err = page.Encode(filter, cursor{string(goldens[size-1].ID)}); err != nil {
			return nil, err
		}
	}
	resp.Customers, err = messages(ctx, r, goldens)
	return resp, err
}

func (s *customers) bySystem(ctx context.Context, r store.Reader, req *customerv1.ListCustomersRequest) (*customerv1.ListCustomersResponse, error) {
	switch {
	case req.GetSystem() == "":
		return nil, fault.InvalidField("system", "", "is required with record_id")
	case req.GetRecordId() == "":
		return nil, fault.InvalidField("record_id", "", "is required with system")
	case req.GetNamePrefix() != "":
		return nil, fault.InvalidField("name_prefix", "", "cannot be combined with system")
	}
	rows, err := r.Sources(ctx, req.GetSystem(), golden.Customer, []string{req.GetRecordId()})
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListCustomersResponse{}
	if len(rows) == 0 || rows[0].GoldenID == "" {
		return resp, nil
	}
	g, err := find(ctx, r, golden.Customer, string(rows[0].GoldenID))
	if fault.Is(err, fault.NotFound) || (err == nil && g.Deleted) {
		return resp, nil
	}
	if err != nil {
		return nil, err
	}
	resp.Customers, err = messages(ctx, r, []*store.Golden{g})
	return resp, err
}

func (s *customers) ListContacts(ctx context.Context, req *customerv1.ListContactsRequest) (*customerv1.ListContactsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	g, err := find(ctx, r, golden.Customer, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	filter := page.Hash("contacts", string(g.ID))
	var at cursor
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	goldens, err := r.ListChildren(ctx, g.ID, golden.ID(at.ID), size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListContactsResponse{}
	if len(goldens) > size {
		goldens = goldens[:size]
		if resp.NextPageToken, err = page.Encode(filter, cursor{string(goldens[size-1].ID)}); err != nil {
			return nil, err
		}
	}
	for _, c := range goldens {
		resp.Contacts = append(resp.Contacts, contact(c))
	}
	return resp, nil
}

func (s *customers) ListOrders(ctx context.Context, req *customerv1.ListOrdersRequest) (*customerv1.ListOrdersResponse, error) {
	size, err := page.Size(req.GetPageSize(), 20, 200)
	if err != nil {
		return nil, err
	}
	c, err := shown(ctx, s.d.Store.Brief(), req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	ids := recordsIn(c.Links, s.d.Orders.Name())
	if len(ids) == 0 {
		return &customerv1.ListOrdersResponse{}, nil
	}
	orders, next, err := s.d.Orders.Orders(ctx, ids, size, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListOrdersResponse{NextPageToken: next}
	for _, o := range orders {
		resp.Orders = append(resp.Orders, orderSummary(o))
	}
	return resp, nil
}

// recordsIn returns the live records that a system has of a customer, as many as can be asked for together.
func recordsIn(links []store.Link, system string) []string {
	var ids []string
	for _, l := range links {
		if l.Ref.System == system && !l.Deleted && len(ids) < source.MaxCustomers {
			ids = append(ids, l.Ref.RecordID)
		}
	}
	return ids
}

// effectID returns what identifies the effect of this call: the same for every repetition with its key.
func effectID(ctx context.Context, method string) (string, error) {
	key, ok := idempotent.FromContext(ctx)
	if !ok || key == "" {
		return "", fault.New(fault.Invalid, idempotent.ReasonKeyMissing, "the method needs an idempotency key")
	}
	return strings.Join([]string{caller.From(ctx).Name, method, key}, "\x00"), nil
}

func (s *customers) CreateCustomer(ctx context.Context, req *customerv1.CreateCustomerRequest) (*customerv1.CreateCustomerResponse, error) {
	values, err := newValues(req.GetCustomer())
	if err != nil {
		return nil, err
	}
	seed, err := effectID(ctx, "create")
	if err != nil {
		return nil, err
	}
	id, err := golden.DeriveID(golden.Customer, seed)
	if err != nil {
		return nil, err
	}
	var resp *customerv1.CreateCustomerResponse
	err = s.d.Writer.Create(ctx, id, values, func(ctx context.Context, tx *store.Tx, got golden.ID, existing bool) error {
		resp = &customerv1.CreateCustomerResponse{Existing: existing}
		resp.Customer, err = s.stored(ctx, tx, got)
		if err == nil && !existing {
			resp.PossibleDuplicates, err = s.possible(ctx, tx.Reader, got)
		}
		return errors.Join(err, s.answer(ctx, tx, resp, err))
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// newValues returns the values of a customer to create.
func newValues(c *customerv1.Customer) (golden.Values, error) {
	values := valuesOf(c, golden.Fields(golden.Customer))
	for field, value := range values {
		if value == "" {
			delete(values, field)
		}
	}
	if values[golden.Name] == "" {
		return nil, fault.InvalidField("customer.name", "", "must not be empty")
	}
	if c.GetId()+c.GetEtag()+c.GetErpNumber() != "" || len(c.GetSources()) > 0 || c.GetCreateTime() != nil || c.GetUpdateTime() != nil || c.GetDeleted() {
		return nil, fault.InvalidField("customer", "", "id, etag, erp_number, times, sources and deleted are assigned and must be empty")
	}
	return values, nil
}

// changedValues returns the values that an update names, and the version that it is based on.
func changedValues(req *customerv1.UpdateCustomerRequest) (int64, golden.Values, error) {
	fields, err := masked(req.GetUpdateMask().GetPaths())
	if err != nil {
		return 0, nil, err
	}
	version, err := versionOf(req.GetCustomer().GetEtag())
	if err != nil {
		return 0, nil, err
	}
	values := valuesOf(req.GetCustomer(), fields)
	if name, named := values[golden.Name]; named && name == "" {
		return 0, nil, fault.InvalidField("customer.name", "", "must not be empty")
	}
	return version, values, nil
}

func (s *customers) UpdateCustomer(ctx context.Context, req *customerv1.UpdateCustomerRequest) (*customerv1.UpdateCustomerResponse, error) {
	c := req.GetCustomer()
	version, values, err := changedValues(req)
	if err != nil {
		return nil, err
	}
	seed, err := effectID(ctx, "update")
	if err != nil {
		return nil, err
	}
	change, err := golden.DeriveID(golden.Customer, seed)
	if err != nil {
		return nil, err
	}
	g, err := find(ctx, s.d.Store.Read(), golden.Customer, c.GetId())
	if err != nil {
		return nil, err
	}
	var resp *customerv1.UpdateCustomerResponse
	err = s.d.Writer.Update(ctx, g.ID, string(change), version, values, func(ctx context.Context, tx *store.Tx, id golden.ID, _ bool) error {
		var err error
		resp = &customerv1.UpdateCustomerResponse{}
		resp.Customer, err = s.stored(ctx, tx, id)
		return errors.Join(err, s.answer(ctx, tx, resp, err))
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// stored returns a customer as it is inside the transaction.
func (s *customers) stored(ctx context.Context, tx *store.Tx, id golden.ID) (*customerv1.Customer, error) {
	g, err := find(ctx, tx, golden.Customer, string(id))
	if err != nil {
		return nil, err
	}
	return s.message(ctx, tx, g)
}

func (s *customers) answer(ctx context.Context, tx *store.Tx, resp proto.Message, failed error) error {
	if failed != nil {
		return nil
	}
	return s.d.Answer(ctx, tx.SQL(), resp)
}
