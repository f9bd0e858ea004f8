package rpc

import (
	"context"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
)

func as(p auth.Principal) context.Context {
	return caller.With(withPrincipal(context.Background(), p), caller.Identity{Name: p.Subject, Verified: true})
}

// held names who a token is for while nothing is merged.
func held(ctx context.Context) string {
	return holder(ctx, "sync", slices.Sorted(slices.Values(principal(ctx).Customers)))
}

// FuzzTokens reads tokens that anybody may send: each is refused as one that was not given out, as one of somebody else,
// or holds what was put in.
func FuzzTokens(f *testing.F) {
	ctx := as(auth.Principal{Subject: "user-1"})
	good, err := page.Encode(envelopeFilter, envelope{Holder: held(ctx), Inner: "inner"})
	require.NoError(f, err)
	for _, seed := range []string{"", "nonsense", good, good[:len(good)-1], "e30", "eyJ2IjoxfQ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		for _, req := range []*mobilev1.SyncCustomersRequest{{SyncToken: token}, {PageToken: token}} {
			inner, err := readToken(req, held(ctx))
			if err != nil {
				require.Contains(t, []string{"SYNC_TOKEN_INVALID", "SYNC_TOKEN_EXPIRED", fault.ReasonPageTokenInvalid}, fault.ReasonOf(err))
				require.Empty(t, inner)
				continue
			}
			if token == "" {
				require.Empty(t, inner)
				continue
			}
			// What is taken is a token of this caller, and its text, put in again, comes out again.
			again, err := page.Encode(envelopeFilter, envelope{Page: req.GetPageToken() != "", Holder: held(ctx), Inner: inner})
			require.NoError(t, err)
			if req.GetPageToken() != "" {
				req.PageToken = again
			} else {
				req.SyncToken = again
			}
			back, err := readToken(req, held(ctx))
			require.NoError(t, err)
			require.Equal(t, inner, back)
		}
		// A token that is given out holds what was put in, and is nobody else's.
		if len(token) > 256 || !utf8.ValidString(token) {
			return
		}
		made, err := page.Encode(envelopeFilter, envelope{Holder: held(ctx), Inner: token})
		require.NoError(t, err)
		inner, err := readToken(&mobilev1.SyncCustomersRequest{SyncToken: made}, held(ctx))
		require.NoError(t, err)
		require.Equal(t, token, inner)
		_, err = readToken(&mobilev1.SyncCustomersRequest{SyncToken: made}, held(as(auth.Principal{Subject: "user-2"})))
		require.Equal(t, "SYNC_TOKEN_EXPIRED", fault.ReasonOf(err))
	})
}

// owned has the customers that a token names, and no other.
type owned struct {
	customerv1.CustomerServiceClient
}

func (owned) GetCustomer(_ context.Context, req *customerv1.GetCustomerRequest, _ ...grpc.CallOption) (*customerv1.GetCustomerResponse, error) {
	return &customerv1.GetCustomerResponse{Customer: &customerv1.Customer{Id: req.GetId(), Name: "Own " + req.GetId()}}, nil
}

// FuzzOwnedPages reads page tokens of a caller who sees only some customers: whatever the token says, nobody else's are in
// the answer, the order holds, and a walk ends.
func FuzzOwnedPages(f *testing.F) {
	ids := []string{"a", "b", "c", "d"}
	ctx := as(auth.Principal{Subject: "user-1", Restricted: true, Customers: ids})
	filter := page.Hash(holder(ctx, "customers", ids), "")
	s := &Server{customers: owned{}}
	for _, after := range []string{"", "a", "b", "zz", "\x00", "../c"} {
		token, err := page.Encode(filter, after)
		require.NoError(f, err)
		f.Add(token)
	}
	for _, seed := range []string{"nonsense", "e30", "eyJ2IjoxfQ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		var after string
		for pages := 0; ; pages++ {
			require.LessOrEqual(t, pages, len(ids))
			got, err := s.listOwned(ctx, &mobilev1.ListCustomersRequest{PageSize: 1, PageToken: token})
			if err != nil {
				require.Zero(t, pages, "a token that was given out is taken")
				require.Equal(t, fault.ReasonPageTokenInvalid, fault.ReasonOf(err))
				return
			}
			require.LessOrEqual(t, len(got.GetCustomers()), 1)
			for _, c := range got.GetCustomers() {
				require.Contains(t, ids, c.GetCustomerId())
				require.Greater(t, c.GetCustomerId(), after)
				after = c.GetCustomerId()
			}
			if token = got.GetNextPageToken(); token == "" {
				return
			}
		}
	})
}

func TestTokensBelongToTheirHolder(t *testing.T) {
	t.Parallel()
	all := as(auth.Principal{Subject: "user-1"})
	some := as(auth.Principal{Subject: "user-1", Restricted: true, Customers: []string{"b", "a"}})
	token := func(ctx context.Context, isPage bool) string {
		text, err := page.Encode(envelopeFilter, envelope{Page: isPage, Holder: held(ctx), Inner: "inner"})
		require.NoError(t, err)
		return text
	}
	read := func(ctx context.Context, sync, page string) string {
		inner, err := readToken(&mobilev1.SyncCustomersRequest{SyncToken: sync, PageToken: page}, held(ctx))
		if err != nil {
			return fault.ReasonOf(err)
		}
		return inner
	}
	require.Equal(t, "inner", read(all, token(all, false), ""))
	require.Equal(t, "inner", read(all, "", token(all, true)))
	require.Equal(t, "inner", read(as(auth.Principal{Subject: "user-1", Restricted: true, Customers: []string{"a", "b"}}), token(some, false), ""), "the order does not count")
	require.Equal(t, "SYNC_TOKEN_INVALID", read(all, token(all, true), ""), "one kind is not the other")
	require.Equal(t, fault.ReasonPageTokenInvalid, read(all, "", token(all, false)))
	for _, other := range []auth.Principal{
		{Subject: "user-2"},
		{Subject: "user-1", Restricted: true},
		{Subject: "user-1", Restricted: true, Customers: []string{"a", "b", "c"}},
		{Subject: "user-1", Restricted: true, Customers: []string{"ab"}},
	} {
		require.Equal(t, "SYNC_TOKEN_EXPIRED", read(as(other), token(some, false), ""), other)
	}
	require.Equal(t, "SYNC_TOKEN_EXPIRED", read(some, token(all, false), ""))
	require.False(t, principal(context.Background()).Sees("a"), "nobody sees nothing")
}
