package experiencemobile_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	"github.com/selfsame-io/selfsame/services/experience-mobile/conform"
)

// TestOWASP is one case per item of the OWASP API Security Top 10 (2023). One runs alone by its number:
//
//	go test -run 'TestOWASP/API3' .
func TestOWASP(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"API1 an object of somebody else is told as one that does not exist", ownership},
		{"API2 what is no good token is no token", brokenAuthentication},
		{"API3 nothing is written or shown beyond the contract", objectProperties},
		{"API4 every resource of a request is bounded", consumption},
		{"API5 a scope lets in to its functions only", functionLevel},
		{"API6 a flow that matters happens once, however it is automated", sensitiveFlows},
		{"API7 nothing that a caller sends is fetched", requestForgery},
		{"API8 the surface tells nothing and allows nothing by default", misconfiguration},
		{"API9 every route is in the description, and what will go says so", inventory},
		{"API10 what the service below says is not believed", unsafeConsumption},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, w)
		})
	}
}

// paths are all that want a token.
func paths() []string {
	return []string{
		"GET /v1/customers", "POST /v1/customers", "GET /v1/customers/" + known, "PATCH /v1/customers/" + known, "GET /v1/customers/" + known + "/orders",
		"GET /v1/customers/" + known + "/contacts", "GET /v1/customers/" + known + "/cases", "GET /v1/customers/" + known + "/orders/1", "POST /v1/orders",
		"GET /v1/orders/1", "POST /v1/orders/1/cancellation", "GET /v1/orders/1/events", "GET /v1/operations/1", "POST /v1/cases", "GET /v1/cases/1",
		"GET /v1/products/pump/availability", "GET /v1/sync/customers", "POST /v1/sync:apply",
	}
}

func (w *world) each(t *testing.T, check func(t *testing.T, method, path string, write bool)) {
	t.Helper()
	for _, p := range paths() {
		method, path, _ := strings.Cut(p, " ")
		check(t, method, path, method != "GET")
	}
}

func brokenAuthentication(t *testing.T, w *world) {
	expired, err := w.idp.Token("user-1", readAll, -time.Second)
	require.NoError(t, err)
	w.each(t, func(t *testing.T, method, path string, _ bool) {
		w.send(t, method, path, anonymous()).problem(t, 401, "TOKEN_MISSING")
		a := w.send(t, method, path, with("Authorization", "Bearer "+expired))
		a.problem(t, 401, "TOKEN_INVALID")
		require.Contains(t, a.header.Get("WWW-Authenticate"), "Bearer")
	})
	good := w.token(t, "user-1", readAll)
	for _, elsewhere := range []option{with("Cookie", "access_token="+good), with("X-Access-Token", good), with("Proxy-Authorization", "Bearer "+good)} {
		w.do(t, "GET", "/v1/customers", anonymous(), elsewhere).problem(t, 401, "TOKEN_MISSING")
	}
}

func objectProperties(t *testing.T, w *world) {
	w.fake.add("c_prop")
	for _, field := range []string{"customerId", "etag", "erpNumber", "createTime", "pendingSystems", "orders", "sources"} {
		p := w.do(t, "PATCH", "/v1/customers/c_prop", body(`{"phone":"1","`+field+`":null}`), key("prop-"+field)).problem(t, 400, "VALIDATION_FAILED")
		require.Equal(t, "READ_ONLY", p.Errors[0].Code)
	}
	for _, field := range []string{"admin", "__proto__", "constructor", "tax_id", "sources.system"} {
		w.do(t, "PATCH", "/v1/customers/c_prop", body(`{"`+field+`":"x"}`), key("prop-x-"+field)).problem(t, 400, "VALIDATION_FAILED")
	}
	require.Nil(t, w.fake.maskOf("c_prop"))
	// Every answer is compared with the description by w.do: it has no member that is not described.
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/c_prop").status)
}

