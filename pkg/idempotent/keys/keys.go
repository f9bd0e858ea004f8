// Package keys lets operators look at idempotency keys and settle those that no machine may settle.
//
// The invariant: nothing is changed that is not in the log first, with who and why; and an operator settles the attempt
// that they looked at, never a younger one. The package shows nothing of a request, an answer, a caller or a key.
//
// It decides nothing about keys: package idempotent does. Whether a caller is an operator is decided before: register
// [ServiceName] among serve.Service.OperatorServices.
package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/page"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
)

// Reasons of this package.
const (
	// ReasonUnknown means that no record has the digest.
	ReasonUnknown = "KEY_UNKNOWN"
	// ReasonNotSettleable means that the record is in another state, or attempt, than the operator looked at.
	ReasonNotSettleable = "KEY_STATE_CHANGED"
)

// retention is how long a record lives on after an operator released it.
const retention = 7 * 24 * time.Hour

// Server serves KeysService. Make it with New; it is safe for concurrent use.
type Server struct {
	idempotencyv1.UnimplementedKeysServiceServer

	store   idempotent.Store
	log     *Log
	out     *slog.Logger
	settled metric.Int64Counter
}

// New returns a server over the keys of a service. All arguments are required.
func New(store idempotent.Store, log *Log, out *slog.Logger, meters metric.MeterProvider) (*Server, error) {
	settled, err := meters.Meter("github.com/selfsame-io/selfsame/pkg/idempotent/keys").Int64Counter("selfsame.idempotency.settled",
		metric.WithUnit("{record}"), metric.WithDescription("Interventions of operators, by what they did."))
	if err != nil {
		return nil, fmt.Errorf("desk of keys: %w", err)
	}
	return &Server{store: store, log: log, out: out, settled: settled}, nil
}

// ServiceName is the full name of the service, which only operators may call.
func ServiceName() string { return idempotencyv1.KeysService_ServiceDesc.ServiceName }

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { idempotencyv1.RegisterKeysServiceServer(r, s) }

// ListKeys implements KeysService.
func (s *Server) ListKeys(ctx context.Context, req *idempotencyv1.ListKeysRequest) (*idempotencyv1.ListKeysResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	f := idempotent.Filter{Method: req.GetMethod(), Prefix: req.GetPrefix(), Limit: size, Cursor: req.GetPageToken()}
	if t := req.GetClaimedBefore(); t != nil {
		f.ClaimedBefore = t.AsTime()
	}
	for _, state := range req.GetStates() {
		for stored, shown := range states() {
			if shown == state {
				f.States = append(f.States, stored)
			}
		}
	}
	got, err := s.store.List(ctx, f)
	if err != nil {
		return nil, unavailable(err)
	}
	resp := &idempotencyv1.ListKeysResponse{NextPageToken: got.Next}
	for _, e := range got.Entries {
		resp.Keys = append(resp.Keys, message(e))
	}
	return resp, nil
}

// GetKey implements KeysService.
func (s *Server) GetKey(ctx context.Context, req *idempotencyv1.GetKeyRequest) (*idempotencyv1.GetKeyResponse, error) {
	d, e, err := s.show(ctx, req.GetDigest())
	if err != nil {
		return nil, err
	}
	done, err := s.log.List(ctx, &d, 100)
	if err != nil {
		return nil, unavailable(err)
	}
	return &idempotencyv1.GetKeyResponse{Key: message(e), Interventions: interventions(done)}, nil
}

