package experiencemobile_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

func compression(t *testing.T, w *world) {
	for i := range 20 {
		w.fake.add(fmt.Sprintf("c_zip_%02d", i))
	}
	const path = "/v1/customers?namePrefix=Own+c_zip"
	plain := w.do(t, "GET", path)
	require.Empty(t, plain.header.Get("Content-Encoding"))
	require.Greater(t, len(plain.body), 1<<10)
	for _, accept := range []string{"gzip", "br, gzip;q=0.5", "gzip, deflate, br"} {
		resp := w.do(t, "GET", path, with("Accept-Encoding", accept))
		require.Equal(t, "gzip", resp.header.Get("Content-Encoding"), accept)
		require.Less(t, len(resp.body), len(plain.body))
		z, err := gzip.NewReader(strings.NewReader(resp.body))
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		require.Equal(t, plain.body, string(text))
		require.Contains(t, resp.header.Get("Vary"), "Accept-Encoding")
		require.Equal(t, plain.header.Get("ETag"), resp.header.Get("ETag"))
	}
	for _, accept := range []string{"", "br", "gzip;q=0", "identity"} {
		require.Equal(t, plain.body, w.do(t, "GET", path, with("Accept-Encoding", accept)).body, accept)
	}
	small := w.do(t, "GET", "/v1/customers?namePrefix=zzz", with("Accept-Encoding", "gzip"))
	require.Empty(t, small.header.Get("Content-Encoding"), "nothing small is compressed")
	require.Equal(t, "gzip", w.send(t, "GET", "/openapi.json", anonymous(), with("Accept-Encoding", "gzip")).header.Get("Content-Encoding"))
}

func partialResponse(t *testing.T, w *world) {
	v := w.do(t, "GET", "/v1/customers/"+known+"?fields=customerId,name").json(t, 200)
	require.Equal(t, map[string]any{"customerId": known, "name": knownName}, v)
	v = w.do(t, "GET", "/v1/customers/"+known+"?fields=address.city,orders.total.amount").json(t, 200)
	require.Equal(t, map[string]any{"address": map[string]any{"city": "Bonn"}, "orders": []any{map[string]any{"total": map[string]any{"amount": "1299.90"}}}}, v)
	list := w.do(t, "GET", "/v1/customers?pageSize=1&fields=customers.customerId,nextPageToken").json(t, 200)
	require.Len(t, list, 2)
	require.Equal(t, w.do(t, "GET", "/v1/customers/"+known+"?summary=true").body, w.do(t, "GET", "/v1/customers/"+known+"?summary=true&fields=*").body)
	require.Equal(t, w.do(t, "GET", "/v1/customers/"+known).header.Get("ETag"), w.do(t, "GET", "/v1/customers/"+known+"?fields=name").header.Get("ETag"))
	for _, bad := range []string{"display_name", "name,nope", "address.nope", "name.first", "", "createTime.seconds", ",", "address."} {
		p := w.do(t, "GET", "/v1/customers/"+known+"?fields="+bad).problem(t, 400, "VALIDATION_FAILED")
		require.Equal(t, "fields", p.Errors[0].Parameter, bad)
	}
	require.Contains(t, w.do(t, "GET", "/v1/customers/"+known+"?fields=nope").problem(t, 400, "VALIDATION_FAILED").Detail, "nope")
	w.do(t, "POST", "/v1/customers?fields=name", body(`{"name":"Fields GmbH"}`), key("fields-1")).problem(t, 400, "VALIDATION_FAILED")
	require.Zero(t, w.fake.created("Fields GmbH"))
}

func stableWalk(t *testing.T, w *world) {
	const prefix = "Own c_walk"
	for i := range 10 {
		w.fake.add(fmt.Sprintf("c_walk_%02d", 2*i))
	}
	seen, token := map[string]int{}, ""
	for round := 0; ; round++ {
		v := w.do(t, "GET", "/v1/customers?pageSize=3&namePrefix="+url.QueryEscape(prefix)+"&pageToken="+token).json(t, 200)
		for _, c := range v["customers"].([]any) {
			seen[c.(map[string]any)["customerId"].(string)]++
		}
		w.fake.add(fmt.Sprintf("c_walk_%02d", 2*round+1)) // before and after where the walk is
		if token, _ = v["nextPageToken"].(string); token == "" {
			break
		}
	}
	for i := range 10 {
		require.Equal(t, 1, seen[fmt.Sprintf("c_walk_%02d", 2*i)], "none is left out, none comes twice")
	}
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
}

