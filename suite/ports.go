package suite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

// DefaultPortBase is the first of the demo's ports.
const DefaultPortBase = 8080

// loopback is the only interface the demo listens on: its token and its control API are for this machine.
const loopback = "127.0.0.1"

// portNames are the ports in the order in which they follow the base.
var portNames = []string{
	portREST, portIssuer, portSandbox, portPubSub, portControl, portProxy,
	SystemSalesforce, SystemERP, ProcessCustomer, ExperienceMobile,
	SystemSalesforce + opsSuffix, SystemERP + opsSuffix, ProcessCustomer + opsSuffix, ExperienceMobile + opsSuffix,
}

// Names of the ports that are not a service's gRPC port.
const (
	portREST    = "rest"
	portIssuer  = "issuer"
	portSandbox = "salesforce-sandbox"
	portPubSub  = "salesforce-pubsub"
	portControl = "control"
	portProxy   = "erp-proxy"
	portS4      = "s4-sandbox" // with Options.SAP only
	opsSuffix   = "-ops"
)

// PortError says that a port of the demo cannot be used.
type PortError struct {
	// Name is what listens there, for example "system-erp".
	Name string
	// Port is the number.
	Port int
	// Cause is the operating system's answer.
	Cause error
}

// Error implements error; it says what to do about it.
func (e *PortError) Error() string {
	return fmt.Sprintf("port %d, needed for %s, cannot be used (%v): stop what listens there, or choose other ports with --port-base N (0 for free ones)",
		e.Port, e.Name, e.Cause)
}

// Unwrap returns the cause.
func (e *PortError) Unwrap() error { return e.Cause }

// ports are the bound listeners by name. They are bound all at once, before anything starts, so that a clash is found at
// once and no request ever reaches a stranger who happens to listen there.
type ports map[string]net.Listener

// bind binds every port, and those with more names after them. base 0 takes free ones, of a block that is theirs until close. The error
// joins a *PortError per port that cannot be used.
func bind(ctx context.Context, base int, more ...string) (ports, error) {
	names := slices.Concat(portNames, more)
	if base < 0 || base > 65535-len(names) {
		return nil, fmt.Errorf("port base %d is not between 0 and %d", base, 65535-len(names))
	}
	p := ports{}
	var free *block
	if base == 0 {
		var err error
		if free, err = takeBlock(ctx); err != nil {
			return nil, err
		}
		p[blockName] = free.sign
	}
	var errs []error
	for i, name := range names {
		port := base + i
		if free != nil {
			port = 0
		}
		l, err := listenOn(ctx, port, free)
		if err != nil {
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			errs = append(errs, &PortError{Name: name, Port: port, Cause: err})
			continue
		}
		p[name] = l
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// listenOn takes a port, the next free one of a block if there is one.
func listenOn(ctx context.Context, port int, free *block) (net.Listener, error) {
	if free != nil {
		return free.listen(ctx)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
}

// The blocks lie below the ports that the system gives to outgoing connections (32768 and up on Linux, 49152 elsewhere): while a
// service is down, one of those might get its port, and the service could not come back.
const (
	firstBlock = 12_000
	blocks     = 500
	blockPorts = 40
	// blockName is what the first port of a block is among ports. Nobody takes it.
	blockName = ""
)

// block is a row of ports of which the first one is listened on as long as they are somebody's: another suite, in this process or in
// any other, takes another block, so a service that is down for a moment finds its ports free.
type block struct {
	sign net.Listener
	next int
}

func takeBlock(ctx context.Context) (*block, error) {
	var err error
	for range 100 {
		first := firstBlock + blockPorts*rand.IntN(blocks) //nolint:gosec // no secret
		var sign net.Listener
		if sign, err = listenOn(ctx, first, nil); err == nil {
			return &block{sign: sign, next: first + 1}, nil
		}
	}
	return nil, fmt.Errorf("find free ports: %w", err)
}

// listen takes the next port of the block that no stranger has.
func (b *block) listen(ctx context.Context) (l net.Listener, err error) {
	last := b.sign.Addr().(*net.TCPAddr).Port + blockPorts - 1 //nolint:forcetypeassert // it listens on TCP
	for err = errNoPort; b.next <= last && l == nil; b.next++ {
		l, err = listenOn(ctx, b.next, nil)
	}
	return l, err
}

var errNoPort = errors.New("no port of the block is free")

// take returns a listener that the caller closes.
func (p ports) take(name string) net.Listener {
	l := p[name]
	delete(p, name)
	return l
}

// close closes the listeners that nobody has taken.
func (p ports) close() error {
	var errs []error
	for name, l := range p {
		errs = append(errs, l.Close())
		delete(p, name)
	}
	return errors.Join(errs...)
}

// addresses returns the address of each port.
func (p ports) addresses() map[string]string {
	out := make(map[string]string, len(p))
	for name, l := range p {
		if name != blockName {
			out[name] = l.Addr().String()
		}
	}
	return out
}
