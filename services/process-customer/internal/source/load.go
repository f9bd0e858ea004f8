package source

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
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
	header, tables := loadOf(ctx, obj, writes)
	var work errgroup.Group
	work.Go(func() error { return sendLoad(stream, header, tables) })
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

// loadOf translates writes into the header of a load and its records, by columns.
func loadOf(ctx context.Context, obj golden.Object, writes []Write) (*salesforcev1.UpsertHeader, []*salesforcev1.UpsertTable) {
	header := &salesforcev1.UpsertHeader{Object: "account", Backlog: int64(len(writes)), Priority: salesforcev1.Priority_PRIORITY_SYNC}
	if priority.From(ctx) > priority.Sync {
		header.Priority = salesforcev1.Priority_PRIORITY_BULK
	}
	paths := pathsOf(salesforceAccount())
	if obj == golden.Contact {
		header.Object, paths = "contact", pathsOf(salesforceContact())
		paths[golden.Parent] = "account_id"
	}
	fields := map[string]string{} // canonical fields by our path
	for i := range writes {
		for field, path := range paths {
			if _, ok := loaded(&writes[i], field); ok {
				fields[path] = field
			}
		}
	}
	header.Fields = slices.Sorted(maps.Keys(fields))
	var tables []*salesforcev1.UpsertTable
	for part := range slices.Chunk(writes, loadMessage) {
		table := &salesforcev1.UpsertTable{ExternalIds: make([]string, len(part))}
		for i := range part {
			table.ExternalIds[i] = part[i].ExternalID
		}
		for _, path := range header.GetFields() {
			column := &salesforcev1.TextColumn{Values: make([]string, len(part))}
			for i := range part {
				value, ok := loaded(&part[i], fields[path])
				if !ok {
					column.Kept = append(column.Kept, uint32(i)) //nolint:gosec // below loadMessage
				}
				column.Values[i] = value
			}
			table.Columns = append(table.Columns, column)
		}
		tables = append(tables, table)
	}
	return header, tables
}

// loaded returns what a write says about a field.
func loaded(w *Write, field string) (value string, ok bool) {
	if field == golden.Parent {
		return w.ParentID, w.writesParent()
	}
	value, ok = w.Values[field]
	return value, ok
}

func pathsOf[M any](slots []slot[M]) map[string]string {
	out := make(map[string]string, len(slots))
	for _, s := range slots {
		out[s.field] = s.path
	}
	return out
}

func sendLoad(stream loadStream, header *salesforcev1.UpsertHeader, tables []*salesforcev1.UpsertTable) error {
	if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Header{Header: header}}); err != nil {
		return ended(err)
	}
	for _, table := range tables {
		if err := stream.Send(&salesforcev1.UpsertRecordsRequest{Message: &salesforcev1.UpsertRecordsRequest_Table{Table: table}}); err != nil {
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