func preconditionRequired(t *testing.T, _ *world) {
	w := setup(t, func(c *experiencemobile.Config) { c.RequireIfMatch = true })
	w.fake.add("c_needs")
	a := w.do(t, "PATCH", "/v1/customers/c_needs", body(`{"phone":"2"}`), key("needs-1"))
	a.problem(t, 428, "PRECONDITION_REQUIRED")
	tag := w.do(t, "GET", "/v1/customers/c_needs").header.Get("ETag")
	require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_needs", body(`{"phone":"2"}`), key("needs-1"), with("If-Match", tag)).status)
	require.Equal(t, 201, w.do(t, "POST", "/v1/customers", body(`{"name":"Needs GmbH"}`), key("needs-2")).status, "what is new has no state")
}

func validateOnly(t *testing.T, w *world) {
	w.fake.add("c_only")
	before := len(w.fake.metadata())
	v := w.do(t, "POST", "/v1/customers?validateOnly=true", body(`{"name":"Only GmbH"}`))
	require.Equal(t, "Only GmbH", v.json(t, 200)["name"])
	require.Empty(t, v.header.Get("Location"))
	require.Equal(t, known, w.do(t, "POST", "/v1/customers?validateOnly=true", body(`{"name":"`+knownName+`"}`)).json(t, 200)["customerId"])
	w.do(t, "POST", "/v1/customers?validateOnly=true", body(`{"name":"","email":"nobody"}`)).problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, "9", w.do(t, "PATCH", "/v1/customers/c_only?validateOnly=true", body(`{"phone":"9"}`)).json(t, 200)["phone"])
	require.Equal(t, "1", w.fake.get("c_only").GetPhone())
	w.do(t, "PATCH", "/v1/customers/c_only?validateOnly=true", body(`{"phone":"9"}`), with("If-Match", `"99"`)).problem(t, 412, "ETAG_MISMATCH")
	w.do(t, "PATCH", "/v1/customers/"+mastered+"?validateOnly=true", body(`{"phone":"9"}`)).problem(t, 422, "FIELD_MASTERED")
	order := func(sku string) option {
		return body(`{"customerId":"c_only","items":[{"sku":"pump","quantity":"2"},{"sku":"` + sku + `","quantity":"2"}]}`)
	}
	require.Equal(t, "21.00", w.do(t, "POST", "/v1/orders?validateOnly=true", order("pump")).json(t, 200)["total"].(map[string]any)["amount"])
	require.Equal(t, []string{"/items/1/sku"}, w.do(t, "POST", "/v1/orders?validateOnly=true", order("unknown")).problem(t, 400, "VALIDATION_FAILED").pointers())
	w.do(t, "POST", "/v1/orders?validateOnly=true", order("pump"), with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))).problem(t, 403, "INSUFFICIENT_SCOPE")
	w.do(t, "POST", "/v1/customers?validateOnly=perhaps", body(`{"name":"Only GmbH"}`), key("only-1")).problem(t, 400, "VALIDATION_FAILED")
	require.Zero(t, w.fake.ran("Only GmbH"))
	require.Zero(t, w.fake.placed("c_only"))
	require.Greater(t, len(w.fake.metadata()), before, "it is checked below, too")
	ignored := w.do(t, "POST", "/v1/customers?validateOnly=true", body(`{"name":"Only GmbH"}`), key("only-2"))
	require.Equal(t, "ignored", ignored.header.Get("Idempotency-Status"))
	checkedWrites(t)
}

func rateLimits(t *testing.T, _ *world) {
	w := setup(t, func(c *experiencemobile.Config) { c.Limits.CallerPerMinute = 5 })
	a := w.do(t, "GET", "/v1/customers/"+known)
	require.Equal(t, 200, a.status)
	require.Equal(t, `"caller";q=5;w=60`, a.header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"caller";r=[0-5];t=\d+$`, a.header.Get("RateLimit"))
	for range 1000 { // a token comes back every 12 s: how fast this machine sends is not what is tested
		if a = w.do(t, "GET", "/v1/customers/"+known); a.status != 200 {
			break
		}
	}
	require.True(t, *a.problem(t, 429, "EXHAUSTED").Retryable)
	require.Equal(t, `"caller";q=5;w=60`, a.header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"caller";r=0;t=\d+$`, a.header.Get("RateLimit"))
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, wait)
	require.LessOrEqual(t, wait, 12)
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known, w.as(t, "user-2")).status, "others are not affected")

	all := setup(t, func(c *experiencemobile.Config) { c.Limits.TotalPerSecond = 1 })
	turned := all.until(t, func(i int) answer {
		return all.do(t, "GET", "/v1/customers/"+known, all.as(t, fmt.Sprint("user-", i)))
	}, 503)
	require.True(t, *turned.problem(t, 503, "OVERLOADED").Retryable)
	require.NotEmpty(t, turned.header.Get("Retry-After"))
}

