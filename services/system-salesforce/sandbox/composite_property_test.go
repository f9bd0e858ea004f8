package sandbox_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// snapshot is everything that a client can see of the accounts and contacts,
// the recycle bin and the number of events.
func (o *org) snapshot() string {
	o.t.Helper()
	var b strings.Builder
	for _, q := range []string{
		"SELECT Id, IsDeleted, Name, Phone, Selfsame_Id__c, OwnerId, SystemModstamp FROM Account ORDER BY Id",
		"SELECT Id, IsDeleted, LastName, AccountId, SystemModstamp FROM Contact ORDER BY Id",
	} {
		b.WriteString(o.want(200, "GET", v62+"/queryAll?q="+url.QueryEscape(q), "").text)
	}
	b.WriteString(o.want(200, "GET", "/__sandbox__/bin", "").text)
	fmt.Fprint(&b, o.want(200, "GET", "/__sandbox__/stats", "").object()["events_published"])
	return b.String()
}

// randomParts makes sub-requests that mostly work on the given accounts.
func randomParts(rng *rand.Rand, ids []string) []map[string]any {
	parts := make([]map[string]any, 1+rng.IntN(8))
	for i := range parts {
		ref, id := fmt.Sprint("r", i), ids[rng.IntN(len(ids))]
		switch rng.IntN(8) {
		case 0:
			parts[i] = sub(ref, "POST", "/sobjects/Account", record("", "Name", "New", "Selfsame_Id__c", fmt.Sprint("k", rng.IntN(20))))
		case 1:
			parts[i] = sub(ref, "PATCH", "/sobjects/Account/"+id, record("", "Phone", fmt.Sprint(rng.IntN(3))))
		case 2:
			parts[i] = sub(ref, "DELETE", "/sobjects/Account/"+id, nil)
		case 3:
			parts[i] = sub(ref, "PATCH", fmt.Sprint("/sobjects/Account/Selfsame_Id__c/k", rng.IntN(20)), record("", "Name", "Up"))
		case 4:
			parts[i] = sub(ref, "POST", "/sobjects/Contact", record("", "LastName", "C", "AccountId", id))
		case 5:
			parts[i] = sub(ref, "POST", "/composite/sobjects", map[string]any{
				"allOrNone": rng.IntN(2) == 0,
				"records":   []any{record("Account", "Name", "X"), record("Contact", "LastName", "Y", "AccountId", id)},
			})
		case 6:
			parts[i] = sub(ref, "PATCH", "/composite/sobjects/Account/Selfsame_Id__c", map[string]any{
				"records": []any{record("Account", "Name", "Z", "Selfsame_Id__c", fmt.Sprint("k", rng.IntN(20))), record("Account", "Selfsame_Id__c", "never")},
			})
		case 7:
			parts[i] = sub(ref, "GET", "/query?q=SELECT+Id+FROM+Account+LIMIT+1", nil)
		}
	}
	return parts
}

// Whatever a composite request does before a part fails, nothing of it can be
// seen afterwards, and if none fails, all of it can.
func TestNothingRemainsOfAFailedComposite(t *testing.T) {
	t.Parallel()
	o := setup(t)
	rng := rand.New(rand.NewPCG(3, 9))
	kept, undone := 0, 0
	for round := range 60 {
		ids := []string{o.account(`{"Name":"A"}`), o.account(`{"Name":"B"}`), o.account(`{"Name":"C"}`)}
		before := o.snapshot()
		parts := randomParts(rng, ids)
		statuses, results := o.composite(bundle(true, parts...))
		failed := false
		for i, status := range statuses {
			if rows, ok := results[i]["body"].([]any); ok && status == 200 {
				for _, r := range rows {
					failed = failed || r.(map[string]any)["success"] == false
				}
			}
			failed = failed || status >= 300
		}
		if failed {
			undone++
			require.Equal(t, before, o.snapshot(), "round %d: %s", round, mustJSON(parts))
			continue
		}
		kept++
		reads := true
		for _, p := range parts {
			reads = reads && p["method"] == "GET"
		}
		if !reads {
			require.NotEqual(t, before, o.snapshot(), "round %d", round)
		}
	}
	require.Greater(t, kept, 5)
	require.Greater(t, undone, 5)
}

func TestNobodySeesHalfAComposite(t *testing.T) {
	t.Parallel()
	o := setup(t)
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	counts := make(chan int, 1000)
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			r, err := o.try("GET", v62+"/query?q="+url.QueryEscape("SELECT COUNT() FROM Account"), "")
			if err != nil {
				return
			}
			select {
			case counts <- int(r.object()["totalSize"].(float64)):
			default:
			}
		}
	})
	for w := range 3 {
		writers.Go(func() {
			for i := range 10 {
				parts := []map[string]any{sub("a", "POST", "/sobjects/Account", record("", "Name", "A")), sub("b", "POST", "/sobjects/Account", record("", "Name", "B"))}
				if (w+i)%2 == 0 {
					parts = append(parts, sub("c", "POST", "/sobjects/Account", record("")))
				}
				_, _ = o.try("POST", v62+"/composite", bundle(true, parts...))
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	close(counts)
	for n := range counts {
		require.Zero(t, n%2, "a reader saw %d accounts", n)
	}
	require.Len(t, o.names("SELECT Name FROM Account"), 30)
}

func TestALockedRowUndoesTheComposite(t *testing.T) {
	t.Parallel()
	o := setup(t)
	id := o.account(`{"Name":"A"}`)
	before := o.snapshot()
	o.fault(`{"lock_row":{"count":1}}`)
	statuses, parts := o.composite(bundle(true, sub("p", "PATCH", "/sobjects/Account/"+id, record("", "Name", "B")), sub("n", "POST", "/sobjects/Account", record("", "Name", "C"))))
	require.Equal(t, []int{400, 400}, statuses)
	require.Equal(t, "UNABLE_TO_LOCK_ROW", refusal(parts[0]))
	require.Equal(t, "PROCESSING_HALTED", refusal(parts[1]))
	require.Equal(t, before, o.snapshot())
}

func TestALostAnswerOfACompositeHasCommitted(t *testing.T) {
	t.Parallel()
	o := setup(t)
	o.fault(`{"lose_ack":{"path_prefix":"/services/data/v62.0/composite","count":1}}`)
	_, err := o.try("POST", v62+"/composite", bundle(true, sub("a", "POST", "/sobjects/Account", record("", "Name", "A"))))
	require.Error(t, err)
	require.Equal(t, []string{"A"}, o.names("SELECT Name FROM Account"))
}
