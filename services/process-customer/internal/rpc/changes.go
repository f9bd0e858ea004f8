package rpc

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Reasons of refused sync tokens.
const (
	reasonSyncExpired = "SYNC_TOKEN_EXPIRED"
	reasonSyncInvalid = "SYNC_TOKEN_INVALID"
)

// syncLifetime is how old a token may be. It is published; the phone that comes later reads everything again.
const syncLifetime = 30 * 24 * time.Hour

// progress is what a sync token holds: where the caller is. It authorizes nothing.
type progress struct {
	// Position is the last one that the caller has seen, or will have when the listing ends.
	Position int64 `json:"p"`
	// At is when that position was read, in seconds.
	At int64 `json:"t"`
	// Listing is true while every customer is listed, after the id in After.
	Listing bool   `json:"l,omitempty"`
	After   string `json:"a,omitempty"`
}

var syncFilter = page.Hash("customer-changes")

func (s *screens) ListCustomerChanges(ctx context.Context, req *customerv1.ListCustomerChangesRequest) (*customerv1.ListCustomerChangesResponse, error) {
	size, err := page.Size(req.GetPageSize(), 100, 500)
	if err != nil {
		return nil, err
	}
	r := s.d.Store.Read()
	oldest, last, err := r.Positions(ctx)
	if err != nil {
		return nil, err
	}
	at := progress{Position: last, At: s.d.Now().Unix(), Listing: true}
	if req.GetToken() != "" {
		at = progress{}
		if err := page.Decode(req.GetToken(), syncFilter, &at); err != nil {
			return nil, fault.New(fault.Invalid, reasonSyncInvalid, "the sync token is not one that this service gave out")
		}
	}
	// A position beyond the last one comes from a database that is no longer there: what happened since is not known.
	if age := s.d.Now().Sub(time.Unix(at.At, 0)); age > syncLifetime || at.Position < oldest-1 || at.Position > last {
		return nil, fault.New(fault.Precondition, reasonSyncExpired, "changes since the sync token are no longer known")
	}
	of := &some{all: len(req.GetCustomerIds()) == 0}
	for _, text := range req.GetCustomerIds() {
		if id, ok := golden.ParseID(text); ok && id.Object() == golden.Customer { // of any other nothing is known
			of.ids = append(of.ids, id)
		}
	}
	slices.Sort(of.ids)
	of.ids = slices.Compact(of.ids)
	if at.Listing {
		return s.listing(ctx, r, of, at, size)
	}
	return s.since(ctx, r, of, at, last, size)
}

// some are the customers that a listing is of. They are found by their own indexes: what it costs does not follow from how many
// others there are or how much happens to them, and neither does how many pages it has.
type some struct {
	all bool
	ids []golden.ID
}

// live returns live customers in id order after one.
func (o *some) live(ctx context.Context, r store.Reader, after golden.ID, limit int) ([]*store.Golden, error) {
	if o.all {
		return r.ListGoldens(ctx, golden.Customer, "", after, limit)
	}
	from, found := slices.BinarySearch(o.ids, after)
	if found {
		from++
	}
	got, err := r.Goldens(ctx, o.ids[from:])
	if err != nil {
		return nil, err
	}
	got = slices.DeleteFunc(got, func(g *store.Golden) bool { return g.Deleted || g.MergedInto != "" })
	slices.SortFunc(got, func(a, b *store.Golden) int { return cmp.Compare(a.ID, b.ID) })
	return got[:min(limit, len(got))], nil
}

func (o *some) touched(ctx context.Context, r store.Reader, after int64, limit int) ([]store.Touch, error) {
	switch {
	case o.all:
		return r.Touched(ctx, after, limit)
	case len(o.ids) == 0:
		return nil, nil
	}
	return r.TouchedOf(ctx, o.ids, after, limit)
}

// listing returns live customers in id order. What changes meanwhile comes again later: the position is from before.
func (s *screens) listing(ctx context.Context, r store.Reader, of *some, at progress, size int) (*customerv1.ListCustomerChangesResponse, error) {
	goldens, err := of.live(ctx, r, golden.ID(at.After), size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListCustomerChangesResponse{More: len(goldens) > size}
	if resp.GetMore() {
		goldens = goldens[:size]
		at.After = string(goldens[size-1].ID)
	} else {
		at.Listing, at.After = false, ""
	}
	return resp, s.fill(ctx, r, resp, goldens, at)
}

// since returns the customers that something happened to after a position. Last is one that was given out before.
func (s *screens) since(ctx context.Context, r store.Reader, of *some, at progress, last int64, size int) (*customerv1.ListCustomerChangesResponse, error) {
	// What the rows say is older than this moment; a token may count its life from now when it has reached the end.
	now := s.d.Now().Unix()
	touched, err := of.touched(ctx, r, at.Position, size+1)
	if err != nil {
		return nil, err
	}
	resp := &customerv1.ListCustomerChangesResponse{More: len(touched) > size}
	touched = touched[:min(size, len(touched))]
	// Only the last touch of a customer in this page counts, so that the order is that of the changes.
	lastOf := map[golden.ID]int{}
	for i, t := range touched {
		lastOf[t.GoldenID] = i
	}
	var ids []golden.ID
	for i, t := range touched {
		if t.GoldenID.Object() == golden.Customer && lastOf[t.GoldenID] == i {
			ids = append(ids, t.GoldenID)
		}
	}
	found, err := r.Goldens(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := map[golden.ID]*store.Golden{}
	for _, g := range found {
		byID[g.ID] = g
	}
	var goldens []*store.Golden
	for _, id := range ids {
		g := byID[id]
		if g == nil { // it was erased
			g = &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Deleted: true}}
		}
		goldens = append(goldens, g)
	}
	if len(touched) > 0 {
		at.Position = touched[len(touched)-1].Position
	}
	if !resp.GetMore() {
		// What happened to others until then is seen, too: it would be forgotten before anything happens to these.
		at.At, at.Position = now, max(at.Position, last)
	}
	return resp, s.fill(ctx, r, resp, goldens, at)
}

func (s *screens) fill(ctx context.Context, r store.Reader, resp *customerv1.ListCustomerChangesResponse, goldens []*store.Golden, at progress) error {
	var live []*store.Golden
	for _, g := range goldens {
		if !g.Deleted && g.MergedInto == "" {
			live = append(live, g)
		}
	}
	shown, err := messages(ctx, r, live)
	if err != nil {
		return err
	}
	for _, g := range goldens {
		change := &customerv1.CustomerChange{CustomerId: string(g.ID), Deleted: g.Deleted || g.MergedInto != "", MergedInto: string(g.MergedInto)}
		if !change.GetDeleted() {
			change.Customer, shown = shown[0], shown[1:]
		}
		resp.Changes = append(resp.Changes, change)
	}
	resp.NextToken, err = page.Encode(syncFilter, at)
	return err
}
