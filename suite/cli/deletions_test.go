package cli

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

type deletionServer struct {
	customerv1.UnimplementedOperationsServiceServer
}

func heldAt(second int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 3, 1, 12, 0, second, 123000, time.UTC))
}

func (deletionServer) ListHeldDeletions(_ context.Context, req *customerv1.ListHeldDeletionsRequest) (*customerv1.ListHeldDeletionsResponse, error) {
	switch {
	case req.GetSystem() == "erp":
		return &customerv1.ListHeldDeletionsResponse{}, nil
	case req.GetPageToken() == "":
		return &customerv1.ListHeldDeletionsResponse{
			Deletions:     []*customerv1.HeldDeletion{{System: "salesforce", Object: "customer", GoldenId: "c_1", HoldTime: heldAt(1)}},
			NextPageToken: "more",
		}, nil
	}
	return &customerv1.ListHeldDeletionsResponse{
		Deletions: []*customerv1.HeldDeletion{{System: "salesforce", Object: "contact", GoldenId: "p_2", HoldTime: heldAt(2)}},
	}, nil
}

func (deletionServer) ConfirmDeletions(_ context.Context, req *customerv1.ConfirmDeletionsRequest) (*customerv1.ConfirmDeletionsResponse, error) {
	var n int64
	if req.GetHeldUntil().AsTime().Equal(heldAt(2).AsTime()) && req.GetReason() == "spring cleaning" {
		n = 2
	}
	return &customerv1.ConfirmDeletionsResponse{Confirmed: n}, nil
}

func TestDeletions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"all pages are shown, with the command that confirms what was seen": {
			nil, exitOK, []string{"customer/c_1", "contact/p_2", "2 deletions wait in salesforce", "confirm salesforce --until 2026-03-01T12:00:02.000123Z"},
		},
		"of a system without any": {[]string{"list", "erp"}, exitOK, []string{"no deletions wait"}},
		"they are confirmed": {
			[]string{"confirm", "salesforce", "--until", "2026-03-01T12:00:02.000123Z", "--reason", "spring cleaning"}, exitOK, []string{"2 deletions are carried out in salesforce"},
		},
		"nobody confirms what he has not seen": {[]string{"confirm", "salesforce", "--reason", "x"}, exitUsage, []string{"--until"}},
		"nor without a reason":                 {[]string{"confirm", "salesforce", "--until", "2026-03-01T12:00:02Z"}, exitUsage, []string{"--reason"}},
		"a time is a time":                     {[]string{"confirm", "salesforce", "--until", "now", "--reason", "x"}, exitUsage, []string{"not a time"}},
		"another verb is none":                 {[]string{"drop"}, exitUsage, []string{"none of"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := run(t, append([]string{"deletions", "--addr", serveOperations(t, deletionServer{})}, c.args...)...)
			require.Equal(t, c.code, code, problems)
			for _, text := range c.says {
				require.Contains(t, out+problems, text)
			}
		})
	}
}
