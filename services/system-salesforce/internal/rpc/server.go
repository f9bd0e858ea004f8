// Package rpc serves selfsame.salesforce.v1: it translates calls into those of the protocol packages and back.
//
// The invariant: a batch write answers with one outcome per record, in order, whatever happened to the calls it took; the call
// itself fails only when it is certain that no record was written.
//
// It holds no state and makes no decision about customers.
package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/write"
)

// CRM is what the handlers need of package rest.
type CRM interface {
	Retrieve(ctx context.Context, object string, ids, fields []string) ([]rest.Record, error)
	Query(ctx context.Context, soql string) ([]rest.Record, error)
	Publish(ctx context.Context, event string, records []rest.Record) ([]rest.Result, error)
	Usage() rest.Usage
}

// Watcher is what the handlers need of package changes.
type Watcher interface {
	Watch(ctx context.Context, token string, objects []string, send func(*salesforcev1.WatchChangesResponse) error) error
	WatchEvents(ctx context.Context, object, token string, send func(*salesforcev1.WatchEventsResponse) error) error
}

// Describer is what the handlers need of package describe.
type Describer interface {
	Schema(ctx context.Context, object string) (*mapping.Schema, error)
	Renew(ctx context.Context, object string, doubted *mapping.Schema) *mapping.Schema
	Forget(object string)
}

// Server implements the services. All fields are required.
type Server struct {
	CRM      CRM
	Mapping  *mapping.Mapping
	Describe Describer
	Writer   *write.Writer
	Watcher  Watcher
	Now      func() time.Time
}

// Register adds the services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	salesforcev1.RegisterAccountServiceServer(r, &accounts{Server: s})
	salesforcev1.RegisterContactServiceServer(r, &contacts{Server: s})
	salesforcev1.RegisterCaseServiceServer(r, &cases{Server: s})
	salesforcev1.RegisterOpportunityServiceServer(r, &opportunities{Server: s})
	salesforcev1.RegisterLeadServiceServer(r, &leads{Server: s})
	salesforcev1.RegisterCampaignServiceServer(r, &campaigns{Server: s})
	salesforcev1.RegisterProductServiceServer(r, &products{Server: s})
	salesforcev1.RegisterAssetServiceServer(r, &assets{Server: s})
	salesforcev1.RegisterRecordServiceServer(r, &records{Server: s})
	salesforcev1.RegisterEventServiceServer(r, &events{Server: s})
	salesforcev1.RegisterChangeServiceServer(r, &changes{Server: s})
}

// unreadable is the fault for a record that is not what the describe of the object promised.
func unreadable(cause error) error {
	return fault.Wrap(fault.Internal, rest.ReasonAnswerInvalid, cause, "a record of the CRM cannot be read")
}

func notFound(object string) error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such %s", object)
}

// get reads live records by id and translates them: found in the order asked, and the ids that were not.
func get[T any](ctx context.Context, s *Server, o *mapping.Object, ids []string, read func(map[string]any) (T, error)) (found []T, missing []string, err error) {
	rows, err := s.CRM.Retrieve(ctx, o.SObject, ids, o.Columns())
	if err != nil {
		return nil, nil, err
	}
	for i, row := range rows {
		if row == nil {
			missing = append(missing, ids[i])
			continue
		}
		record, err := read(row)
		if err != nil {
			return nil, nil, unreadable(err)
		}
		found = append(found, record)
	}
	return found, missing, nil
}
