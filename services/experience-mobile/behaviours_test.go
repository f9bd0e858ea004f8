package experiencemobile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBehaviours is the table of what the REST surface promises. A case runs alone by its number, of two digits, and says
// with -v what it sends, as curl commands:
//
//	go test -v -run 'TestBehaviours/M26' .
//
// Most cases share one process-customer in memory; those that change the configuration have a world of their own.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	everyBehaviour(t)
}

// TestBehaviours_AsShipped is the same table with what is on by default: answers kept at the edge, and shedding.
func TestBehaviours_AsShipped(t *testing.T) {
	t.Parallel()
	everyBehaviour(t)
}

func everyBehaviour(t *testing.T) {
	t.Helper()
	w := setup(t)
	cases := []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"M01 JSON is camelCase with UTC times and amounts as text", jsonConventions},
		{"M02 HEAD is GET without a body", head},
		{"M03 an unknown route is a 404 problem, without a token", unknownRoute},
		{"M04 a wrong verb is a 405 problem with Allow", wrongVerb},
		{"M05 the entity tag changes with the representation only", entityTag},
		{"M06 If-None-Match gives 304 without a body", notModified},
		{"M07 personal data is not stored by caches", caching},
		{"M08 a large answer is compressed for who asks", compression},
		{"M09 part of an answer can be asked for, by names that exist", partialResponse},
		{"M10 the page size is bounded and never negative", pageSize},
		{"M11 a page token belongs to its query", pageToken},
		{"M12 a walk is stable while customers are added", stableWalk},
		{"M13 an unknown query parameter is refused by name", unknownParameter},
		{"M14 a first pull pages to the token to come back with", firstPull},
		{"M15 a later pull returns what changed, with tombstones", deltaSync},
		{"M16 a sync token that is too old is a 410 that says where to begin again", expiredSync},
		{"M17 queued changes are applied in order, each once, each with a result", applyMutations},
		{"M18 a write needs one well-formed key", keySyntax},
		{"M19 the same key and body give the first answer and one effect", replay},
		{"M20 the same key with another body is refused", reusedKey},
		{"M21 the same key in flight is a conflict with Retry-After", inFlight},
		{"M22 a key belongs to its caller and route", keyScope},
		{"M23 what is made is a 201 with Location, what will be made a 202 with the operation to ask", accepted},
		{"M24 an operation is not done, or has an answer or a problem", operations},
		{"M25 PATCH changes what is present and null clears", patch},
		{"M26 a stale If-Match is a 412 with the current tag", ifMatch},
		{"M26 a missing If-Match is a 428 where it is required", preconditionRequired},
		{"M27 an unknown JSON field is refused with its pointer", unknownField},
		{"M28 a wrong type is refused with its pointer and without a parser's text", wrongType},
		{"M29 all violations come in one answer", allViolations},
		{"M30 other media types are refused", mediaTypes},
		{"M31 a large body is a 413", largeBody},
		{"M32 a request can be checked without effect", validateOnly},
		{"M33 every refusal is a problem", everyProblem},
		{"M34 what happened inside stays inside", noInternals},
		{"M35 a safe request id is kept and another replaced", requestID},
		{"M36 who asks for too much is told when to come back", rateLimits},
		{"M37 each route has a budget of ours and an outage says when to come back", budget},
		{"M37 maintenance is a 503 with Retry-After", maintenance},
		{"M38 no header passes the edge by itself", headers},
		{"M39 a section that failed does not fail the screen", sections},
		{"M40 without a good token there is a challenge", challenge},
		{"M41 only tokens of the issuer for this audience are accepted", tokens},
		{"M42 a missing scope is named", scopes},
		{"M43 somebody else's record does not exist, on any path and with any token", ownership},
		{"M44 keys of the issuer rotate without a restart, and outlive it", keyRotation},
		{"M45 only listed origins may read answers", crossOrigin},
		{"M46 events of an order come as they happen", orderEvents},
		{"M47 a stream goes on where it broke off", resumedEvents},
		{"M48 a stream ends with its token, and says so at a deployment", endedEvents},
		{"M49 a route that will go says so, and who calls it is counted", deprecated},
		{"M50 the description is served with an entity tag", description},
		{"M51 an app that is too old is told to update", appVersions},
		{"M52 operations are not on the public port", noOperations},
		{"M52 the public port has HTTP/2 and no old TLS", publicTLS},
		// Parts of the API that no behaviour names.
		{"creating answers 201 with Location, finding answers 200", created},
		{"an order is placed once, and read by its number", placeOrder},
		{"cases, stock and cancellations", casesAndStock},
		{"a herd of identical requests is one execution", herd},
	}
	numbered := map[string]bool{}
	for _, c := range cases {
		numbered[c.name[:3]] = true
	}
	for n := 1; n <= 52; n++ {
		require.True(t, numbered[fmt.Sprintf("M%02d", n)], "M%02d", n)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, w)
		})
	}
}

