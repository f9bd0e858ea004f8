package redisstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/idempotenttest"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// server is a Redis of the test's own, which it may stop, kill and reconfigure.
type server struct {
	t    *testing.T
	dir  string
	addr string
	args []string
	cmd  *exec.Cmd
	c    *redis.Client
	// ended is closed when the process has ended.
	ended <-chan struct{}
}

func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed")
	}
	s := &server{t: t, dir: t.TempDir(), args: append([]string{path}, args...)}
	t.Cleanup(func() {
		if s.c != nil {
			_ = s.c.Close() // it may be closed already
		}
		s.kill()
	})
	for range 20 {
		// Not a port that the system gives away (32768 and up): connections of other tests would take it while the server starts,
		// or while it is down. That of another server is noticed.
		s.addr = fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000))
		s.c = redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true})
		if s.start() {
			return s
		}
		require.NoError(t, s.c.Close())
	}
	require.Fail(t, "redis-server does not start")
	return nil
}

// start starts the process and waits until it, and not another one, answers; false when it has ended.
func (s *server) start() bool {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(s.t, err)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--repl-diskless-sync-delay", "0"}, s.args[1:]...)
	cmd, ended := exec.Command(s.args[0], args...), make(chan struct{})
	require.NoError(s.t, cmd.Start())
	s.cmd, s.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	own := fmt.Sprintf("process_id:%d\r", cmd.Process.Pid)
	up := false
	require.Eventually(s.t, func() bool {
		info, _ := s.c.Info(context.Background(), "server").Result()
		if up = strings.Contains(info, own) && s.c.Ping(context.Background()).Err() == nil; up { // it may read its file first
			return true
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}, time.Minute, 20*time.Millisecond)
	return up
}

// kill is kill -9. It does nothing when nothing was started.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // an error means that it has ended
	<-s.ended
}

func (s *server) store(o redisstore.Options) *redisstore.Store {
	s.t.Helper()
	st, err := redisstore.New(s.t.Context(), s.c, secret, o)
	require.NoError(s.t, err)
	return st
}

func claim(key string) idempotent.Claim {
	return idempotent.Claim{
		Scope: idempotent.Scope{Principal: "p", Method: "/m", Key: key}, Fingerprint: []byte("f"), Owner: []byte("owner of " + key),
		Lease: time.Minute, Retention: time.Hour, Takeover: true, Trace: "t",
	}
}

func granted(t *testing.T, s idempotent.Store, c idempotent.Claim) idempotent.Grant {
	t.Helper()
	res, err := s.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.Granted, res.Outcome)
	return res.Grant
}

func answer(text string) idempotent.Answer { return idempotent.Answer{OK: true, Body: []byte(text)} }

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("L-07 a read replica is refused at start, and L-08 a server that evicts", refusals)
	t.Run("L-08 policies that may not repeat refuse a store that may forget", policies)
	t.Run("L-09 after a fail-over that lost a claim the child keys hold", failOver)
	t.Run("L-09 after a fail-over that lost a claim its owner is stale", forgottenOwner)
}

// policies: the ERP has methods whose answer must commit with their effect, the CRM one that may not be repeated blindly.
func policies(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--appendonly", "yes").store(redisstore.Options{})
	info := func(methods ...string) map[string]grpc.ServiceInfo {
		i := grpc.ServiceInfo{}
		for _, m := range methods {
			i.Methods = append(i.Methods, grpc.MethodInfo{Name: m})
		}
		return map[string]grpc.ServiceInfo{erpv1.CustomerService_ServiceDesc.ServiceName: i}
	}
	all := grpc.NewServer()
	erpv1.RegisterCustomerServiceServer(all, erpv1.UnimplementedCustomerServiceServer{})
	require.ErrorContains(t, idempotent.Check(s, all.GetServiceInfo()), "demands a store of keys in the transaction of the effect")
	events := grpc.NewServer()
	salesforcev1.RegisterEventServiceServer(events, salesforcev1.UnimplementedEventServiceServer{})
	require.ErrorContains(t, idempotent.Check(s, events.GetServiceInfo()), "demands a durable store of keys, this one is replicated")
	require.NoError(t, idempotent.Check(s, info("ListCustomers", "UpdateCustomer", "DeleteCustomer")), "every effect below is keyed")
}