// until sends, many at once, until one is answered with a status.
func (w *world) until(t *testing.T, send func(i int) answer, status int) answer {
	t.Helper()
	found := make(chan answer, 1)
	for range 1000 {
		w.together(t, 16, func(i int) {
			if a := send(i); a.status == status {
				select {
				case found <- a:
				default:
				}
			}
		})
		select {
		case a := <-found:
			return a
		default:
		}
	}
	t.Fatalf("no answer is %d", status)
	return answer{}
}

func deprecated(t *testing.T, w *world) {
	w.fake.newOrder(known, "old-1")
	token, err := w.idp.TokenWith("user-1", readAll, time.Hour, map[string]any{"azp": "old-app"})
	require.NoError(t, err)
	a := w.do(t, "GET", "/v1/customers/"+known+"/orders/old-1", with("Authorization", "Bearer "+token))
	require.Equal(t, 200, a.status)
	require.Equal(t, "@1795219200", a.header.Get("Deprecation"))
	sunset, err := http.ParseTime(a.header.Get("Sunset"))
	require.NoError(t, err)
	require.Equal(t, int64(1826755200), sunset.Unix())
	require.Contains(t, strings.Join(a.header.Values("Link"), ", "), `</v1/orders/old-1>; rel="successor-version"`)
	require.Contains(t, strings.Join(a.header.Values("Link"), ", "), `<`+publicURL+`/docs#deprecated>; rel="deprecation"`)
	require.Contains(t, w.do(t, "GET", "/docs", anonymous()).body, `id="deprecated"`, "the link leads somewhere")
	counted := slices.ContainsFunc(strings.Split(w.metrics(t), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "selfsame_edge_deprecated_calls_total{") && strings.Contains(line, `selfsame_client="old-app"`)
	})
	require.True(t, counted)
	require.Empty(t, w.do(t, "GET", "/v1/orders/old-1").header.Get("Deprecation"))
}

func appVersions(t *testing.T, _ *world) {
	w := setup(t, func(c *experiencemobile.Config) {
		c.App = experiencemobile.App{Minimum: "2.1.0", Current: "3.0.0", Store: "https://store.example.com/app"}
	})
	for _, old := range []string{"2.0.9", "1", "2.0", "2.0.9-beta", "nonsense", "1.2.3.4"} {
		a := w.do(t, "GET", "/v1/customers/"+known, with("App-Version", old))
		require.False(t, *a.problem(t, 426, "UPGRADE_REQUIRED").Retryable, old)
		require.Contains(t, strings.Join(a.header.Values("Link"), ", "), `<https://store.example.com/app>; rel="latest-version"`)
	}
	for _, good := range []string{"2.1.0", "2.1", "2.10.0", "3.0.0+build.7", "10"} {
		require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known, with("App-Version", good)).status, good)
	}
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known).status, "an app that does not say is let in")
	meta := w.do(t, "GET", "/v1/meta", anonymous(), with("App-Version", "1.0.0")).json(t, 200)
	require.Equal(t, map[string]any{"minimumVersion": "2.1.0", "currentVersion": "3.0.0", "storeUrl": "https://store.example.com/app"}, meta["app"])
	require.Subset(t, meta["capabilities"], []any{"sync-apply", "validate-only", "validate-only-all"})
	require.Equal(t, "P7D", meta["idempotency"].(map[string]any)["answerKept"])
}

func maintenance(t *testing.T, _ *world) {
	w := setup(t, func(c *experiencemobile.Config) { c.Maintenance = true })
	a := w.do(t, "GET", "/v1/customers/"+known)
	require.True(t, *a.problem(t, 503, "MAINTENANCE").Retryable)
	require.Regexp(t, "^[1-9][0-9]*$", a.header.Get("Retry-After"), "in seconds")
	w.do(t, "POST", "/v1/customers", body(`{"name":"Maintained GmbH"}`), key("maintained-1")).problem(t, 503, "MAINTENANCE")
	require.Empty(t, w.fake.metadata(), "nothing goes below")
	require.Equal(t, 200, w.do(t, "GET", "/v1/meta", anonymous()).status)
}

