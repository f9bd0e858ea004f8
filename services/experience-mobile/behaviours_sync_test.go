package experiencemobile_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/page"
)

// pull follows page tokens to the sync token.
func (w *world) pull(t *testing.T, query string, options ...option) (customers map[string]bool, token string) {
	t.Helper()
	customers = map[string]bool{}
	path := "/v1/sync/customers?pageSize=4"
	next := query
	for range 1000 {
		v := w.do(t, "GET", path+next, options...).json(t, 200)
		for _, c := range v["customers"].([]any) {
			m := c.(map[string]any)
			customers[m["customerId"].(string)] = m["deleted"].(bool)
			require.Equal(t, m["deleted"], m["customer"] == nil, "a tombstone carries nothing else")
		}
		page, sync := v["nextPageToken"].(string), v["syncToken"].(string)
		require.NotEqual(t, page == "", sync == "", "exactly one of the tokens")
		if sync != "" {
			return customers, sync
		}
		next = "&pageToken=" + page
	}
	t.Fatal("the pull does not end")
	return nil, ""
}

func firstPull(t *testing.T, _ *world) {
	w := setup(t)
	for i := range 10 {
		w.fake.add(fmt.Sprintf("c_pull_%d", i))
	}
	all, token := w.pull(t, "")
	for i := range 10 {
		require.Contains(t, all, fmt.Sprintf("c_pull_%d", i))
	}
	require.Contains(t, all, known)
	w.do(t, "GET", "/v1/sync/customers?syncToken="+token+"&pageToken="+token).problem(t, 400, "VALIDATION_FAILED")
}

func deltaSync(t *testing.T, _ *world) {
	w := setup(t)
	w.fake.add("c_delta")
	w.fake.add("c_gone")
	w.fake.add("c_still")
	_, token := w.pull(t, "")
	none, same := w.pull(t, "&syncToken="+token)
	require.Empty(t, none)
	w.fake.add("c_delta")
	w.fake.remove("c_gone")
	changed, later := w.pull(t, "&syncToken="+same)
	require.Equal(t, map[string]bool{"c_delta": false, "c_gone": true}, changed)
	again, _ := w.pull(t, "&syncToken="+token)
	require.Equal(t, changed, again, "the same token gives at least the same again")
	w.fake.add("c_new")
	since, _ := w.pull(t, "&syncToken="+later)
	require.Equal(t, map[string]bool{"c_new": false}, since)
}

// forgedToken is a sync token of user-1 around one of process-customer.
func forgedToken(t *testing.T, holder string, inner position) string {
	t.Helper()
	below, err := syncToken(inner)
	require.NoError(t, err)
	token, err := page.Encode(page.Hash("sync"), map[string]string{"h": holder, "t": below})
	require.NoError(t, err)
	return token
}

func expiredSync(t *testing.T, w *world) {
	mine := page.Hash("sync", "user-1")
	for _, p := range []position{{P: 0, T: time.Now().Add(-31 * 24 * time.Hour).Unix()}, {P: 1 << 40, T: time.Now().Unix()}} {
		a := w.do(t, "GET", "/v1/sync/customers?syncToken="+forgedToken(t, mine, p))
		require.False(t, *a.problem(t, 410, "SYNC_TOKEN_EXPIRED").Retryable)
		require.Contains(t, strings.Join(a.header.Values("Link"), ", "), `</v1/sync/customers>; rel="restart"`)
	}
	require.Equal(t, 200, w.do(t, "GET", "/v1/sync/customers?syncToken="+forgedToken(t, mine, position{T: time.Now().Unix()})).status)
	for _, bad := range []string{"nonsense", base64.RawURLEncoding.EncodeToString([]byte(`{"v":1}`)), "e30"} {
		w.do(t, "GET", "/v1/sync/customers?syncToken="+bad).problem(t, 400, "SYNC_TOKEN_INVALID")
	}
	meta := w.do(t, "GET", "/v1/meta", anonymous()).json(t, 200)
	require.Equal(t, "P30D", meta["sync"].(map[string]any)["tokenLifetime"])
}

