package changes

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// away lets things happen while nobody watches, and then more time pass than events are kept.
func away(x *world, before []string) {
	x.advance(time.Hour)
	x.rename("renamed", before[:10]...)
	x.remove("Account", before[10:15]...)
	x.remove("Account", before[15])
	x.undelete(before[15])
	x.accounts(1100, "made ")
	short := x.accounts(3, "short-lived ")
	x.remove("Account", short...)
	x.advance(75 * time.Hour)
	x.rename("late", before[20:23]...)
}

func TestLostPosition(t *testing.T) {
	t.Parallel()
	t.Run("whoever was away longer than events are kept gets every record that changed, and no other", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop) // a stream that begins now
		before := x.accounts(30, "before ")
		x.agree(c)
		x.advance(2 * time.Hour) // what is known is older than the overlap
		require.ErrorIs(t, x.follow(c, x.current(c)), errStop)
		away(x, before)
		calls := x.calls.Load()
		c.ids = map[string]string{}
		x.agree(c)
		calls = x.calls.Load() - calls - 1 // without the test's own look at the truth

		require.Equal(t, salesforcev1.LossCause_LOSS_CAUSE_POSITION, c.lost[0].GetCause())
		require.False(t, c.lost[0].GetDone())
		require.Empty(t, c.rescan)
		require.Len(t, c.ids, 10+5+1+1100+3+3, "changes: renamed, deleted, back again, made, made and deleted, late")
		require.LessOrEqual(t, calls, int64(30), "a range is listed and read in large pieces")
		require.ErrorIs(t, x.follow(c, func() bool { return c.done() == 2 }), errStop, "accounts and contacts are both done")
		x.rename("after", before[0])
		x.agree(c)
		require.Len(t, c.lost, 4, "nothing was read a second time")
	})
	t.Run("a process that dies at any moment loses nothing", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		base := newConsumer()
		require.ErrorIs(t, x.follow(base, func() bool { return true }), errStop)
		before := x.accounts(30, "before ")
		x.agree(base)
		away(x, before)
		want := x.truth("Account", "Name")
		stride := 1
		if testing.Short() {
			stride = 11
		}
		// The watcher dies after each response: before it has stored it, or right after.
		for _, stored := range []bool{false, true} {
			for step := 1; ; step += stride {
				c := &consumer{token: base.token, records: maps.Clone(base.records), ids: map[string]string{}}
				n := 0
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				err := x.watcher.Watch(ctx, c.token, nil, func(r *salesforcev1.WatchChangesResponse) error {
					if n++; n == step {
						if stored {
							c.store(t, r)
						}
						return errDied
					}
					c.store(t, r)
					if c.done() == 2 {
						return errStop
					}
					return nil
				})
				cancel()
				if err == errStop { //nolint:errorlint // the test's own value
					require.Greater(t, step, 5, "the range takes several steps")
					break
				}
				require.ErrorIs(t, err, errDied)
				was := c.received
				require.ErrorIs(t, x.follow(c, func() bool { return c.done() >= 2 && equal(want, c.records) }), errStop)
				require.Empty(t, difference(want, c.records), "died at response %d", step)
				// What was stored is not read again: only the response that was lost comes again.
				require.LessOrEqual(t, c.repeated, maxChanges, "died at response %d of %d", step, was)
			}
		}
	})
	t.Run("calls that fail on the way are made again", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		before := x.accounts(30, "before ")
		x.agree(c)
		away(x, before)
		want := x.truth("Account", "Name")
		x.faults(map[string]any{"rules": []any{
			map[string]any{"effect": "error", "path_contains": "/deleted", "count": 4},
			map[string]any{"effect": "unauthorized", "path_contains": "/updated", "count": 1},
			map[string]any{"effect": "error", "path_contains": "/composite/sobjects/Account", "after": 1, "count": 4},
			map[string]any{"effect": "refuse_stream", "count": 2},
		}})
		require.ErrorIs(t, x.follow(c, func() bool { return equal(want, c.records) }), errStop)
	})
	t.Run("more records than one list holds are listed in narrower windows", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{sandbox: func(c *sandbox.Config) { c.Limits.ReplicationIDs = 400 }})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		for i := range 4 {
			x.advance(7 * time.Hour)
			x.accounts(300, fmt.Sprint("hour ", 7*i, " number "))
		}
		x.advance(73 * time.Hour)
		x.agree(c)
		require.NotEmpty(t, c.lost)
		require.Empty(t, c.rescan)
	})
	t.Run("more records of one moment than any list holds are read in the order of their change", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{sandbox: func(c *sandbox.Config) { c.Limits.ReplicationIDs = 40 }})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		x.advance(time.Hour)
		x.accounts(2300, "same moment ")
		x.advance(73 * time.Hour)
		x.agree(c)
		require.Empty(t, c.rescan)
		require.Len(t, c.ids, 2300)
	})
	t.Run("when deletions of the range are forgotten, the watcher is told to read everything again", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		gone := x.accounts(1, "gone ")
		x.agree(c)
		x.remove("Account", gone...)
		x.advance(16 * 24 * time.Hour)
		x.accounts(1, "later ")
		require.ErrorIs(t, x.follow(c, func() bool { return len(c.rescan) == 2 }), errStop)
		require.ElementsMatch(t, []string{"account", "contact"}, c.rescan)
		require.Zero(t, c.done(), "a range that could not be read is not called done")
		known := x.accounts(1, "new ")
		require.ErrorIs(t, x.follow(c, func() bool { return c.records[known[0]] != "" }), errStop, "the stream goes on")
	})
	t.Run("a position that the org refuses once is mended, one that it always refuses ends the stream", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		x.accounts(3, "a ")
		x.agree(c)
		x.faults(rule("corrupt_replay_id", map[string]any{"topic": accounts, "count": 1}))
		x.accounts(3, "b ")
		x.agree(c)
		require.Len(t, c.lost, 1, "contacts were not touched")
		x.faults(rule("corrupt_replay_id", map[string]any{"topic": accounts, "count": 1000}))
		err := x.follow(c, func() bool { return false })
		require.Equal(t, pubsub.ReasonFeedUnavailable, fault.ReasonOf(err))
		require.Positive(t, fault.RetryAfter(err))
	})
	t.Run("an org that moves ends the stream", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		x.accounts(3, "a ")
		x.agree(c)
		err := x.follow(c, func() bool {
			if c.received%2 == 0 {
				x.faults(map[string]any{"migrate_org": true})
			}
			return false
		})
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
		err = x.follow(c, func() bool { return false })
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err), "and stays ended")
	})
	t.Run("a token without a time cannot say what to read again", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		x.accounts(1, "a ")
		x.agree(c)
		var tok token
		require.NoError(t, decodeToken(c.token, &tok))
		for name, at := range tok.Topics {
			at.Time = 0
			tok.Topics[name] = at
		}
		text, err := tok.encode()
		require.NoError(t, err)
		c.token = text
		x.accounts(1, "b ")
		x.advance(80 * time.Hour)
		x.accounts(1, "c ")
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(x.follow(c, func() bool { return false })))
	})
}

