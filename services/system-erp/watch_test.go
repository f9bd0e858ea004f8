package systemerp_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		r := start(t, dsn)
		_, err := upsert(t.Context(), r, "before")
		require.NoError(t, err)
		stream, err := r.changes.WatchChanges(t.Context(), &erpv1.WatchChangesRequest{})
		require.NoError(t, err)
		first, err := stream.Recv()
		require.NoError(t, err)
		require.Empty(t, first.GetChanges(), "an empty token means from now on")
		require.NotEmpty(t, first.GetResumeToken())

		made, err := upsert(t.Context(), r, "after")
		require.NoError(t, err)
		next, err := stream.Recv()
		require.NoError(t, err)
		require.Len(t, next.GetChanges(), 1)
		require.Equal(t, erpv1.ChangeKind_CHANGE_KIND_CREATED, next.GetChanges()[0].GetKind())
		require.Equal(t, made.GetResults()[0].GetCustomer().String(), next.GetChanges()[0].GetCustomer().String())

		all, err := r.changes.ListChanges(t.Context(), &erpv1.ListChangesRequest{})
		require.NoError(t, err)
		require.Len(t, all.GetChanges(), 2)
		require.Equal(t, next.GetChanges()[0].GetId(), all.GetChanges()[1].GetId(), "a change keeps its id")
		require.Equal(t, next.GetResumeToken(), all.GetResumeToken())

		require.NoError(t, r.stop(), "an open stream does not hold up the stop")
		_, err = stream.Recv()
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)

		r = start(t, dsn)
		again, err := r.changes.ListChanges(t.Context(), &erpv1.ListChangesRequest{ResumeToken: first.GetResumeToken()})
		require.NoError(t, err)
		require.Len(t, again.GetChanges(), 1, "a token outlives the process")
	})
}

func TestWatch_Tokens(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		r, other := start(t, dsn), start(t, dbtest.DSN(t, "sqlite")) // a database of its own, not a copy with the same epoch
		foreign, err := other.changes.ListChanges(t.Context(), &erpv1.ListChangesRequest{})
		require.NoError(t, err)
		for token, want := range map[string]struct {
			reason string
			kind   fault.Kind
		}{
			"garbage":                {fault.ReasonResumeTokenInvalid, fault.Invalid},
			foreign.GetResumeToken(): {fault.ReasonResumeTokenExpired, fault.Precondition},
		} {
			_, err := r.changes.ListChanges(t.Context(), &erpv1.ListChangesRequest{ResumeToken: token})
			refused(t, err, want.kind, want.reason, "")
			stream, err := r.changes.WatchChanges(t.Context(), &erpv1.WatchChangesRequest{ResumeToken: token})
			require.NoError(t, err)
			_, err = stream.Recv()
			refused(t, err, want.kind, want.reason, "")
		}
	})
}

// TestWatch_ExactlyOnce follows the feed over many short streams, of two replicas in turn where the database allows it, while
// writers on both work. The tokens alone must give every change once, in order.
func TestWatch_ExactlyOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, dsn string) {
		writers, rounds := 6, 25
		if testing.Short() {
			rounds = 6
		}
		replicas := []*replica{start(t, dsn)}
		if strings.HasPrefix(dsn, "postgres") {
			replicas = append(replicas, start(t, dsn))
		}
		begin, err := replicas[0].changes.ListChanges(t.Context(), &erpv1.ListChangesRequest{})
		require.NoError(t, err)
		require.Empty(t, begin.GetChanges())

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g, ctx := errgroup.WithContext(ctx)
		for w := range writers {
			g.Go(func() error {
				for i := range rounds {
					// Each round makes two customers of its own and touches one that all writers fight for.
					r := replicas[(w+i)%len(replicas)]
					if _, err := upsert(ctx, r, fmt.Sprint("a", w, "-", i), fmt.Sprint("b", w, "-", i)); err != nil {
						return err
					}
					if _, err := r.customers.BatchUpsertCustomers(ctx, &erpv1.BatchUpsertCustomersRequest{Upserts: []*erpv1.CustomerUpsert{
						{Key: key("shared"), Customer: &erpv1.Customer{Name: fmt.Sprint("by ", w, "-", i)}},
					}}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		want := writers * rounds * 3
		var positions []int64
		versions := map[string]int64{}
		g.Go(func() error {
			token := begin.GetResumeToken()
			for n := 0; len(positions) < want; n++ {
				left := 1 + n%3 // messages until this stream is thrown away
				more := func() bool { left--; return left >= 0 && len(positions) < want }
				if err := follow(ctx, replicas[n%len(replicas)], &token, more, func(c *erpv1.Change) error {
					_, number, _ := strings.Cut(c.GetId(), "-")
					p, err := strconv.ParseInt(number, 10, 64)
					positions = append(positions, p)
					if v := c.GetCustomer().GetVersion(); v < versions[c.GetCustomer().GetId()] {
						return fmt.Errorf("an older record after a newer one")
					} else {
						versions[c.GetCustomer().GetId()] = v
					}
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, g.Wait())
		require.Len(t, positions, want)
		for i, p := range positions {
			require.EqualValues(t, i+1, p, "lost, doubled or out of order")
		}
		require.Len(t, versions, writers*rounds*2+1)
	})
}

// follow reads one stream while more says so and then leaves.
func follow(ctx context.Context, r *replica, token *string, more func() bool, take func(*erpv1.Change) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.changes.WatchChanges(ctx, &erpv1.WatchChangesRequest{ResumeToken: *token})
	if err != nil {
		return err
	}
	for more() {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, c := range m.GetChanges() {
			if err := take(c); err != nil {
				return err
			}
		}
		*token = m.GetResumeToken()
	}
	return nil
}