func casesAndStock(t *testing.T, w *world) {
	w.fake.add("c_case")
	first := w.do(t, "POST", "/v1/cases", body(`{"customerId":"c_case","subject":"It leaks","description":"Since Monday"}`), key("case-1"))
	v := first.json(t, 201)
	require.Equal(t, "/v1/cases/"+v["caseId"].(string), first.header.Get("Location"))
	require.Equal(t, "true", w.do(t, "POST", "/v1/cases", body(`{"customerId":"c_case","subject":"It leaks","description":"Since Monday"}`), key("case-1")).header.Get("Idempotent-Replayed"))
	require.Equal(t, 1, w.fake.ran("case It leaks"))
	a := w.do(t, "GET", first.header.Get("Location"))
	screen := a.json(t, 200)
	require.Equal(t, "Since Monday", screen["description"])
	require.Equal(t, "c_case", screen["customer"].(map[string]any)["customerId"])
	require.Len(t, screen["warranties"], 1)
	require.Equal(t, 304, w.do(t, "GET", first.header.Get("Location"), with("If-None-Match", a.header.Get("ETag"))).status)
	require.Len(t, w.do(t, "GET", "/v1/customers/c_case/cases?openOnly=true").json(t, 200)["cases"], 1)
	w.do(t, "GET", "/v1/cases/none").problem(t, 404, "CASE_UNKNOWN")
	stock := w.do(t, "GET", "/v1/products/pump/availability").json(t, 200)
	require.Equal(t, "3.5", stock["available"])
	require.Equal(t, map[string]any{"amount": "1299.90", "currency": "EUR"}, stock["price"])
	w.do(t, "GET", "/v1/products/none/availability").problem(t, 404, "PRODUCT_UNKNOWN")
	w.fake.newOrder("c_case", "cancel-1")
	gone := w.do(t, "POST", "/v1/orders/cancel-1/cancellation", body(`{}`), key("cancel-1"))
	require.Equal(t, "CANCELLED", gone.json(t, 200)["state"])
	require.Equal(t, "true", w.do(t, "POST", "/v1/orders/cancel-1/cancellation", body(`{}`), key("cancel-1")).header.Get("Idempotent-Replayed"))
	w.fake.newOrder("c_case", "cancel-2")
	w.fake.move("cancel-2", "COMPLETED")
	w.do(t, "POST", "/v1/orders/cancel-2/cancellation", body(`{}`), key("cancel-2")).problem(t, 409, "ORDER_CLOSED")
	w.do(t, "POST", "/v1/orders/cancel-2/cancellation", body(`{"customerId":"c_other"}`), key("cancel-3")).problem(t, 404, "ORDER_UNKNOWN")
}

// herd sends a thousand identical requests at once, to a service as it is shipped, while the first of them is under way.
// Each caller does what the answer says until it has the customer.
func herd(t *testing.T, _ *world) {
	const callers = 1000
	w := setupOver(t, newBelow(waits(0)), func(c *experiencemobile.Config) {
		c.Limits, c.Replay = experiencemobile.DefaultConfig().Limits, experiencemobile.DefaultConfig().Replay
		c.Budget = time.Minute // the first is held until all others are sent, however long this machine takes
	})
	transport, ok := w.client.Transport.(*http.Transport)
	require.True(t, ok)
	transport.MaxIdleConnsPerHost = callers
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known).status, "the app is signed in: the keys of the issuer are known")
	release := w.fake.hold("Herd GmbH")
	defer release()
	sent := make(chan struct{}, callers)
	answers := make([]answer, callers)
	var later atomic.Int64
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for first := true; ; first = false {
				a, err := w.raced(t, first, sent)
				if err != nil {
					t.Error(err)
					return
				}
				if answers[i] = a; a.status == http.StatusCreated {
					return
				}
				if code := a.code(); (code != "IDEMPOTENCY_IN_PROGRESS" && code != "OVERLOADED") || a.header.Get("Retry-After") == "" {
					t.Errorf("%d %s", a.status, a.body)
					return
				}
				later.Add(1)
				<-time.After(250 * time.Millisecond) // earlier than it was told, which is harder
			}
		})
	}
	for range callers {
		<-sent
	}
	release()
	all.Wait()
	t.Logf("%d answers told the caller to come again", later.Load())
	executed := 0
	for _, a := range answers {
		require.Equal(t, answers[0].body, a.body)
		require.Equal(t, answers[0].header.Get("Location"), a.header.Get("Location"))
		if a.header.Get("Idempotency-Status") == "executed" {
			executed++
		}
	}
	require.Equal(t, 1, executed)
	require.Equal(t, 1, w.fake.ran("Herd GmbH"))
	require.Equal(t, 1, w.fake.created("Herd GmbH"))
	w.do(t, "POST", "/v1/customers", body(`{"name":"Other GmbH"}`), key("herd-1")).problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
	other := w.create(t, "Herd GmbH", "herd-1", w.as(t, "user-2"))
	require.Empty(t, other.header.Get("Idempotent-Replayed"), "what is kept is one caller's")
}

