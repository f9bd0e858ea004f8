package rest

import (
	"context"
	"sync/atomic"
)

type countKey struct{}

// Counting returns a context and a function that tells how many calls were sent with it, repetitions included.
func Counting(ctx context.Context) (context.Context, func() int64) {
	n := new(atomic.Int64)
	return context.WithValue(ctx, countKey{}, n), n.Load
}

// sent counts one call.
func (c *Client) sent(ctx context.Context) {
	c.own.Add(1)
	if n, ok := ctx.Value(countKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}
