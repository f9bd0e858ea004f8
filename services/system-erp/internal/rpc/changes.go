package rpc

import (
	"context"
	"strconv"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/page"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/changes"
)

type changeServer struct {
	erpv1.UnimplementedChangeServiceServer
	*Server
}

func (s *changeServer) ListChanges(ctx context.Context, req *erpv1.ListChangesRequest) (*erpv1.ListChangesResponse, error) {
	size, err := page.Size(req.GetPageSize(), 200, 1000)
	if err != nil {
		return nil, err
	}
	b, err := s.feed.List(ctx, req.GetResumeToken(), size)
	if err != nil {
		return nil, err
	}
	return &erpv1.ListChangesResponse{Changes: fromChanges(b), ResumeToken: b.Token, More: b.More}, nil
}

func (s *changeServer) WatchChanges(req *erpv1.WatchChangesRequest, stream grpc.ServerStreamingServer[erpv1.WatchChangesResponse]) error {
	return s.feed.Watch(stream.Context(), req.GetResumeToken(), func(b changes.Batch) error {
		return stream.Send(&erpv1.WatchChangesResponse{Changes: fromChanges(b), ResumeToken: b.Token})
	})
}

func fromChanges(b changes.Batch) []*erpv1.Change {
	out := make([]*erpv1.Change, len(b.Changes))
	for i, c := range b.Changes {
		out[i] = &erpv1.Change{
			Id: b.Epoch + "-" + strconv.FormatInt(c.Position, 10), Kind: erpv1.ChangeKind(c.Kind), CommitTime: fromTime(c.Committed),
		}
		if c.Customer != nil {
			out[i].Customer = fromCustomer(*c.Customer)
		}
		if c.Contact != nil {
			out[i].Contact = fromContact(*c.Contact)
		}
	}
	return out
}
