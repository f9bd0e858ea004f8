package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/conf"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	"github.com/selfsame-io/selfsame/suite/faultproxy"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// attempts is how often the naive flow tries a call that fails.
const attempts = 3

// naive is the integration most people write first: one flow per event, the call made again when it fails. It has no keys,
// no references and no memory of what it has done. It is not a straw man: with no fault set it gets everything right.
type naive struct {
	mark  string
	erp   erpv1.CustomerServiceClient // through the fault proxy
	proxy *faultproxy.Proxy
	step  func(who, format string, args ...any)

	direct *grpc.ClientConn
	conns  []*grpc.ClientConn
	cancel context.CancelFunc
	group  *errgroup.Group
	dir    string

	mu       sync.Mutex
	ids      map[string]string // ERP id by Salesforce id, as remembered from the last create
	events   int
	creates  int
	lost     int
	later    []func(context.Context)
	received map[string]int // events by Salesforce id
}

// startNaive starts a scratch ERP with a fault proxy in front and follows the demo's Salesforce.
func startNaive(ctx context.Context, d *remote.Demo, mark, scratch string, step func(string, string, ...any)) (_ *naive, err error) {
	dir, err := os.MkdirTemp(scratch, "naive-")
	if err != nil {
		return nil, fmt.Errorf("directory of the scratch erp: %w", err)
	}
	n := &naive{mark: mark, step: step, dir: dir, ids: map[string]string{}, received: map[string]int{}}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	n.group, running = errgroup.WithContext(running)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop())
		}
	}()
	target, front, err := n.startERP(running)
	if err != nil {
		return nil, err
	}
	dial := func(addr string) (*grpc.ClientConn, error) {
		// No retries of the library's: this flow has its own, as naive ones do.
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
		if err == nil {
			n.conns = append(n.conns, conn)
		}
		return conn, err
	}
	through, err := dial(front)
	if err != nil {
		return nil, err
	}
	n.erp = erpv1.NewCustomerServiceClient(through)
	if n.direct, err = dial(target); err != nil {
		return nil, err
	}
	if _, err := erpv1.NewCustomerServiceClient(n.direct).ListCustomers(ctx, &erpv1.ListCustomersRequest{}, grpc.WaitForReady(true)); err != nil {
		return nil, fmt.Errorf("scratch erp: %w", err)
	}
	sf, err := dial(d.State.GRPC["system-salesforce"])
	if err != nil {
		return nil, err
	}
	stream, err := salesforcev1.NewChangeServiceClient(sf).WatchChanges(running, &salesforcev1.WatchChangesRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil, fmt.Errorf("follow salesforce: %w", err)
	}
	if _, err := stream.Recv(); err != nil { // from here on no change is missed
		return nil, fmt.Errorf("follow salesforce: %w", err)
	}
	n.group.Go(func() error { return n.follow(running, stream) })
	return n, nil
}

func (n *naive) startERP(ctx context.Context) (target, front string, err error) {
	var bound []net.Listener
	for range 3 {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", fmt.Errorf("scratch erp: %w", err)
		}
		bound = append(bound, l)
	}
	cfg := systemerp.DefaultConfig()
	cfg.Store.DSN = conf.Secret("sqlite:" + filepath.Join(n.dir, "erp.db"))
	cfg.Telemetry.LogLevel = "error"
	cfg.Listener, cfg.OpsListener = bound[0], bound[1]
	target, front = bound[0].Addr().String(), bound[2].Addr().String()
	n.group.Go(func() error { return systemerp.Run(ctx, cfg) })
	if n.proxy, err = faultproxy.New(faultproxy.Options{Target: target}); err != nil {
		return "", "", err
	}
	n.group.Go(func() error { return n.proxy.Run(ctx, bound[2], nil) })
	return target, front, nil
}

// stop ends everything and removes the scratch data.
func (n *naive) stop() error {
	n.cancel()
	var errs []error
	for _, c := range n.conns {
		errs = append(errs, c.Close())
	}
	errs = append(errs, n.group.Wait(), os.RemoveAll(n.dir))
	return errors.Join(errs...)
}

