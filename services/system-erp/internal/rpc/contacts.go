package rpc

import (
	"context"
	"database/sql"
	"errors"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

type contactServer struct {
	erpv1.UnimplementedContactServiceServer
	*Server
}

func (s *contactServer) GetContact(ctx context.Context, req *erpv1.GetContactRequest) (*erpv1.GetContactResponse, error) {
	c, err := byID(ctx, s.store.Contacts(), req.GetId(), "contact")
	if err != nil {
		return nil, err
	}
	return &erpv1.GetContactResponse{Contact: fromContact(c)}, nil
}

func (s *contactServer) BatchGetContacts(ctx context.Context, req *erpv1.BatchGetContactsRequest) (*erpv1.BatchGetContactsResponse, error) {
	found, missing, err := ordered(ctx, s.store.Contacts(), req.GetIds())
	if err != nil {
		return nil, err
	}
	return &erpv1.BatchGetContactsResponse{Contacts: each(found, fromContact), MissingIds: missing}, nil
}

func (s *contactServer) ListContacts(ctx context.Context, req *erpv1.ListContactsRequest) (*erpv1.ListContactsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 500, 1000)
	if err != nil {
		return nil, err
	}
	found, next, err := paged(req.GetPageToken(), page.Hash("contacts"), size, func(after *string, limit int) ([]erp.Contact, error) {
		return s.store.Contacts().List(ctx, deref(after), limit)
	}, func(c erp.Contact) string { return c.ID })
	if err != nil {
		return nil, err
	}
	return &erpv1.ListContactsResponse{Contacts: each(found, fromContact), NextPageToken: next}, nil
}

func (s *contactServer) LookupContact(ctx context.Context, req *erpv1.LookupContactRequest) (*erpv1.LookupContactResponse, error) {
	c, err := s.store.Contacts().Lookup(ctx, toRef(req.GetRef()))
	if err != nil {
		return nil, err
	}
	return &erpv1.LookupContactResponse{Contact: fromContact(c)}, nil
}

func (s *contactServer) CreateContact(ctx context.Context, req *erpv1.CreateContactRequest) (*erpv1.CreateContactResponse, error) {
	if err := assigned("contact", req.GetContact()); err != nil {
		return nil, err
	}
	var resp *erpv1.CreateContactResponse
	_, err := s.store.Contacts().Create(ctx, toContact(req.GetContact()), func(ctx context.Context, tx *sql.Tx, c erp.Contact) error {
		resp = &erpv1.CreateContactResponse{Contact: fromContact(c), Outcome: fromOutcome(erp.Created)}
		return s.answer(ctx, tx, resp)
	})
	s.counted(ctx, "contact", created(err), err)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *contactServer) UpdateContact(ctx context.Context, req *erpv1.UpdateContactRequest) (*erpv1.UpdateContactResponse, error) {
	mask, err := maskOf(s.contacts, req.GetUpdateMask(), true)
	if err != nil {
		return nil, err
	}
	if req.GetContact().GetId() == "" {
		return nil, noID("contact")
	}
	res, err := s.store.Contacts().Update(ctx, store.Upsert[erp.Contact]{
		Record: toContact(req.GetContact()), Mask: mask, Expected: req.GetExpectedVersion(),
	})
	s.counted(ctx, "contact", res.Outcome, err)
	if err != nil {
		return nil, err
	}
	return &erpv1.UpdateContactResponse{Contact: fromContact(res.Record), Outcome: fromOutcome(res.Outcome)}, nil
}

func (s *contactServer) DeleteContact(ctx context.Context, req *erpv1.DeleteContactRequest) (*erpv1.DeleteContactResponse, error) {
	res, err := s.store.Contacts().Delete(ctx, req.GetId())
	s.counted(ctx, "contact", res.Outcome, err)
	if err == nil || fault.Is(err, fault.NotFound) {
		err = errors.Join(err, s.forgotten(ctx, req.GetId()))
	}
	if err != nil {
		return nil, err
	}
	return &erpv1.DeleteContactResponse{Contact: fromContact(res.Record), Outcome: fromOutcome(res.Outcome)}, nil
}

func (s *contactServer) BatchUpsertContacts(ctx context.Context, req *erpv1.BatchUpsertContactsRequest) (*erpv1.BatchUpsertContactsResponse, error) {
	results, err := batch(ctx, s.Server, "contact", req.GetUpserts(), s.upsert, s.store.Contacts().Upsert)
	if err != nil {
		return nil, err
	}
	return &erpv1.BatchUpsertContactsResponse{Results: each(results, func(r store.Result[erp.Contact]) *erpv1.ContactUpsertResult {
		if r.Err != nil {
			return &erpv1.ContactUpsertResult{Outcome: fromOutcome(erp.Refused), Error: recordError(r.Err)}
		}
		return &erpv1.ContactUpsertResult{Outcome: fromOutcome(r.Outcome), Contact: fromContact(r.Record)}
	})}, nil
}

func (s *contactServer) upsert(u *erpv1.ContactUpsert) (store.Upsert[erp.Contact], error) {
	out := store.Upsert[erp.Contact]{Record: toContact(u.GetContact()), Key: toRef(u.GetKey()), Expected: u.GetExpectedVersion()}
	if u.GetContact().GetDeleted() {
		return out, notWritable("contact.deleted")
	}
	var err error
	out.Mask, err = maskOf(s.contacts, u.GetUpdateMask(), false)
	return out, err
}
