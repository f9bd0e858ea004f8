package experiencemobile_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkedWrites has writes checked, refused as they would be for real, and then done for real under the key that came with the check.
func checkedWrites(t *testing.T) {
	t.Helper()
	keys := newBelow()
	w := setupOver(t, keys)
	for _, id := range []string{"c_check", "c_theirs", laterBuyer} {
		w.fake.add(id)
	}
	for _, id := range []string{"check-1", "check-2", "check-3"} {
		w.fake.newOrder("c_check", id)
	}
	w.fake.newOrder("c_theirs", "check-theirs")
	w.fake.move("check-2", "COMPLETED")
	mine := w.owner(t, "check-1", "c_check")
	type refused struct {
		path, body, code string
		status           int
	}
	for name, c := range map[string]struct {
		key           string
		path, body    string
		done          string // what the back end counts
		status        int    // for real
		shown         map[string]any
		look          func() any
		before, after any
		refused       []refused
	}{
		"a case": {
			key: "check-case", path: "/v1/cases", body: `{"customerId":"c_check","subject":"Checked","description":"It drips","priority":"High"}`, done: "case Checked", status: 201,
			shown:  map[string]any{"subject": "Checked", "description": "It drips", "priority": "High", "caseId": ""},
			look:   func() any { return len(w.do(t, "GET", "/v1/customers/c_check/cases").json(t, 200)["cases"].([]any)) },
			before: 0, after: 1,
			refused: []refused{
				{"/v1/cases", `{"customerId":"c_check","subject":""}`, "VALIDATION_FAILED", 400},
				{"/v1/cases", `{"customerId":"c_check","subject":"x","zip":1}`, "VALIDATION_FAILED", 400},
				{"/v1/cases", `{"customerId":"c_none","subject":"x"}`, "CUSTOMER_UNKNOWN", 404},
				{"/v1/cases", `{"customerId":"c_theirs","subject":"x"}`, "CUSTOMER_UNKNOWN", 404},
				{"/v1/cases", `{"customerId":"` + laterBuyer + `","subject":"x"}`, "CUSTOMER_PENDING", 409},
			},
		},
		"a cancellation": {
			key: "check-order", path: "/v1/orders/check-1/cancellation", body: `{"customerId":"c_check"}`, done: "cancel check-1", status: 200,
			shown:  map[string]any{"orderId": "check-1", "customerId": "c_check", "state": "CANCELLED"},
			look:   func() any { return w.do(t, "GET", "/v1/orders/check-1").json(t, 200)["state"] },
			before: "RECEIVED", after: "CANCELLED",
			refused: []refused{
				{"/v1/orders/check-1/cancellation", `{"why":"so"}`, "VALIDATION_FAILED", 400},
				{"/v1/orders/check-1/cancellation", `{"customerId":"c_theirs"}`, "ORDER_UNKNOWN", 404},
				{"/v1/orders/check-theirs/cancellation", `{}`, "ORDER_UNKNOWN", 404},
				{"/v1/orders/none/cancellation", `{}`, "ORDER_UNKNOWN", 404},
				{"/v1/orders/check-2/cancellation", `{}`, "ORDER_CLOSED", 409},
			},
		},
	} {
		claimed := keys.begun.Load()
		check := w.do(t, "POST", c.path+"?validateOnly=true", body(c.body), key(c.key))
		for member, want := range c.shown {
			require.Equal(t, want, check.json(t, 200)[member], "%s: %s", name, member)
		}
		require.Empty(t, check.header.Get("Location"))
		require.Equal(t, "ignored", check.header.Get("Idempotency-Status"), name)
		require.Equal(t, 200, w.do(t, "POST", c.path+"?validateOnly=true", body(c.body)).status, "no key is needed")
		require.Equal(t, 200, w.do(t, "POST", c.path+"?validateOnly=true", body(c.body), mine).status, name)
		w.do(t, "POST", c.path+"?validateOnly=true", body(c.body), with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))).problem(t, 403, "INSUFFICIENT_SCOPE")
		w.do(t, "POST", c.path+"?validateOnly=perhaps", body(c.body), key(c.key+"-perhaps")).problem(t, 400, "VALIDATION_FAILED")
		require.Zero(t, w.fake.ran(c.done), "%s: nothing is done", name)
		require.Equal(t, claimed, keys.begun.Load(), "%s: no key is claimed, so nothing that needs one was asked for", name)
		require.Equal(t, c.before, c.look(), name)
		for i, r := range c.refused {
			as := func(*request) {}
			if strings.Contains(r.path+r.body, "theirs") {
				as = mine
			}
			told := w.do(t, "POST", r.path+"?validateOnly=true", body(r.body), as).problem(t, r.status, r.code)
			real := w.do(t, "POST", r.path, body(r.body), as, key(c.key+strings.Repeat("-", i+1))).problem(t, r.status, r.code)
			told.RequestID, told.Instance, real.RequestID, real.Instance = "", "", "", ""
			require.Equal(t, real, told, "%s: %s", name, r.body)
		}
		real := w.do(t, "POST", c.path, body(c.body), key(c.key))
		require.Equal(t, c.status, real.status, "%s: %s", name, real.body)
		require.Equal(t, "executed", real.header.Get("Idempotency-Status"), "%s: the key is as good as before", name)
		require.Equal(t, 1, w.fake.ran(c.done), name)
		require.Equal(t, c.after, c.look(), name)
		again := w.do(t, "POST", c.path+"?validateOnly=true", body(c.body), key(c.key))
		require.Equal(t, "ignored", again.header.Get("Idempotency-Status"), "%s: what is kept under the key is no answer to a check", name)
		require.Equal(t, "true", w.do(t, "POST", c.path, body(c.body), key(c.key)).header.Get("Idempotent-Replayed"), name)
		require.Equal(t, 1, w.fake.ran(c.done), name)
	}
	checkedBatch(t, w, keys)
}

