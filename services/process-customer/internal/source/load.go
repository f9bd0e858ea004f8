package source

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// loadMessage is how many records one message of a load carries.
const loadMessage = 500

type loadStream = grpc.BidiStreamingClient[salesforcev1.UpsertRecordsRequest, salesforcev1.UpsertRecordsResponse]

// Load implements Loader.
func (s *Salesforce) Load(ctx context.Context, obj golden.Object, writes []Write) ([]Result, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.records.UpsertRecords(ctx)
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	header, upserts := loadOf(obj, writes)
	var work errgroup.Group
	work.Go(func() error { return sendLoad(stream, header, upserts) })
	results, known, err := takeLoad(stream, writes)
	cancel()        // ends a sender that nobody listens to
	_ = work.Wait() // a load that could not be sent is told by what was received
	if err != nil {
		err = fault.FromStatus(err)
		if known == 0 {
			return nil, err
		}
	}
	for i := range results {
		if results[i].RecordID == "" && results[i].Err == nil {
			results[i].Err = missingOutcome(err)
		}
	}
	return results, nil
}

// missingOutcome is the error of a record whose outcome did not come.
func missingOutcome(cause error) error {
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, cause, "the load ended before it told what became of this record")
}

// loadOf translates writes into the header and the records of a load.
func loadOf(obj golden.Object, writes []Write) (*salesforcev1.UpsertHeader, []*salesforcev1.RecordUpsert) {
	header := &salesforcev1.UpsertHeader{Object: "account", Backlog: int64(len(writes)), Priority: salesforcev1.Priority_PRIORITY_SYNC}
	paths := pathsOf(salesforceAccount())
	if obj == golden.Contact {
		header.Object, paths = "contact", pathsOf(salesforceContact())
	}
	announced := map[string]bool{}
	upserts := make([]*salesforcev1.RecordUpsert, len(writes))
	for i, w := range writes {
		r := &salesforcev1.Record{ExternalId: w.ExternalID, Fields: map[string]*salesforcev1.FieldValue{}}
		mask := &fieldmaskpb.FieldMask{}
		set := func(path, value string) {
			announced[path] = true
			mask.Paths = append(mask.Paths, path)
			if value != "" {
				r.Fields[path] = &salesforcev1.FieldValue{Value: &salesforcev1.FieldValue_Text{Text: value}}
			}
		}
		for field, path := range paths {
			if value, ok := w.Values[field]; ok {
				set(path, value)
			}
		}
		if obj == golden.Contact && w.writesParent() {
			set("account_id", w.ParentID)
		}
		upserts[i] = &salesforcev1.RecordUpsert{Record: r, UpdateMask: mask}
	}
	for path := range announced {
		header.Fields = append(header.Fields, path)
	}
	slices.Sort(header.Fields)
	return header, upserts
}

func pathsOf[M any](slots []slot[M]) map[string]string {
	out := make(map[string]string, len(slots))
	for _, s := range slots {
		out[s.field] = s.path
	}
	return out
}

func sendLoad(stream loadStream, header *salesforcev1.UpsertHeader, upserts []*salesforcev1.RecordUpsert) error {
	if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Header{Header: header}}); err != nil {
		return ended(err)
	}
	for part := range slices.Chunk(upserts, loadMessage) {
		rows := &salesforcev1.UpsertRows{Upserts: part}
		if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Rows{Rows: rows}}); err != nil {
			return ended(err)
		}
	}
	return stream.CloseSend()
}

// ended hides the io.EOF of a stream that the other side has ended: why it did is what receiving says.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// takeLoad receives outcomes until the stream ends, and tells how many came.
func takeLoad(stream loadStream, writes []Write) (results []Result, known int, err error) {
	place := make(map[string]int, len(writes))
	for i, w := range writes {
		place[strings.ToLower(w.ExternalID)] = i
	}
	results = make([]Result, len(writes))
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return results, known, nil
		}
		if err != nil {
			return results, known, err
		}
		for _, o := range m.GetOutcomes() {
			i, ok := place[strings.ToLower(o.GetExternalId())]
			if !ok {
				continue
			}
			results[i] = salesforceResults([]*salesforcev1.WriteResult{o.GetResult()})[0]
			known++
		}
	}
}
