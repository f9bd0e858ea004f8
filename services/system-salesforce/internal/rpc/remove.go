package rpc

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// BatchDeleteRecords deletes records. One that is deleted already, or never was, is no failure: the call can be repeated.
func (s *records) BatchDeleteRecords(ctx context.Context, req *salesforcev1.BatchDeleteRecordsRequest) (*salesforcev1.BatchDeleteRecordsResponse, error) {
	o, _, err := s.stored(ctx, req.GetObject())
	if err != nil {
		return nil, err
	}
	results, err := s.CRM.Remove(ctx, req.GetIds())
	if err != nil && !fault.Is(err, fault.Uncertain) {
		return nil, callFault(err)
	}
	resp := &salesforcev1.BatchDeleteRecordsResponse{}
	for i, id := range req.GetIds() {
		out := &salesforcev1.DeleteResult{Id: rest.FullID(id)}
		switch {
		case err != nil:
			out.Error = callError(err)
		case results[i].Refused == nil:
			out.Deleted = true
		case results[i].Refused.Kind == fault.NotFound:
			out.Deleted, out.Missing = true, true
		default:
			out.Error = s.result(o, write.Outcome{Refused: results[i].Refused}).GetError()
		}
		resp.Results = append(resp.Results, out)
	}
	return resp, nil
}