func jsonConventions(t *testing.T, w *world) {
	v := w.do(t, "GET", "/v1/customers/"+known).json(t, 200)
	require.Equal(t, known, v["customerId"])
	require.Equal(t, "DE123456789", v["taxId"])
	require.Equal(t, "2026-03-04T05:06:07Z", v["createTime"])
	require.Equal(t, []any{"erp"}, v["pendingSystems"])
	order, ok := v["orders"].([]any)[0].(map[string]any)
	require.True(t, ok)
	require.Equal(t, map[string]any{"amount": "1299.90", "currency": "EUR"}, order["total"])
	empty := w.do(t, "GET", "/v1/customers?namePrefix=zzz").json(t, 200)
	require.Equal(t, []any{}, empty["customers"], "an empty list is there")
	require.Len(t, w.do(t, "GET", "/v1/customers/"+known+"/orders").json(t, 200)["orders"], 1)
	require.Len(t, w.do(t, "GET", "/v1/customers/"+known+"/contacts").json(t, 200)["contacts"], 1)
}

func head(t *testing.T, w *world) {
	got := w.do(t, "GET", "/v1/customers/"+known)
	a := w.do(t, "HEAD", "/v1/customers/"+known)
	require.Equal(t, 200, a.status)
	require.Empty(t, a.body)
	require.Equal(t, got.header.Get("ETag"), a.header.Get("ETag"))
	require.NotEmpty(t, a.header.Get("Content-Length"))
	require.Equal(t, 200, w.do(t, "HEAD", "/openapi.json", anonymous()).status)
}

func unknownRoute(t *testing.T, w *world) {
	for _, path := range []string{"/nope", "/", "/v1", "/v1/customers/", "/v1/customers/a/b", "/v2/customers"} {
		w.do(t, "GET", path, anonymous()).problem(t, 404, "ROUTE_NOT_FOUND")
	}
	w.do(t, "GET", "/v1/customers/c_none").problem(t, 404, "CUSTOMER_UNKNOWN")
	w.do(t, "GET", "/v1/customers/%FF", anonymous()).problem(t, 400, "PATH_INVALID")
	w.do(t, "GET", "/v1/customers/a%00b", anonymous()).problem(t, 400, "PATH_INVALID")
}

func wrongVerb(t *testing.T, w *world) {
	a := w.do(t, "DELETE", "/v1/customers/"+known)
	a.problem(t, 405, "METHOD_NOT_ALLOWED")
	require.Equal(t, "GET, HEAD, OPTIONS, PATCH", a.header.Get("Allow"))
	a = w.do(t, "OPTIONS", "/v1/customers", anonymous())
	require.Equal(t, 204, a.status)
	require.Equal(t, "GET, HEAD, OPTIONS, POST", a.header.Get("Allow"))
	w.do(t, "POST", "/openapi.json", anonymous()).problem(t, 405, "METHOD_NOT_ALLOWED")
}

func entityTag(t *testing.T, w *world) {
	w.fake.add("c_tag")
	first := w.do(t, "GET", "/v1/customers/c_tag")
	tag := first.header.Get("ETag")
	require.Regexp(t, `^"[^"]+"$`, tag)
	require.Equal(t, tag, `"`+first.json(t, 200)["etag"].(string)+`"`)
	require.Equal(t, tag, w.do(t, "GET", "/v1/customers/c_tag").header.Get("ETag"), "the time of reading does not count")
	changed := w.do(t, "PATCH", "/v1/customers/c_tag", body(`{"phone":"2"}`), key("tag-1"))
	require.Equal(t, 200, changed.status, changed.body)
	require.NotEmpty(t, changed.header.Get("ETag"))
	require.NotEqual(t, tag, w.do(t, "GET", "/v1/customers/c_tag").header.Get("ETag"))
}

