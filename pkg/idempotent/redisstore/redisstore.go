package redisstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

//go:embed lua/*.lua
var sources embed.FS

const (
	minSecret     = 16 // bytes
	defaultPrefix = "idem:"
)

// Options of a store. The zero value is usable.
type Options struct {
	// Prefix begins every key, so that several services may share a server; empty means "idem:".
	Prefix string
	// Tombstone is how long a finished call is remembered after its answer; zero means idempotent.DefaultTombstone.
	Tombstone time.Duration
	// OtherSecrets are secrets under which records may exist besides those of the first, while it is being replaced; see
	// idempotent.OtherSecrets for the order of steps. Not on a cluster.
	OtherSecrets [][]byte
	// WaitReplicas is how many replicas must have a stored answer before it is given out (WAIT), for at most
	// WaitTimeout (zero: 100 ms). It makes the loss at a fail-over smaller, not impossible. If they do not answer in time
	// the answer is given out all the same, since it is stored.
	WaitReplicas int
	WaitTimeout  time.Duration
	// Now is the clock; nil means that of the server, which is what production uses.
	Now func() time.Time
}

// Store is an idempotent.Store in Redis, safe for concurrent use and shared by any number of replicas of a service.
type Store struct {
	client  redis.UniversalClient
	secrets [][]byte
	opts    Options
	durable idempotent.Durability

	begin, held, look, desk, index *redis.Script
}

var _ idempotent.Store = (*Store)(nil)

// Open connects to a server named by a URL (redis://, rediss://, unix://) and returns the store and its close function.
func Open(ctx context.Context, url string, secret []byte, o Options) (*Store, func() error, error) {
	ro, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, errors.New("redis: the URL is not valid") // it may hold a password
	}
	ro.ContextTimeoutEnabled = true
	client := redis.NewClient(ro)
	s, err := New(ctx, client, secret, o)
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return s, client.Close, nil
}

// New returns a store on a client of the caller's, which must have ContextTimeoutEnabled: without it go-redis ignores the
// deadline of a call. Secret, at least 16 bytes, keys the HMAC that hides callers and keys. The server is asked for its
// role, its eviction policy and its durability.
func New(ctx context.Context, client redis.UniversalClient, secret []byte, o Options) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Tombstone <= 0 {
		o.Tombstone = idempotent.DefaultTombstone
	}
	if o.WaitTimeout <= 0 {
		o.WaitTimeout = 100 * time.Millisecond
	}
	s := &Store{client: client, secrets: append([][]byte{secret}, o.OtherSecrets...), opts: o}
	for _, secret := range s.secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("redis: the secret has %d bytes, want at least %d", len(secret), minSecret)
		}
	}
	if err := s.checkClient(); err != nil {
		return nil, err
	}
	if err := s.load(func(text string) string { return text }); err != nil {
		return nil, err
	}
	return s, s.checkServer(ctx)
}

// load makes the scripts, each of what change makes of its text.
func (s *Store) load(change func(string) string) error {
	for name, script := range map[string]**redis.Script{
		"begin": &s.begin, "held": &s.held, "look": &s.look, "desk": &s.desk, "index": &s.index,
	} {
		common, err := sources.ReadFile("lua/record.lua")
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		text, err := sources.ReadFile("lua/" + name + ".lua")
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		if name == "index" {
			common = nil
		}
		*script = redis.NewScript(change(string(common) + string(text)))
	}
	return nil
}

func (s *Store) checkClient() error {
	timeouts := true
	switch c := s.client.(type) {
	case *redis.Client:
		timeouts = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		timeouts = c.Options().ContextTimeoutEnabled
		if len(s.secrets) > 1 {
			return errors.New("redis: the secret cannot be replaced on a cluster: records of two secrets are on two nodes")
		}
	case *redis.Ring:
		return errors.New("redis: a ring moves keys between servers when one of them fails, and forgets claims: use one server, Sentinel or a cluster")
	}
	if !timeouts {
		return errors.New("redis: the client ignores deadlines; set ContextTimeoutEnabled")
	}
	return nil
}

// checkServer refuses what cannot keep a claim and learns how durable the rest is.
func (s *Store) checkServer(ctx context.Context) error {
	s.durable = idempotent.Replicated
	return s.eachMaster(ctx, func(ctx context.Context, node redis.Cmdable) error {
		text, err := node.Info(ctx).Result()
		if err != nil {
			return fmt.Errorf("redis: ask the server about itself: %w", err)
		}
		info := parseInfo(text)
		switch {
		case info["role"] != "" && info["role"] != "master":
			return errors.New("redis: the server is a read replica, which answers late and claims nothing")
		case info["maxmemory_policy"] != "noeviction" && info["maxmemory"] != "0":
			return fmt.Errorf("redis: the server may evict keys (maxmemory-policy %s); a claim that vanishes is executed again: want noeviction",
				info["maxmemory_policy"])
		case info["aof_enabled"] != "1" && info["connected_slaves"] == "0":
			s.durable = idempotent.Volatile
		}
		return nil
	})
}

func parseInfo(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[k] = v
		}
	}
	return out
}

