package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type contacts struct {
	salesforcev1.UnimplementedContactServiceServer
	*Server
}

// GetContact returns one contact.
func (s *contacts) GetContact(ctx context.Context, req *salesforcev1.GetContactRequest) (*salesforcev1.GetContactResponse, error) {
	got, err := get(ctx, s.Server, s.Mapping.Contact, []string{req.GetId()}, false, own(ctx, s.Server, s.Mapping.ReadContact))
	if err != nil {
		return nil, err
	}
	if len(got.records) == 0 {
		return nil, notFound("contact")
	}
	return &salesforcev1.GetContactResponse{Contact: got.records[0]}, nil
}

// BatchGetContacts returns many contacts.
func (s *contacts) BatchGetContacts(ctx context.Context, req *salesforcev1.BatchGetContactsRequest) (*salesforcev1.BatchGetContactsResponse, error) {
	found, err := get(ctx, s.Server, s.Mapping.Contact, req.GetIds(), true, own(ctx, s.Server, s.Mapping.ReadContact))
	if err != nil {
		return nil, err
	}
	merged, err := s.masters(ctx, s.Mapping.Contact, found.missing)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetContactsResponse{Contacts: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable, MergedInto: merged}, nil
}

// ListContacts returns a page of all contacts.
func (s *contacts) ListContacts(ctx context.Context, req *salesforcev1.ListContactsRequest) (*salesforcev1.ListContactsResponse, error) {
	rows, next, err := s.list(ctx, s.Mapping.Contact, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.ListContactsResponse{NextPageToken: next, Contacts: make([]*salesforcev1.Contact, 0, len(rows))}
	read := own(ctx, s.Server, s.Mapping.ReadContact)
	for _, row := range rows {
		a, err := read(row)
		if err != nil {
			return nil, unreadable(err)
		}
		resp.Contacts = append(resp.Contacts, a)
	}
	return resp, nil
}

// BatchUpsertContacts writes contacts.
func (s *contacts) BatchUpsertContacts(ctx context.Context, req *salesforcev1.BatchUpsertContactsRequest) (*salesforcev1.BatchUpsertContactsResponse, error) {
	results, err := upsertAll(ctx, s.Server, "contact", req.GetUpserts(), (*salesforcev1.ContactUpsert).GetContact)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertContactsResponse{Results: results}, nil
}
