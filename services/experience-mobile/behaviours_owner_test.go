package experiencemobile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/page"
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
		{"POST", "/v1/orders/order-theirs/cancellation?validateOnly=true", `{}`},
		{"POST", "/v1/cases", `{"customerId":"c_theirs","subject":"x"}`},
		{"POST", "/v1/cases?validateOnly=true", `{"customerId":"c_theirs","subject":"x"}`},
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
	mergedOwnership(t)
}

// mergedOwnership has customers merged: a token that names one of their ids sees the customer on every path, by any of its ids, and
// nobody else does.
func mergedOwnership(t *testing.T) {
	t.Helper()
	w := setup(t)
	for _, id := range []string{"c_old", "c_new", "c_theirs", "c_theirs_old"} {
		w.fake.add(id)
	}
	w.fake.newOrder("c_old", "order-old")
	w.fake.newOrder("c_new", "order-new")
	opened := w.do(t, "POST", "/v1/cases", body(`{"customerId":"c_old","subject":"Ours"}`), key("merged-0")).json(t, 201)["caseId"].(string)
	old, renewed, both := w.owner(t, "merged-1", "c_old"), w.owner(t, "merged-2", "c_new"), w.owner(t, "merged-3", "c_new", "c_old")
	stranger := w.owner(t, "merged-4", "c_theirs", "c_theirs_old")
	before := forgedToken(t, page.Hash("sync", "merged-1", "restricted", "c_old"), position{T: time.Now().Unix()})
	w.fake.merge("c_old", "c_new")
	w.fake.merge("c_theirs_old", "c_theirs")
	for i, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/customers/ID", "", 200},
		{"GET", "/v1/customers/ID?summary=true", "", 200},
		{"PATCH", "/v1/customers/ID", `{"phone":"7"}`, 200},
		{"PATCH", "/v1/customers/ID?validateOnly=true", `{"phone":"8"}`, 200},
		{"GET", "/v1/customers/ID/orders", "", 200},
		{"GET", "/v1/customers/ID/contacts", "", 200},
		{"GET", "/v1/customers/ID/cases", "", 200},
		{"GET", "/v1/customers/ID/orders/order-old", "", 200},
		{"GET", "/v1/customers/ID/orders/order-new", "", 200},
		{"GET", "/v1/orders/order-old", "", 200},
		{"GET", "/v1/orders/order-new", "", 200},
		{"GET", "/v1/cases/" + opened, "", 200},
		{"POST", "/v1/cases", `{"customerId":"ID","subject":"x"}`, 201},
		{"POST", "/v1/orders", `{"customerId":"ID","items":[{"sku":"pump","quantity":"1"}]}`, 201},
		{"POST", "/v1/orders?validateOnly=true", `{"customerId":"ID","items":[{"sku":"pump","quantity":"1"}]}`, 200},
		{"POST", "/v1/cases?validateOnly=true", `{"customerId":"ID","subject":"x"}`, 200},
		{"POST", "/v1/orders/order-old/cancellation?validateOnly=true", `{"customerId":"ID"}`, 200},
		{"POST", "/v1/orders/order-old/cancellation", `{"customerId":"ID"}`, 200},
		{"POST", "/v1/sync:apply", `{"mutations":[{"key":"a-key-of-a-merged-one:KEY","kind":"UPDATE_CUSTOMER","customerId":"ID","customer":{"phone":"9"},"fields":["phone"]}]}`, 207},
	} {
		for name, who := range map[string]option{"old": old, "new": renewed, "both": both, "all": func(*request) {}, "stranger": stranger} {
			for _, id := range []string{"c_old", "c_new"} {
				k := fmt.Sprintf("merged-%d-%s-%s", i, name, id)
				fill := strings.NewReplacer("ID", id, "KEY", k)
				options := []option{who, key(k)}
				if c.body != "" {
					options = append(options, body(fill.Replace(c.body)))
				}
				a := w.send(t, c.method, fill.Replace(c.path), options...)
				switch {
				case c.status == 207:
					result := a.json(t, 207)["results"].([]any)[0].(map[string]any)
					require.EqualValues(t, map[bool]int{true: 404, false: 200}[name == "stranger"], result["status"], a.body)
				case name == "stranger":
					a.problem(t, 404, a.code())
				default:
					require.Equal(t, c.status, a.status, "%s %s %s: %s", name, c.method, c.path, a.body)
				}
			}
		}
	}
	for _, who := range []option{old, renewed, both} {
		list := w.do(t, "GET", "/v1/customers?pageSize=1", who).json(t, 200)
		require.Len(t, list["customers"], 1)
		require.Equal(t, "c_new", list["customers"].([]any)[0].(map[string]any)["customerId"])
		require.Empty(t, list["nextPageToken"], "one customer is listed once")
	}
	stream := w.open(t, "order-old", old)
	require.Contains(t, stream.next(t).data, "order-old")
	w.do(t, "GET", "/v1/sync/customers?syncToken="+before, old).problem(t, 410, "SYNC_TOKEN_EXPIRED")
	pulled, later := w.pull(t, "", old)
	require.Equal(t, map[string]bool{"c_old": true, "c_new": false}, pulled)
	w.do(t, "PATCH", "/v1/customers/c_new", body(`{"phone":"11"}`), key("merged-5")).json(t, 200)
	pulled, _ = w.pull(t, "&syncToken="+later, old)
	require.Equal(t, map[string]bool{"c_new": false}, pulled, "changes go on under the id that remains")
}

// TestPullOfOne has a caller who sees one customer of many: the pull is as long as what they see, and they learn nothing of how many
// others there are. A process-customer of the release before lists everybody's; then the edge leaves out the others.
func TestPullOfOne(t *testing.T) {
	t.Parallel()
	for _, older := range []bool{false, true} {
		w := setup(t)
		w.fake.mu.Lock()
		w.fake.older = older
		w.fake.mu.Unlock()
		for i := range 50 {
			w.fake.add(fmt.Sprintf("c_%02d", i))
		}
		for _, who := range []struct {
			customers []string
			seen      int
		}{{[]string{"c_30"}, 1}, {[]string{}, 0}, {[]string{"c_none"}, 0}} {
			mine := w.owner(t, "one-"+strings.Join(who.customers, "-"), who.customers...)
			calls := len(w.fake.metadata())
			all, token := w.pull(t, "", mine)
			require.Len(t, all, who.seen)
			if !older {
				require.LessOrEqual(t, len(w.fake.metadata())-calls, 2, "one page, and where the id leads")
			}
			w.fake.add("c_30")
			w.fake.add("c_31")
			later, _ := w.pull(t, "&syncToken="+token, mine)
			require.Len(t, later, who.seen)
		}
	}
}

// owner is a user who sees only these customers.
func (w *world) owner(t *testing.T, subject string, customers ...string) option {
	t.Helper()
	token, err := w.idp.TokenWith(subject, readAll, time.Hour, map[string]any{"customers": customers})
	require.NoError(t, err)
	return func(r *request) { r.header.Set("Authorization", "Bearer "+token) }
}