func refusals(t *testing.T) {
	t.Parallel()
	t.Run("a server that evicts", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
		_, err := redisstore.New(t.Context(), s.c, secret, redisstore.Options{})
		require.ErrorContains(t, err, "noeviction")
	})
	t.Run("a read replica", func(t *testing.T) {
		t.Parallel()
		primary := startServer(t)
		replica := startServer(t, "--replicaof", strings.Replace(primary.addr, ":", " ", 1))
		_, err := redisstore.New(t.Context(), replica.c, secret, redisstore.Options{})
		require.ErrorContains(t, err, "replica")
	})
	t.Run("a client that ignores deadlines", func(t *testing.T) {
		t.Parallel()
		c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		defer c.Close()
		_, err := redisstore.New(t.Context(), c, secret, redisstore.Options{})
		require.ErrorContains(t, err, "ContextTimeoutEnabled")
	})
	t.Run("a ring", func(t *testing.T) {
		t.Parallel()
		c := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
		defer c.Close()
		_, err := redisstore.New(t.Context(), c, secret, redisstore.Options{})
		require.ErrorContains(t, err, "ring")
	})
	t.Run("a short secret", func(t *testing.T) {
		t.Parallel()
		_, err := redisstore.New(t.Context(), nil, []byte("short"), redisstore.Options{})
		require.ErrorContains(t, err, "secret")
	})
	t.Run("a secret that is being replaced on a cluster", func(t *testing.T) {
		t.Parallel()
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true})
		defer c.Close()
		_, err := redisstore.New(t.Context(), c, secret, redisstore.Options{OtherSecrets: [][]byte{[]byte("another secret, as long")}})
		require.ErrorContains(t, err, "cluster")
	})
	t.Run("an address that is not one, without repeating it", func(t *testing.T) {
		t.Parallel()
		_, _, err := redisstore.Open(t.Context(), "redis://user:canary@[", secret, redisstore.Options{})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	})
	t.Run("a server that is down", func(t *testing.T) {
		t.Parallel()
		_, _, err := redisstore.Open(t.Context(), "redis://127.0.0.1:1/0", secret, redisstore.Options{})
		require.Error(t, err)
	})
}

func TestCapabilities_DeclareNoMoreThanTheServerGives(t *testing.T) {
	t.Parallel()
	require.Equal(t, idempotent.Capabilities{Durability: idempotent.Volatile, Shared: true}, startServer(t).store(redisstore.Options{}).Capabilities(),
		"nothing on disk")
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	require.Equal(t, idempotent.Replicated, s.store(redisstore.Options{}).Capabilities().Durability, "never Durable: a fail-over may lose writes")
}

func TestStore_SurvivesKillOfTheServerWithAnAppendOnlyFile(t *testing.T) {
	t.Parallel()
	// With "everysec" Redis answers before it writes when the disk is slow: such answers may be lost.
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	st := s.store(redisstore.Options{})
	for i := range 50 {
		c := claim(fmt.Sprint(i))
		g := granted(t, st, c)
		if i%2 == 0 {
			require.NoError(t, st.Complete(t.Context(), g, answer(fmt.Sprint(i))))
		}
	}
	s.kill()
	_, err := st.Begin(t.Context(), claim("0"))
	require.Error(t, err, "a store that is down refuses")
	require.NotErrorIs(t, err, idempotent.ErrStale)
	require.True(t, s.start())
	for i := range 50 { // the scripts are gone too: they are loaded again
		c := claim(fmt.Sprint(i))
		c.Owner = []byte("somebody else")
		res, err := st.Begin(t.Context(), c)
		require.NoError(t, err)
		if i%2 == 0 {
			require.Equal(t, idempotent.Replay, res.Outcome)
			require.Equal(t, fmt.Sprint(i), string(res.Answer.Body))
		} else {
			require.Equal(t, idempotent.InProgress, res.Outcome)
		}
	}
}

