package rpc

import (
	"context"
	"strconv"

	"github.com/selfsame-io/selfsame/pkg/page"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

func (s *Server) digests(object string) store.Digests {
	if object == "contact" {
		return s.store.Contacts()
	}
	return s.store.Customers()
}

func (s *changeServer) DigestRecords(ctx context.Context, req *erpv1.DigestRecordsRequest) (*erpv1.DigestRecordsResponse, error) {
	spans := make([]store.Span, len(req.GetRanges()))
	for i, r := range req.GetRanges() {
		spans[i] = store.Span{From: r.GetFrom(), Until: r.GetUntil()}
	}
	digests, err := s.digests(req.GetObject()).Digest(ctx, spans)
	if err != nil {
		return nil, err
	}
	resp := &erpv1.DigestRecordsResponse{}
	for _, d := range digests {
		resp.Digests = append(resp.Digests, &erpv1.RecordDigest{Count: d.Count, First: d.First, Last: d.Last, Sum: d.Sum})
	}
	return resp, nil
}

func (s *changeServer) ListStamps(ctx context.Context, req *erpv1.ListStampsRequest) (*erpv1.ListStampsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 2000, 2000)
	if err != nil {
		return nil, err
	}
	span := store.Span{From: req.GetRange().GetFrom(), Until: req.GetRange().GetUntil()}
	filter := page.Hash("stamps", req.GetObject(), strconv.FormatInt(span.From, 10), strconv.FormatInt(span.Until, 10))
	rows, next, err := paged(req.GetPageToken(), filter, size,
		func(after *store.StampCursor, limit int) ([]store.Stamped, error) {
			return s.digests(req.GetObject()).Stamps(ctx, span, after, limit)
		},
		func(r store.Stamped) store.StampCursor { return store.StampCursor{At: r.At, ID: r.ID} })
	if err != nil {
		return nil, err
	}
	resp := &erpv1.ListStampsResponse{NextPageToken: next}
	for _, r := range rows {
		resp.Stamps = append(resp.Stamps, &erpv1.RecordStamp{Id: r.ID, Stamp: r.At})
	}
	return resp, nil
}
