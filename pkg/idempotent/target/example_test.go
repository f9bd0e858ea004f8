package target_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/target"
)

// Incident is a record of a system that knows no keys, but keeps a reference and can be searched by it.
type Incident struct{ Number, Subject string }

// helpDesk is an adapter to it.
type helpDesk struct{ byReference map[string]Incident }

func (s *helpDesk) LookUp(_ context.Context, key, _ string) (Incident, bool, error) {
	t, ok := s.byReference[key]
	return t, ok, nil
}

func (s *helpDesk) Create(_ context.Context, key, subject string) (Incident, error) {
	t := Incident{fmt.Sprint("T-", len(s.byReference)+1), subject}
	s.byReference[key] = t
	return t, nil
}

// An adapter to a system that only has a search: claim, look up, create, record.
func ExampleGuard() {
	desk := &helpDesk{byReference: map[string]Incident{}}
	open := target.Guard[string, Incident]{Store: idempotent.NewMemoryStore(nil), Name: "desk.ticket", Target: desk, Settle: 5 * time.Second}
	key := idempotent.ChildOf("the caller's key", "desk.ticket.create", "")
	for range 2 { // the second is a retry, or another replica
		t, err := open.Do(context.Background(), key, "No heating")
		fmt.Println(t.Number, err)
	}
	// The record of the claim is lost: the ticket is found by its reference.
	open.Store = idempotent.NewMemoryStore(nil)
	t, err := open.Do(context.Background(), key, "No heating")
	fmt.Println(t.Number, err, len(desk.byReference))
	// Output:
	// T-1 <nil>
	// T-1 <nil>
	// T-1 <nil> 1
}

// An adapter to a system that takes a key in a header.
func ExampleHeader() {
	charges := map[string]bool{}
	provider := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		charges[r.Header.Get("Idempotency-Key")] = true
	}))
	defer provider.Close()
	charge := target.Header{Client: provider.Client(), Dialect: target.Stripe()}
	key := idempotent.ChildOf("the caller's key", "payment.charge", "")
	wanted := time.Now() // stored with the intent: a retry brings the same
	for range 2 {
		_, err := charge.Do(context.Background(), key, target.Request{
			Method: http.MethodPost, URL: provider.URL + "/v1/charges", Body: []byte("amount=100"), FirstSent: wanted,
		})
		fmt.Println(err)
	}
	fmt.Println(len(charges), "key")
	// Output:
	// <nil>
	// <nil>
	// 1 key
}

// A summary that a language model writes costs money each time: it is computed once per case and version of the prompt.
func ExampleMemo() {
	asked := 0
	summaries := target.Memo[string]{Store: idempotent.NewMemoryStore(nil), Name: "case-summary/v1"}
	for range 2 {
		text, hit, err := summaries.Get(context.Background(), "case 500", []byte("the whole conversation"), func(context.Context) (string, error) {
			asked++
			return "The customer waits for a part.", nil
		})
		fmt.Println(text, hit, err)
	}
	fmt.Println("asked", asked)
	// Output:
	// The customer waits for a part. false <nil>
	// The customer waits for a part. true <nil>
	// asked 1
}
