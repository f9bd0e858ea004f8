package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// maxStreams are the requests under way on one HTTP/2 connection, event streams among them.
const maxStreams = 100

// Unserved returns the error that a service ends with. One that was asked to stop before it served, while it opened a database or
// waited for another replica to migrate it, has not failed: what that has broken off is logged, and nil returned.
func Unserved(ctx context.Context, log *slog.Logger, serving bool, err error) error {
	if serving || err == nil || ctx.Err() == nil {
		return err
	}
	log.InfoContext(ctx, "stopped before it served", slog.String(telemetry.KeyError, err.Error()))
	return nil
}

// runner is one running service.
type runner struct {
	s      Service
	log    *slog.Logger
	addrs  Addrs
	grpc   *grpc.Server
	grpcLn net.Listener
	webs   []web // HTTP servers; the operations port is apart because it stops last
	ops    *web
	ready  *readiness
	work   context.Context //nolint:containedctx // the life of loops and streams
	stop   context.CancelFunc
}

type web struct {
	name string
	srv  *http.Server
	ln   net.Listener
}

// newRunner binds every address, so that a clash is an error before anything runs.
func newRunner(ctx context.Context, s Service) (_ *runner, err error) {
	r := &runner{s: s, log: s.Telemetry.Log, addrs: Addrs{HTTP: map[string]string{}}}
	defer func() {
		if err != nil {
			r.closeListeners()
		}
	}()
	// The work outlives ctx by the drain delay.
	r.work, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.ready = newReadiness(s.Checks)
	if s.Listener != nil || s.Config.Listen != "" || s.Register != nil {
		if r.grpcLn, err = bind(ctx, "grpc", s.Listener, s.Config.Listen); err != nil {
			return nil, err
		}
		r.addrs.GRPC = r.grpcLn.Addr().String()
		if r.grpc, err = r.newServer(); err != nil {
			return nil, err
		}
	}
	for _, h := range s.HTTP {
		w, err := r.newWeb(ctx, h)
		if err != nil {
			return nil, err
		}
		r.webs = append(r.webs, *w)
		r.addrs.HTTP[h.Name] = w.ln.Addr().String()
	}
	if s.OpsListener != nil || s.Config.Ops != "" {
		r.ops, err = r.newWeb(ctx, HTTP{
			Name: "ops", Listen: s.Config.Ops, Listener: s.OpsListener,
			Handler: opsHandler(r.ready, s.Telemetry.Metrics),
		})
		if err != nil {
			return nil, err
		}
		r.addrs.Ops = r.ops.ln.Addr().String()
	}
	return r, nil
}

func bind(ctx context.Context, name string, ln net.Listener, addr string) (net.Listener, error) {
	if ln != nil {
		return ln, nil
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return ln, nil
}

func (r *runner) newWeb(ctx context.Context, h HTTP) (*web, error) {
	ln, err := bind(ctx, h.Name, h.Listener, h.Listen)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{
		Handler: timely(h.Handler), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		// A phone that is out of reach says nothing: its connection is asked for a sign of life, and given up when it takes nothing.
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: 30 * time.Second,
		},
		ErrorLog:    slog.NewLogLogger(r.log.With(slog.String("server", h.Name)).Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	if h.TLS.Enabled() {
		src, err := newTLSSource(h.TLS, true, r.log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", h.Name, err), ln.Close())
		}
		srv.TLSConfig = src.httpConfig()
	}
	return &web{name: h.Name, srv: srv, ln: ln}, nil
}

// bodyWithin is how long a body may take to come.
const bodyWithin = 30 * time.Second

// timely bounds how long a body may take to come, whatever becomes of the request: the server waits for what it announced, also when it
// was refused. A handler that takes longer than that after it has read the body lifts the bound, which would end its context; one that
// knows better sets its own.
func timely(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			// Every connection of net/http has deadlines.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin))
		}
		next.ServeHTTP(w, r)
	})
}