// GetKeyStats implements KeysService.
func (s *Server) GetKeyStats(ctx context.Context, _ *idempotencyv1.GetKeyStatsRequest) (*idempotencyv1.GetKeyStatsResponse, error) {
	st, err := s.store.Stats(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	return &idempotencyv1.GetKeyStatsResponse{
		Records: st.Records, Bytes: st.Bytes, Open: st.Open, OldestOpenSeconds: st.OldestOpen.Seconds(), Abandoned: st.Abandoned,
		Uncertain: st.Uncertain, OldestUncertainSeconds: st.OldestUncertain.Seconds(),
	}, nil
}

// ListInterventions implements KeysService.
func (s *Server) ListInterventions(ctx context.Context, req *idempotencyv1.ListInterventionsRequest) (*idempotencyv1.ListInterventionsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	done, err := s.log.List(ctx, nil, size)
	if err != nil {
		return nil, unavailable(err)
	}
	return &idempotencyv1.ListInterventionsResponse{Interventions: interventions(done)}, nil
}

// ReleaseKey implements KeysService.
func (s *Server) ReleaseKey(ctx context.Context, req *idempotencyv1.ReleaseKeyRequest) (*idempotencyv1.ReleaseKeyResponse, error) {
	d, e, err := s.show(ctx, req.GetDigest())
	if err != nil {
		return nil, err
	}
	if e.State == idempotent.Released && e.Fence == req.GetAttempt() {
		return &idempotencyv1.ReleaseKeyResponse{Key: message(e)}, nil // done before
	}
	what := s.about(ctx, Release, d, req.GetAttempt(), req.GetOperator(), req.GetReason())
	err = s.log.around(ctx, what, func() error {
		return s.store.Resolve(ctx, idempotent.Grant{Digest: d, Fence: req.GetAttempt(), Retention: retention}, idempotent.Verdict{Force: req.GetForce()})
	})
	if err != nil {
		return nil, refused(err)
	}
	if _, e, err = s.show(ctx, req.GetDigest()); err != nil {
		return nil, err
	}
	s.said(ctx, what)
	return &idempotencyv1.ReleaseKeyResponse{Key: message(e)}, nil
}

// ExpireKey implements KeysService.
func (s *Server) ExpireKey(ctx context.Context, req *idempotencyv1.ExpireKeyRequest) (*idempotencyv1.ExpireKeyResponse, error) {
	d, e, err := s.show(ctx, req.GetDigest())
	if err != nil {
		return nil, err
	}
	if e.State == idempotent.Tombstone {
		return &idempotencyv1.ExpireKeyResponse{Key: message(e)}, nil // done before
	}
	what := s.about(ctx, Expire, d, e.Fence, req.GetOperator(), req.GetReason())
	if err := s.log.around(ctx, what, func() error { return s.store.Expire(ctx, d) }); err != nil {
		return nil, refused(err)
	}
	if _, e, err = s.show(ctx, req.GetDigest()); err != nil {
		return nil, err
	}
	s.said(ctx, what)
	return &idempotencyv1.ExpireKeyResponse{Key: message(e)}, nil
}

// EraseAnswers implements KeysService. The log says that it was done and why, not whom it was about: it is never purged.
func (s *Server) EraseAnswers(ctx context.Context, req *idempotencyv1.EraseAnswersRequest) (*idempotencyv1.EraseAnswersResponse, error) {
	what := s.about(ctx, Erase, idempotent.Digest{}, 0, req.GetOperator(), req.GetReason())
	var n int
	err := s.log.around(ctx, what, func() error {
		var err error
		n, err = s.store.Erase(ctx, req.GetSubject())
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	s.said(ctx, what)
	return &idempotencyv1.EraseAnswersResponse{Erased: int64(n)}, nil
}

func (s *Server) about(ctx context.Context, action string, d idempotent.Digest, attempt int64, operator, reason string) Intervention {
	who := caller.From(ctx)
	name := who.Name
	if !who.Verified {
		name += " (not verified)"
	}
	return Intervention{Digest: d, Attempt: attempt, Action: action, Operator: operator, Caller: strings.TrimSpace(name), Reason: reason}
}

// said counts, and leaves a line in the log of the service, without the reason: that is free text.
func (s *Server) said(ctx context.Context, i Intervention) {
	s.settled.Add(ctx, 1, metric.WithAttributes(attribute.String("selfsame.action", strings.ToLower(i.Action))))
	s.out.WarnContext(ctx, "an operator settled an idempotency key",
		slog.String("action", i.Action), slog.String("key_digest", i.Digest.Short()), slog.Int64("attempt", i.Attempt))
}

func (s *Server) show(ctx context.Context, text string) (idempotent.Digest, idempotent.Entry, error) {
	d, err := idempotent.ParseDigest(text)
	if err != nil {
		return d, idempotent.Entry{}, fault.InvalidField("digest", "", "is not a digest")
	}
	e, err := s.store.Show(ctx, d)
	switch {
	case errors.Is(err, idempotent.ErrNoRecord):
		return d, e, fault.New(fault.NotFound, ReasonUnknown, "there is no record with this digest")
	case err != nil:
		return d, e, unavailable(err)
	}
	return d, e, nil
}

func unavailable(err error) error {
	return fault.Wrap(fault.Unavailable, fault.ReasonStoreUnavailable, err, "the store of keys does not answer")
}

func refused(err error) error {
	if errors.Is(err, idempotent.ErrStale) || errors.Is(err, idempotent.ErrNoRecord) {
		return fault.Wrap(fault.Precondition, ReasonNotSettleable, err,
			"the record is in another state or attempt, or its owner still works; look at it again")
	}
	return unavailable(err)
}

func states() map[idempotent.State]idempotencyv1.KeyState {
	return map[idempotent.State]idempotencyv1.KeyState{
		idempotent.Claimed: idempotencyv1.KeyState_KEY_STATE_CLAIMED, idempotent.Done: idempotencyv1.KeyState_KEY_STATE_DONE,
		idempotent.Released: idempotencyv1.KeyState_KEY_STATE_RELEASED, idempotent.Uncertain: idempotencyv1.KeyState_KEY_STATE_UNCERTAIN,
		idempotent.Tombstone: idempotencyv1.KeyState_KEY_STATE_TOMBSTONE,
	}
}

func message(e idempotent.Entry) *idempotencyv1.Key {
	m := &idempotencyv1.Key{
		Digest: e.Digest.String(), Method: e.Method, State: states()[e.State], Attempt: e.Fence, ClaimTime: stamp(e.ClaimedAt),
		LeaseUntil: stamp(e.LeaseUntil), ExpireTime: stamp(e.ExpiresAt), Ok: e.OK, Bytes: int64(e.Bytes), Resource: e.Resource,
	}
	if parts := strings.Split(e.Trace, "-"); len(parts) == 4 {
		m.TraceId = parts[1]
	}
	return m
}

func interventions(list []Intervention) []*idempotencyv1.Intervention {
	var out []*idempotencyv1.Intervention
	for _, i := range list {
		digest := i.Digest.String()
		if i.Digest == (idempotent.Digest{}) {
			digest = ""
		}
		out = append(out, &idempotencyv1.Intervention{
			Time: stamp(i.At), Digest: digest, Action: i.Action, Operator: i.Operator, Caller: i.Caller, Reason: i.Reason,
			Done: i.Done, Attempt: i.Attempt,
		})
	}
	return out
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
