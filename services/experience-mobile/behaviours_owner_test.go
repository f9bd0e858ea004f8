package experiencemobile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func ownership(t *testing.T, w *world) {
	w.fake.add("c_mine")
	w.fake.add("c_mine_too")
	w.fake.add("c_theirs")
	w.fake.newOrder("c_mine", "order-mine")
	w.fake.newOrder("c_theirs", "order-theirs")
	theirCase := w.do(t, "POST", "/v1/cases", body(`{"customerId":"c_theirs","subject":"Theirs"}`), key("own-1")).json(t, 201)["caseId"].(string)
	mine := w.owner(t, "owner-1", "c_mine", "c_mine_too")

	require.Equal(t, 200, w.do(t, "GET", "/v1/customers/c_mine", mine).status)
	require.Equal(t, 200, w.do(t, "GET", "/v1/orders/order-mine", mine).status)
	require.Equal(t, 200, w.do(t, "PATCH", "/v1/customers/c_mine", mine, body(`{"phone":"5"}`), key("own-2")).status)
	// Every path: somebody else's record is told exactly as one that does not exist.
	theirs := map[string]string{"c_theirs": "c_none", "order-theirs": "order-none", theirCase: "500000000000000zzz"}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/customers/c_theirs", ""},
		{"GET", "/v1/customers/c_theirs?summary=true", ""},
		{"PATCH", "/v1/customers/c_theirs", `{"phone":"6"}`},
		{"GET", "/v1/customers/c_theirs/orders", ""},
		{"GET", "/v1/customers/c_theirs/contacts", ""},
		{"GET", "/v1/customers/c_theirs/cases", ""},
		{"GET", "/v1/customers/c_theirs/orders/order-theirs", ""},
		{"GET", "/v1/orders/order-theirs", ""},
		{"GET", "/v1/orders/order-theirs/events", ""},
		{"POST", "/v1/orders/order-theirs/cancellation", `{}`},
		{"POST", "/v1/orders", `{"customerId":"c_theirs","items":[{"sku":"pump","quantity":"1"}]}`},
		{"POST", "/v1/orders?validateOnly=true", `{"customerId":"c_theirs","items":[{"sku":"pump","quantity":"1"}]}`},
		{"PATCH", "/v1/customers/c_theirs?validateOnly=true", `{"phone":"6"}`},
		{"POST", "/v1/cases", `{"customerId":"c_theirs","subject":"x"}`},
		{"GET", "/v1/cases/" + theirCase, ""},
	} {
		ask := func(rename bool) problemBody {
			path, text := c.path, c.body
			if rename {
				for theirs, none := range theirs {
					path, text = strings.ReplaceAll(path, theirs, none), strings.ReplaceAll(text, theirs, none)
				}
			}
			options := []option{mine, key("own-" + c.method + path)}
			if strings.HasSuffix(path, "/events") {
				options = append(options, with("Accept", "text/event-stream"))
			}
			if text != "" {
				options = append(options, body(text))
			}
			a := w.send(t, c.method, path, options...)
			return a.problem(t, 404, a.code())
		}
		their, none := ask(false), ask(true)
		require.Equal(t, none.Code, their.Code, c.path)
		require.Equal(t, none.Detail, their.Detail, c.path)
	}
	require.Equal(t, "1", w.fake.get("c_theirs").GetPhone())
	// Lists and pulls hold nothing of others.
	list := w.do(t, "GET", "/v1/customers?pageSize=1", mine).json(t, 200)
	require.Equal(t, "c_mine", list["customers"].([]any)[0].(map[string]any)["customerId"])
	token := list["nextPageToken"].(string)
	rest := w.do(t, "GET", "/v1/customers?pageToken="+token, mine).json(t, 200)
	require.Len(t, rest["customers"], 1)
	require.Empty(t, rest["nextPageToken"])
	pulled, sync := w.pull(t, "", mine)
	require.Equal(t, map[string]bool{"c_mine": false, "c_mine_too": false}, pulled)
	// Tokens authorize nothing: another's is of no use, and one's own shows what one sees now.
	other := w.owner(t, "owner-2", "c_theirs")
	w.do(t, "GET", "/v1/customers?pageToken="+token, other).problem(t, 400, "PAGE_TOKEN_INVALID")
	w.do(t, "GET", "/v1/sync/customers?syncToken="+sync, other).problem(t, 410, "SYNC_TOKEN_EXPIRED")
	w.do(t, "GET", "/v1/sync/customers?syncToken="+sync, w.owner(t, "owner-1", "c_mine", "c_mine_too", "c_theirs")).problem(t, 410, "SYNC_TOKEN_EXPIRED")
	_, everything := w.pull(t, "")
	w.do(t, "GET", "/v1/sync/customers?syncToken="+everything, other).problem(t, 410, "SYNC_TOKEN_EXPIRED")
	stream := w.open(t, "order-theirs")
	id := stream.next(t).id
	w.send(t, "GET", "/v1/orders/order-theirs/events", mine, with("Accept", "text/event-stream"), with("Last-Event-ID", id)).problem(t, 404, "ORDER_UNKNOWN")
	// In a batch, too.
	batch := w.do(t, "POST", "/v1/sync:apply", mine, body(`{"mutations":[{"key":"a-key-of-somebody-else","kind":"UPDATE_CUSTOMER","customerId":"c_theirs","customer":{"phone":"6"},"fields":["phone"]}]}`)).json(t, 207)
	require.EqualValues(t, 404, batch["results"].([]any)[0].(map[string]any)["status"])
	w.do(t, "POST", "/v1/customers", mine, body(`{"name":"Owner GmbH"}`), key("own-9")).problem(t, 403, "FORBIDDEN")
	// A claim of another shape is no claim of nothing.
	for _, odd := range []any{"c_mine", map[string]any{"c_mine": true}, []any{1}, []any{"a,b"}, []any{""}} {
		raw, err := w.idp.TokenWith("owner-3", readAll, time.Hour, map[string]any{"customers": odd})
		require.NoError(t, err)
		w.do(t, "GET", "/v1/customers/c_mine", with("Authorization", "Bearer "+raw)).problem(t, 401, "TOKEN_INVALID")
	}
}

// owner is a user who sees only these customers.
func (w *world) owner(t *testing.T, subject string, customers ...string) option {
	t.Helper()
	token, err := w.idp.TokenWith(subject, readAll, time.Hour, map[string]any{"customers": customers})
	require.NoError(t, err)
	return func(r *request) { r.header.Set("Authorization", "Bearer "+token) }
}