var errDied = fmt.Errorf("died")

// current is true once the position of every lane is from within a minute of now, by the org's clock.
func (x *world) current(c *consumer) func() bool {
	return func() bool {
		var tok token
		require.NoError(x.t, decodeToken(c.token, &tok))
		at := tok.time()
		return at != nil && x.now().Sub(at.AsTime()) < time.Minute
	}
}

func TestOverflow(t *testing.T) {
	t.Parallel()
	overflowing := func(c *sandbox.Config) { c.Events.OverflowAfter, c.Events.SplitRecords = 20, true }
	t.Run("what an overflow left out is read again, once", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{sandbox: overflowing})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		x.accounts(600, "many ")
		x.accounts(1, "after ")
		x.agree(c)
		require.ErrorIs(t, x.follow(c, func() bool { return c.done() > 0 && len(c.lost) > 0 }), errStop)
		for _, r := range c.lost {
			require.Equal(t, salesforcev1.LossCause_LOSS_CAUSE_OVERFLOW, r.GetCause())
			require.Equal(t, "account", r.GetObjectName())
		}
		require.Len(t, c.lost, 2, "three transactions overflowed, one reading served them all")
		require.Empty(t, c.rescan)
	})
	t.Run("a process that dies while it reads an overflow again loses nothing of it, nor what came after it", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{sandbox: overflowing})
		base := newConsumer()
		require.ErrorIs(t, x.follow(base, func() bool { return true }), errStop)
		ids := x.accounts(600, "many ")
		x.rename("after", ids[0])
		x.remove("Account", ids[1])
		want := x.truth("Account", "Name")
		finished := false
		for step := 1; !finished; step++ {
			c := &consumer{token: base.token, records: map[string]string{}, ids: map[string]string{}}
			n := 0
			err := x.watcher.Watch(x.soon(), c.token, nil, func(r *salesforcev1.WatchChangesResponse) error {
				if n++; n == step {
					return errDied
				}
				c.store(t, r)
				if finished = equal(want, c.records); finished {
					return errStop
				}
				return nil
			})
			if !finished {
				require.ErrorIs(t, err, errDied)
				x.agree(c)
			}
		}
	})
	t.Run("a wildcard is an overflow", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		x.faults(rule("drop_event", map[string]any{"object": "Account", "count": 5}))
		x.accounts(5, "unheard of ")
		x.do("POST", "/__sandbox__/events", map[string]any{"object": "Account", "change_type": "GAP_UPDATE", "record_ids": []string{"001*"}}, nil)
		x.agree(c)
		require.NotEmpty(t, c.lost)
	})
	t.Run("what an overflow leaves out right after another one is read too", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		overflow := func() {
			x.do("POST", "/__sandbox__/events", map[string]any{"object": "Account", "change_type": "GAP_OVERFLOW"}, nil)
		}
		drop := func() { x.faults(rule("drop_event", map[string]any{"object": "Account", "probability": 1})) }
		drop()
		id := x.accounts(1, "first ")[0]
		x.faults(map[string]any{})
		overflow()
		want := "first 0"
		err := x.watcher.Watch(x.soon(), c.token, nil, func(r *salesforcev1.WatchChangesResponse) error {
			c.store(t, r)
			if c.records[id] != want {
				return nil
			}
			if want == "third" {
				return errStop
			}
			want = map[string]string{"first 0": "second", "second": "third"}[want]
			drop()
			x.rename(want, id)
			x.faults(map[string]any{})
			overflow()
			return nil
		})
		require.ErrorIs(t, err, errStop)
	})
	t.Run("a gap names its records, and only they are read", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		c := newConsumer()
		require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
		x.faults(rule("gap_event", map[string]any{"object": "Account", "probability": 1}))
		ids := x.accounts(5, "gap ")
		x.remove("Account", ids[4])
		x.agree(c)
		require.Empty(t, c.lost)
	})
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]struct {
		settings settings
		plan     map[string]any
	}{
		"streams that break after each delivery":      {plan: rule("reset_stream", map[string]any{"probability": 0.5})},
		"a stream that stays open and says nothing":   {plan: rule("freeze_stream", map[string]any{"topic": accounts, "count": 1}), settings: settings{watchdog: 400 * time.Millisecond}},
		"keepalives that do not come":                 {plan: rule("lose_keepalive", map[string]any{"count": 8}), settings: settings{watchdog: 400 * time.Millisecond}},
		"events that come three times, out of order":  {plan: map[string]any{"duplicate_events": 3, "reorder_events": true}},
		"replay ids that are no numbers":              {settings: settings{sandbox: func(c *sandbox.Config) { c.Events.HostileReplayIDs = true }}},
		"sessions that end under the stream":          {plan: map[string]any{"expire_sessions": true}},
		"one channel for all objects":                 {settings: settings{watcher: func(o *Options) { o.Channel = "/data/ChangeEvents" }}},
		"one channel for all objects that is refused": {settings: settings{watcher: func(o *Options) { o.Channel = "/data/ChangeEvents" }}, plan: rule("corrupt_replay_id", map[string]any{"count": 1})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := begin(t, s.settings)
			c := newConsumer()
			require.ErrorIs(t, x.follow(c, func() bool { return true }), errStop)
			ids := x.accounts(40, "first ")
			x.agree(c)
			if s.plan != nil {
				x.faults(s.plan)
			}
			for i := range 5 {
				x.rename(fmt.Sprint("round ", i), ids[i*5:i*5+10]...)
				x.create("Contact", 2, func(int) map[string]any { return map[string]any{"LastName": fmt.Sprint("contact ", i)} })
			}
			x.remove("Account", ids[39])
			people := x.truth("Contact", "LastName")
			want := x.truth("Account", "Name")
			maps.Copy(want, people)
			require.ErrorIs(t, x.follow(c, func() bool { return equal(want, c.records) }), errStop)
			require.Empty(t, difference(want, c.records))
			require.Empty(t, c.rescan)
		})
	}
}

