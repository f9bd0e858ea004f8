package odata

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// TestSession_SendsEveryCookieBack: whatever the cookies of a session are called, all of them go back, and a new value is the one
// that goes back next.
func TestSession_SendsEveryCookieBack(t *testing.T) {
	t.Parallel()
	var turn atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("X-Csrf-Token", "token")
			http.SetCookie(w, &http.Cookie{Name: "anything", Value: "kept"})
			http.SetCookie(w, &http.Cookie{Name: "sap-XSRF_ABC_100", Value: "0"})
			http.SetCookie(w, &http.Cookie{Name: "once", Value: "x"})
			return
		}
		kept, err := r.Cookie("anything")
		changing, cerr := r.Cookie("sap-XSRF_ABC_100")
		_, oerr := r.Cookie("once")
		n := turn.Add(1)
		if err != nil || cerr != nil || kept.Value != "kept" || changing.Value != fmt.Sprint(n-1) || (oerr == nil) != (n == 1) || r.Header.Get("X-Csrf-Token") != "token" {
			w.Header().Set("X-Csrf-Token", "Required")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "sap-XSRF_ABC_100", Value: fmt.Sprint(n)})
		http.SetCookie(w, &http.Cookie{Name: "once", MaxAge: -1})
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprint(w, `{"d":{"A":"1"}}`)
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	for range 3 {
		_, err = c.Create(t.Context(), service, "A_X", entity{}, nil)
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, c.Requests(), "one for the token")
}

// paused is the context of a call in a process that stood still: its time is over and its timer has not gone off.
type paused struct {
	context.Context //nolint:containedctx // it is one
	end             time.Time
}

func (p paused) Deadline() (time.Time, bool) { return p.end, true }

func TestClient_SendsNothingWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	ctx := paused{t.Context(), time.Now().Add(-time.Second)}
	require.NoError(t, ctx.Err())
	_, err = c.Create(ctx, service, "A_X", entity{}, nil)
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "nothing was executed")
	require.Zero(t, calls.Load())
}

func TestNotes(t *testing.T) {
	t.Parallel()
	said := make(chan []Message, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sap-Message", `{"code":"A/1","message":"first","severity":"info","details":[{"code":"A/2","message":"second","severity":"warning"}]}`)
		_, _ = fmt.Fprint(w, `{"d":{}}`)
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL, Noted: func(_ context.Context, _ string, list []Message) { said <- list }})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	a, err := c.Get(t.Context(), service, "A_X", nil)
	require.NoError(t, err)
	require.Equal(t, "A/2", a.Note.Code, "the gravest")
	list := <-said
	require.Len(t, list, 2)
	require.Equal(t, []string{"A/1", "A/2"}, []string{list[0].Code, list[1].Code})
	r := reply{status: 201, header: http.Header{"Sap-Message": {`{"code":"A/1","message":"m","severity":"error"}`}}, body: []byte(`{"d":{}}`)}
	_, err = r.answer(true)
	require.Equal(t, "A/1", ProblemOf(err).Code, "an operator finds it by its code")
}
