package rpc

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/ledger"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

type operations struct {
	customerv1.UnimplementedOperationsServiceServer
	d Deps
}

func (s *operations) GetStatus(ctx context.Context, _ *customerv1.GetStatusRequest) (*customerv1.GetStatusResponse, error) {
	r := s.d.Store.Read()
	feeds, err := r.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := r.CountGoldens(ctx)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetStatusResponse{
		Customers: counts[golden.Customer], Contacts: counts[golden.Contact], RulesVersion: s.d.Rules().Digest(),
	}
	for _, f := range store.InUse(feeds, s.systems(), s.d.Now()) {
		resp.Feeds = append(resp.Feeds, &customerv1.FeedStatus{
			System: f.System, State: feedState(f), Scanned: f.Complete, ScannedRecords: f.Scanned, LastMessageTime: stamp(f.LastMessage),
			LastCommitTime: stamp(f.LastCommit), Reason: f.Reason, ResumeTime: stamp(f.Resume), PositionTime: stamp(f.Position),
		})
	}
	if resp.Rules, err = s.rulesStatus(ctx, r); err != nil {
		return nil, err
	}
	if resp.Targets, err = s.targets(ctx, r); err != nil {
		return nil, err
	}
	resp.Flows, err = flows(ctx, r)
	return resp, err
}

// systems returns the names of the systems that are configured.
func (s *operations) systems() []string {
	out := make([]string, len(s.d.Targets))
	for i, t := range s.d.Targets {
		out[i] = t.System()
	}
	return out
}

func (s *operations) targets(ctx context.Context, r store.Reader) ([]*customerv1.TargetStatus, error) {
	backlogs, err := r.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	dead, _, err := r.CountDead(ctx)
	if err != nil {
		return nil, err
	}
	var out []*customerv1.TargetStatus
	for _, t := range s.d.Targets {
		status := t.Status()
		m := &customerv1.TargetStatus{
			System: t.System(), DeadLetters: dead[store.DirectionDeliver][t.System()], Reason: status.Reason, Calls: status.Calls,
			RecordsWritten: status.Written,
		}
		if !status.Resume.IsZero() {
			m.ResumeTime = stamp(status.Resume)
		}
		for _, b := range backlogs {
			if b.System == t.System() {
				m.Pending, m.Retrying, m.HeldDeletions = b.Pending, b.Retrying, b.Held
				m.BulkPending = b.Levels[store.LevelBulk].Pending
				m.OldestPendingMs, m.OldestUrgentPendingMs = s.age(b.Oldest), s.age(b.Levels[store.LevelSync].Oldest)
			}
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *customerv1.TargetStatus) int { return strings.Compare(a.GetSystem(), b.GetSystem()) })
	return out, nil
}

// age returns how long ago t was, in milliseconds; zero for the zero time.
func (s *operations) age(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, s.d.Now().Sub(t).Milliseconds())
}

// feedState is what an operator is told: a feed that was told to begin again does not say that it is up to date until it has.
func feedState(f store.Feed) string {
	if f.State == store.FeedLive && f.Scan == store.ScanNeeded {
		return store.FeedScanning
	}
	return f.State
}

func (s *operations) GetLedger(ctx context.Context, _ *customerv1.GetLedgerRequest) (*customerv1.GetLedgerResponse, error) {
	book, err := ledger.Read(ctx, s.d.Store.Read())
	if err != nil {
		return nil, err
	}
	resp := &customerv1.GetLedgerResponse{Balanced: book.Balanced()}
	for _, l := range book.In {
		resp.Lines = append(resp.Lines, &customerv1.LedgerLine{
			System: l.System, Received: l.Received, Applied: l.Applied, Superseded: l.Superseded, Unchanged: l.Unchanged, Retrying: l.Retrying,
			Parked: l.Parked, Refused: l.Refused, Duplicates: l.Duplicates, Echoes: l.Echoes,
		})
	}
	for _, o := range book.Out {
		resp.Deliveries = append(resp.Deliveries, &customerv1.DeliveryLine{
			System: o.System, Marked: o.Marked, Delivered: o.Delivered, Unneeded: o.Unneeded, Parked: o.Parked, Pending: o.Pending, Coalesced: o.Coalesced,
			Shadowed: o.Shadowed,
		})
	}
	return resp, nil
}

// position is where a page of events ends.
type position struct {
	Position int64 `json:"p"`
}