func applyMutations(t *testing.T, w *world) {
	w.fake.add("c_apply")
	w.fake.newOrder("c_apply", "apply-1")
	mutation := func(k, rest string) string { return `{"key":"a-key-of-a-mutation:` + k + `",` + rest + `}` }
	batch := body(`{"mutations":[` + strings.Join([]string{
		mutation("1", `"kind":"CREATE_CUSTOMER","customer":{"name":"Applied GmbH"}`),
		mutation("2", `"kind":"UPDATE_CUSTOMER","customerId":"c_apply","customer":{"phone":"7"},"fields":["phone"]`),
		mutation("3", `"kind":"UPDATE_CUSTOMER","customerId":"c_apply","customer":{},"fields":["phone","taxId"]`),
		mutation("4", `"kind":"PLACE_ORDER","order":{"customerId":"c_apply","items":[{"sku":"pump","quantity":"2"}]}`),
		mutation("5", `"kind":"PLACE_ORDER","order":{"customerId":"c_apply","items":[{"sku":"","quantity":"-2"}]}`),
		mutation("6", `"kind":"CANCEL_ORDER","orderId":"apply-1"`),
		mutation("7", `"kind":"OPEN_CASE","case":{"customerId":"c_apply","subject":"Applied"}`),
		mutation("8", `"kind":"PAINT_IT_BLACK"`),
		mutation("9", `"kind":"UPDATE_CUSTOMER","customerId":"c_none","customer":{"phone":"7"},"fields":["phone","nope"]`),
		`{"key":"short","kind":"CREATE_CUSTOMER","customer":{"name":"Applied GmbH"}}`,
		mutation("10", `"kind":"PLACE_ORDER","order":{"customerId":"`+uncertain+`","items":[{"sku":"pump","quantity":"2"}]}`),
		mutation("11", `"kind":"OPEN_CASE","case":{"customerId":"`+uncertain+`","subject":"Behind"}`),
		mutation("12", `"kind":"CREATE_CUSTOMER","customer":{"name":"Applied GmbH 2"}`),
	}, ",") + `]}`)
	first := w.do(t, "POST", "/v1/sync:apply", batch)
	v := first.json(t, 207)
	var statuses []float64
	var codes []any
	results := v["results"].([]any)
	for i, r := range results {
		m := r.(map[string]any)
		statuses = append(statuses, m["status"].(float64))
		code := any(nil)
		if p, ok := m["problem"].(map[string]any); ok {
			code = p["code"]
			require.NotEmpty(t, p["detail"], i)
		}
		codes = append(codes, code)
	}
	require.Equal(t, []float64{201, 200, 200, 201, 400, 200, 201, 400, 400, 400, 409, 424, 201}, statuses, first.body)
	require.Equal(t, []any{nil, nil, nil, nil, "VALIDATION_FAILED", nil, nil, "VALIDATION_FAILED", "VALIDATION_FAILED", "IDEMPOTENCY_KEY_INVALID", "CUSTOMER_PENDING", "PREDECESSOR_FAILED", nil}, codes)
	require.Equal(t, "/v1/orders/"+results[3].(map[string]any)["order"].(map[string]any)["orderId"].(string), results[3].(map[string]any)["location"])
	require.Equal(t, "CANCELLED", results[5].(map[string]any)["order"].(map[string]any)["state"])
	errors := results[4].(map[string]any)["problem"].(map[string]any)["errors"].([]any)
	require.Equal(t, "/mutations/4/order/items/0/sku", errors[0].(map[string]any)["pointer"])
	require.Equal(t, "/mutations/8/fields/1", results[8].(map[string]any)["problem"].(map[string]any)["errors"].([]any)[0].(map[string]any)["pointer"])
	require.Empty(t, w.fake.get("c_apply").GetPhone(), "changes of one record keep their order")
	require.Zero(t, w.fake.ran("case Behind"), "what comes after a change that is still to come is not tried")

	second := w.do(t, "POST", "/v1/sync:apply", batch)
	require.Equal(t, first.body, second.body, "the same batch has the same results")
	require.Equal(t, 1, w.fake.ran("Applied GmbH"))
	require.Equal(t, 1, w.fake.placed("c_apply")-1)
	require.Equal(t, 1, w.fake.ran("case Applied"))
	require.Equal(t, 1, w.fake.ran("cancel apply-1"))
	alone := w.do(t, "POST", "/v1/customers", body(`{"name":"Applied GmbH"}`), rawKey("a-key-of-a-mutation:1"))
	require.Equal(t, "true", alone.header.Get("Idempotent-Replayed"), "a mutation and a request of its own are one")
	address := func(k, fields string) {
		v := w.do(t, "POST", "/v1/sync:apply", body(`{"mutations":[`+mutation(k, `"kind":"UPDATE_CUSTOMER","customerId":"c_apply","customer":{"address":{"city":"Köln"}},"fields":`+fields)+`]}`)).json(t, 207)
		require.EqualValues(t, 200, v["results"].([]any)[0].(map[string]any)["status"])
		require.Equal(t, "Köln", w.fake.get("c_apply").GetAddress().GetCity())
	}
	address("13", `["address.city","address.postalCode"]`)
	require.Equal(t, "Old", w.fake.get("c_apply").GetAddress().GetStreet(), "what is not named stays")
	address("14", `["address"]`)
	require.Empty(t, w.fake.get("c_apply").GetAddress().GetStreet(), "who names the address means all of it")
	w.do(t, "POST", "/v1/sync:apply", body(`{"mutations":[]}`)).problem(t, 400, "VALIDATION_FAILED")
	require.Equal(t, []string{"/mutations/0/zip"}, w.do(t, "POST", "/v1/sync:apply", body(`{"mutations":[{"zip":1}]}`)).problem(t, 400, "VALIDATION_FAILED").pointers())
	mergedBatch(t)
}

