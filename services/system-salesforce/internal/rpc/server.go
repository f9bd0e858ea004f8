// Package rpc serves selfsame.salesforce.v1: it translates calls into those of the protocol packages and back.
//
// The invariant: a batch write answers with one outcome per record, in order, whatever happened to the calls it took; the call
// itself fails only when it is certain that no record was written.
//
// It holds no state and makes no decision about customers.
package rpc

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
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
	Fates(ctx context.Context, object string, ids []string) ([]rest.Fate, error)
	Masters(ctx context.Context, object string, ids []string) (map[string]string, error)
	Remove(ctx context.Context, ids []string) ([]rest.Result, error)
	Publish(ctx context.Context, event string, records []rest.Record) ([]rest.Result, error)
	// User is the id of the user as whom records are read and written; empty when it is not known.
	User(ctx context.Context) string
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
	// Log gets what was coped with; nil discards it.
	Log *slog.Logger
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

// found is what a read by id came to.
type found[T any] struct {
	// records are the live ones, in the order asked.
	records []T
	// missing are the ids of records that are gone, unreadable those of which the org tells nothing.
	missing, unreadable []string
}

// get reads live records by id and translates them. With fates it tells apart, at the cost of a call, what is gone and what cannot be
// read; otherwise everything that is not found is missing.
func get[T any](ctx context.Context, s *Server, o *mapping.Object, ids []string, fates bool, read func(map[string]any) (T, error)) (found[T], error) {
	rows, err := s.CRM.Retrieve(ctx, o.SObject, ids, o.Columns())
	if err != nil {
		return found[T]{}, err
	}
	var said map[int]rest.Fate
	if fates {
		if said, err = s.fates(ctx, o, ids, rows); err != nil {
			return found[T]{}, err
		}
	}
	var out found[T]
	for i, row := range rows {
		switch {
		case row == nil && fates && said[i] != rest.Gone:
			out.unreadable = append(out.unreadable, ids[i])
			continue
		case row == nil:
			out.missing = append(out.missing, ids[i])
			continue
		}
		record, err := read(row)
		if err != nil {
			return found[T]{}, unreadable(err)
		}
		out.records = append(out.records, record)
	}
	return out, nil
}

// own has records say whether we have changed them last.
func own[T any](ctx context.Context, s *Server, read func(row map[string]any, user string) (T, error)) func(map[string]any) (T, error) {
	user := ""
	once := sync.OnceFunc(func() { user = s.CRM.User(ctx) })
	return func(row map[string]any) (T, error) {
		once() // a row has been read, so there is a session
		return read(row, user)
	}
}

// masters asks, at the cost of a call, which of the records that are gone were merged into others, and returns those by the ids as they were
// asked for. An org that does not say merges none.
func (s *Server) masters(ctx context.Context, o *mapping.Object, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	said, err := s.CRM.Masters(ctx, o.SObject, ids)
	if fault.Is(err, fault.Precondition) {
		cmp.Or(s.Log, slog.New(slog.DiscardHandler)).LogAttrs(ctx, slog.LevelWarn, "the org does not say which records were merged", slog.String("object", o.Name), slog.String("reason", fault.ReasonOf(err)))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, id := range ids {
		if master := said[rest.FullID(id)]; master != "" {
			out[id] = master
		}
	}
	return out, nil
}

// fates asks what became of the records that were not read, by their place. Those that can be read now are filled in.
func (s *Server) fates(ctx context.Context, o *mapping.Object, ids []string, rows []rest.Record) (map[int]rest.Fate, error) {
	var absent []string
	var places []int
	for i, row := range rows {
		if row == nil {
			absent, places = append(absent, ids[i]), append(places, i)
		}
	}
	if len(absent) == 0 {
		return nil, nil
	}
	told, err := s.CRM.Fates(ctx, o.SObject, absent)
	if err != nil {
		return nil, err
	}
	out := make(map[int]rest.Fate, len(places))
	var back []string
	for j, i := range places {
		out[i] = told[j]
		if told[j] == rest.Alive {
			back = append(back, ids[i])
		}
	}
	if len(back) == 0 {
		return out, nil
	}
	again, err := s.CRM.Retrieve(ctx, o.SObject, back, o.Columns())
	if err != nil {
		return nil, err
	}
	for _, i := range places {
		if out[i] == rest.Alive {
			rows[i], again = again[0], again[1:]
		}
	}
	return out, nil
}
