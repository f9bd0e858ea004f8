package edge

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// connection is a writer that notes until when it may be written to, and read from.
type connection struct {
	*httptest.ResponseRecorder
	until, reads []time.Time
}

func (c *connection) SetWriteDeadline(t time.Time) error {
	c.until = append(c.until, t)
	return nil
}

func (c *connection) SetReadDeadline(t time.Time) error {
	c.reads = append(c.reads, t)
	return nil
}

// oneOrder answers every call with an order.
type oneOrder struct{ grpc.ClientConnInterface }

func (oneOrder) Invoke(_ context.Context, _ string, _, reply any, opts ...grpc.CallOption) error {
	for _, o := range opts {
		if h, ok := o.(grpc.HeaderCallOption); ok {
			*h.HeaderAddr = metadata.Pairs(MetaVersion, Version(1))
		}
	}
	reply.(*mobilev1.FindOrderResponse).Order = &mobilev1.Order{} //nolint:forcetypeassert // it is asked nothing else
	return nil
}

func TestWritesEnd(t *testing.T) {
	t.Parallel()
	tel := telemetry.Discard()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	h, err := New(Options{Telemetry: tel, Service: fixed{}, Tokens: anyone{}, Budget: time.Second, MaxBody: 1 << 20, Pages: map[string]http.Handler{"/page": page}})
	require.NoError(t, err)
	for path, status := range map[string]int{"/v1/customers/c_a?summary=true": 200, "/page": 200, "/nope": 404, "/v1/customers?nope=1": 400} {
		t.Run("who does not take an answer is cut off: "+path, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set("Authorization", "Bearer x")
			c := &connection{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(c, r)
			require.Equal(t, status, c.Code)
			require.Len(t, c.until, 1)
			require.False(t, c.until[0].IsZero())
		})
	}
	t.Run("who does not take the end of a stream is cut off", func(t *testing.T) {
		t.Parallel()
		draining := make(chan struct{})
		close(draining)
		h, err := New(Options{
			Telemetry: tel, Service: oneOrder{}, Tokens: anyone{}, Budget: time.Minute, MaxBody: 1 << 20, Streams: Streams{Draining: draining},
		})
		require.NoError(t, err)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/orders/o_a/events", nil)
		r.Header.Set("Authorization", "Bearer x")
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(c, r)
		require.Equal(t, http.StatusOK, c.Code, c.Body.String())
		require.Equal(t, EventStream, c.Header().Get("Content-Type"))
		require.Greater(t, len(c.until), 2)
		require.True(t, c.until[len(c.until)-2].IsZero(), "silence is no reason to end it")
		require.False(t, c.until[len(c.until)-1].IsZero())
	})
	t.Run("a stream may be silent as long as it likes", func(t *testing.T) {
		t.Parallel()
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		s := &feed{out: c, control: http.NewResponseController(c)}
		require.NoError(t, s.write("data: {}\n\n"))
		require.True(t, c.Flushed)
		require.Len(t, c.until, 2)
		require.False(t, c.until[0].IsZero(), "what is written must be taken")
		require.True(t, c.until[1].IsZero(), "HTTP/2 ends a stream at its deadline, whether it is written to or not")
	})
}

// slowOrder answers with an order, or refuses, when it is told to.
type slowOrder struct {
	oneOrder
	release chan struct{}
	fails   error
}

func (s slowOrder) Invoke(ctx context.Context, method string, in, reply any, opts ...grpc.CallOption) error {
	<-s.release
	if s.fails != nil {
		return s.fails
	}
	return s.oneOrder.Invoke(ctx, method, in, reply, opts...)
}

// TestStreamBegins opens streams of an order that comes at once, late or never.
func TestStreamBegins(t *testing.T) {
	t.Parallel()
	tel := start(t)
	unknown := fault.New(fault.NotFound, "", "no such order")
	for name, c := range map[string]struct {
		method string
		late   bool
		fails  error
		status int
		holds  []string
	}{
		"at once":                 {http.MethodGet, false, nil, 200, []string{"retry: 3000\n\nevent: order\n"}},
		"refused at once":         {http.MethodGet, false, unknown, 404, []string{`"status":404`}},
		"late":                    {http.MethodGet, true, nil, 200, []string{"retry: 3000\n\n: the order is being read\n\n", "event: order\n"}},
		"refused late":            {http.MethodGet, true, unknown, 200, []string{"retry: 3000\n\n: the order is being read\n\n", "event: problem\n", `"status":404`}},
		"asked whether it is":     {http.MethodHead, false, nil, 200, nil},
		"asked whether it is not": {http.MethodHead, true, unknown, 404, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				below := slowOrder{release: make(chan struct{}), fails: c.fails}
				draining := make(chan struct{})
				close(draining)
				h, err := New(Options{
					Telemetry: tel, Service: below, Tokens: anyone{}, Budget: time.Minute, MaxBody: 1 << 20, Streams: Streams{Draining: draining},
				})
				require.NoError(t, err)
				r := httptest.NewRequestWithContext(t.Context(), c.method, "/v1/orders/o_a/events", nil)
				r.Header.Set("Authorization", "Bearer x")
				w := &connection{ResponseRecorder: httptest.NewRecorder()}
				if !c.late {
					close(below.release)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					h.ServeHTTP(w, r)
				}()
				if c.late {
					time.Sleep(time.Second)
					synctest.Wait()
					require.Equal(t, c.method == http.MethodGet, w.Flushed, "the headers do not wait")
					close(below.release)
				}
				<-done
				require.Equal(t, c.status, w.Code, w.Body)
				for _, text := range c.holds {
					require.Contains(t, w.Body.String(), text)
				}
			})
		})
	}
}