// mergedBatch changes a customer under the id that it had and under the one that remains: they are one record.
func mergedBatch(t *testing.T) {
	t.Helper()
	w := setup(t)
	for _, id := range []string{"c_remains", "c_other", "c_gone", "c_left"} {
		w.fake.add(id)
	}
	w.fake.merge(uncertain, "c_remains") // its orders are pending
	w.fake.merge("c_gone", "c_left")
	n := 0
	phone := func(id, number string) string {
		n++
		return fmt.Sprintf(`{"key":"a-key-of-a-merged-change:%d","kind":"UPDATE_CUSTOMER","customerId":%q,"customer":{"phone":%q},"fields":["phone"]}`, n, id, number)
	}
	order := func(id string) string {
		n++
		return fmt.Sprintf(`{"key":"a-key-of-a-merged-change:%d","kind":"PLACE_ORDER","order":{"customerId":%q,"items":[{"sku":"pump","quantity":"1"}]}}`, n, id)
	}
	apply := func(w *world, changes ...string) (statuses []int) {
		a := w.do(t, "POST", "/v1/sync:apply", body(`{"mutations":[`+strings.Join(changes, ",")+`]}`))
		for _, r := range a.json(t, 207)["results"].([]any) {
			statuses = append(statuses, int(r.(map[string]any)["status"].(float64)))
		}
		return statuses
	}
	changed := func() (out []string) {
		w.fake.mu.Lock()
		defer w.fake.mu.Unlock()
		for _, u := range w.fake.updates {
			out = append(out, u.GetCustomer().GetId()+" "+u.GetCustomer().GetPhone())
		}
		return out
	}
	require.Equal(t, []int{200, 200, 200, 200}, apply(w, phone("c_gone", "2"), phone("c_left", "3"), phone("c_gone", "4"), phone("c_left", "5")))
	require.Equal(t, []string{"c_gone 2", "c_left 3", "c_gone 4", "c_left 5"}, changed(), "they come in order, one at a time")
	require.Equal(t, "5", w.fake.get("c_left").GetPhone())
	require.Zero(t, w.fake.ran("resolve"), "while nothing is behind, nobody has to be asked")

	queued := []string{order(uncertain), phone("c_remains", "6"), phone("c_other", "7"), order("c_gone"), phone(uncertain, "8"), phone("c_remains", "9")}
	require.Equal(t, []int{409, 424, 200, 201, 424, 424}, apply(w, queued...))
	require.Equal(t, "1", w.fake.get("c_remains").GetPhone(), "what comes behind a change is not tried, under any id of the customer")
	require.Equal(t, "7", w.fake.get("c_other").GetPhone(), "others do not wait")
	require.Equal(t, 1, w.fake.ran("resolve"), "one call finds all of them")
	require.Equal(t, []int{409, 424, 200, 201, 424, 424}, apply(w, queued...))
	require.Equal(t, 1, w.fake.ran("resolve"), "where they lead is known for a while")
	require.Equal(t, []int{409, 424, 424}, apply(w, order(uncertain), phone("c_remains", "6"), phone("c_remains", "9")))
	require.Equal(t, []int{409, 424}, apply(w, order(uncertain), phone(uncertain, "6")))
	require.Equal(t, 1, w.fake.ran("resolve"))

	for untold, statuses := range map[bool][]int{true: {409, 424, 424}, false: {409, 424, 200}} {
		again := w.another(t) // knows of no merges yet
		w.fake.mu.Lock()
		w.fake.untold, w.fake.older = untold, !untold
		w.fake.mu.Unlock()
		require.Equal(t, statuses, apply(again, order(uncertain), phone("c_remains", "6"), phone("c_other", "7")),
			"who cannot be told from the customer waits; of an earlier release the customers are read")
	}
}
