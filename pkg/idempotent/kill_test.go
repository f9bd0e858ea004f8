package idempotent_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// How a worker that is to be killed is started: this test binary again, with the database and the mode.
const (
	workerEnv = "SELFSAME_TEST_WORKER"
	killsEnv  = "SELFSAME_TEST_KILLS" // how many kills per mode, for long runs
)

const killKeys = 40

// TestKilledWorker is not a test but the process that killProcesses kills: it works on all keys until each is answered,
// and prints every answer.
func TestKilledWorker(t *testing.T) {
	mode, dsn, ok := strings.Cut(os.Getenv(workerEnv), " ")
	if !ok {
		t.Log("only as a child of F-17")
		return
	}
	ctx := t.Context()
	d, err := db.Open(ctx, dsn, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	s, err := idempotent.NewSQLStore(d, secret, nil)
	require.NoError(t, err)
	require.NoError(t, registerContract())
	ic := idempotent.UnaryServer(s, idempotent.Options{Lease: 300 * time.Millisecond, Wait: 50 * time.Millisecond, Optimistic: true})
	todo := rand.Perm(killKeys)
	for len(todo) > 0 {
		id := strconv.Itoa(todo[0])
		resp, err := workOn(ctx, ic, d, s, mode, id)
		if err != nil {
			todo = append(todo[1:], todo[0])
			continue
		}
		fmt.Printf("\nanswer %s %s\n", id, textOf(resp))
		todo = todo[1:]
	}
}

func workOn(ctx context.Context, ic grpc.UnaryServerInterceptor, d *db.DB, s *idempotent.SQLStore, mode, id string) (any, error) {
	ctx = metadata.NewIncomingContext(grpc.NewContextWithServerTransportStream(ctx, wire{}), metadata.Pairs(idempotent.Metadata, "kill-0123456789-"+id))
	return ic(ctx, wrapperspb.String(id), &grpc.UnaryServerInfo{FullMethod: method(mode)}, func(ctx context.Context, _ any) (any, error) {
		resp := wrapperspb.String(fmt.Sprintf("%s-%d-%d", id, os.Getpid(), rand.Int64()))
		md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "effect", id))
		err := d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			if mode == "Transaction" {
				// Nothing but the answer keeps the effect from happening twice.
				if _, err := tx.ExecContext(ctx, "INSERT INTO effect (id) VALUES ($1)", id); err != nil {
					return err
				}
				return s.CompleteTx(ctx, tx, resp)
			}
			// A target that honours keys.
			_, err := tx.ExecContext(ctx, "INSERT INTO keyed (k, id) VALUES ($1, $2) ON CONFLICT (k) DO NOTHING", md.Get(idempotent.Metadata)[0], id)
			return err
		})
		<-time.After(time.Duration(rand.IntN(4)) * time.Millisecond) // room for a kill between effect and answer
		return resp, err
	})
}

func killProcesses(t *testing.T) {
	kills := 25
	if testing.Short() {
		kills = 6
	}
	if n, err := strconv.Atoi(os.Getenv(killsEnv)); err == nil {
		kills = n
	}
	type victim struct {
		engine, mode string
		workers      int
	}
	victims := []victim{{"sqlite", "Recoverable", 1}, {"postgres", "Recoverable", 3}, {"postgres", "Transaction", 3}}
	if !testing.Short() {
		victims = append(victims, victim{"sqlite", "Transaction", 1})
	}
	for _, m := range victims {
		t.Run(m.engine+" "+strings.ToLower(m.mode), func(t *testing.T) {
			t.Parallel()
			dsn := dbtest.DSN(t, m.engine)
			d, err := db.Open(t.Context(), dsn, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, d.Close()) })
			require.NoError(t, d.Migrate(t.Context(), fstest.MapFS{"00001_x.sql": {Data: []byte(`-- +goose Up
CREATE TABLE effect (id TEXT NOT NULL);
CREATE TABLE keyed (k TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL);`)}}, "effect_migrations"))
			s, err := idempotent.NewSQLStore(d, secret, nil)
			require.NoError(t, err)
			g := &graveyard{t: t, env: m.mode + " " + dsn, left: kills, answers: map[string]map[string]bool{}}
			var wg sync.WaitGroup
			for range m.workers {
				wg.Go(g.work)
			}
			wg.Wait()
			require.Zero(t, g.left, "a run with fewer kills proves nothing")
			require.Len(t, g.answers, killKeys, "every key was answered in the end")
			for id, all := range g.answers {
				require.Len(t, all, 1, "key %s was answered in more than one way", id)
			}
			var effects, distinct int
			require.NoError(t, d.Read().QueryRowContext(t.Context(),
				"SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM effect UNION ALL SELECT id FROM keyed) e").Scan(&effects, &distinct))
			require.Equal(t, killKeys, effects)
			require.Equal(t, killKeys, distinct)
			st, err := s.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, st.Open, "no key is stuck")
			require.Zero(t, st.Uncertain)
			t.Logf("%d kills, %d keys", kills, killKeys)
		})
	}
}

// graveyard starts workers and kills them until enough have died; the last ones may finish.
type graveyard struct {
	t    *testing.T
	env  string
	mu   sync.Mutex
	left int

	answers map[string]map[string]bool // id → the answers seen
}

func (g *graveyard) work() {
	for g.t.Context().Err() == nil {
		g.mu.Lock()
		mayKill := g.left > 0
		if mayKill {
			g.left--
		}
		g.mu.Unlock()
		killed, err := g.run(mayKill)
		if err != nil && !killed {
			g.t.Errorf("worker: %v", err)
			return
		}
		if !mayKill {
			return
		}
	}
}

// run is one life of a worker.
func (g *graveyard) run(kill bool) (killed bool, err error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestKilledWorker$") //nolint:gosec // this binary
	cmd.Env = append(os.Environ(), workerEnv+"="+g.env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	dieAfter := 1 + rand.IntN(6) // answers
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[0] != "answer" {
			continue
		}
		g.mu.Lock()
		if g.answers[f[1]] == nil {
			g.answers[f[1]] = map[string]bool{}
		}
		g.answers[f[1]][f[2]] = true
		g.mu.Unlock()
		if dieAfter--; kill && dieAfter == 0 {
			killed = true
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	if err = cmd.Wait(); err != nil {
		err = fmt.Errorf("%w: %s", err, strings.Join(said, "\n"))
	}
	return killed, err
}