func notModified(t *testing.T, w *world) {
	tag := w.do(t, "GET", "/v1/customers/"+known).header.Get("ETag")
	for _, sent := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		a := w.do(t, "GET", "/v1/customers/"+known, with("If-None-Match", sent))
		require.Equal(t, 304, a.status, sent)
		require.Empty(t, a.body)
		require.Equal(t, tag, a.header.Get("ETag"))
	}
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/"+known, with("If-None-Match", `"other"`)).status)
}

func caching(t *testing.T, w *world) {
	a := w.do(t, "GET", "/v1/customers/"+known)
	require.Equal(t, "private, no-store", a.header.Get("Cache-Control"))
	require.Equal(t, []string{"Accept-Encoding, Authorization, Origin"}, a.header.Values("Vary"))
	require.Equal(t, "no-store", w.do(t, "GET", "/v1/customers/c_none").header.Get("Cache-Control"))
}

func pageSize(t *testing.T, w *world) {
	p := w.do(t, "GET", "/v1/customers?pageSize=-1").problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, "pageSize", p.Errors[0].Parameter)
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers?pageSize=99999&namePrefix=coerced").status)
	require.Equal(t, int32(500), w.fake.listOf("coerced").GetPageSize())
	require.Equal(t, 200, w.do(t, "GET", "/v1/customers?namePrefix=default").status)
	require.Equal(t, int32(0), w.fake.listOf("default").GetPageSize())
	p = w.do(t, "GET", "/v1/customers?pageSize=many").problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, "WRONG_TYPE", p.Errors[0].Code)
	w.do(t, "GET", "/v1/customers?pageSize=99999999999").problem(t, 400, "VALIDATION_FAILED")
}

func pageToken(t *testing.T, w *world) {
	token, ok := w.do(t, "GET", "/v1/customers?namePrefix=Known&pageSize=5").json(t, 200)["nextPageToken"].(string)
	require.True(t, ok)
	require.Regexp(t, "^[A-Za-z0-9_-]+$", token, "it needs no escape in a URL")
	end := w.do(t, "GET", "/v1/customers?namePrefix=Known&pageToken="+token).json(t, 200)
	require.Empty(t, end["nextPageToken"])
	w.do(t, "GET", "/v1/customers?namePrefix=L&pageToken="+token).problem(t, 400, "PAGE_TOKEN_INVALID")
	w.do(t, "GET", "/v1/customers?pageToken=nonsense").problem(t, 400, "PAGE_TOKEN_INVALID")
	w.do(t, "GET", "/v1/customers?namePrefix=Known&pageToken="+token, anonymous()).problem(t, 401, "TOKEN_MISSING")
}

func unknownParameter(t *testing.T, w *world) {
	p := w.do(t, "GET", "/v1/customers?page_sise=3").problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, "page_sise", p.Errors[0].Parameter)
	require.Contains(t, p.Detail, "page_sise")
	w.do(t, "GET", "/v1/customers/"+known+"?summary=perhaps").problem(t, 400, "VALIDATION_FAILED")
	w.do(t, "GET", "/v1/customers?pageSize=1&pageSize=2").problem(t, 400, "VALIDATION_FAILED")
	w.do(t, "GET", "/v1/customers?namePrefix=%FF").problem(t, 400, "VALIDATION_FAILED")
	w.do(t, "GET", "/v1/customers?a=%ZZ").problem(t, 400, "VALIDATION_FAILED")
	p = w.do(t, "PATCH", "/v1/customers/"+known+"?updateMask=name", body(`{"phone":"2"}`), key("mask-1")).problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, "updateMask", p.Errors[0].Parameter)
}