// closeListeners closes what was bound or handed over, before anything serves.
func (r *runner) closeListeners() {
	if r.stop != nil {
		r.stop()
	}
	if r.grpc != nil {
		r.grpc.Stop() // its workers run from the start
	}
	lns := []net.Listener{r.grpcLn, r.s.Listener, r.s.OpsListener}
	for _, w := range r.webs {
		lns = append(lns, w.ln)
	}
	for _, h := range r.s.HTTP {
		lns = append(lns, h.Listener)
	}
	if r.ops != nil {
		lns = append(lns, r.ops.ln)
	}
	for _, ln := range lns {
		if ln != nil {
			_ = ln.Close() // may be closed already
		}
	}
}

func (w *web) serve() error {
	var err error
	if w.srv.TLSConfig != nil {
		err = w.srv.ServeTLS(w.ln, "", "")
	} else {
		err = w.srv.Serve(w.ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", w.name, err)
}

func (r *runner) run(ctx context.Context) error {
	defer r.stop()
	g, gctx := errgroup.WithContext(ctx)
	if r.grpc != nil {
		g.Go(func() error {
			if err := r.grpc.Serve(r.grpcLn); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("grpc: %w", err)
			}
			return nil
		})
	}
	for i := range r.webs {
		g.Go(r.webs[i].serve)
	}
	if r.ops != nil {
		g.Go(r.ops.serve)
	}
	loops := newRoster()
	for _, l := range r.s.Loops {
		loops.add(l.Name)
		g.Go(func() error {
			defer loops.remove(l.Name)
			return r.loop(l)
		})
	}
	g.Go(func() error { r.ready.watch(r.work); return nil })
	g.Go(func() error {
		<-gctx.Done()
		r.shutdown(ctx.Err() != nil)
		return nil
	})
	if r.s.Started != nil {
		r.s.Started(r.addrs)
	}
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	select {
	case err := <-done:
		return err
	case <-gctx.Done():
	}
	limit := time.NewTimer(r.s.Config.DrainDelay + r.s.Config.StopTimeout + 5*time.Second)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return fmt.Errorf("did not stop within %v: %s", r.s.Config.StopTimeout, loops)
	}
}

// loop runs one loop; the end of the service is not its error.
func (r *runner) loop(l Loop) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("loop %s: %w", l.Name, &panicError{v, debug.Stack()})
		}
	}()
	err = l.Run(r.work)
	if err == nil || (r.work.Err() != nil && errors.Is(err, context.Canceled)) {
		return nil
	}
	return fmt.Errorf("loop %s: %w", l.Name, err)
}

// shutdown stops everything in order. A requested stop first gives load balancers the time to notice.
func (r *runner) shutdown(requested bool) {
	r.ready.drain()
	if requested {
		r.log.Info("stopping", slog.Int64(telemetry.KeyDuration, r.s.Config.DrainDelay.Milliseconds()))
		time.Sleep(r.s.Config.DrainDelay)
	}
	r.stop()
	ctx, cancel := context.WithTimeout(context.Background(), r.s.Config.StopTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range r.webs {
		wg.Go(func() {
			if err := w.srv.Shutdown(ctx); err != nil {
				r.log.Warn("requests cut off", slog.String("server", w.name))
				_ = w.srv.Close()
			}
		})
	}
	wg.Wait() // before gRPC: an HTTP edge may call this service's own gRPC server
	if r.grpc != nil {
		finished := make(chan struct{})
		go func() { r.grpc.GracefulStop(); close(finished) }()
		select {
		case <-finished:
		case <-ctx.Done():
			r.log.Warn("calls cut off", slog.String("server", "grpc"))
			r.grpc.Stop()
			<-finished
		}
	}
	if r.ops != nil {
		_ = r.ops.srv.Close()
	}
}

// roster names the loops that still run.
type roster struct {
	mu    sync.Mutex
	names map[string]bool
}

func newRoster() *roster { return &roster{names: map[string]bool{}} }

func (l *roster) add(name string) { l.mu.Lock(); l.names[name] = true; l.mu.Unlock() }

func (l *roster) remove(name string) { l.mu.Lock(); delete(l.names, name); l.mu.Unlock() }

func (l *roster) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.names) == 0 {
		return "calls in progress"
	}
	var names []string
	for n := range l.names {
		names = append(names, n)
	}
	return "loops " + strings.Join(names, ", ")
}
