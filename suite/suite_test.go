package suite

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/conf"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

func TestMain(m *testing.M) {
	// With a process per service the suite starts this program again as "… service NAME --config FILE".
	if len(os.Args) > 2 && os.Args[1] == "service" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := RunService(ctx, os.Args[2], os.Args[3:])
		stop()
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestBind(t *testing.T) {
	t.Parallel()

	t.Run("free ports are bound to the loopback interface", func(t *testing.T) {
		t.Parallel()
		p, err := bind(t.Context(), 0)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.close()) }()
		require.Len(t, p.addresses(), len(portNames))
		for _, addr := range p.addresses() {
			require.True(t, strings.HasPrefix(addr, "127.0.0.1:"), addr)
		}
	})

	t.Run("a port that is free for a moment is nobody else's", func(t *testing.T) {
		t.Parallel()
		p, err := bind(t.Context(), 0)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.close()) }()
		ours := p.addresses()[ExperienceMobile]
		require.NoError(t, p.take(ExperienceMobile).Close())
		for range 50 {
			other, err := bind(t.Context(), 0)
			require.NoError(t, err)
			for _, addr := range other.addresses() {
				require.NotEqual(t, ours, addr)
			}
			require.NoError(t, other.close())
		}
		_, err = listenOn(t.Context(), p[blockName].Addr().(*net.TCPAddr).Port, nil)
		require.Error(t, err, "the block says whose it is")
	})

	t.Run("a port in use is reported with its number, its purpose and the flag, and nothing stays bound", func(t *testing.T) {
		t.Parallel()
		var stranger net.Listener
		var port int
		var err error
		var clash *PortError
		for try := 0; clash == nil || clash.Port != port; try++ { // until nobody takes the port that was free
			require.Less(t, try, 100)
			stranger, port = behindFree(t)
			defer stranger.Close()
			_, err = bind(t.Context(), port-1)
			require.ErrorAs(t, err, &clash)
		}
		text := strconv.Itoa(port)
		require.Equal(t, portNames[1], clash.Name)
		require.ErrorContains(t, err, "port "+text+", needed for issuer")
		require.ErrorContains(t, err, "--port-base")
		free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(port-1))
		require.NoError(t, err, "the ports that were free must be free again")
		require.NoError(t, free.Close())
	})

	t.Run("a base that leaves no room is refused", func(t *testing.T) {
		t.Parallel()
		for _, base := range []int{-1, 65535} {
			_, err := bind(t.Context(), base)
			require.ErrorContains(t, err, "port base")
		}
	})
}

func TestWriteConfig(t *testing.T) {
	t.Parallel()
	want := systemsalesforce.DefaultConfig()
	want.Serve.Listen, want.Serve.StopTimeout = "127.0.0.1:1", 3*time.Second
	want.Salesforce.LoginURL, want.Salesforce.ClientID, want.Salesforce.Username = "http://localhost:1", "app", "u@example.org"
	want.Salesforce.PrivateKey, want.Salesforce.PubSubPlaintext = "line one\nline two\n", true
	want.Telemetry.TraceSampleRatio = 0.25
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, writeConfig(file, want))

	got, err := conf.Load(conf.Options{Args: []string{"--config", file}}, systemsalesforce.DefaultConfig())
	require.NoError(t, err)
	require.Equal(t, want, got)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode(), "it holds secrets")
}

func TestEmpty(t *testing.T) {
	t.Parallel()

	t.Run("a directory that is not the suite's is left alone", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		file := filepath.Join(dir, "thesis.txt")
		require.NoError(t, os.WriteFile(file, []byte("years of work"), 0o600))
		require.ErrorContains(t, empty(dir), "it is left alone")
		require.FileExists(t, file)
	})

	t.Run("a directory of an earlier demo is emptied", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, marker), nil, 0o600))
		require.NoError(t, empty(dir))
		require.NoDirExists(t, dir)
	})

	t.Run("nothing to empty is fine", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, empty(t.TempDir()))
		require.NoError(t, empty(filepath.Join(t.TempDir(), "none")))
	})
}