func keySyntax(t *testing.T, w *world) {
	const name = `{"name":"Key Syntax GmbH"}`
	a := w.do(t, "POST", "/v1/customers", body(name))
	a.problem(t, 400, "IDEMPOTENCY_KEY_MISSING")
	require.Equal(t, `<`+publicURL+`/docs#IDEMPOTENCY_KEY_MISSING>; rel="describedby"`, a.header.Get("Link"))
	for _, bad := range []string{"", `""`, "two words", strings.Repeat("k", 256), `"open`, `"bad\escape"`, "schlüssel", `"a", "b"`, "a,b", "fifteen-letters"} {
		w.do(t, "POST", "/v1/customers", body(name), rawKey(bad)).problem(t, 400, "IDEMPOTENCY_KEY_INVALID")
	}
	w.do(t, "POST", "/v1/customers", body(name), rawKey("the-first-key-of-two"), rawKey("the-second-key-of-two")).problem(t, 400, "IDEMPOTENCY_KEY_INVALID")
	require.Zero(t, w.fake.created("Key Syntax GmbH"))

	for i, pair := range [][2]string{{`"quoted-and-bare-form"`, "quoted-and-bare-form"}, {strings.Repeat("k", 255), `"` + strings.Repeat("k", 255) + `"`}, {`"with-a-parameter";v=1`, "with-a-parameter"}} {
		fresh := body(strings.Replace(name, "Syntax", "Pair "+string(rune('A'+i)), 1))
		first := w.do(t, "POST", "/v1/customers", fresh, rawKey(pair[0]))
		require.Equal(t, 201, first.status, first.body)
		require.Equal(t, pair[0], first.header.Get("Idempotency-Key"))
		require.Equal(t, "executed", first.header.Get("Idempotency-Status"))
		second := w.do(t, "POST", "/v1/customers", fresh, rawKey(pair[1]))
		require.Equal(t, "true", second.header.Get("Idempotent-Replayed"), "both forms are one key")
	}
	require.Equal(t, "ignored", w.do(t, "GET", "/v1/customers/"+known, key("on-a-read")).header.Get("Idempotency-Status"))
}

func replay(t *testing.T, w *world) {
	send := func() answer {
		return w.do(t, "POST", "/v1/customers", body(`{"name":"Replay GmbH"}`), key("replay-1"))
	}
	first, second := send(), send()
	require.Equal(t, 201, first.status, first.body)
	require.Empty(t, first.header.Get("Idempotent-Replayed"))
	require.Equal(t, first.status, second.status)
	require.Equal(t, first.body, second.body)
	require.Equal(t, first.header.Get("Location"), second.header.Get("Location"))
	require.Equal(t, "true", second.header.Get("Idempotent-Replayed"))
	require.Equal(t, "replayed", second.header.Get("Idempotency-Status"))
	require.Equal(t, 1, w.fake.created("Replay GmbH"))
}

func reusedKey(t *testing.T, w *world) {
	require.Equal(t, 201, w.do(t, "POST", "/v1/customers", body(`{"name":"Reused GmbH"}`), key("reused-1")).status)
	p := w.do(t, "POST", "/v1/customers", body(`{"name":"Other GmbH"}`), key("reused-1")).problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
	require.False(t, *p.Retryable)
	require.Zero(t, w.fake.created("Other GmbH"))
}

func inFlight(t *testing.T, w *world) {
	send := func() answer {
		return w.do(t, "POST", "/v1/customers", body(`{"name":"`+slowName+`"}`), key("flight-1"))
	}
	first := make(chan answer, 1)
	go func() {
		var a answer
		defer func() { first <- a }()
		a = send()
	}()
	require.Eventually(t, func() bool { return w.fake.started(slowName) }, time.Minute, 5*time.Millisecond)
	a := send()
	p := a.problem(t, 409, "IDEMPOTENCY_IN_PROGRESS")
	require.True(t, *p.Retryable)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, "in-progress", a.header.Get("Idempotency-Status"))
	close(w.fake.release)
	require.Equal(t, 201, (<-first).status)
	require.Equal(t, "true", send().header.Get("Idempotent-Replayed"))
	require.Equal(t, 1, w.fake.created(slowName))
}

func keyScope(t *testing.T, w *world) {
	const name = "Scope GmbH"
	create := func(user string) answer {
		return w.do(t, "POST", "/v1/customers", body(`{"name":"`+name+`"}`), key("scope-1"), with("Authorization", "Bearer "+w.token(t, user, readAll)))
	}
	require.Equal(t, 201, create("user-1").status)
	other := create("user-2")
	require.Equal(t, 201, other.status)
	require.Empty(t, other.header.Get("Idempotent-Replayed"))
	require.Equal(t, 2, w.fake.created(name))
	w.fake.add("c_scope")
	patched := w.do(t, "PATCH", "/v1/customers/c_scope", body(`{"phone":"2"}`), key("scope-1"))
	require.Equal(t, 200, patched.status, patched.body)
	require.Empty(t, patched.header.Get("Idempotent-Replayed"))
}