func TestStreamParameters(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	h, err := New(Options{
		Telemetry: telemetry.Discard(), Service: oneOrder{}, Tokens: anyone{}, Budget: time.Minute, MaxBody: 1 << 20, Pages: map[string]http.Handler{"/page": page},
	})
	require.NoError(t, err)
	for _, target := range []string{"/v1/orders/o_a/events?nope=1", "/v1/orders/o_a/events?fields=state", "/page?nope=1", "/page?%zz"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
			r.Header.Set("Authorization", "Bearer x")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusBadRequest, w.Code, target)
			require.Equal(t, problem.ValidationFailed, w.Header().Get("X-Error-Code"))
		}
	}
}

func TestStreamsAreTold(t *testing.T) {
	t.Parallel()
	p := &places{most: 2, perCaller: 1, byCaller: newTally()}
	require.Zero(t, p.enter("a"))
	require.Equal(t, 1, p.enter("a"), "those of a caller")
	require.Zero(t, p.enter("b"))
	require.Equal(t, 2, p.enter("c"), "those of all")
	p.leave("a")
	require.Zero(t, p.enter("c"))
}

// spoken is a connection that notes when what was said.
type spoken struct {
	http.ResponseWriter
	mu    sync.Mutex
	begun time.Time
	said  []time.Time // flushed
	text  strings.Builder
}

func (s *spoken) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = time.Now()
	s.ResponseWriter.WriteHeader(status)
}

func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *spoken) FlushError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, time.Now())
	return nil
}

// so is what was said so far.
func (s *spoken) so() (text string, at []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), slices.Clone(s.said)
}

// TestStreamIsNeverSilent follows an order that comes late and then does not change.
func TestStreamIsNeverSilent(t *testing.T) {
	t.Parallel()
	tel := start(t)
	const longest = 15 * time.Second
	for name, last := range map[string]string{"from the beginning": "", "from what the client has": "resumed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				below := slowOrder{release: make(chan struct{})}
				draining := make(chan struct{})
				h, err := New(Options{
					Telemetry: tel, Service: below, Tokens: lasting{}, Budget: time.Minute, MaxBody: 1 << 20, Streams: Streams{Draining: draining},
				})
				require.NoError(t, err)
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/orders/o_a/events", nil)
				r.Header.Set("Authorization", "Bearer x")
				r.Header.Set("Accept-Encoding", "gzip, br")
				if last != "" {
					r.Header.Set("Last-Event-ID", (&feed{order: "o_a"}).id(1))
				}
				w := &spoken{ResponseWriter: httptest.NewRecorder()}
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					h.ServeHTTP(w, r)
				}()
				time.Sleep(200*time.Millisecond - 1)
				synctest.Wait()
				text, at := w.so()
				require.NotEmpty(t, at, "the headers come while nothing is known of the order")
				require.Equal(t, w.begun, at[0])
				require.Regexp(t, `^retry: [1-9][0-9]*\n\n`, text)
				require.NotContains(t, text, "event:")
				require.NotContains(t, text, "id:")
				header := w.Header()
				require.Equal(t, EventStream, header.Get("Content-Type"))
				require.Equal(t, "no", header.Get("X-Accel-Buffering"))
				require.Equal(t, "no-store", header.Get("Cache-Control"))
				require.Empty(t, header.Get("Content-Encoding"), "it is not held back to be compressed")
				require.Empty(t, header.Get("Content-Length"))

				time.Sleep(50 * time.Second)
				close(below.release)
				time.Sleep(10 * time.Minute)
				close(draining)
				<-done
				text, at = w.so()
				before := begin
				for _, now := range append(at, time.Now()) {
					require.LessOrEqual(t, now.Sub(before), longest)
					before = now
				}
				require.GreaterOrEqual(t, strings.Count(text, "\n\n: "), 42, "only comments keep it alive")
				if last == "" {
					require.Equal(t, 1, strings.Count(text, "\nevent: order\nid: "))
				} else {
					require.NotContains(t, text, "event:")
				}
			})
		})
	}
}

// lasting is a Verifier that lets everyone in for a day.
type lasting struct{}

func (lasting) Verify(context.Context, string) (auth.Principal, error) {
	return auth.Principal{Subject: "s", Scopes: []string{auth.ScopeRead}, Expires: time.Now().Add(24 * time.Hour)}, nil
}
