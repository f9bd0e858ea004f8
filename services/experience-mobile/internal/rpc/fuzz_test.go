package rpc

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
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
