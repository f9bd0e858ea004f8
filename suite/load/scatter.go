package load

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// scatter compares process-customer alone with the service made by hand that asks the same three questions: one hop each, the same call.
func (m *fanning) scatter(ctx context.Context, byHand string, out *FanoutResult) error {
	var paces [2][]float64
	for round := range m.f.Rounds + 1 {
		for i, target := range []string{byHand, m.run.demo.State.GRPC["process-customer"]} {
			pace, err := m.views(ctx, target)
			if err != nil {
				return fmt.Errorf("ask for views: %w", err)
			}
			if round > 0 { // the first warms up
				paces[i] = append(paces[i], pace)
			}
		}
		if round > 0 {
			hand, ours := paces[0][round-1], paces[1][round-1]
			out.ViewRatios = append(out.ViewRatios, ours/hand)
			m.o.progress("  one hop: by hand %.0f views in a second, ours %.0f", hand, ours)
		}
	}
	out.BareViews, out.Views, out.ViewRatio = median(paces[0]), median(paces[1]), median(out.ViewRatios)
	return nil
}

// views lets the users ask a gRPC service for views, each again as soon as it is answered, and returns how many with all sections there were in a second.
func (m *fanning) views(ctx context.Context, target string) (_ float64, err error) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // everything is answered, or the measurement has failed anyway
	client := customerv1.NewCustomerServiceClient(conn)
	var next, done atomic.Int64
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range m.f.Users {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= m.f.Requests {
					return nil
				}
				ctx, cancel := context.WithTimeout(ctx, silence)
				view, err := client.GetCustomerView(ctx, &customerv1.GetCustomerViewRequest{Id: strings.TrimPrefix(m.paths[i%len(m.paths)], "/v1/customers/")})
				cancel()
				if err != nil {
					return err
				}
				if whole(view) {
					done.Add(1)
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return float64(done.Load()) / time.Since(began).Seconds(), nil
}

// whole reports whether all sections of a view were asked for just now. One made by hand says nothing of them: it fails without.
func whole(view *customerv1.GetCustomerViewResponse) bool {
	for _, s := range []*customerv1.SectionStatus{view.GetOrdersStatus(), view.GetCasesStatus(), view.GetWarrantiesStatus()} {
		if s != nil && s.GetState() != customerv1.SectionState_SECTION_STATE_OK {
			return false
		}
	}
	return true
}
