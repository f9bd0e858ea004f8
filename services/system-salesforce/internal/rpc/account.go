package rpc

import (
	"context"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type accounts struct {
	salesforcev1.UnimplementedAccountServiceServer
	*Server
}

// GetAccount returns one account.
func (s *accounts) GetAccount(ctx context.Context, req *salesforcev1.GetAccountRequest) (*salesforcev1.GetAccountResponse, error) {
	got, err := get(ctx, s.Server, s.Mapping.Account, []string{req.GetId()}, false, own(ctx, s.Server, s.Mapping.ReadAccount))
	if err != nil {
		return nil, err
	}
	if len(got.records) == 0 {
		return nil, notFound("account")
	}
	return &salesforcev1.GetAccountResponse{Account: got.records[0]}, nil
}

// BatchGetAccounts returns many accounts.
func (s *accounts) BatchGetAccounts(ctx context.Context, req *salesforcev1.BatchGetAccountsRequest) (*salesforcev1.BatchGetAccountsResponse, error) {
	found, err := get(ctx, s.Server, s.Mapping.Account, req.GetIds(), true, own(ctx, s.Server, s.Mapping.ReadAccount))
	if err != nil {
		return nil, err
	}
	merged, err := s.masters(ctx, s.Mapping.Account, found.missing)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchGetAccountsResponse{Accounts: found.records, MissingIds: found.missing, UnreadableIds: found.unreadable, MergedInto: merged}, nil
}

// ListAccounts returns a page of all accounts.
func (s *accounts) ListAccounts(ctx context.Context, req *salesforcev1.ListAccountsRequest) (*salesforcev1.ListAccountsResponse, error) {
	rows, next, err := s.list(ctx, s.Mapping.Account, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.ListAccountsResponse{NextPageToken: next, Accounts: make([]*salesforcev1.Account, 0, len(rows))}
	read := own(ctx, s.Server, s.Mapping.ReadAccount)
	for _, row := range rows {
		a, err := read(row)
		if err != nil {
			return nil, unreadable(err)
		}
		resp.Accounts = append(resp.Accounts, a)
	}
	return resp, nil
}

// BatchUpsertAccounts writes accounts.
func (s *accounts) BatchUpsertAccounts(ctx context.Context, req *salesforcev1.BatchUpsertAccountsRequest) (*salesforcev1.BatchUpsertAccountsResponse, error) {
	results, err := upsertAll(ctx, s.Server, "account", req.GetUpserts(), (*salesforcev1.AccountUpsert).GetAccount)
	if err != nil {
		return nil, err
	}
	return &salesforcev1.BatchUpsertAccountsResponse{Results: results}, nil
}