func TestUnit(t *testing.T) {
	t.Parallel()
	listening := func(t *testing.T) (string, runFunc) {
		t.Helper()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return l.Addr().String(), func(ctx context.Context) error {
			<-ctx.Done()
			return l.Close()
		}
	}

	t.Run("a service that ends by itself is a failure, one that is stopped is not", func(t *testing.T) {
		t.Parallel()
		failed := make(chan error, 1)
		broken := make(chan error)
		addr, run := listening(t)
		u := &unit{name: "x", addrs: []string{addr}, failed: func(err error) { failed <- err }, launch: func() (running, error) {
			return runTask(t.Context(), func(ctx context.Context) error {
				select {
				case err := <-broken:
					return errors.Join(err, run(canceled(ctx)))
				case <-ctx.Done():
					return run(ctx)
				}
			}), nil
		}}
		require.NoError(t, u.start(t.Context()))
		require.ErrorContains(t, u.start(t.Context()), "is running")
		broken <- errors.New("out of memory")
		require.ErrorContains(t, <-failed, "x ended by itself: out of memory")
		u.watched.Wait()
		require.NoError(t, u.stop(), "stopping what does not run is nothing")
	})

	t.Run("a stopped service has not failed", func(t *testing.T) {
		t.Parallel()
		addr, run := listening(t)
		u := &unit{name: "x", addrs: []string{addr}, failed: func(err error) { t.Error(err) }, launch: func() (running, error) {
			return runTask(t.Context(), run), nil
		}}
		require.NoError(t, u.start(t.Context()))
		require.ErrorIs(t, u.kill(), errPower)
		require.NoError(t, u.stop())
		u.watched.Wait()
	})

	t.Run("a service that ends while starting is reported with its own error", func(t *testing.T) {
		t.Parallel()
		u := &unit{name: "x", addrs: []string{"127.0.0.1:0"}, failed: func(error) {}, launch: func() (running, error) {
			return runTask(t.Context(), func(context.Context) error { return errors.New("bad configuration") }), nil
		}}
		err := u.start(t.Context())
		require.ErrorContains(t, err, "start x: it ended while starting")
		require.ErrorContains(t, err, "bad configuration")
	})

	t.Run("a process is killed and leaves its output in its log", func(t *testing.T) {
		t.Parallel()
		log := filepath.Join(t.TempDir(), "x.log")
		p, err := runProcess([]string{"sh", "-c", "echo hello; exec sleep 1000"}, log)
		require.NoError(t, err)
		require.Eventually(t, func() bool { b, _ := os.ReadFile(log); return string(b) == "hello\n" }, time.Minute, time.Millisecond)
		require.NoError(t, p.kill())
		require.Error(t, p.err())
	})

	t.Run("a process that obeys is stopped in order", func(t *testing.T) {
		t.Parallel()
		log := filepath.Join(t.TempDir(), "x.log")
		p, err := runProcess([]string{"sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"}, log)
		require.NoError(t, err)
		require.Eventually(t, func() bool { b, _ := os.ReadFile(log); return string(b) == "ready\n" }, time.Minute, time.Millisecond)
		require.NoError(t, p.stop())
	})
}

// behindFree listens on a port before which there is a free one, of a block that no other test is given any of before this one ends.
func behindFree(t *testing.T) (net.Listener, int) {
	for range 100 {
		free, err := takeBlock(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = free.sign.Close() })
		free.next++ // the one before is to be free
		stranger, err := free.listen(t.Context())
		require.NoError(t, err)
		port := stranger.Addr().(*net.TCPAddr).Port
		if before, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(port-1)); err == nil {
			require.NoError(t, before.Close())
			return stranger, port
		}
		require.NoError(t, stranger.Close())
	}
	require.Fail(t, "no two free ports side by side")
	return nil, 0
}

func canceled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// TestStart starts the suite without data, in both ways.
func TestStart(t *testing.T) {
	t.Parallel()
	for name, processes := range map[string]bool{"in one process": false, "one process per service": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "demo")
			state := filepath.Join(t.TempDir(), "demo.json")
			s, err := Start(t.Context(), Options{Dir: dir, StateFile: state, Processes: processes, LogLevel: "error"})
			require.NoError(t, err)
			defer func() {
				require.NoError(t, s.Stop())
				require.NoError(t, s.Stop(), "stopping twice is fine")
				require.NoFileExists(t, state)
			}()
			require.FileExists(t, state)
			_, err = Start(t.Context(), Options{Dir: dir, LogLevel: "error"})
			require.ErrorContains(t, err, "a demo is running in")

			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			st := s.State()
			for service, addr := range st.Ops {
				require.Equal(t, http.StatusOK, get(t, client, "http://"+addr+"/livez", ""), service)
			}
			require.Equal(t, http.StatusOK, get(t, client, st.OpenAPI, ""))
			require.Equal(t, http.StatusUnauthorized, get(t, client, st.REST+"/v1/customers", ""))
			// A service that was started again is heard of within seconds; until then the edge says 503 with Retry-After.
			answers := func(why string) {
				require.Eventually(t, func() bool { return get(t, client, st.REST+"/v1/customers", st.Token) == http.StatusOK },
					2*time.Minute, 50*time.Millisecond, why)
			}
			require.Equal(t, http.StatusOK, get(t, client, st.REST+"/v1/customers", st.Token), "who has started it is served")

			if processes {
				require.Len(t, st.PIDs, 4)
				require.NoError(t, s.Kill(ExperienceMobile))
				_, err := client.Get(st.OpenAPI) //nolint:noctx // it must fail
				require.Error(t, err)
				require.NoError(t, s.StartService(t.Context(), ExperienceMobile))
				require.NotEqual(t, st.PIDs[ExperienceMobile], s.State().PIDs[ExperienceMobile])
			} else {
				require.Empty(t, st.PIDs)
				require.ErrorIs(t, s.Kill(ExperienceMobile), errPower)
				require.NoError(t, s.StopService(ExperienceMobile))
				require.NoError(t, s.StartService(t.Context(), ExperienceMobile))
				lastEdge(t, st)
			}
			answers("a token outlives the service")
			require.ErrorIs(t, s.Kill("control"), ErrNoService)
		})
	}
}

func get(t *testing.T, client *http.Client, url, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}