func created(t *testing.T, w *world) {
	a := w.do(t, "POST", "/v1/customers", body(`{"name":"Created GmbH","address":{"city":"Bonn"}}`), key("created-1"))
	v := a.json(t, 201)
	require.Equal(t, "/v1/customers/"+v["customerId"].(string), a.header.Get("Location"))
	require.Equal(t, `"`+v["etag"].(string)+`"`, a.header.Get("ETag"))
	require.Equal(t, 200, w.do(t, "GET", a.header.Get("Location")).status)
	a = w.do(t, "POST", "/v1/customers", body(`{"name":"`+knownName+`"}`), key("created-2"))
	require.Equal(t, known, a.json(t, 200)["customerId"])
	require.Empty(t, a.header.Get("Location"))
}

func patch(t *testing.T, w *world) {
	w.fake.add("c_patch")
	send := func(k, text string) answer {
		return w.do(t, "PATCH", "/v1/customers/c_patch", body(text), key(k))
	}
	require.Equal(t, 200, send("patch-1", `{"email":"new@own.example"}`).status)
	require.Equal(t, []string{"email"}, w.fake.maskOf("c_patch"))
	require.Equal(t, "1", w.fake.get("c_patch").GetPhone(), "an absent field stays")
	require.Equal(t, 200, send("patch-2", `{"phone":null}`).status)
	require.Equal(t, []string{"phone"}, w.fake.maskOf("c_patch"))
	require.Empty(t, w.fake.get("c_patch").GetPhone())
	require.Equal(t, 200, send("patch-3", `{"address":{"city":"Köln"}}`).status)
	require.Equal(t, []string{"address.city"}, w.fake.maskOf("c_patch"))
	require.Equal(t, "Köln", w.fake.get("c_patch").GetAddress().GetCity())
	require.Equal(t, "Old", w.fake.get("c_patch").GetAddress().GetStreet(), "a member that is absent stays")
	require.Equal(t, 200, send("patch-3a", `{"address":{"city":null,"postalCode":"50667"}}`).status)
	require.Equal(t, []string{"address.city", "address.postal_code"}, w.fake.maskOf("c_patch"))
	require.Empty(t, w.fake.get("c_patch").GetAddress().GetCity(), "null clears one member")
	require.Equal(t, 200, send("patch-3b", `{"phone":"4","address":{}}`).status)
	require.Equal(t, []string{"phone"}, w.fake.maskOf("c_patch"))
	require.Equal(t, "Old", w.fake.get("c_patch").GetAddress().GetStreet(), "an object without members changes none")
	require.Equal(t, []string{""}, send("patch-3c", `{"address":{}}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	require.Equal(t, 200, send("patch-4", `{"address":null}`).status)
	require.Nil(t, w.fake.get("c_patch").GetAddress())
	require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_patch", with("Content-Type", "application/merge-patch+json"), body(`{"phone":"3"}`), key("patch-5")).status)
	require.Equal(t, []string{""}, send("patch-6", `{}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	require.Equal(t, []string{"/name"}, send("patch-7", `{"name":null}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	require.Equal(t, []string{"/etag"}, send("patch-8", `{"etag":"x"}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	w.do(t, "PATCH", "/v1/customers/"+mastered, body(`{"phone":"2"}`), key("patch-9")).problem(t, 422, "FIELD_MASTERED")
	a := w.do(t, "PATCH", "/v1/customers/"+uncertain, body(`{"phone":"2"}`), key("patch-10"))
	require.True(t, *a.problem(t, 409, "OUTCOME_UNCERTAIN").Retryable)
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

func placeOrder(t *testing.T, w *world) {
	w.fake.add("c_buyer")
	const order = `{"customerId":"c_buyer","purchaseOrder":"PO 7","items":[{"sku":"pump","quantity":"2"},{"sku":"hose","quantity":"0.5"}]}`
	first := w.do(t, "POST", "/v1/orders", body(order), key("order-1"))
	v := first.json(t, 201)
	require.Equal(t, "RECEIVED", v["state"])
	require.EqualValues(t, 2, v["itemCount"])
	require.Equal(t, "/v1/orders/"+v["orderId"].(string), first.header.Get("Location"))
	require.Empty(t, first.header.Get("ETag"))
	again := w.do(t, "POST", "/v1/orders", body(order), key("order-1"))
	require.Equal(t, v, again.json(t, 201))
	require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, 1, w.fake.placed("c_buyer"))
	require.Equal(t, v, w.do(t, "GET", first.header.Get("Location")).json(t, 200), "the location leads to the order")
	w.do(t, "GET", "/v1/customers/"+known+"/orders/"+v["orderId"].(string)).problem(t, 404, "ORDER_UNKNOWN")

	send := func(k, text string) answer { return w.do(t, "POST", "/v1/orders", body(text), key(k)) }
	send("order-1", strings.Replace(order, "0.5", "0.6", 1)).problem(t, 422, "IDEMPOTENCY_KEY_REUSED")
	w.do(t, "POST", "/v1/orders", body(order)).problem(t, 400, "IDEMPOTENCY_KEY_MISSING")
	require.ElementsMatch(t, []string{"/customerId", "/items"}, send("order-2", `{}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	require.ElementsMatch(t, []string{"/items/0/sku", "/items/0/quantity"},
		send("order-3", `{"customerId":"c_buyer","items":[{"sku":"","quantity":"-1"}]}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	require.Equal(t, []string{"/items/1/price"},
		send("order-4", `{"customerId":"c_buyer","items":[{"sku":"a","quantity":"1"},{"sku":"b","quantity":"1","price":"0"}]}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	require.Equal(t, []string{"/items/1/sku"},
		send("order-5", `{"customerId":"c_buyer","items":[{"sku":"a","quantity":"1"},{"sku":"unknown","quantity":"1"}]}`).problem(t, 400, "VALIDATION_FAILED").pointers())
	send("order-6", strings.Replace(order, "c_buyer", "c_none", 1)).problem(t, 404, "CUSTOMER_UNKNOWN")
	send("order-7", strings.Replace(order, "c_buyer", mastered, 1)).problem(t, 409, "CUSTOMER_BLOCKED")
	pending := send("order-8", strings.Replace(order, "c_buyer", uncertain, 1))
	require.True(t, *pending.problem(t, 409, "CUSTOMER_PENDING").Retryable)
	require.Equal(t, "2", pending.header.Get("Retry-After"))
	require.Equal(t, 1, w.fake.placed("c_buyer"))
	w.do(t, "POST", "/v1/orders", body(order), key("order-9"), with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))).
		problem(t, 403, "INSUFFICIENT_SCOPE")
}

func ifMatch(t *testing.T, w *world) {
	w.fake.add("c_match")
	send := func(k, tag string) answer {
		return w.do(t, "PATCH", "/v1/customers/c_match", body(`{"phone":"`+k+`"}`), key(k), with("If-Match", tag))
	}
	tag := w.do(t, "GET", "/v1/customers/c_match").header.Get("ETag")
	require.Equal(t, 200, send("match-1", tag).status)
	a := send("match-2", tag)
	a.problem(t, 412, "ETAG_MISMATCH")
	current := a.header.Get("ETag")
	require.NotEqual(t, tag, current)
	require.Equal(t, current, w.do(t, "GET", "/v1/customers/c_match?summary=true").header.Get("ETag"))
	require.Equal(t, 200, send("match-3", current).status)
	require.Equal(t, 200, send("match-4", "*").status)
	send("match-5", `"old"`).problem(t, 412, "ETAG_MISMATCH")
	w.do(t, "PATCH", "/v1/customers/c_match?validateOnly=true", body(`{"phone":"1"}`), with("If-Match", `"old"`)).problem(t, 412, "ETAG_MISMATCH")
	send("match-6", "W/"+w.do(t, "GET", "/v1/customers/c_match").header.Get("ETag")).problem(t, 412, "ETAG_MISMATCH")
	for _, bad := range []string{"old", `"`, `""`, `"a", "b"`} {
		send("match-7", bad).problem(t, 400, "IF_MATCH_INVALID")
	}
}

func unknownField(t *testing.T, w *world) {
	send := func(text string) problemBody {
		return w.do(t, "POST", "/v1/customers", body(text), key("unknown-1")).problem(t, 400, "VALIDATION_FAILED")
	}
	require.Equal(t, []string{"/customerIdd"}, send(`{"customerIdd":"c1","name":"Unknown GmbH"}`).pointers())
	require.Equal(t, []string{"/address/zip", "/a~1b~0c"}, send(`{"name":"Unknown GmbH","address":{"zip":[1,{"x":2}]},"a/b~c":1}`).pointers())
	require.Equal(t, []string{"/tax_id"}, send(`{"name":"Unknown GmbH","tax_id":"x"}`).pointers())
	require.Equal(t, "DUPLICATE_FIELD", send(`{"name":"a","name":"b"}`).Errors[0].Code)
	require.Equal(t, "READ_ONLY", send(`{"name":"a","orders":[{"orderId":"1"}]}`).Errors[0].Code)
	require.Zero(t, w.fake.created("Unknown GmbH"))
}

func wrongType(t *testing.T, w *world) {
	for text, pointer := range map[string]string{
		`{"name":17}`: "/name", `{"name":"x","address":"Bonn"}`: "/address", `{"name":{"a":1}}`: "/name",
		`[]`: "", `"text"`: "", `{"name":"a\u0000b"}`: "/name", `{"name":"x","address":{"city":true}}`: "/address/city",
	} {
		a := w.do(t, "POST", "/v1/customers", body(text), key("type-1"))
		require.Equal(t, []string{pointer}, a.problem(t, 400, "VALIDATION_FAILED").pointers(), text)
		require.NotContains(t, a.body, "proto")
		require.NotContains(t, a.body, "json:")
	}
	for _, text := range []string{"", "{", `{"name":"a"} x`, `{"name":"a"}{}`, "{\"name\":\"\xff\"}", `{"name" "a"}`, strings.Repeat("[", 20000)} {
		w.do(t, "POST", "/v1/customers", body(text), key("type-2")).problem(t, 400, "JSON_MALFORMED")
	}
}

func allViolations(t *testing.T, w *world) {
	p := w.do(t, "POST", "/v1/customers", body(`{"name":" ","email":"nobody","address":{"country":"Germany"}}`), key("all-1")).problem(t, 400, "VALIDATION_FAILED")
	require.ElementsMatch(t, []string{"/name", "/email", "/address/country"}, p.pointers())
	for _, e := range p.Errors {
		require.NotEmpty(t, e.Code)
		require.NotContains(t, e.Detail, "nobody", "a value is not repeated")
	}
	require.Equal(t, []string{"/name"}, w.do(t, "POST", "/v1/customers", body(`{}`), key("all-2")).problem(t, 400, "VALIDATION_FAILED").pointers())
	p = w.do(t, "POST", "/v1/customers", body(`{"nam":"x","phone":5,"etag":"1","name":" "}`), key("all-3")).problem(t, 400, "VALIDATION_FAILED")
	require.ElementsMatch(t, []string{"/nam", "/phone", "/etag", "/name"}, p.pointers(), "what is not there, of another type, not to be sent and missing")
	p = w.do(t, "POST", "/v1/customers", body(`{"nam":"x","name":7,"email":"nobody","address":{"town":"x","country":"Germany"}}`), key("all-4")).problem(t, 400, "VALIDATION_FAILED")
	require.ElementsMatch(t, []string{"/nam", "/name", "/email", "/address/town", "/address/country"}, p.pointers(), "broken rules beside what is not there")
	for _, e := range p.Errors {
		require.NotContains(t, e.Detail, "nobody", "a value is not repeated")
	}
	items := strings.Repeat(`{"sku":"","no":1},`, 40)
	p = w.do(t, "POST", "/v1/orders", body(`{"customerId":"c_1","items":[`+strings.TrimSuffix(items, ",")+`]}`), key("all-5")).problem(t, 400, "VALIDATION_FAILED")
	require.Len(t, p.Errors, 50, "no more than fifty are told")
	items = strings.Repeat(`{},`, 60)
	p = w.do(t, "POST", "/v1/orders", body(`{"customerId":"c_1","items":[`+strings.TrimSuffix(items, ",")+`]}`), key("all-6")).problem(t, 400, "VALIDATION_FAILED")
	require.Len(t, p.Errors, 50, "nor where all have the shape of the contract")
	items = strings.Repeat(`{},`, 2000)
	p = w.do(t, "POST", "/v1/orders", body(`{"no":1,"customerId":"c_1","items":[`+strings.TrimSuffix(items, ",")+`]}`), key("all-7")).problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, []string{"/no"}, p.pointers(), "what takes long to check is not checked where nobody is turned away yet")
}
