package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

const batch = 500 // keys per SCAN of a walk

func (s *Store) subjectKey(digest []byte) string {
	return s.opts.Prefix + "subject:" + hex.EncodeToString(digest)
}

// outside runs the script for what comes from outside an attempt: 1 done, 0 not in that state, -1 no record.
func (s *Store) outside(ctx context.Context, d idempotent.Digest, what string, args ...any) (int, error) {
	n, err := s.desk.Run(ctx, s.client, s.keys(d), append([]any{s.at(), what}, args...)...).Int()
	if err != nil {
		return 0, fmt.Errorf("%s idempotency record: %w", what, err)
	}
	return n, nil
}

// Resolve implements idempotent.Store.
func (s *Store) Resolve(ctx context.Context, g idempotent.Grant, v idempotent.Verdict) error {
	args, err := s.answer(ctx, g, v.Answer)
	if err != nil {
		return err
	}
	n, err := s.outside(ctx, g.Digest, "resolve", append([]any{g.Fence, flag(v.Executed), flag(v.Force)}, args...)...)
	if err == nil && n != 1 {
		return fmt.Errorf("resolve idempotency record: %w", idempotent.ErrStale)
	}
	return err
}

// Expire implements idempotent.Store.
func (s *Store) Expire(ctx context.Context, d idempotent.Digest) error {
	n, err := s.outside(ctx, d, "expire", s.opts.Tombstone.Microseconds())
	switch {
	case err != nil:
		return err
	case n < 0:
		return idempotent.ErrNoRecord
	case n == 0:
		return fmt.Errorf("expire idempotency record: %w", idempotent.ErrStale)
	default:
		return nil
	}
}

// Erase implements idempotent.Store.
func (s *Store) Erase(ctx context.Context, subject string) (int, error) {
	total := 0
	for _, secret := range s.secrets {
		hidden := idempotent.SubjectDigest(secret, subject)
		members, err := s.client.SMembers(ctx, s.subjectKey(hidden)).Result()
		if err != nil {
			return total, fmt.Errorf("erase idempotency answers: %w", err)
		}
		for _, m := range members {
			d, err := idempotent.ParseDigest(m)
			if err != nil {
				return total, fmt.Errorf("erase idempotency answers: %w", err)
			}
			n, err := s.outside(ctx, d, "erase", s.opts.Tombstone.Microseconds(), hidden)
			if err != nil {
				return total, err
			}
			total += max(n, 0)
			// Not the whole set: an answer may be on its way into it.
			if err := s.client.SRem(ctx, s.subjectKey(hidden), m).Err(); err != nil {
				return total, fmt.Errorf("erase idempotency answers: %w", err)
			}
		}
	}
	return total, nil
}

// digestOf reads the digest from the key of a record; false for every other key.
func (s *Store) digestOf(key string) (idempotent.Digest, bool) {
	text, ok := strings.CutPrefix(key, s.opts.Prefix+"{")
	if !ok {
		return idempotent.Digest{}, false
	}
	text, ok = strings.CutSuffix(text, "}")
	if !ok {
		return idempotent.Digest{}, false
	}
	d, err := idempotent.ParseDigest(text)
	return d, err == nil
}

// pattern matches the keys of records whose digest begins with the prefix.
func (s *Store) pattern(prefix string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s.opts.Prefix)
	return escaped + "{" + strings.ToLower(prefix) + "*}"
}

// walk visits every record of every node, in batches. SCAN may return a key twice.
func (s *Store) walk(ctx context.Context, visit func(ctx context.Context, node redis.Cmdable, found []idempotent.Digest) (more bool, err error)) error {
	return s.eachMaster(ctx, func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, s.pattern(""), batch).Result()
			if err != nil {
				return fmt.Errorf("scan idempotency records: %w", err)
			}
			more, err := visit(ctx, node, s.digests(keys))
			if err != nil || !more || next == 0 {
				return err
			}
			cursor = next
		}
	})
}

func (s *Store) digests(keys []string) (out []idempotent.Digest) {
	for _, k := range keys {
		if d, ok := s.digestOf(k); ok {
			out = append(out, d)
		}
	}
	return out
}

// Purge implements idempotent.Store. Redis removes answers and forgotten records by itself; this marks the answers that
// went as tombstones, declares vanished claims uncertain, and cleans what the clock of a test has passed.
func (s *Store) Purge(ctx context.Context, limit int) (int, error) {
	var mu sync.Mutex // nodes of a cluster are walked at the same time
	total := 0
	err := s.walk(ctx, func(ctx context.Context, node redis.Cmdable, found []idempotent.Digest) (bool, error) {
		n, err := s.purge(ctx, node, found)
		mu.Lock()
		defer mu.Unlock()
		total += n
		return total < limit, err
	})
	return total, err
}

func (s *Store) purge(ctx context.Context, node redis.Cmdable, found []idempotent.Digest) (int, error) {
	if len(found) == 0 {
		return 0, nil
	}
	if err := s.desk.Load(ctx, node).Err(); err != nil {
		return 0, fmt.Errorf("purge idempotency records: %w", err)
	}
	results, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, d := range found {
			p.EvalSha(ctx, s.desk.Hash(), s.keys(d), s.at(), "purge", s.opts.Tombstone.Microseconds())
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("purge idempotency records: %w", err)
	}
	n := 0
	for _, r := range results {
		if v, ok := r.(*redis.Cmd); ok && v.Val() == int64(1) {
			n++
		}
	}
	return n, nil
}

