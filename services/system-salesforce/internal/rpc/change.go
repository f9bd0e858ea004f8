package rpc

import (
	"context"

	"google.golang.org/grpc"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

type changes struct {
	salesforcev1.UnimplementedChangeServiceServer
	*Server
}

// WatchChanges streams the changes after a token.
func (s *changes) WatchChanges(req *salesforcev1.WatchChangesRequest, stream grpc.ServerStreamingServer[salesforcev1.WatchChangesResponse]) error {
	return s.Watcher.Watch(stream.Context(), req.GetResumeToken(), req.GetObjects(), stream.Send)
}

// WatchEvents streams the platform events after a token.
func (s *changes) WatchEvents(req *salesforcev1.WatchEventsRequest, stream grpc.ServerStreamingServer[salesforcev1.WatchEventsResponse]) error {
	return s.Watcher.WatchEvents(stream.Context(), req.GetObject(), req.GetResumeToken(), stream.Send)
}

// GetUsage tells how much of the allowance is used.
func (s *changes) GetUsage(context.Context, *salesforcev1.GetUsageRequest) (*salesforcev1.GetUsageResponse, error) {
	u := s.CRM.Usage()
	return &salesforcev1.GetUsageResponse{Used: u.Used, Limit: u.Limit, OwnCalls: u.Own}, nil
}
