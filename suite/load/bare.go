package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

// The processes of the baselines, and of what stands around them.
const (
	bareHandler = "handler"
	bareGateway = "gateway"
	bareLayer   = "layer"
	bareMemory  = "memory"
	barePlain   = "plain"
	bareStock   = "stock"
	bareEdge    = "edge"
	bareSystems = "systems"
	bareFanout  = "fanout"
	bareLower   = "lower"
	bareUpper   = "upper"
)

// bareArgs returns how many arguments a process takes; zero for one that there is not.
func bareArgs(name string) int {
	switch name {
	case bareHandler, bareGateway, bareMemory, barePlain, bareFanout, bareLower, bareUpper:
		return 1
	case bareLayer, bareSystems:
		return 2
	case bareStock, bareEdge:
		return 3
	}
	return 0
}

// RunBare runs one process of a baseline, or one that a baseline stands on, until ctx or standard input ends. It prints the
// address it listens on as its first line. The arguments are
//
//	handler FILE              a gRPC server of MobileService that answers GetCustomer out of the customers in FILE
//	gateway TARGET            the generated REST gateway in front of it
//	layer DURATION PLACES     a process layer that makes customers, each in this time, so many at once (0: all)
//	memory BYTES              a hand-written handler that answers so many bytes, always the same
//	plain TARGET              a hand-written handler in front of it
//	stock TARGET RATIO ISSUER the generated gateway in front of it, with the libraries' own middleware
//	edge TARGET RATIO DIR     experience-mobile in front of it; the second word of the line is its issuer
//	systems DURATION METHOD   both systems, as far as a customer screen asks them; one method never answers
//	fanout TARGET             a hand-written screen in front of them
//	lower TARGET              a hand-written service in front of them that asks the same
//	upper TARGET              a hand-written screen in front of that
//
// All but edge and stock are what the libraries give without a single option: no deadline, no tracing, no validation, no
// authentication.
func RunBare(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) < 2 || bareArgs(args[0]) != len(args)-1 {
		return errors.New("give a process and its arguments")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent's end closes with the parent, however it ends.
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	line := []any{lis.Addr()}
	var issuer net.Listener
	if args[0] == bareEdge {
		if issuer, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
		}
		line = append(line, issuer.Addr())
	}
	if _, err := fmt.Fprintln(out, line...); err != nil {
		return errors.Join(err, lis.Close())
	}
	switch name, args := args[0], args[1:]; name {
	case bareHandler:
		return serveHandler(ctx, lis, args[0])
	case bareGateway:
		return serveGateway(ctx, lis, args[0])
	case bareLayer:
		return serveLayer(ctx, lis, args)
	case bareMemory:
		return serveMemory(ctx, lis, args[0])
	case barePlain:
		return servePlain(ctx, lis, args)
	case bareStock:
		return serveStock(ctx, lis, args)
	case bareEdge:
		return serveEdge(ctx, lis, issuer, args)
	case bareSystems:
		return serveSystems(ctx, lis, args)
	case bareLower:
		return serveLower(ctx, lis, args)
	case bareUpper:
		return serveUpper(ctx, lis, args)
	default:
		return serveFanout(ctx, lis, args)
	}
}

// handler answers GetCustomer from memory.
type handler struct {
	mobilev1.UnimplementedMobileServiceServer
	customers map[string]*mobilev1.GetCustomerResponse
}

func (h *handler) GetCustomer(_ context.Context, req *mobilev1.GetCustomerRequest) (*mobilev1.GetCustomerResponse, error) {
	c, ok := h.customers[req.GetCustomerId()]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such customer")
	}
	return c, nil
}

func serveHandler(ctx context.Context, lis net.Listener, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
	}
	var list mobilev1.ListCustomersResponse
	if err := proto.Unmarshal(b, &list); err != nil {
		return errors.Join(fmt.Errorf("baseline: read customers: %w", err), lis.Close())
	}
	h := &handler{customers: map[string]*mobilev1.GetCustomerResponse{}}
	for _, c := range list.GetCustomers() {
		h.customers[c.GetCustomerId()] = &mobilev1.GetCustomerResponse{Customer: c}
	}
	srv := grpc.NewServer()
	mobilev1.RegisterMobileServiceServer(srv, h)
	defer context.AfterFunc(ctx, srv.Stop)()
	return srv.Serve(lis)
}

// dialed returns a connection to target; without one it closes lis, on which nobody will serve.
func dialed(target string, lis net.Listener, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
	}
	return conn, nil
}

func serveGateway(ctx context.Context, lis net.Listener, target string) (err error) {
	conn, err := dialed(target, lis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	mux := runtime.NewServeMux()
	if err := mobilev1.RegisterMobileServiceHandlerClient(ctx, mux, mobilev1.NewMobileServiceClient(conn)); err != nil {
		return errors.Join(fmt.Errorf("baseline: %w", err), lis.Close())
	}
	return serveHTTP(ctx, lis, mux)
}

// child is a started process of the baseline.
type child struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
	// issuer is where the edge's tokens come from.
	issuer string
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// launchBare starts a process of the baseline and waits until it listens.
func launchBare(ctx context.Context, command []string, args ...string) (*child, error) {
	full := append(append([]string{}, command...), args...)
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("baseline: %w", err), in.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("baseline: %w", err), in.Close())
	}
	c := &child{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("baseline: %s did not start: %w", args[0], err), c.stop())
	}
	words := strings.Fields(line)
	c.addr = words[0]
	if len(words) > 1 {
		c.issuer = "http://" + words[1]
	}
	return c, nil
}

// stop ends the process by closing its input, and waits.
func (c *child) stop() error {
	closeErr := c.in.Close()
	if errors.Is(closeErr, os.ErrClosed) {
		closeErr = nil
	}
	return errors.Join(closeErr, c.cmd.Wait())
}