func TestStore_AFullServerRefusesInsteadOfForgetting(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	st := s.store(redisstore.Options{})
	first := granted(t, st, claim("first"))
	require.NoError(t, st.Complete(t.Context(), first, answer("first")))
	second := granted(t, st, claim("second"))
	require.NoError(t, s.c.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := st.Begin(t.Context(), claim("another"))
	require.ErrorContains(t, err, "OOM", "no claim, so nothing is executed")
	require.ErrorContains(t, st.Complete(t.Context(), second, answer("second")), "OOM")
	res, err := st.Look(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, idempotent.Replay, res.Outcome, "what was stored stays")
	require.NoError(t, s.c.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.NoError(t, st.Complete(t.Context(), second, answer("second")), "the claim was not lost either")
}

func TestStore_AHangingServerDoesNotHoldACall(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	st := s.store(redisstore.Options{})
	granted(t, st, claim("k"))
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
	defer func() { require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := st.Begin(ctx, claim("k"))
	require.ErrorIs(t, err, context.DeadlineExceeded, "the deadline of the call counts, not that of the client, which is another error")
}

func TestStore_EveryKeyExpiresThatMay(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	st := s.store(redisstore.Options{Tombstone: 10 * time.Hour})
	ttl := func(key string) time.Duration {
		d := st.Digest(claim(key).Scope)
		left, err := s.c.PTTL(t.Context(), "idem:{"+d.String()+"}").Result()
		require.NoError(t, err)
		return left
	}
	manual := claim("manual")
	manual.Takeover = false
	granted(t, st, manual)
	require.Equal(t, time.Duration(-1), ttl("manual"), "what nobody may execute again must not vanish")
	uncertain := granted(t, st, claim("uncertain"))
	require.NoError(t, st.Uncertain(t.Context(), uncertain))
	require.Equal(t, time.Duration(-1), ttl("uncertain"))
	g := granted(t, st, claim("k"))
	require.InDelta(t, 11*time.Hour+time.Minute, ttl("k"), float64(time.Minute), "an abandoned claim is remembered as long as an answer")
	require.NoError(t, st.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("x"), Subject: "customers/1"}))
	require.InDelta(t, 11*time.Hour, ttl("k"), float64(time.Minute))
	d := st.Digest(claim("k").Scope)
	left, err := s.c.PTTL(t.Context(), "idem:{"+d.String()+"}:a").Result()
	require.NoError(t, err)
	require.InDelta(t, time.Hour, left, float64(time.Minute), "Redis itself removes the answer at the end of its retention")

	require.NoError(t, s.c.Del(t.Context(), "idem:{"+d.String()+"}:a").Err())
	res, err := st.Begin(t.Context(), claim("k"))
	require.NoError(t, err)
	require.Equal(t, idempotent.Gone, res.Outcome, "an answer that is gone is never executed again")
}

func TestStore_HidesCallersKeysAndSubjects(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	st := s.store(redisstore.Options{})
	c := claim("canary-key")
	c.Scope.Principal = "canary-principal"
	g := granted(t, st, c)
	require.NoError(t, st.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("x"), Subject: "canary-subject"}))
	keys, err := s.c.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 3)
	var dump strings.Builder
	for _, k := range keys {
		v, err := s.c.Dump(t.Context(), k).Result()
		require.NoError(t, err)
		fmt.Fprintln(&dump, k, strings.ReplaceAll(v, string(c.Owner), ""))
	}
	require.NotContains(t, dump.String(), "canary")
}

func TestStore_FindsRecordsOfAnOlderSecret(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	older, newer := []byte("the older secret"), []byte("the newer secret")
	open := func(first []byte, others ...[]byte) *redisstore.Store {
		st, err := redisstore.New(t.Context(), s.c, first, redisstore.Options{OtherSecrets: others})
		require.NoError(t, err)
		return st
	}
	before := open(older)
	g := granted(t, before, claim("done"))
	require.NoError(t, before.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("x"), Subject: "customers/1"}))
	running := granted(t, before, claim("running"))

	after := open(newer, older)
	c := claim("done")
	c.Owner = []byte("later")
	res, err := after.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.Replay, res.Outcome)
	require.Equal(t, g.Digest, res.Digest)
	c = claim("running")
	c.Owner = []byte("later")
	res, err = after.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.InProgress, res.Outcome)
	require.NoError(t, after.Complete(t.Context(), running, answer("y")))
	n, err := after.Erase(t.Context(), "customers/1")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	// Two replicas that disagree on which secret comes first still see one record.
	g = granted(t, open(older, newer), claim("new"))
	c = claim("new")
	c.Owner = []byte("later")
	res, err = after.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.InProgress, res.Outcome)
	require.Equal(t, g.Digest, res.Digest)
}

func TestStore_WorksOnAClusterNode(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
	require.NoError(t, s.c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.addr}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.Eventually(t, func() bool { return c.Set(t.Context(), "probe", 1, 0).Err() == nil }, time.Minute, 50*time.Millisecond)
	clock := idempotenttest.NewClock()
	st, err := redisstore.New(t.Context(), c, secret, redisstore.Options{Now: clock.Now})
	require.NoError(t, err)
	g := granted(t, st, claim("a"))
	require.NoError(t, st.Step(t.Context(), g, "s", []byte("1")))
	require.NoError(t, st.Complete(t.Context(), g, idempotent.Answer{OK: true, Body: []byte("x"), Subject: "customers/1"}))
	granted(t, st, claim("b"))
	stats, err := st.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(2), stats.Records)
	require.Equal(t, int64(1), stats.Open)
	n, err := st.Erase(t.Context(), "customers/1")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	clock.Advance(2*time.Hour + idempotent.DefaultTombstone)
	n, err = st.Purge(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 2, n, "the tombstone, and the abandoned claim that may be executed again")
	_, err = st.List(t.Context(), idempotent.Filter{})
	require.ErrorContains(t, err, "node")
}

func TestStore_WaitsForReplicasOfAClaimToo(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	st := s.store(redisstore.Options{WaitReplicas: 1, WaitTimeout: time.Millisecond})
	waits := func(n int) {
		t.Helper()
		info, err := s.c.Info(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		require.Contains(t, info, fmt.Sprintf("cmdstat_wait:calls=%d,", n))
	}
	g := granted(t, st, claim("a"))
	waits(1)
	require.NoError(t, st.Complete(t.Context(), g, answer("x")))
	waits(2)
}
