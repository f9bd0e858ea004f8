package idempotent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// ClientOption changes what UnaryClient does.
type ClientOption func(*client)

type client struct {
	policies policies
	generate bool
	attempts int
	backoff  retry.Backoff
}

// Generate gives a call that needs a key and has none to derive it from a key of its own: for internal callers that
// start an effect and repeat it only within the call. Whoever repeats it later, or after a crash, must have stored the
// key before the first call.
func Generate() ClientOption { return func(c *client) { c.generate = true } }

// Attempts lets a call that is safe to repeat be sent up to n times: a call with a key, a read, and a method that is
// idempotent by its natural key. Every attempt carries the same key. What the server says about when to come again, and
// whether, is obeyed; the deadline of the call bounds them all. A call without a key to another method is sent once.
func Attempts(n int, b retry.Backoff) ClientOption {
	return func(c *client) { c.attempts, c.backoff = n, b }
}

// UnaryClient keeps a call to a method that requires a key from leaving without one. If the caller gave none, the key is
// derived from the key of the current call with the method as its step; without a current key the call fails with
// Invalid, IDEMPOTENCY_KEY_MISSING (see Generate). Whoever calls the same method twice for one key must use Child with
// different items: the derived keys would be equal, and the server would refuse the second request as a reuse.
func UnaryClient(opts ...ClientOption) grpc.UnaryClientInterceptor {
	c := &client{attempts: 1}
	for _, o := range opts {
		o(c)
	}
	return c.intercept
}

func (c *client) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	pol := c.policies.of(method)
	keys := metadata.ValueFromOutgoingContext(ctx, Metadata)
	keyed := false
	switch {
	case len(keys) == 1:
		if _, err := ParseKey(keys[0]); err != nil {
			return err
		}
		keyed = pol.protected
	case len(keys) > 1:
		return invalidKey("must be given once")
	case pol.required:
		if _, ok := callFrom(ctx); ok {
			ctx = Child(ctx, method, "")
		} else if c.generate {
			ctx = Outgoing(ctx, string(NewKey(time.Now())))
		} else {
			return fault.New(fault.Invalid, ReasonKeyMissing, "the method needs an idempotency key and the call has none to derive it from")
		}
		keyed = true
	}
	if c.attempts <= 1 || !keyed && !pol.read && !pol.natural {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	return c.repeat(ctx, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
}

// repeat calls until the error is final, the attempts are used up or the deadline would pass in the pause.
func (c *client) repeat(ctx context.Context, send func() error) error {
	for attempt := 1; ; attempt++ {
		err := send()
		if err == nil || attempt >= c.attempts || !fault.Retryable(err) || ctx.Err() != nil {
			return err
		}
		pause := max(c.backoff.Next(attempt), fault.RetryAfter(err))
		if at, ok := ctx.Deadline(); ok && time.Until(at) <= pause {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
	}
}

// NewKey returns a random key that carries the time (a UUIDv7), so that servers can tell when it is too old to be
// remembered. It must be stored before it is first used by whoever wants to repeat the call later.
func NewKey(now time.Time) Key {
	var b [16]byte
	_, _ = rand.Read(b[6:])                                           // never fails
	ms := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())) //nolint:gosec // after 1970
	copy(b[:6], ms[2:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return Key(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}
