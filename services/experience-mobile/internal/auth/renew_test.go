package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/devissuer"
)

// issuer is an issuer in the same process, without a network, in the time of a bubble.
type issuer struct {
	*devissuer.Issuer
	down  atomic.Bool
	hangs atomic.Bool
	other atomic.Pointer[string] // what it answers instead of keys
	asked atomic.Int64           // for keys
	mu    sync.Mutex
	reads []error // what came of each read
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	made, err := devissuer.New(devissuer.Options{URL: "http://issuer", Audience: "app"})
	require.NoError(t, err)
	return &issuer{Issuer: made}
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if i.hangs.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if i.down.Load() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	if r.URL.Path == "/jwks" {
		i.asked.Add(1)
		if text := i.other.Load(); text != nil {
			_, _ = w.WriteString(*text)
			return w.Result(), nil
		}
	}
	i.Handler().ServeHTTP(w, r)
	return w.Result(), nil
}

func (i *issuer) verifier() *Verifier {
	return New(Config{Issuer: "http://issuer", Audience: "app", Transport: i, Renewed: func(_ context.Context, err error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.reads = append(i.reads, err)
	}})
}

// fresh is a token that nobody has seen.
func (i *issuer) fresh(t *testing.T) string {
	t.Helper()
	token, err := i.Token("user-1", ScopeRead, 24*time.Hour)
	require.NoError(t, err)
	return token
}

// withdraw signs with a new key and publishes no older one.
func (i *issuer) withdraw(t *testing.T) {
	t.Helper()
	for range 3 {
		require.NoError(t, i.Rotate())
	}
}

// reason is why a token is refused, "" if it is not.
func reason(t *testing.T, v *Verifier, token string) string {
	t.Helper()
	_, err := v.Verify(t.Context(), token)
	return fault.ReasonOf(err)
}

func TestAWithdrawnKeyIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		v := i.verifier()
		defer v.Close()
		used, first, second := i.fresh(t), i.fresh(t), i.fresh(t)
		require.Empty(t, reason(t, v, used))
		i.withdraw(t)
		time.Sleep(renewEvery - time.Second)
		require.Empty(t, reason(t, v, first), "the keys are not old yet")
		time.Sleep(time.Second)
		require.Equal(t, ReasonTokenInvalid, reason(t, v, second))
		require.Equal(t, ReasonTokenInvalid, reason(t, v, used))
		require.Empty(t, reason(t, v, first), "who was accepted just now is for a minute")
		time.Sleep(seenFor + time.Second)
		require.Equal(t, ReasonTokenInvalid, reason(t, v, first))
		require.Empty(t, reason(t, v, i.fresh(t)))
	})
}

func TestAnIdleInstanceTakesNoWithdrawnKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		v := i.verifier()
		defer v.Close()
		old := make([]string, 10)
		for n := range old {
			old[n] = i.fresh(t)
		}
		require.Empty(t, reason(t, v, i.fresh(t)))
		i.withdraw(t)
		time.Sleep(12 * time.Hour)
		var all sync.WaitGroup
		for _, token := range old {
			all.Go(func() {
				if _, err := v.Verify(t.Context(), token); fault.ReasonOf(err) != ReasonTokenInvalid {
					t.Error("a token of a withdrawn key was taken")
				}
			})
		}
		all.Wait()
	})
}

func TestKnownKeysWorkWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*issuer){
		"it refuses":             func(i *issuer) { i.down.Store(true) },
		"it does not answer":     func(i *issuer) { i.hangs.Store(true) },
		"it answers with a page": func(i *issuer) { i.other.Store(new("<html>back soon</html>")) },
		"it answers without keys": func(i *issuer) {
			i.other.Store(new(`{"message":"back soon"}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				v := i.verifier()
				defer v.Close()
				require.Empty(t, reason(t, v, i.fresh(t)))
				fail(i)
				for range 3 {
					time.Sleep(time.Hour)
					begin := time.Now()
					require.Empty(t, reason(t, v, i.fresh(t)))
					require.LessOrEqual(t, time.Since(begin), renewWithin)
					again := time.Now()
					require.Empty(t, reason(t, v, i.fresh(t)))
					require.Zero(t, time.Since(again), "the next does not wait for an issuer that is down")
				}
				require.Len(t, i.reads, 4)
				require.NoError(t, i.reads[0])
				for _, err := range i.reads[1:] {
					require.Error(t, err, "and somebody is told")
				}
				i.withdraw(t)
				require.Equal(t, ReasonAuthUnavailable, reason(t, v, i.fresh(t)), "a key that nobody has read")
			})
		})
	}
}

func TestARotatedKeyWorksAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		v := i.verifier()
		defer v.Close()
		old := i.fresh(t)
		require.Empty(t, reason(t, v, i.fresh(t)))
		require.NoError(t, i.Rotate())
		require.Empty(t, reason(t, v, i.fresh(t)))
		require.Equal(t, int64(2), i.asked.Load())
		require.Empty(t, reason(t, v, old), "a key that is still published")
		for range 50 {
			require.Empty(t, reason(t, v, i.fresh(t)))
		}
		require.Equal(t, int64(2), i.asked.Load(), "keys that are known cost nothing")
	})
}

// Many tokens at once of an instance that has just started read the keys once.
func TestKeysAreReadOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		v := i.verifier()
		defer v.Close()
		var all sync.WaitGroup
		for range 100 {
			token := i.fresh(t)
			all.Go(func() {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.Equal(t, int64(1), i.asked.Load())
	})
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	const good = `{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	for text, want := range map[string]int{
		`{"keys":[]}`:             0,
		`{"keys":[` + good + `]}`: 1,
		`{"keys":[{"kty":"OKP","crv":"X448"},{"kty":"oct","k":"c2VjcmV0"},` + good + `,"x",{}]}`: 1,
		`{"keys":[` + good[:len(good)-1] + `,"use":"enc"}]}`:                                     0,
	} {
		keys, err := parseKeys([]byte(text))
		require.NoError(t, err, text)
		require.Len(t, keys, want, text)
	}
	for _, text := range []string{"", "x", "{}", "[]", `{"keys":null}`, `{"keys":1}`} {
		_, err := parseKeys([]byte(text))
		require.Error(t, err, text)
	}
}