// eachMaster calls fn for every node that holds records.
func (s *Store) eachMaster(ctx context.Context, fn func(ctx context.Context, node redis.Cmdable) error) error {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return fn(ctx, c) })
	}
	return fn(ctx, s.client)
}

// Capabilities implements idempotent.Store.
func (s *Store) Capabilities() idempotent.Capabilities {
	return idempotent.Capabilities{Durability: s.durable, Shared: true}
}

// Digest implements idempotent.Store.
func (s *Store) Digest(scope idempotent.Scope) idempotent.Digest { return scope.Digest(s.secrets[0]) }

// keys are those of a record: the braces make a cluster keep them together.
func (s *Store) keys(d idempotent.Digest) []string {
	k := s.opts.Prefix + "{" + d.String() + "}"
	return []string{k, k + ":a"}
}

func (s *Store) at() int64 {
	if s.opts.Now == nil {
		return 0
	}
	return s.opts.Now().UnixMicro()
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// Begin implements idempotent.Store. A finished call costs a plain read, every other one that read and a script.
func (s *Store) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	digests := make([]idempotent.Digest, 0, len(s.secrets))
	keys := make([]string, 0, 2*len(s.secrets))
	for _, secret := range s.secrets {
		d := c.Scope.Digest(secret)
		digests, keys = append(digests, d), append(keys, s.keys(d)...)
	}
	if res, ok, err := s.replay(ctx, c, digests, keys); ok || err != nil {
		if err != nil {
			return res, fmt.Errorf("claim idempotency key: %w", err)
		}
		return res, nil
	}
	conn, put, err := s.pinned(ctx, keys[0])
	if err != nil {
		return idempotent.Result{}, fmt.Errorf("claim idempotency key: %w", err)
	}
	defer put()
	v, err := s.begin.Run(ctx, conn, keys, s.at(), c.Fingerprint, c.Owner, flag(c.Takeover), flag(c.Takeover || c.Probe),
		c.Lease.Microseconds(), c.Retention.Microseconds(), c.Scope.Method, c.Trace,
		s.opts.Tombstone.Microseconds()).Slice()
	if err != nil {
		return idempotent.Result{}, fmt.Errorf("claim idempotency key: %w", err)
	}
	r := reply{values: v}
	outcome, index := r.int(0), r.int(1)
	if index < 1 || index > int64(len(digests)) {
		return idempotent.Result{}, fmt.Errorf("claim idempotency key: unexpected reply of the script")
	}
	d := digests[index-1]
	res := idempotent.Result{Outcome: idempotent.Outcome(outcome), Digest: d, Fence: r.int(2), Trace: r.str(8)} //nolint:gosec // 1 to 6
	if claimed := r.int(9); claimed > 0 {
		res.At = time.UnixMicro(claimed).UTC()
	}
	switch res.Outcome {
	case idempotent.Granted:
		s.replicated(ctx, conn)
		res.Grant = idempotent.Grant{Digest: d, Fence: res.Fence, Owner: c.Owner, Retention: c.Retention, Recovery: r.str(3) == "1"}
	case idempotent.Replay:
		a, err := parse(r.str(6)) // finished since the plain read
		if err != nil {
			return idempotent.Result{}, fmt.Errorf("claim idempotency key: %w", err)
		}
		res.Answer = idempotent.Answer{OK: a.ok, Body: []byte(a.body), Resource: a.resource}
	case idempotent.Gone:
		res.Answer = idempotent.Answer{OK: r.str(5) == "1", Resource: r.str(7)}
	case idempotent.InProgress:
		res.Remaining = time.Duration(r.int(4)) * time.Microsecond
	case idempotent.Mismatch:
		res.Fingerprint = []byte(r.str(10))
	case idempotent.InDoubt, idempotent.Absent:
	}
	return res, r.err
}

// reply reads what a script returned; the first thing that is not as expected becomes the error.
type reply struct {
	values []any
	err    error
}

func (r *reply) str(i int) string {
	if i < len(r.values) {
		switch v := r.values[i].(type) {
		case string:
			return v
		case int64:
			return strconv.FormatInt(v, 10)
		}
	}
	r.err = errors.New("unexpected reply of the script")
	return ""
}

func (r *reply) int(i int) int64 {
	n, err := strconv.ParseInt(r.str(i), 10, 64)
	if err != nil && r.err == nil {
		r.err = errors.New("unexpected reply of the script")
	}
	return n
}

// Look implements idempotent.Store.
func (s *Store) Look(ctx context.Context, g idempotent.Grant) (idempotent.Result, error) {
	v, err := s.look.Run(ctx, s.client, s.keys(g.Digest), s.at()).Slice()
	if err != nil {
		return idempotent.Result{}, fmt.Errorf("read idempotency record: %w", err)
	}
	r := reply{values: v}
	outcome := r.int(0)
	if outcome == 0 && r.err == nil {
		return idempotent.Result{}, idempotent.ErrStale
	}
	res := idempotent.Result{
		Outcome: idempotent.Outcome(outcome), Digest: g.Digest, Fence: r.int(1), Trace: r.str(6), At: time.UnixMicro(r.int(7)).UTC(), //nolint:gosec // 1 to 6
	}
	switch res.Outcome {
	case idempotent.Replay:
		a, err := parse(r.str(4))
		if err != nil {
			return idempotent.Result{}, fmt.Errorf("read idempotency record: %w", err)
		}
		res.Answer = idempotent.Answer{OK: a.ok, Body: []byte(a.body), Resource: a.resource}
	case idempotent.Gone:
		res.Answer = idempotent.Answer{OK: r.str(3) == "1", Resource: r.str(5)}
	case idempotent.InProgress:
		res.Remaining = time.Duration(r.int(2)) * time.Microsecond
	default:
	}
	return res, r.err
}