// follow acts on each event as it comes.
func (n *naive) follow(ctx context.Context, stream grpc.ServerStreamingClient[salesforcev1.WatchChangesResponse]) error {
	for {
		msg, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("naive flow: follow salesforce: %w", err)
		}
		for _, c := range msg.GetChanges() {
			// Its integration user is Selfsame's: without this it would answer to the protected flow's writes.
			if c.GetOwnWrite() || !strings.Contains(c.GetAccount().GetName(), n.mark) {
				continue
			}
			n.on(ctx, c)
		}
	}
}

// on is the flow.
func (n *naive) on(ctx context.Context, c *salesforcev1.Change) {
	n.mu.Lock()
	n.events++
	n.received[c.GetRecordId()]++
	id := n.ids[c.GetRecordId()]
	n.mu.Unlock()
	a := c.GetAccount()
	switch c.GetKind() {
	case salesforcev1.ChangeKind_CHANGE_KIND_CREATED:
		if id := n.create(ctx, a.GetName(), a.GetPhone()); id != "" {
			n.mu.Lock()
			n.ids[c.GetRecordId()] = id
			n.mu.Unlock()
		}
	case salesforcev1.ChangeKind_CHANGE_KIND_UPDATED:
		if id != "" {
			n.update(ctx, id, a.GetPhone())
		}
	}
}

// create makes a customer, again when the call fails. It returns the id of the last one made.
func (n *naive) create(ctx context.Context, name, phone string) string {
	for range attempts {
		n.mu.Lock()
		n.creates++
		n.mu.Unlock()
		res, err := n.erp.CreateCustomer(ctx, &erpv1.CreateCustomerRequest{Customer: &erpv1.Customer{Name: name, Phone: phone}})
		if err == nil {
			return res.GetCustomer().GetId()
		}
		if status.Code(err) != codes.Unavailable {
			break
		}
	}
	n.mu.Lock()
	n.lost++
	n.mu.Unlock()
	n.step("naive", "gave a customer up after %d attempts", attempts)
	return ""
}

// update writes the phone number; what fails is put aside and tried later.
func (n *naive) update(ctx context.Context, id, phone string) {
	req := &erpv1.UpdateCustomerRequest{
		Customer: &erpv1.Customer{Id: id, Phone: phone}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"phone"}},
	}
	if _, err := n.erp.UpdateCustomer(ctx, req); err != nil {
		n.step("naive", "an update failed and waits for its retry")
		n.mu.Lock()
		n.later = append(n.later, func(ctx context.Context) { _, _ = n.erp.UpdateCustomer(ctx, req) })
		n.mu.Unlock()
	}
}

// waiting is how many updates were put aside.
func (n *naive) waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.later)
}

// retry tries what was put aside again.
func (n *naive) retry(ctx context.Context) {
	n.mu.Lock()
	later := n.later
	n.later = nil
	n.mu.Unlock()
	for _, do := range later {
		do(ctx)
	}
	n.step("naive", "retried %d updates that had failed", len(later))
}

// seen is how many events about a Salesforce record came.
func (n *naive) seen(recordID string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.received[recordID]
}

// counts returns events, calls that create, and customers given up.
func (n *naive) counts() (events, creates, lost int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.events, n.creates, n.lost
}

// named returns the customers of an ERP whose name contains the text.
func named(ctx context.Context, conn grpc.ClientConnInterface, text string) ([]*erpv1.Customer, error) {
	var out []*erpv1.Customer
	for token := ""; ; {
		res, err := erpv1.NewCustomerServiceClient(conn).ListCustomers(ctx, &erpv1.ListCustomersRequest{PageSize: 1000, PageToken: token}, grpc.WaitForReady(true))
		if err != nil {
			return nil, fmt.Errorf("list erp customers: %w", err)
		}
		for _, c := range res.GetCustomers() {
			if strings.Contains(c.GetName(), text) {
				out = append(out, c)
			}
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}