func consumption(t *testing.T, w *world) {
	w.do(t, "POST", "/v1/customers", key("use-1"), body(`{"name":"`+strings.Repeat("x", 1<<20)+`"}`)).problem(t, 413, "BODY_TOO_LARGE")
	w.do(t, "POST", "/v1/customers", key("use-2"), body(strings.Repeat(`{"address":`, 50_000))).problem(t, 400, "JSON_MALFORMED")
	w.do(t, "GET", "/v1/customers", with("X-Large", strings.Repeat("x", 17<<10))).problem(t, 431, "HEADERS_TOO_LARGE")
	w.do(t, "GET", "/v1/customers?namePrefix="+strings.Repeat("x", 101)).problem(t, 400, "VALIDATION_FAILED")
	w.do(t, "GET", "/v1/customers?pageToken="+strings.Repeat("x", 1025)).problem(t, 400, "VALIDATION_FAILED")
	w.do(t, "GET", "/v1/customers?pageSize=1000000&namePrefix=use").json(t, 200)
	require.Equal(t, int32(500), w.fake.listOf("use").GetPageSize())
	many := strings.TrimSuffix(strings.Repeat(`{"key":"a-key-of-a-mutation","kind":"CREATE_CUSTOMER"},`, 101), ",")
	w.do(t, "POST", "/v1/sync:apply", body(`{"mutations":[`+many+`]}`)).problem(t, 400, "VALIDATION_FAILED")
	items := strings.TrimSuffix(strings.Repeat(`{"sku":"pump","quantity":"1"},`, 201), ",")
	w.do(t, "POST", "/v1/orders", key("use-3"), body(`{"customerId":"`+known+`","items":[`+items+`]}`)).problem(t, 400, "VALIDATION_FAILED")

	few := setup(t, func(c *experiencemobile.Config) { c.Streams.PerCaller = 2 })
	few.fake.newOrder(known, "use-1")
	open := []*stream{few.open(t, "use-1"), few.open(t, "use-1")}
	a := few.send(t, "GET", "/v1/orders/use-1/events")
	require.NotEmpty(t, a.header.Get("Retry-After"))
	a.problem(t, 429, "EXHAUSTED")
	require.Equal(t, 200, few.open(t, "use-1", few.as(t, "user-2")).resp.StatusCode, "others are not affected")
	open[0].close()
	require.Eventually(t, func() bool {
		s := few.open(t, "use-1")
		defer s.close()
		return s.resp.StatusCode == http.StatusOK
	}, time.Minute, 10*time.Millisecond, "a place is free again")
}

func functionLevel(t *testing.T, w *world) {
	read := with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))
	write := with("Authorization", "Bearer "+w.token(t, "user-1", "customers.write"))
	none := with("Authorization", "Bearer "+w.token(t, "user-1", "openid profile customers.readwrite"))
	w.each(t, func(t *testing.T, method, path string, writes bool) {
		other := write
		if writes {
			other = read
		}
		for _, token := range []option{other, none} {
			w.send(t, method, path, token, key("function-1"), body(`{}`)).problem(t, 403, "INSUFFICIENT_SCOPE")
		}
		for _, verb := range []string{"PUT", "DELETE", "TRACE", "PROPFIND", "get"} {
			require.NotEqual(t, 200, w.send(t, verb, path, read).status, verb)
		}
	})
	for _, md := range w.fake.metadata() {
		require.NotContains(t, md.Get("idempotency-key"), "function-1")
	}
}