// change runs a script that must find the claim held.
func (s *Store) change(ctx context.Context, what string, g idempotent.Grant, args ...any) error {
	args = append([]any{s.at(), what, g.Fence, g.Owner}, args...)
	keys := s.keys(g.Digest)
	conn, put, err := s.pinned(ctx, keys[0])
	if err != nil {
		return fmt.Errorf("%s idempotency claim: %w", what, err)
	}
	defer put()
	n, err := s.held.Run(ctx, conn, keys, args...).Int()
	switch {
	case err != nil:
		return fmt.Errorf("%s idempotency claim: %w", what, err)
	case n == 0:
		return fmt.Errorf("%s idempotency claim: %w", what, idempotent.ErrStale)
	default:
		if what == "complete" {
			s.replicated(ctx, conn)
		}
		return nil
	}
}

// connection is what a script and the WAIT after it share.
type connection interface {
	redis.Scripter
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// pinned returns a connection to the node of a key if replicas are waited for, since Redis counts what they have for each
// connection; put gives it back.
func (s *Store) pinned(ctx context.Context, key string) (c connection, put func(), err error) {
	if s.opts.WaitReplicas <= 0 {
		return s.client, func() {}, nil
	}
	node, ok := s.client.(*redis.Client)
	if cluster, isCluster := s.client.(*redis.ClusterClient); isCluster {
		if node, err = cluster.MasterForKey(ctx, key); err != nil {
			return nil, nil, err
		}
		ok = true
	}
	if !ok {
		return s.client, func() {}, nil
	}
	conn := node.Conn()
	return conn, func() { _ = conn.Close() }, nil
}

// replicated waits for replicas. What was written is stored: whoever does not hear from them in time has a weaker promise,
// not another answer.
func (s *Store) replicated(ctx context.Context, c connection) {
	if s.opts.WaitReplicas > 0 {
		_ = c.Do(ctx, "WAIT", s.opts.WaitReplicas, s.opts.WaitTimeout.Milliseconds()).Err()
	}
}

// Heartbeat implements idempotent.Store.
func (s *Store) Heartbeat(ctx context.Context, g idempotent.Grant, lease time.Duration) error {
	return s.change(ctx, "heartbeat", g, lease.Microseconds(), g.Retention.Microseconds(), s.opts.Tombstone.Microseconds())
}

// Complete implements idempotent.Store.
func (s *Store) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	args, err := s.answer(ctx, g, a)
	if err != nil {
		return err
	}
	return s.change(ctx, "complete", g, args...)
}

// answer writes the index of the subject first: an index without an answer is harmless, the other way round an erasure
// would miss it.
func (s *Store) answer(ctx context.Context, g idempotent.Grant, a idempotent.Answer) ([]any, error) {
	var subject []byte
	if a.Subject != "" {
		subject = idempotent.SubjectDigest(s.secrets[0], a.Subject)
		if err := s.index.Run(ctx, s.client, []string{s.subjectKey(subject)}, g.Digest.String(), g.Retention.Milliseconds()).Err(); err != nil {
			return nil, fmt.Errorf("index idempotency answer: %w", err)
		}
	}
	return []any{flag(a.OK), flag(a.Body != nil), a.Body, a.Resource, subject, g.Retention.Microseconds(), s.opts.Tombstone.Microseconds()}, nil
}

// Release implements idempotent.Store.
func (s *Store) Release(ctx context.Context, g idempotent.Grant) error {
	return s.change(ctx, "release", g, g.Retention.Microseconds(), s.opts.Tombstone.Microseconds())
}

// Uncertain implements idempotent.Store.
func (s *Store) Uncertain(ctx context.Context, g idempotent.Grant) error {
	return s.change(ctx, "uncertain", g)
}

// Step implements idempotent.Store.
func (s *Store) Step(ctx context.Context, g idempotent.Grant, name string, result []byte) error {
	return s.change(ctx, "step", g, name, result)
}

// Steps implements idempotent.Store.
func (s *Store) Steps(ctx context.Context, g idempotent.Grant) (map[string][]byte, error) {
	all, err := s.client.HGetAll(ctx, s.keys(g.Digest)[0]).Result()
	if err != nil {
		return nil, fmt.Errorf("read idempotency steps: %w", err)
	}
	out := map[string][]byte{}
	for k, v := range all {
		if name, ok := strings.CutPrefix(k, "s:"); ok {
			out[name] = []byte(v)
		}
	}
	return out, nil
}