// entries reads records; those that vanished meanwhile are left out.
func (s *Store) entries(ctx context.Context, node redis.Cmdable, found []idempotent.Digest) ([]idempotent.Entry, error) {
	if len(found) == 0 {
		return nil, nil
	}
	results, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, d := range found {
			p.HMGet(ctx, s.keys(d)[0], "s", "n", "c", "l", "e", "k", "z", "r", "t", "m", "w")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read idempotency records: %w", err)
	}
	var out []idempotent.Entry
	for i, r := range results {
		v, ok := r.(*redis.SliceCmd)
		if !ok || v.Val()[0] == nil {
			continue
		}
		x := reply{values: v.Val()}
		e := idempotent.Entry{
			Digest: found[i], State: idempotent.State(x.str(0)), Fence: x.int(1), ClaimedAt: micro(x.int(2)), LeaseUntil: micro(x.int(3)),
			ExpiresAt: micro(x.int(4)), OK: x.str(5) == "1", Resource: x.str(7), Trace: x.str(8), Method: x.str(9),
			Recoverable: x.str(10) == "1",
		}
		if size := x.str(6); size != "-" {
			e.Bytes, _ = strconv.Atoi(size)
		}
		if x.err != nil {
			return nil, x.err
		}
		out = append(out, e)
	}
	return out, nil
}

func micro(us int64) time.Time { return time.UnixMicro(us).UTC() }

// Show implements idempotent.Store.
func (s *Store) Show(ctx context.Context, d idempotent.Digest) (idempotent.Entry, error) {
	found, err := s.entries(ctx, s.client, []idempotent.Digest{d})
	if err != nil {
		return idempotent.Entry{}, err
	}
	if len(found) == 0 {
		return idempotent.Entry{}, idempotent.ErrNoRecord
	}
	return found[0], nil
}

// Stats implements idempotent.Store.
func (s *Store) Stats(ctx context.Context) (idempotent.Stats, error) {
	var mu sync.Mutex
	var st idempotent.Stats
	seen := map[idempotent.Digest]bool{} // open and uncertain ones only: few
	now := time.UnixMicro(s.at())
	if s.opts.Now == nil {
		var err error
		if now, err = s.client.Time(ctx).Result(); err != nil {
			return st, fmt.Errorf("idempotency statistics: %w", err)
		}
	}
	err := s.walk(ctx, func(ctx context.Context, node redis.Cmdable, found []idempotent.Digest) (bool, error) {
		entries, err := s.entries(ctx, node, found)
		mu.Lock()
		defer mu.Unlock()
		for _, e := range entries {
			st.Records++
			st.Bytes += int64(e.Bytes)
			if e.State != idempotent.Claimed && e.State != idempotent.Uncertain || seen[e.Digest] {
				continue
			}
			seen[e.Digest] = true
			count(&st, e, now)
		}
		return true, err
	})
	return st, err
}

func count(st *idempotent.Stats, e idempotent.Entry, now time.Time) {
	age := now.Sub(e.ClaimedAt)
	if e.State == idempotent.Uncertain {
		st.Uncertain++
		st.OldestUncertain = max(st.OldestUncertain, age)
		return
	}
	if e.Recoverable && !e.LeaseUntil.After(now.Add(-idempotent.GivenUp)) {
		return
	}
	st.Open++
	st.OldestOpen = max(st.OldestOpen, age)
	if !e.LeaseUntil.After(now) {
		st.Abandoned++
	}
}

// errCluster is why a page cannot be made.
var errCluster = errors.New("redis: records of a cluster are listed node by node: connect to one node")

// List implements idempotent.Store. A page is what one step of SCAN finds, so it may be empty although more follow, and a
// record that is there all the time is listed, once in almost every case. On a cluster, list on the nodes.
func (s *Store) List(ctx context.Context, f idempotent.Filter) (idempotent.Page, error) {
	if _, ok := s.client.(*redis.ClusterClient); ok {
		return idempotent.Page{}, errCluster
	}
	if _, err := hex.DecodeString(f.Prefix); err != nil {
		return idempotent.Page{}, fmt.Errorf("redis: the prefix is not hexadecimal: %w", err)
	}
	cursor := uint64(0)
	if f.Cursor != "" {
		var err error
		if cursor, err = strconv.ParseUint(f.Cursor, 10, 64); err != nil {
			return idempotent.Page{}, fmt.Errorf("redis: the cursor is not valid: %w", err)
		}
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	var page idempotent.Page
	for page.Next = "more"; page.Next != "" && len(page.Entries) == 0; {
		keys, next, err := s.client.Scan(ctx, cursor, s.pattern(f.Prefix), int64(max(limit, 10))).Result()
		if err != nil {
			return idempotent.Page{}, fmt.Errorf("list idempotency records: %w", err)
		}
		found, err := s.entries(ctx, s.client, s.digests(keys))
		if err != nil {
			return idempotent.Page{}, err
		}
		for _, e := range found {
			if matches(f, e) {
				page.Entries = append(page.Entries, e)
			}
		}
		cursor, page.Next = next, ""
		if next != 0 {
			page.Next = strconv.FormatUint(next, 10)
		}
	}
	return page, nil
}

func matches(f idempotent.Filter, e idempotent.Entry) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, e.State)) && (f.Method == "" || f.Method == e.Method) &&
		(f.ClaimedBefore.IsZero() || e.ClaimedAt.Before(f.ClaimedBefore))
}
