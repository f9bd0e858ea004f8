package rpc

import (
	"context"
	"fmt"
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
	to    map[string]string
	asked map[string]int
}

func (l *leads) GetCustomer(_ context.Context, req *customerv1.GetCustomerRequest, _ ...grpc.CallOption) (*customerv1.GetCustomerResponse, error) {
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

func TestWhoOwnsAMergedCustomer(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	below := &leads{to: map[string]string{"new": "new", "old": "new", "theirs": "theirs"}, asked: map[string]int{}}
	s := &Server{customers: below, merges: newMerges(func() time.Time { return now })}
	owns := func(customer string, claim ...string) bool {
		// One at a time: the process layer of this test is for one goroutine.
		for _, id := range append([]string{customer}, claim...) {
			_, err := s.lead(t.Context(), []string{id})
			require.NoError(t, err)
		}
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
	for range 5 {
		require.True(t, owns("new", "old"))
	}
	require.Equal(t, 1, below.asked["old"], "it is asked once in a while")
	below.to["old"] = "old" // the merge is taken back
	now = now.Add(ledFor - 1)
	require.True(t, owns("new", "old"))
	now = now.Add(1)
	require.False(t, owns("new", "old"))
	below.to["away"] = "down"
	_, err := s.owns(as(auth.Principal{Subject: "user-1", Restricted: true, Customers: []string{"away"}}), "new")
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "what is not known is neither denied nor granted")
	for i := range 3 * ledMost {
		s.merges.add(fmt.Sprint(i), "x")
	}
	require.LessOrEqual(t, len(s.merges.young)+len(s.merges.old), ledMost)
}
