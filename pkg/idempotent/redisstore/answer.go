package redisstore

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// stored is an answer as it lies in Redis.
type stored struct {
	fingerprint, resource, trace, body string
	fence, claimed, expires            int64
	ok                                 bool
}

// parse reads what record.lua wrote.
func parse(text string) (a stored, err error) {
	var parts [7]string
	for i := range parts {
		if len(text) < 4 {
			return a, errStored
		}
		n := int(text[0])<<24 | int(text[1])<<16 | int(text[2])<<8 | int(text[3])
		if len(text) < 4+n {
			return a, errStored
		}
		parts[i], text = text[4:4+n], text[4+n:]
	}
	a = stored{fingerprint: parts[0], ok: parts[2] == "1", resource: parts[3], trace: parts[4], body: text}
	var err1, err2, err3 error
	a.fence, err1 = strconv.ParseInt(parts[1], 10, 64)
	a.claimed, err2 = strconv.ParseInt(parts[5], 10, 64)
	a.expires, err3 = strconv.ParseInt(parts[6], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return a, errStored
	}
	return a, nil
}

var errStored = errors.New("redis: a stored answer is damaged")

// replay answers a finished call with one plain read. False means that Begin has to ask the record.
func (s *Store) replay(ctx context.Context, c idempotent.Claim, digests []idempotent.Digest, keys []string) (idempotent.Result, bool, error) {
	for i, d := range digests {
		text, err := s.client.Get(ctx, keys[2*i+1]).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return idempotent.Result{}, false, err
		}
		a, err := parse(text)
		if err != nil {
			return idempotent.Result{}, false, err
		}
		if s.opts.Now != nil && a.expires <= s.at() {
			continue // the server's clock has not come that far
		}
		res := idempotent.Result{Digest: d, Fence: a.fence, Trace: a.trace, At: micro(a.claimed)}
		if a.fingerprint != string(c.Fingerprint) {
			res.Outcome, res.Fingerprint = idempotent.Mismatch, []byte(a.fingerprint)
			return res, true, nil
		}
		res.Outcome, res.Answer = idempotent.Replay, idempotent.Answer{OK: a.ok, Body: []byte(a.body), Resource: a.resource}
		return res, true, nil
	}
	return idempotent.Result{}, false, nil
}
