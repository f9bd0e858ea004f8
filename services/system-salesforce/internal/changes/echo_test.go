package changes

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

const integrationUser = "005000000000001AAA"

func TestEcho(t *testing.T) {
	t.Parallel()
	now := started
	memory := NewEcho(func() time.Time { return now })
	memory.Wrote(acme, rest.Record{"Name": "x", "BillingCity": "y", "Owner.Key__c": "1", "Site__r.Key__c": "2", "LastName": "z"})
	ours := pubsub.Event{User: integrationUser, Origin: "com/salesforce/api/rest/66.0", ChangeType: "UPDATE", Changed: []string{"Name", "LastModifiedDate"}}
	change := func(f func(*pubsub.Event)) pubsub.Event {
		e := ours
		f(&e)
		return e
	}
	for name, c := range map[string]struct {
		event pubsub.Event
		id    string
		want  bool
	}{
		"what we wrote":   {ours, acme, true},
		"by the short id": {ours, acme[:15], true},
		"a new record":    {change(func(e *pubsub.Event) { e.ChangeType = "CREATE" }), acme, true},
		"parts of compounds and references": {change(func(e *pubsub.Event) {
			e.Changed = []string{"BillingAddress.City", "OwnerId", "Site__c", "Name.LastName"}
		}), acme, true},
		"a field more than we wrote":      {change(func(e *pubsub.Event) { e.Changed = []string{"Name", "Phone"} }), acme, false},
		"an event that says nothing":      {change(func(e *pubsub.Event) { e.Changed = nil }), acme, false},
		"another user":                    {change(func(e *pubsub.Event) { e.User = "005000000000002AAA" }), acme, false},
		"another client of the same user": {change(func(e *pubsub.Event) { e.Origin += ";client=dataloader" }), acme, false},
		"another record":                  {ours, bolt, false},
		"a deletion":                      {change(func(e *pubsub.Event) { e.ChangeType = "DELETE" }), acme, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, memory.caused(c.event, c.id, integrationUser))
		})
	}
	t.Run("a write is forgotten after a while", func(t *testing.T) {
		now = now.Add(echoFor + time.Second)
		require.False(t, memory.caused(ours, acme, integrationUser))
		memory.Wrote(bolt, rest.Record{"Name": "x"})
		require.Len(t, memory.writes, 1)
	})
	t.Run("memory is bounded", func(t *testing.T) {
		for i := range echoMax + 500 {
			memory.Wrote(fmt.Sprintf("001%015d", i), rest.Record{"Name": "x"})
		}
		require.LessOrEqual(t, len(memory.writes), echoMax)
		require.LessOrEqual(t, len(memory.order), echoMax)
	})
	t.Run("no memory knows nothing", func(t *testing.T) {
		var none *Echo
		none.Wrote(acme, nil)
		require.False(t, none.caused(ours, acme, integrationUser))
	})
}

func TestEcho_CollectionsThatLoseTheClient(t *testing.T) {
	t.Parallel()
	memory := NewEcho(time.Now)
	x := begin(t, settings{
		sandbox: func(c *sandbox.Config) { c.IgnoreCollectionsClient = true },
		watcher: func(o *Options) { o.Echo = memory }, wrote: memory.Wrote,
	})
	c := newConsumer()
	require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
	results, err := x.crm.Upsert(t.Context(), "Account", "Selfsame_Id__c", []rest.Record{{"Selfsame_Id__c": "S-1", "Name": "Ours"}})
	require.NoError(t, err)
	x.rename("theirs", results[0].ID)
	var own []bool
	err = x.watcher.Watch(x.soon(), c.token, nil, func(r *salesforcev1.WatchChangesResponse) error {
		for _, ch := range r.GetChanges() {
			own = append(own, ch.GetOwnWrite())
		}
		if len(own) == 2 {
			return errStop
		}
		return nil
	})
	require.ErrorIs(t, err, errStop)
	// Both writes are of the same user and the same field, and neither names its client: the hint errs towards us, which the
	// comparison of values above the service corrects.
	require.Equal(t, []bool{true, true}, own)
	x.do("PATCH", "/services/data/v66.0/sobjects/Account/"+results[0].ID, map[string]any{"Phone": "1"}, nil)
	require.ErrorIs(t, x.watcher.Watch(x.soon(), c.token, nil, func(r *salesforcev1.WatchChangesResponse) error {
		for _, ch := range r.GetChanges() {
			if len(ch.GetChangedFields()) == 1 && ch.GetChangedFields()[0] == "phone" {
				require.False(t, ch.GetOwnWrite(), "a field that we did not write is not ours")
				return errStop
			}
		}
		return nil
	}), errStop)
}
