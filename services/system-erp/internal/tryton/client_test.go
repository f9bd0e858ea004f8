package tryton

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// serveFake answers every call but logins with fn.
func serveFake(t *testing.T, logins *atomic.Int32, fn func(w http.ResponseWriter, method, session string)) *client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			Method string `json:"method"`
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &call)
		if call.Method == "common.db.login" {
			n := logins.Add(1)
			_ = json.NewEncoder(w).Encode(map[string]any{"id": 1, "result": []any{7, fmt.Sprint("session", n)}})
			return
		}
		fn(w, call.Method, r.Header.Get("Authorization"))
	}))
	transport := &http.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	cfg := DefaultConfig()
	cfg.URL, cfg.User, cfg.Password = server.URL+"/db", "me", "secret"
	return newClient(cfg, transport)
}

func session(name string) string {
	return "Session " + base64.StdEncoding.EncodeToString([]byte("me:7:"+name))
}

func TestClient_RenewsItsSession(t *testing.T) {
	t.Parallel()
	var logins atomic.Int32
	c := serveFake(t, &logins, func(w http.ResponseWriter, _, have string) {
		if have != session("session2") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":1,"result":[3]}`)
	})
	var ids []int64
	require.NoError(t, c.call(t.Context(), true, &ids, "model.party.party.create"))
	require.Equal(t, []int64{3}, ids)
	require.EqualValues(t, 2, logins.Load(), "the first session was refused at the door, so the write could be sent again")
	require.NoError(t, c.call(t.Context(), true, &ids, "model.party.party.create"))
	require.EqualValues(t, 2, logins.Load(), "a good session is kept")
}

func TestClient_GivesUpOnASessionThatIsNeverAccepted(t *testing.T) {
	t.Parallel()
	var logins atomic.Int32
	c := serveFake(t, &logins, func(w http.ResponseWriter, _, _ string) { w.WriteHeader(http.StatusUnauthorized) })
	err := c.call(t.Context(), true, nil, "model.party.party.create")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.EqualValues(t, 2, logins.Load())
}

// TestClient_TellsWhatItKnows is about the one question that matters: may something have been written?
func TestClient_TellsWhatItKnows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		write  fault.Kind
		read   fault.Kind
		reason string
	}{
		"another version":    {200, `{"id":1,"error":["ConcurrencyException","x"]}`, fault.Conflict, fault.Conflict, fault.ReasonETagMismatch},
		"a rule":             {200, `{"id":1,"error":["UserError",["no","",null]]}`, fault.Precondition, fault.Precondition, backend.ReasonRejected},
		"a warning":          {200, `{"id":1,"error":["UserWarning",["w","no",""]]}`, fault.Precondition, fault.Precondition, backend.ReasonRejected},
		"a lock":             {200, `{"id":1,"error":["could not obtain lock on row","trace"]}`, fault.Conflict, fault.Conflict, backend.ReasonLocked},
		"a failure":          {200, `{"id":1,"error":["KeyError","trace"]}`, fault.Precondition, fault.Precondition, backend.ReasonRejected},
		"too many calls":     {429, ``, fault.Exhausted, fault.Exhausted, fault.ReasonExhausted},
		"not at home":        {503, ``, fault.Unavailable, fault.Unavailable, fault.ReasonUnavailable},
		"a gateway's answer": {502, `<html>`, fault.Uncertain, fault.Unavailable, ""},
		"a late gateway":     {504, ``, fault.Uncertain, fault.Unavailable, ""},
		"half an answer":     {200, `{"id":1,"res`, fault.Uncertain, fault.Unavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logins atomic.Int32
			cl := serveFake(t, &logins, func(w http.ResponseWriter, _, _ string) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			for writes, want := range map[bool]fault.Kind{true: c.write, false: c.read} {
				err := cl.call(t.Context(), writes, nil, "model.x.y")
				require.Equal(t, want, fault.KindOf(err), "%v", err)
				if c.reason != "" {
					require.Equal(t, c.reason, fault.ReasonOf(err))
				}
			}
		})
	}
}

// refusing is a wire on which nobody is reached.
type refusing struct{ err error }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.err }

func TestClient_NothingWasSent(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.URL, cfg.User, cfg.Password = "http://127.0.0.1/db", "me", "secret"
	for name, c := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"no connection":     {&net.OpError{Op: "dial", Err: errors.New("refused")}, fault.Unavailable},
		"cut in the middle": {&net.OpError{Op: "read", Err: errors.New("reset")}, fault.Uncertain},
		"no answer in time": {context.DeadlineExceeded, fault.Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := newClient(cfg, refusing{c.err})
			cl.session = session("s")
			require.Equal(t, c.want, fault.KindOf(cl.call(t.Context(), true, nil, "model.x.create")))
			require.Equal(t, fault.Unavailable, fault.KindOf(cl.call(t.Context(), false, nil, "model.x.read")))
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := DefaultConfig()
	good.URL, good.User, good.Password = "https://erp.example.com/company", "me", "secret"
	require.NoError(t, good.Validate())
	for _, address := range []string{"", "erp.example.com/db", "https://erp.example.com/", "http://erp.example.com/db", "http://localhost.example.com/db", "http://192.0.2.1/db"} {
		bad := good
		bad.URL = address
		require.Error(t, bad.Validate(), address)
	}
	for _, address := range []string{"http://localhost:8000/db", "http://127.0.0.1/db", "http://[::1]:8000/db"} {
		here := good
		here.URL = address
		require.NoError(t, here.Validate(), "nobody listens on the way to %s", address)
	}
}

func TestWire_NumbersAreExact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"v":12.5}`: "12.5", `{"v":{"__class__":"Decimal","decimal":"12.5000"}}`: "12.5", `{"v":3}`: "3", `{"v":1e-05}`: "0.00001", `{"v":null}`: "0",
		`{"v":0.1}`: "0.1",
	} {
		var r record
		dec := json.NewDecoder(strings.NewReader(in))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&r))
		d, err := r.decimal("v")
		require.NoError(t, err, in)
		require.Equal(t, want, d.String(), in)
	}
}

func TestReferences_SurviveTheirCode(t *testing.T) {
	t.Parallel()
	for _, ref := range []erp.Ref{
		{System: "salesforce", Type: "Account", Value: "001A"}, {System: "a:b", Type: "c d%", Value: "x:y:z"}, {System: "ä", Type: "/", Value: " "},
	} {
		back, ok := codeRef(refCode(ref))
		require.True(t, ok)
		require.Equal(t, ref, back)
	}
	for _, code := range []string{"DE123456789", "a:b", "::x", "a:b:", markIdentifier("X")} {
		_, ok := codeRef(code)
		require.False(t, ok, code)
	}
	require.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), record{"t": map[string]any{
		"year": json.Number("2026"), "month": json.Number("1"), "day": json.Number("2"), "hour": json.Number("3"), "minute": json.Number("4"),
		"second": json.Number("5"), "microsecond": json.Number("6"),
	}}.time("t"))
}
