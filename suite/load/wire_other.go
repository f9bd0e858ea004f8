//go:build !linux

package load

import (
	"context"
	"errors"
	"time"
)

// line is one connection; there is none elsewhere than on Linux.
type line struct{}

func (*line) close() {}

// volley is a shot under way.
type volley struct {
	shot    shot
	request request
	latency []time.Duration
	late    []time.Duration
	bytes   int64
}

// fly fails: what is measured is read from /proc.
func (*wire) fly(context.Context, *volley) (time.Duration, error) {
	return 0, errors.New("load: measuring needs Linux")
}
