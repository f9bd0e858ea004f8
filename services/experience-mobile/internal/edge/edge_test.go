package edge

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	routes, err := contractRoutes()
	require.NoError(t, err)
	got := map[string]*route{}
	for _, r := range routes {
		got[r.verb+" "+r.template] = r
	}
	require.Len(t, got, 17)
	patch := got["PATCH /v1/customers/{customer_id}"]
	require.True(t, patch.needsKey)
	require.True(t, patch.writes)
	require.Equal(t, "customers.write", patch.scope)
	require.Equal(t, "customer", patch.bodyField)
	require.NotContains(t, patch.query, "updateMask", "the update mask is what the body says, not a parameter")
	list := got["GET /v1/customers"]
	require.Equal(t, "customers.read", list.scope)
	require.False(t, list.needsKey)
	require.Contains(t, list.query, "namePrefix")
	require.NotContains(t, list.query, "name_prefix", "one spelling only")
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	routes, err := contractRoutes()
	require.NoError(t, err)
	patch := routes[3]
	require.Equal(t, "PATCH", patch.verb)
	for path, pointer := range map[string]string{
		"customer": "", "customer.email": "/email", "customer.address.postal_code": "/address/postalCode",
		"customer.items[2].unit_price": "/items/2/unitPrice", `customer.labels["a/b"]`: "/labels/a~1b",
	} {
		v := patch.where(fault.Field{Path: path, Reason: "string.max_len"})
		require.NotNil(t, v.Pointer, path)
		require.Equal(t, pointer, *v.Pointer)
		require.Equal(t, "STRING_MAX_LEN", v.Code)
	}
	require.Equal(t, "customer_id", patch.where(fault.Field{Path: "customer_id"}).Parameter)
	require.Equal(t, "pageSize", patch.where(fault.Field{Path: "page_size"}).Parameter)
	var none *route
	require.Equal(t, "x", none.where(fault.Field{Path: "x"}).Parameter)
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{`"42"`: "42", ` "a~b" `: "a~b", "*": "", `W/"42"`: "W/42"} {
		got, ok := ParseIfMatch([]string{line})
		require.True(t, ok, line)
		require.Equal(t, want, got)
	}
	for _, line := range []string{"", "42", `"`, `""`, `"a`, `"a", "b"`, `"a b"`, `"ü"`, `W/42`} {
		_, ok := ParseIfMatch([]string{line})
		require.False(t, ok, line)
	}
	_, ok := ParseIfMatch([]string{`"a"`, `"b"`})
	require.False(t, ok)
}

func TestPanics(t *testing.T) {
	t.Parallel()
	log := &strings.Builder{}
	tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{}, telemetry.WithLogWriter(log))
	require.NoError(t, err)
	e := &edge{o: Options{Telemetry: tel}, log: tel.Log, problems: problem.NewTable()}
	serve := func(h http.HandlerFunc) (w *httptest.ResponseRecorder, escaped any) {
		w = httptest.NewRecorder()
		defer func() { escaped = recover() }()
		chain(h, e.open, e.recoverPanic, e.identify).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		return w, nil
	}
	t.Run("a panic is a 500 problem without its value", func(t *testing.T) {
		w, escaped := serve(func(http.ResponseWriter, *http.Request) { panic("secret value") })
		require.Nil(t, escaped)
		require.Equal(t, 500, w.Code)
		require.Equal(t, "INTERNAL", w.Header().Get("X-Error-Code"))
		require.NotContains(t, w.Body.String(), "secret")
		require.Contains(t, log.String(), "request panicked")
		require.NotContains(t, log.String(), "secret value")
	})
	t.Run("half an answer is cut off", func(t *testing.T) {
		_, escaped := serve(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half"))
			panic("later")
		})
		require.Equal(t, http.ErrAbortHandler, escaped)
	})
}

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	h, err := New(Options{Telemetry: telemetry.Discard(), Service: fixed{}, Tokens: anyone{}, Budget: time.Minute, MaxBody: 1 << 20})
	require.NoError(t, err)
	for unknown, want := range map[int]int{1: 2, maxViolations - 1: maxViolations, maxViolations: maxViolations, maxViolations + 1: maxViolations} {
		t.Run(strconv.Itoa(unknown)+" unknown fields, and no name", func(t *testing.T) {
			t.Parallel()
			body := &strings.Builder{}
			for i := range unknown {
				body.WriteString(`{,`[min(i, 1):][:1] + `"nope` + strconv.Itoa(i) + `":1`)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/customers", strings.NewReader(body.String()+"}"))
			r.Header.Set("Authorization", "Bearer x")
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "of-a-body-with-"+strconv.Itoa(unknown))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var p problem.Problem
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
			require.Equal(t, problem.ValidationFailed, p.Code)
			require.Len(t, p.Errors, want)
		})
	}
}

// FuzzJSON: whatever the body, the checker neither fails to end nor lets through what the decoder behind it would
// have to refuse for an unknown field.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"name":"a"}`, `{"address":{"city":null}}`, `{"x":[{"y":1}]}`, `[`, `{"name":1,"name":2}`, `{"orders":[[[]]]}`, ``} {
		f.Add([]byte(seed))
	}
	message := (&mobilev1.Customer{}).ProtoReflect().Descriptor()
	rules := newBodyRules(message)
	f.Fuzz(func(t *testing.T, body []byte) {
		checked, err := checkBody(body, rules)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
		require.True(t, json.Valid(body))
		found := checked.found
		require.LessOrEqual(t, len(found), maxViolations)
		var given map[string]json.RawMessage
		if json.Unmarshal(body, &given) != nil {
			require.NotEmpty(t, found)
			return
		}
		for name := range given {
			if message.Fields().ByJSONName(name) == nil {
				require.NotEmpty(t, found, name)
			}
		}
	})
}

func TestQuery(t *testing.T) {
	t.Parallel()
	routes, err := contractRoutes()
	require.NoError(t, err)
	get := routes[0]
	require.Equal(t, "GET", get.verb)
	require.Empty(t, queryViolations(get, url.Values{"summary": {"true"}}))
	found := queryViolations(get, url.Values{strings.Repeat("x", 100) + "\xff": {"1"}})
	require.Len(t, found, 1)
	require.LessOrEqual(t, len(found[0].Parameter), 64, "a stranger's word is not echoed at length")
	for _, v := range []string{"1", "TRUE", "", "yes"} {
		require.NotEmpty(t, queryViolations(get, url.Values{"summary": {v}}), v)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Telemetry: telemetry.Discard()})
	require.Error(t, err, "a request without a bound is refused at the start")
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}