// checkedBatch has a batch checked and then done: every change is told what it would be told for real, whatever becomes of the others.
func checkedBatch(t *testing.T, w *world, keys *below) {
	t.Helper()
	mutation := func(k, rest string) string { return `{"key":"a-key-of-a-checked-change:` + k + `",` + rest + `}` }
	later := `"kind":"OPEN_CASE","case":{"customerId":"` + laterBuyer + `","subject":"Batch"}`
	batch := body(`{"mutations":[` + strings.Join([]string{
		mutation("0", `"kind":"CREATE_CUSTOMER","customer":{"name":"Batch GmbH"}`),
		mutation("1", `"kind":"UPDATE_CUSTOMER","customerId":"c_check","customer":{"phone":"7"},"fields":["phone"]`),
		mutation("2", `"kind":"PLACE_ORDER","order":{"customerId":"c_check","items":[{"sku":"pump","quantity":"2"}]}`),
		mutation("3", `"kind":"CANCEL_ORDER","orderId":"check-3"`),
		mutation("4", `"kind":"OPEN_CASE","case":{"customerId":"c_check","subject":"Batch"}`),
		mutation("5", `"kind":"CREATE_CUSTOMER","customer":{"name":"","email":"nobody"}`),
		mutation("6", `"kind":"UPDATE_CUSTOMER","customerId":"`+mastered+`","customer":{"phone":"7"},"fields":["phone"]`),
		mutation("7", `"kind":"UPDATE_CUSTOMER","customerId":"c_check","ifMatch":"\"99\"","customer":{"phone":"7"},"fields":["phone"]`),
		mutation("8", `"kind":"UPDATE_CUSTOMER","customerId":"c_check","customer":{"phone":"7"},"fields":["phone","nope"]`),
		mutation("9", `"kind":"PLACE_ORDER","order":{"customerId":"c_check","items":[{"sku":"unknown","quantity":"2"}]}`),
		mutation("10", `"kind":"CANCEL_ORDER","orderId":"check-2"`),
		mutation("11", `"kind":"PAINT_IT_BLACK"`),
		`{"key":"short","kind":"CREATE_CUSTOMER","customer":{"name":"Batch GmbH"}}`,
		mutation("13", later),
		mutation("14", later),
	}, ",") + `]}`)
	results := func(a answer) (all []map[string]any) {
		for _, r := range a.json(t, 207)["results"].([]any) {
			all = append(all, r.(map[string]any))
		}
		require.Len(t, all, 15)
		return all
	}
	placed, claimed := w.fake.placed("c_check"), keys.begun.Load()
	checked := w.do(t, "POST", "/v1/sync:apply?validateOnly=true", batch)
	told := results(checked)
	for i := range 5 {
		require.EqualValues(t, 200, told[i]["status"], checked.body)
		require.Empty(t, told[i]["location"])
	}
	require.Equal(t, "Batch GmbH", told[0]["customer"].(map[string]any)["name"])
	require.Equal(t, "7", told[1]["customer"].(map[string]any)["phone"])
	require.Equal(t, map[string]any{"amount": "21.00", "currency": "EUR"}, told[2]["order"].(map[string]any)["total"])
	require.Equal(t, "CANCELLED", told[3]["order"].(map[string]any)["state"])
	require.Equal(t, "Batch", told[4]["case"].(map[string]any)["subject"])
	require.Equal(t, "CUSTOMER_PENDING", told[14]["problem"].(map[string]any)["code"], "each is checked as if it came alone")
	foreign := w.do(t, "POST", "/v1/sync:apply?validateOnly=true", batch, w.owner(t, "check-2", "c_theirs"))
	for i, status := range []int{403, 404, 404, 404, 404} {
		require.EqualValues(t, status, results(foreign)[i]["status"], foreign.body)
	}
	w.do(t, "POST", "/v1/sync:apply?validateOnly=true", body(`{"mutations":[]}`)).problem(t, 400, "VALIDATION_FAILED")
	w.do(t, "POST", "/v1/sync:apply?validateOnly=true", batch, with("Authorization", "Bearer "+w.token(t, "user-1", "customers.read"))).problem(t, 403, "INSUFFICIENT_SCOPE")

	require.Equal(t, claimed, keys.begun.Load(), "no key is claimed, so nothing that needs one was asked for")
	require.Zero(t, w.fake.ran("Batch GmbH")+w.fake.ran("cancel check-3")+w.fake.ran("case Batch"))
	require.Equal(t, placed, w.fake.placed("c_check"))
	require.Equal(t, "1", w.do(t, "GET", "/v1/customers/c_check?summary=true").json(t, 200)["phone"])
	require.Equal(t, "RECEIVED", w.do(t, "GET", "/v1/orders/check-3").json(t, 200)["state"])

	applied := w.do(t, "POST", "/v1/sync:apply", batch)
	done := results(applied)
	for i, status := range []int{201, 200, 201, 200, 201} {
		require.EqualValues(t, status, done[i]["status"], applied.body)
	}
	for i := 5; i < 14; i++ {
		require.Equal(t, done[i], told[i], "what is refused is refused alike")
		require.NotNil(t, told[i]["problem"], i)
	}
	require.Equal(t, "PREDECESSOR_FAILED", done[14]["problem"].(map[string]any)["code"])
	require.Equal(t, []int{1, 1, 1}, []int{w.fake.ran("Batch GmbH"), w.fake.ran("cancel check-3"), w.fake.ran("case Batch")})
	require.Equal(t, placed+1, w.fake.placed("c_check"))
	require.Equal(t, "7", w.fake.get("c_check").GetPhone())
}