func (s *operations) ListEvents(ctx context.Context, req *customerv1.ListEventsRequest) (*customerv1.ListEventsResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	g, err := find(ctx, r, "", req.GetId())
	if err != nil {
		return nil, err
	}
	filter := page.Hash("events", string(g.ID))
	var at position
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	events, err := r.ListEvents(ctx, g.ID, at.Position, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListEventsResponse{}
	if len(events) > size {
		events = events[:size]
		if resp.NextPageToken, err = page.Encode(filter, position{events[size-1].Position}); err != nil {
			return nil, err
		}
	}
	for _, e := range events {
		resp.Events = append(resp.Events, &customerv1.Event{
			Position: e.Position, Time: stamp(e.At), Kind: e.Kind, System: e.System, RecordId: e.RecordID, ChangeId: e.ChangeID, Fields: e.Fields,
			Reason: e.Reason, Traceparent: e.Traceparent,
		})
	}
	return resp, nil
}

// parked is where a page of dead letters ends.
type parked struct {
	Micros int64  `json:"t"`
	ID     string `json:"i"`
}

func (s *operations) ListDeadLetters(ctx context.Context, req *customerv1.ListDeadLettersRequest) (*customerv1.ListDeadLettersResponse, error) {
	size, err := page.Size(req.GetPageSize(), 50, 500)
	if err != nil {
		return nil, err
	}
	settled := "open"
	if req.GetIncludeSettled() {
		settled = "all"
	}
	filter := page.Hash("dead letters", req.GetSystem(), settled)
	var at parked
	if err := page.Decode(req.GetPageToken(), filter, &at); err != nil {
		return nil, err
	}
	var after time.Time
	if at.Micros > 0 {
		after = time.UnixMicro(at.Micros)
	}
	letters, err := s.d.Store.Read().ListDeadLetters(ctx, req.GetSystem(), req.GetIncludeSettled(), after, at.ID, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListDeadLettersResponse{}
	if len(letters) > size {
		letters = letters[:size]
		last := letters[size-1]
		if resp.NextPageToken, err = page.Encode(filter, parked{last.Parked.UnixMicro(), last.ID}); err != nil {
			return nil, err
		}
	}
	for _, l := range letters {
		resp.DeadLetters = append(resp.DeadLetters, letter(l))
	}
	return resp, nil
}

func letter(l store.DeadLetter) *customerv1.DeadLetter {
	return &customerv1.DeadLetter{
		Id: l.ID, Direction: l.Direction, System: l.Ref.System, Object: string(l.Ref.Object), GoldenId: string(l.GoldenID), RecordId: l.Ref.RecordID,
		Reason: l.Reason, Field: l.Field, Message: l.Message, Attempts: int32(min(l.Attempts, 1<<30)), //nolint:gosec // bounded
		ParkTime: stamp(l.Parked), State: l.State, ChangeId: l.ChangeID, SettleTime: stamp(l.Settled),
	}
}

func (s *operations) RetryDeadLetters(ctx context.Context, req *customerv1.RetryDeadLettersRequest) (*customerv1.RetryDeadLettersResponse, error) {
	if len(req.GetIds()) == 0 && req.GetSystem() == "" {
		return nil, fault.InvalidField("ids", "", "name letters or a system")
	}
	n, err := s.d.Desk.Retry(ctx, req.GetIds(), req.GetSystem(), redriveMode(req.GetMode()))
	if err != nil {
		return nil, err
	}
	return &customerv1.RetryDeadLettersResponse{Retried: int32(min(n, 1<<30))}, nil //nolint:gosec // bounded
}

func (s *operations) DiscardDeadLetter(ctx context.Context, req *customerv1.DiscardDeadLetterRequest) (*customerv1.DiscardDeadLetterResponse, error) {
	l, err := s.d.Desk.Discard(ctx, req.GetId(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &customerv1.DiscardDeadLetterResponse{DeadLetter: letter(l)}, nil
}

func (s *operations) Resync(ctx context.Context, req *customerv1.ResyncRequest) (*customerv1.ResyncResponse, error) {
	if !slices.ContainsFunc(s.d.Targets, func(t Target) bool { return t.System() == req.GetSystem() }) {
		return nil, fault.New(fault.NotFound, "SYSTEM_UNKNOWN", "no such system is configured")
	}
	started := false
	err := s.d.Store.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockIdentity(ctx); err != nil {
			return err
		}
		var err error
		if started, err = tx.RequestScan(ctx, req.GetSystem()); err != nil || !started {
			return err
		}
		return tx.AddEvents(ctx, []store.Event{{At: s.d.Now(), Kind: "resync_requested", System: req.GetSystem(), Traceparent: telemetry.Traceparent(ctx)}})
	})
	if err != nil {
		return nil, err
	}
	if started {
		s.d.Poke(req.GetSystem())
	}
	return &customerv1.ResyncResponse{Started: started}, nil
}
