package replay

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	redisPrefix = "selfsame:replay:"
	// redisWithin bounds a call: a slow cache is worse than none.
	redisWithin = 100 * time.Millisecond
)

// Redis keeps answers where all replicas find them. Make it with OpenRedis.
type Redis struct{ client *redis.Client }

// OpenRedis returns a store on a server named by a URL (redis://, rediss://, unix://). It does not connect yet: a server
// that is down costs hits, not requests.
func OpenRedis(url string) (*Redis, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the address of Redis is not a redis:// URL") // the parser's text may quote a password
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.DialerRetries = time.Second, redisWithin, redisWithin, 1
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true
	return &Redis{client: redis.NewClient(o)}, nil
}

// Close ends the connections.
func (r *Redis) Close() error {
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// Get implements Store.
func (r *Redis) Get(ctx context.Context, s Slot) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, redisWithin)
	defer cancel()
	sealed, err := r.client.Get(ctx, redisKey(s)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read answer from redis: %w", err)
	}
	value, err := s.open(sealed)
	return value, err == nil, err
}

// Put implements Store.
func (r *Redis) Put(ctx context.Context, s Slot, value []byte, keep time.Duration) error {
	sealed, err := s.close(value)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, redisWithin)
	defer cancel()
	if err := r.client.Set(ctx, redisKey(s), sealed, keep).Err(); err != nil {
		return fmt.Errorf("write answer to redis: %w", err)
	}
	return nil
}

func redisKey(s Slot) string { return redisPrefix + hex.EncodeToString(s.Name[:]) }