func sensitiveFlows(t *testing.T, w *world) {
	w.fake.add("c_flow")
	text := `{"customerId":"c_flow","items":[{"sku":"pump","quantity":"1"}]}`
	w.together(t, 50, func(int) {
		if a := w.send(t, "POST", "/v1/orders", body(text), key("flow-order")); a.status != 201 && a.status != 409 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	require.Equal(t, 1, w.fake.placed("c_flow"))
	limited := setup(t, func(c *experiencemobile.Config) { c.WriteLimit = 1 })
	limited.until(t, func(i int) answer { return limited.create(t, "Flow GmbH", fmt.Sprint("flow-", i)) }, 429)
}

func requestForgery(t *testing.T, w *world) {
	asked := make(chan string, 100)
	trap := newTrap(t, asked)
	for _, c := range []struct{ method, path, text string }{
		{"POST", "/v1/customers", `{"name":"Forgery GmbH","website":"` + trap + `/website"}`},
		{"GET", "/v1/customers/" + "http:%2F%2F" + strings.TrimPrefix(trap, "http://"), ""},
		{"GET", "/v1/customers?namePrefix=" + trap, ""},
	} {
		options := []option{
			key("forgery-1"), with("Forwarded", "host="+strings.TrimPrefix(trap, "http://")), with("X-Forwarded-Host", strings.TrimPrefix(trap, "http://")),
			with("Referer", trap), with("X-Original-Url", trap+"/x"),
		}
		if c.text != "" {
			options = append(options, body(c.text))
		}
		a := w.send(t, c.method, c.path, options...)
		require.NotContains(t, strings.Join(a.header.Values("Link"), " "), trap, "a stranger's host leads nowhere")
	}
	// The issuer of a token is not asked for keys unless it is the one that is configured.
	forged := segment(t, map[string]string{"alg": "RS256", "kid": "x", "jku": trap + "/jwks", "x5u": trap + "/x5u"}) + "." +
		segment(t, map[string]any{"iss": trap, "aud": audience, "sub": "user-1", "exp": time.Now().Add(time.Hour).Unix()}) + ".c2ln"
	w.do(t, "GET", "/v1/customers", with("Authorization", "Bearer "+forged)).problem(t, 401, "TOKEN_INVALID")
	require.Empty(t, asked)
	resp, err := w.client.Get(trap + "/reached")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "/reached", <-asked, "the trap would have told")
}

func misconfiguration(t *testing.T, w *world) {
	for _, path := range []string{"/metrics", "/livez", "/debug/pprof/", "/debug/vars", "/.env", "/.git/config", "/actuator", "/swagger", "/admin", "/grpc.health.v1.Health/Check", "/selfsame.mobile.v1.MobileService/GetCustomer"} {
		w.do(t, "GET", path, anonymous()).problem(t, 404, "ROUTE_NOT_FOUND")
		w.do(t, "POST", path, anonymous(), with("Content-Type", "application/grpc")).problem(t, 404, "ROUTE_NOT_FOUND")
	}
	a := w.do(t, "GET", "/v1/customers/"+known, with("Origin", "https://evil.example.com"))
	for _, name := range []string{"Server", "X-Powered-By", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Set-Cookie"} {
		require.Empty(t, a.header.Get(name), name)
	}
	require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	for _, id := range []string{leaky, refusing, unavailable} {
		text := w.do(t, "GET", "/v1/customers/"+id).body
		for _, part := range []string{"goroutine", ".go:", "pq:", "10.0.0.3", "password"} {
			require.NotContains(t, text, part)
		}
	}
	require.Error(t, experiencemobile.DefaultConfig().Validate(), "nobody is trusted by default")
	require.False(t, experiencemobile.DefaultConfig().Auth.DevIssuer)
}

func inventory(t *testing.T, w *world) {
	doc, err := conform.Document()
	require.NoError(t, err)
	w.each(t, func(t *testing.T, method, path string, _ bool) {
		op, err := conform.Operation(method, path)
		require.NoError(t, err)
		require.NotNil(t, op, path)
	})
	served := 0
	for template, item := range doc["paths"].(object) {
		for verb := range item.(object) {
			served++
			path := strings.NewReplacer("{customer_id}", known, "{order_id}", "1", "{case_id}", "1", "{sku}", "pump", "{operation_id}", "1").Replace(template)
			require.NotEqual(t, "ROUTE_NOT_FOUND", w.send(t, strings.ToUpper(verb), path, anonymous()).code(), template)
		}
	}
	require.Equal(t, len(paths())+1, served, "one more is public: /v1/meta")
	w.fake.newOrder(known, "inventory-1")
	require.NotEmpty(t, w.do(t, "GET", "/v1/customers/"+known+"/orders/inventory-1").header.Get("Sunset"))
}

func unsafeConsumption(t *testing.T, w *world) {
	for id, status := range map[string]int{leaky: 500, refusing: 500, unavailable: 503} {
		a := w.do(t, "GET", "/v1/customers/"+id)
		require.Equal(t, status, a.status)
		require.NotContains(t, a.body, secretText)
	}
	hurried := setup(t, func(c *experiencemobile.Config) { c.Budget = time.Second })
	hurried.do(t, "GET", "/v1/customers/"+slow).problem(t, 504, "TIMEOUT")
}