// raced sends the request of the herd, and says when it has left.
func (w *world) raced(t *testing.T, first bool, sent chan<- struct{}) (answer, error) { //nolint:thelper // it must not end the test
	ctx := t.Context()
	if first {
		left := sync.OnceFunc(func() { sent <- struct{}{} })
		defer left()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { left() }})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/v1/customers", strings.NewReader(`{"name":"Herd GmbH"}`))
	if err != nil {
		return answer{}, err
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {w.user1(t)}}
	key("herd-1")(&request{header: req.Header})
	resp, err := w.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text), resp.Proto, resp.Close}, err
}

func accepted(t *testing.T, w *world) {
	w.fake.add(laterBuyer)
	w.fake.add("c_now")
	order := func(customer, k string, options ...option) answer {
		return w.do(t, "POST", "/v1/orders", append(options, body(`{"customerId":"`+customer+`","items":[{"sku":"pump","quantity":"2"}]}`), key(k))...)
	}
	async := with("Prefer", "respond-async, wait=10")
	done := order("c_now", "later-1", async)
	require.Equal(t, 201, done.status, "what can be done now is done now")
	require.Equal(t, "/v1/orders/"+done.json(t, 201)["orderId"].(string), done.header.Get("Location"))
	order(laterBuyer, "later-2").problem(t, 409, "CUSTOMER_PENDING")
	a := order(laterBuyer, "later-2", async)
	require.Equal(t, "QUEUED", a.json(t, 202)["state"])
	require.Regexp(t, "^/v1/operations/op_", a.header.Get("Location"))
	require.Equal(t, "3", a.header.Get("Retry-After"))
	require.Equal(t, "respond-async", a.header.Get("Preference-Applied"))
	again := order(laterBuyer, "later-2", async)
	require.Equal(t, a.header.Get("Location"), again.header.Get("Location"), "the same key is the same operation")
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	order(mastered, "later-3", async).problem(t, 409, "CUSTOMER_BLOCKED")
	order("c_none", "later-4", async).problem(t, 404, "CUSTOMER_UNKNOWN")
	require.Zero(t, w.fake.placed(laterBuyer))
}

func operations(t *testing.T, w *world) {
	w.fake.add(neverBuyer)
	start := func(k string) string {
		a := w.do(t, "POST", "/v1/orders", with("Prefer", "respond-async"), body(`{"customerId":"`+neverBuyer+`","items":[{"sku":"pump","quantity":"2"}]}`), key(k))
		require.Equal(t, 202, a.status, a.body)
		return a.header.Get("Location")
	}
	good, bad := start("operation-1"), start("operation-2")
	a := w.do(t, "GET", good)
	v := a.json(t, 200)
	require.Equal(t, false, v["done"])
	require.Nil(t, v["response"])
	require.Nil(t, v["error"])
	require.NotEmpty(t, a.header.Get("Retry-After"))
	w.fake.end(strings.TrimPrefix(good, "/v1/operations/"), "")
	w.fake.end(strings.TrimPrefix(bad, "/v1/operations/"), "CUSTOMER_BLOCKED")
	a = w.do(t, "GET", good)
	v = a.json(t, 200)
	require.Equal(t, true, v["done"])
	require.NotEmpty(t, v["response"].(map[string]any)["orderId"])
	require.Nil(t, v["error"])
	require.Empty(t, a.header.Get("Retry-After"))
	v = w.do(t, "GET", bad).json(t, 200)
	require.Equal(t, true, v["done"])
	require.Nil(t, v["response"])
	require.Equal(t, "CUSTOMER_BLOCKED", v["error"].(map[string]any)["code"])
	w.do(t, "GET", "/v1/operations/none").problem(t, 404, "OPERATION_UNKNOWN")
	w.do(t, "GET", good, w.as(t, "user-2")).problem(t, 404, "OPERATION_UNKNOWN")
	w.do(t, "GET", good, w.owner(t, "user-1", "c_other")).problem(t, 404, "OPERATION_UNKNOWN")
}
