package rpc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
)

// leads is a process layer that knows where ids lead.
type leads struct {
	customerv1.CustomerServiceClient
	customerv1.ScreenServiceClient
	older bool // it is of a release that does not tell
	to    map[string]string

	mu    sync.Mutex
	asked map[string]int
	calls int // that told where ids lead
}

func (l *leads) GetCustomer(_ context.Context, req *customerv1.GetCustomerRequest, _ ...grpc.CallOption) (*customerv1.GetCustomerResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[req.GetId()]++
	to := l.to[req.GetId()]
	switch to {
	case "":
		return nil, fault.New(fault.NotFound, "CUSTOMER_UNKNOWN", "there is no such record")
	case "down":
		return nil, fault.New(fault.Unavailable, "", "it is down")
	}
	return &customerv1.GetCustomerResponse{Customer: &customerv1.Customer{Id: to}}, nil
}

func (l *leads) ResolveCustomers(_ context.Context, req *customerv1.ResolveCustomersRequest, _ ...grpc.CallOption) (*customerv1.ResolveCustomersResponse, error) {
	if l.older {
		return nil, fault.New(fault.Unimplemented, "", "there is no such method")
	}
	l.calls++
	out := &customerv1.ResolveCustomersResponse{}
	for _, id := range req.GetCustomerIds() {
		l.asked[id]++
		to := l.to[id]
		switch to {
		case "":
			to = id
		case "down":
			return nil, fault.New(fault.Unavailable, "", "it is down")
		}
		out.Customers = append(out.Customers, &customerv1.ResolvedCustomer{CustomerId: id, LeadsTo: to})
	}
	return out, nil
}

func TestWhoOwnsAMergedCustomer(t *testing.T) {
	t.Parallel()
	for _, older := range []bool{false, true} {
		now := time.Unix(0, 0)
		below := &leads{older: older, to: map[string]string{"new": "new", "old": "new", "theirs": "theirs"}, asked: map[string]int{}}
		s := &Server{customers: below, screens: below, merges: newMerges(func() time.Time { return now })}
		owns := func(customer string, claim ...string) bool {
			owned, err := s.owns(as(auth.Principal{Subject: "user-1", Restricted: true, Customers: claim}), customer)
			require.NoError(t, err)
			return owned
		}
		require.True(t, owns("new", "old"))
		require.True(t, owns("old", "new"))
		require.True(t, owns("old", "old"))
		require.False(t, owns("theirs", "old", "new", "none"))
		require.False(t, owns("none", "old", "nobody"), "two that nobody knows are not one")
		require.False(t, owns("new"))
		require.False(t, owns("new", "", strings.Repeat("x", maxCustomerID+1)), "what cannot be an id leads to itself, and is not asked")
		for range 5 {
			require.True(t, owns("new", "old"))
		}
		for id, n := range below.asked {
			require.Equal(t, 1, n, "%s: it is asked once in a while", id)
		}
		require.Len(t, below.asked, 5)
		below.to["old"] = "old" // the merge is taken back
		now = now.Add(ledFor - 1)
		require.True(t, owns("new", "old"))
		now = now.Add(1)
		require.False(t, owns("new", "old"))
		below.to["away"] = "down"
		_, err := s.owns(as(auth.Principal{Subject: "user-1", Restricted: true, Customers: []string{"away"}}), "new")
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "what is not known is neither denied nor granted")
		var many []string
		for i := range 2*askedAtOnce + 1 {
			many = append(many, fmt.Sprint("many-", i))
		}
		before := below.calls
		to, err := s.lead(t.Context(), append(many, many...))
		require.NoError(t, err)
		require.Equal(t, append(many, many...), to)
		if !older {
			require.Equal(t, 3, below.calls-before, "a call asks about as many as it may")
		}
		for i := range 3 * ledMost {
			s.merges.add(fmt.Sprint(i), "x")
		}
		require.LessOrEqual(t, len(s.merges.young)+len(s.merges.old), ledMost)
	}
}
