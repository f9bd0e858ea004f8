package rpc

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

func (s *Server) compared(name string) (*mapping.Object, error) {
	o, ok := s.Mapping.Object(name)
	if !ok {
		return nil, fault.InvalidField("object", "", "is not an object of the mapping")
	}
	return o, nil
}

// within returns the condition for a range; empty when it has no ends.
func within(r *salesforcev1.StampRange) string {
	var parts []string
	if r.GetFrom() > 0 {
		parts = append(parts, "SystemModstamp >= "+soqlTime(r.GetFrom()))
	}
	if r.GetUntil() > 0 {
		parts = append(parts, "SystemModstamp < "+soqlTime(r.GetUntil()))
	}
	return strings.Join(parts, " AND ")
}

// DigestRecords sums ranges up, with one aggregate query each. SOQL adds no times up, so the sum stays zero.
func (s *changes) DigestRecords(ctx context.Context, req *salesforcev1.DigestRecordsRequest) (*salesforcev1.DigestRecordsResponse, error) {
	o, err := s.compared(req.GetObject())
	if err != nil {
		return nil, err
	}
	ctx, calls := rest.Counting(ctx)
	resp := &salesforcev1.DigestRecordsResponse{}
	for _, r := range req.GetRanges() {
		soql := "SELECT COUNT(Id) n, MIN(SystemModstamp) lo, MAX(SystemModstamp) hi FROM " + o.SObject
		if where := within(r); where != "" {
			soql += " WHERE " + where
		}
		rows, err := s.CRM.Query(ctx, soql)
		if err != nil {
			return nil, err
		}
		if len(rows) != 1 {
			return nil, fault.New(fault.Internal, rest.ReasonAnswerInvalid, "the CRM summed a range up in %d rows", len(rows))
		}
		d, err := digest(rows[0])
		if err != nil {
			return nil, unreadable(err)
		}
		resp.Digests = append(resp.Digests, d)
	}
	resp.VendorCalls = calls()
	return resp, nil
}

func digest(row rest.Record) (*salesforcev1.RecordDigest, error) {
	n, err := strconv.ParseFloat(fmt.Sprint(row["n"]), 64)
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	d := &salesforcev1.RecordDigest{Count: int64(n)}
	if d.GetCount() == 0 {
		return d, nil
	}
	first, err := mapping.Time(row["lo"])
	if err != nil {
		return nil, err
	}
	last, err := mapping.Time(row["hi"])
	if err != nil {
		return nil, err
	}
	d.First, d.Last = first.UnixMilli(), last.UnixMilli()
	return d, nil
}

// ListStamps reads ids and times only.
func (s *changes) ListStamps(ctx context.Context, req *salesforcev1.ListStampsRequest) (*salesforcev1.ListStampsResponse, error) {
	o, err := s.compared(req.GetObject())
	if err != nil {
		return nil, err
	}
	ctx, calls := rest.Counting(ctx)
	var conditions []string
	if where := within(req.GetRange()); where != "" {
		conditions = append(conditions, where)
	}
	rows, next, err := s.listColumns(ctx, o, []string{"Id", "SystemModstamp"}, req.GetPageSize(), req.GetPageToken(), conditions...)
	if err != nil {
		return nil, err
	}
	resp := &salesforcev1.ListStampsResponse{NextPageToken: next, VendorCalls: calls(), Stamps: make([]*salesforcev1.RecordStamp, 0, len(rows))}
	for _, row := range rows {
		at, err := mapping.Time(row["SystemModstamp"])
		if err != nil {
			return nil, unreadable(err)
		}
		id, _ := row["Id"].(string)
		resp.Stamps = append(resp.Stamps, &salesforcev1.RecordStamp{Id: id, Stamp: at.UnixMilli()})
	}
	return resp, nil
}