const gadgets = `
version: 1
objects:
  gadget:
    sobject: Gadget__c
    fields:
      external_id: {field: Key__c}
      name: {field: Name}
      price: {field: Price__c}
`

func TestObjects(t *testing.T) {
	t.Parallel()
	model := `{"objects":[{"name":"Gadget__c","fields":[{"name":"Key__c","type":"string","length":40,"externalId":true,"unique":true},{"name":"Name","type":"string","length":80},{"name":"Price__c","type":"currency","precision":18,"scale":2}]}]}`
	for name, channel := range map[string]string{"by their own channels": "", "by one channel": "/data/ChangeEvents"} {
		t.Run("custom objects are watched "+name+", and read again like others", func(t *testing.T) {
			t.Parallel()
			x := begin(t, settings{sandbox: schemaFile(t, model), mapping: gadgets, watcher: func(o *Options) { o.Channel = channel }})
			c := newConsumer()
			objects := []string{"gadget", "account"}
			require.ErrorIs(t, x.follow(c, func() bool { return true }, objects...), errStop)
			x.accounts(2, "a ")
			made := x.create("Gadget__c", 2, func(i int) map[string]any { return map[string]any{"Name": fmt.Sprint("gadget ", i), "Price__c": 12.5} })
			var price string
			require.ErrorIs(t, x.follow(c, func() bool { return len(c.records) == 4 }, objects...), errStop)
			x.advance(80 * time.Hour)
			x.do("PATCH", "/services/data/v66.0/sobjects/Gadget__c/"+made[0], map[string]any{"Price__c": 99.9}, nil)
			x.remove("Gadget__c", made[1])
			err := x.watcher.Watch(x.soon(), c.token, objects, func(r *salesforcev1.WatchChangesResponse) error {
				for _, ch := range r.GetChanges() {
					if ch.GetRecordId() == made[0] {
						require.Equal(t, salesforcev1.Object_OBJECT_OTHER, ch.GetObject())
						price = ch.GetRecord().GetFields()["price"].GetNumber()
					}
				}
				c.store(t, r)
				if c.done() == 2 {
					return errStop
				}
				return nil
			})
			require.ErrorIs(t, err, errStop)
			require.Equal(t, "99.9", strings.TrimRight(price, "0"))
			require.NotContains(t, c.records, made[1])
		})
	}
}
