package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
)

// BenchmarkReplay compares a replay with a bare GET of an answer of the same size, in turns in one run, and reports the
// ratio of their medians: at most 1.3 is the goal.
func BenchmarkReplay(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s, c := open(b, redisstore.Options{}), client(b)
			body := make([]byte, 512)
			cl := claim("k")
			res, err := s.Begin(b.Context(), cl)
			require.NoError(b, err)
			require.NoError(b, s.Complete(b.Context(), res.Grant, idempotent.Answer{OK: true, Body: body, Resource: "customers/1"}))
			require.NoError(b, c.Set(b.Context(), "bench-"+res.Digest.String(), body, time.Minute).Err())
			ratio(b, callers,
				func() error { return c.Get(b.Context(), "bench-"+res.Digest.String()).Err() },
				func() error {
					res, err := s.Begin(b.Context(), cl)
					if err == nil && res.Outcome != idempotent.Replay {
						err = fmt.Errorf("outcome %d", res.Outcome)
					}
					return err
				})
		})
	}
}

// BenchmarkBeginComplete compares a new key with two bare SETs.
func BenchmarkBeginComplete(b *testing.B) {
	s, c := open(b, redisstore.Options{}), client(b)
	body := make([]byte, 512)
	n := 0
	ratio(b, 1,
		func() error {
			n++
			if err := c.Set(b.Context(), fmt.Sprint("bench-set-", n), "claimed", time.Minute).Err(); err != nil {
				return err
			}
			return c.Set(b.Context(), fmt.Sprint("bench-set-", n), body, time.Minute).Err()
		},
		func() error {
			n++
			res, err := s.Begin(b.Context(), claim(fmt.Sprint(n)))
			if err != nil {
				return err
			}
			return s.Complete(b.Context(), res.Grant, idempotent.Answer{OK: true, Body: body})
		})
}
