// Package faultproxy puts a transparent gRPC proxy between a client and a service, and breaks the way between them on demand.
//
// The failure that makes duplicates is not "the call failed" but "the call worked and the answer was lost". It cannot be
// had by stopping a process, so the proxy makes it: it forwards the call, lets the callee commit, and drops the answer.
//
// Invariant: with no fault set a caller cannot tell the proxy from the callee: messages are passed on as the bytes that
// came, with metadata, trailers, status details, deadline and cancellation, for unary calls and streams alike.
//
// It does not decode messages, terminate TLS or balance load.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// maxMessage is the largest message passed on, in bytes. The services accept less, so that they are the ones who refuse.
const maxMessage = 64 << 20

// Options configures a Proxy. Target is required.
type Options struct {
	// Target is the callee, for example "127.0.0.1:9102".
	Target string
	// Log gets one debug line per fault that hit; nothing is logged when nil.
	Log *slog.Logger
	// Now stamps the call log; time.Now when nil.
	Now func() time.Time
	// Faults are active from the start.
	Faults []Fault
}

// Proxy forwards gRPC calls to one target. Use New; its methods may be called from several goroutines at once.
type Proxy struct {
	faults *board
	calls  *journal
	conn   *grpc.ClientConn
	server *grpc.Server
	log    *slog.Logger
	now    func() time.Time
	pumps  sync.WaitGroup

	mu     sync.Mutex
	nextID int
	active map[int]*call
}

// call is one call on its way.
type call struct {
	method string
	cancel context.CancelCauseFunc
}

// errDown is the cause a call is cut with when a down fault is set.
var errDown = errors.New("the way to the callee is down")

// New returns a proxy to the target. It connects with the first call; Close releases it.
func New(o Options) (*Proxy, error) {
	p := &Proxy{log: o.Log, now: o.Now, faults: &board{}, calls: &journal{}, active: map[int]*call{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	conn, err := grpc.NewClient(o.Target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", o.Target, err)
	}
	p.conn = conn
	p.server = grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(p.handle),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
	)
	for _, f := range o.Faults {
		if _, err := p.Set(f); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return p, nil
}

// Run serves gRPC on lis and the control API on control (which may be nil) until ctx is done, then cuts what is under way.
// It closes both listeners and the proxy.
func (p *Proxy) Run(ctx context.Context, lis, control net.Listener) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.server.Serve(lis) })
	var web *http.Server
	if control != nil {
		web = &http.Server{Handler: p.Control(), ReadHeaderTimeout: 5 * time.Second}
		g.Go(func() error {
			if err := web.Serve(control); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("control api: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-gctx.Done()
		p.server.Stop()
		p.pumps.Wait()
		err := p.conn.Close()
		if web != nil {
			err = errors.Join(err, web.Close())
		}
		return err
	})
	return g.Wait()
}

// handle passes one call on.
func (p *Proxy) handle(_ any, in grpc.ServerStream) error {
	method, _ := grpc.Method(in.Context())
	began := p.now()
	ctx, cancel := context.WithCancelCause(in.Context())
	defer cancel(nil)
	id := p.enter(method, cancel)
	defer p.leave(id)

	fault, err := p.before(ctx, method)
	if err == nil {
		err = p.forward(outgoing(ctx), in, method, fault)
	}
	if errors.Is(context.Cause(ctx), errDown) {
		err = status.Error(codes.Unavailable, errDown.Error())
	}
	if fault.Kind == LoseAck && err == nil {
		err = status.Error(codes.Unavailable, "the answer was lost")
	}
	hit := fault.Kind
	if hit == "" && errors.Is(context.Cause(ctx), errDown) {
		hit = Down
	}
	p.calls.add(Call{Time: began, Method: method, Took: p.now().Sub(began), Code: status.Code(err).String(), Fault: hit})
	return err
}

// before applies the faults that act on the way there. The fault returned, if any, is the one that hit.
func (p *Proxy) before(ctx context.Context, method string) (Fault, error) {
	fault, ok := p.faults.take(method)
	if !ok {
		return Fault{}, nil
	}
	p.log.DebugContext(ctx, "fault hit", "method", method, "fault", string(fault.Kind))
	switch fault.Kind {
	case Down:
		return fault, status.Error(codes.Unavailable, errDown.Error())
	case Delay:
		return fault, hold(ctx, fault.Delay)
	case LoseAck, HoldAnswer: // on the way back
	}
	return fault, nil
}

func hold(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// forward pumps both directions. With LoseAck the callee's answer is read to its end and dropped: the callee has then
// finished its work. An error of the callee is passed on even then, because it proves nothing was done. With HoldAnswer the
// answer has arrived here and waits.
func (p *Proxy) forward(ctx context.Context, in grpc.ServerStream, method string, fault Fault) error {
	lose, held := fault.Kind == LoseAck, fault.Kind != HoldAnswer
	out, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	p.pumps.Go(func() { requests(in, out) })

	header, err := out.Header()
	if err == nil && header != nil && !lose {
		// Only when the callee sent headers: a status without headers is what lets a client retry.
		if err := in.SendHeader(header); err != nil {
			return err
		}
	}
	for {
		var f frame
		err := out.RecvMsg(&f)
		if lose && err == nil {
			continue
		}
		if err != nil {
			if lose && errors.Is(err, io.EOF) {
				return nil
			}
			in.SetTrailer(out.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if !held {
			held = true
			if err := hold(ctx, fault.Delay); err != nil {
				return err
			}
		}
		if err := in.SendMsg(&f); err != nil {
			return err
		}
	}
}

// requests pumps the caller's messages. It ends with the call: the handler's return ends RecvMsg.
func requests(in grpc.ServerStream, out grpc.ClientStream) {
	for {
		var f frame
		if err := in.RecvMsg(&f); err != nil {
			// Whether the caller half-closed or went away, there is nothing more to send; a cancelled call also
			// cancels the outgoing context.
			_ = out.CloseSend()
			return
		}
		if err := out.SendMsg(&f); err != nil {
			return // the answer pump sees the status
		}
	}
}

// outgoing carries the caller's metadata on. What the transport sets itself is left out.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	for _, k := range []string{":authority", "user-agent", "content-type", "grpc-accept-encoding"} {
		delete(md, k)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

func (p *Proxy) enter(method string, cancel context.CancelCauseFunc) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextID++
	p.active[p.nextID] = &call{method: method, cancel: cancel}
	return p.nextID
}

func (p *Proxy) leave(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, id)
}

// cut ends the calls under way that a down fault is about.
func (p *Proxy) cut(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.active {
		if f.matches(c.method) {
			c.cancel(errDown)
		}
	}
}
