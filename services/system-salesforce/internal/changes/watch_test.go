package changes

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	accounts = "/data/AccountChangeEvent"
	contacts = "/data/ContactChangeEvent"
	acme     = "001000000000001AAA"
	bolt     = "001000000000002AAA"
	ada      = "003000000000001AAA"
)

// org is the feed, the records and the session of one org.
type org struct {
	id      string
	batches map[string][]pubsub.Batch // by topic, handed over in order; then the stream idles
	end     error                     // how idle streams end; nil: with the context
	pause   time.Duration             // between batches

	mu    sync.Mutex
	from  map[string]pubsub.Position
	rows  map[string]rest.Record
	errs  []error // of the next retrieves
	calls [][]string

	tips    int
	updated []string
	deleted []rest.Deletion
	listErr func(from, until time.Time) error
	listed  []string // periods that were listed
	queries []string
	bin     map[string]bool // what the org says about deletion, by id
	asked   [][]string      // for deletion
	askErr  error
	appear  rest.Record // becomes readable when deletion is asked for
	masters map[string]string
	merged  [][]string // ids that were asked for their masters
}

func (o *org) Masters(_ context.Context, _ string, ids []string) (map[string]string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.merged = append(o.merged, slices.Clone(ids))
	out := map[string]string{}
	for _, id := range ids {
		if m := o.masters[id]; m != "" {
			out[id] = m
		}
	}
	return out, o.askErr
}

func (o *org) IsDeleted(_ context.Context, _ string, ids []string) (map[string]bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, slices.Clone(ids))
	out := map[string]bool{}
	for _, id := range ids {
		if is, ok := o.bin[id]; ok {
			out[id] = is
		}
	}
	if o.appear != nil {
		id := o.appear["Id"].(string)
		o.rows[id], out[id] = o.appear, false
	}
	return out, o.askErr
}

func (o *org) Tip(context.Context, string) (pubsub.Batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tips++
	return pubsub.Batch{Position: pubsub.Position{Replay: []byte(fmt.Sprint("tip", o.tips))}, Org: o.id}, nil
}

func (o *org) list(what string, from, until time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listErr != nil {
		if err := o.listErr(from, until); err != nil {
			return err
		}
	}
	o.listed = append(o.listed, fmt.Sprintf("%s %s+%s", what, from.UTC().Format("02T15:04"), until.Sub(from)))
	return nil
}

func (o *org) Updated(_ context.Context, object string, from, until time.Time) ([]string, error) {
	if err := o.list("updated", from, until); err != nil || object != "Account" {
		return nil, err
	}
	return slices.Clone(o.updated), nil
}

func (o *org) Deleted(_ context.Context, object string, from, until time.Time) (rest.Deletions, error) {
	if err := o.list("deleted", from, until); err != nil || object != "Account" {
		return rest.Deletions{}, err
	}
	return rest.Deletions{Records: slices.Clone(o.deleted), Earliest: started.AddDate(0, 0, -15)}, nil
}

func (o *org) Query(_ context.Context, soql string) ([]rest.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queries = append(o.queries, soql)
	if strings.Contains(soql, "Id > ") || !strings.Contains(soql, "FROM Account") {
		return nil, nil
	}
	return []rest.Record{o.rows[acme], o.rows[bolt]}, nil
}

func (o *org) ServerTime() time.Time { return started.Add(2 * time.Second) }

func (o *org) ReadClock(context.Context) (time.Time, error) { return o.ServerTime(), nil }

func (o *org) Session(context.Context) (auth.Session, error) {
	return auth.Session{Token: "t", InstanceURL: "https://i", OrgID: o.id, UserID: integrationUser}, nil
}

func (o *org) Subscribe(ctx context.Context, topic string, from pubsub.Position, handle func(context.Context, pubsub.Batch) error) error {
	o.mu.Lock()
	o.from[topic] = from
	o.mu.Unlock()
	for _, b := range o.batches[topic] {
		if err := handle(ctx, b); err != nil {
			return err
		}
		if !pause(ctx, o.pause) {
			return ctx.Err()
		}
	}
	if o.end != nil {
		return o.end
	}
	<-ctx.Done()
	return ctx.Err()
}

func (o *org) Retrieve(_ context.Context, _ string, ids, _ []string) ([]rest.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, slices.Clone(ids))
	if len(o.errs) > 0 {
		err := o.errs[0]
		o.errs = o.errs[1:]
		return nil, err
	}
	out := make([]rest.Record, len(ids))
	for i, id := range ids {
		out[i] = o.rows[id]
	}
	return out, nil
}

func row(id, name string) rest.Record {
	return rest.Record{"Id": id, "Name": name, "LastName": name, "CreatedDate": "2026-01-01T00:00:00.000+0000", "SystemModstamp": "2026-05-01T12:00:00.000+0000"}
}

var started = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func event(changeType, replay string, ids ...string) pubsub.Event {
	entity := "Account"
	if len(ids) > 0 && strings.HasPrefix(ids[0], "003") {
		entity = "Contact"
	}
	return pubsub.Event{ReplayID: []byte(replay), Entity: entity, RecordIDs: ids, ChangeType: changeType, Committed: started.Add(time.Second), Origin: "com/salesforce/api/rest/66.0"}
}

func batch(events ...pubsub.Event) pubsub.Batch {
	return pubsub.Batch{Events: events, Position: pubsub.Position{Replay: events[len(events)-1].ReplayID}}
}

func setup(t *testing.T) (*org, *Watcher) {
	t.Helper()
	o := &org{
		id: "00D000000000062EAA", batches: map[string][]pubsub.Batch{}, from: map[string]pubsub.Position{},
		rows: map[string]rest.Record{acme: row(acme, "Acme"), bolt: row(bolt, "Bolt"), ada: row(ada, "Ada")},
	}
	m, err := mapping.Default()
	require.NoError(t, err)
	w, err := New(Options{
		Feed: o, Records: o, Sessions: o, Mapping: m, ClientName: "selfsame", Meter: noop.NewMeterProvider(),
		Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return o, w
}

var errStop = errors.New("stop")

// run watches until n responses have come, without those that only say that the stream waits.
func run(t *testing.T, w *Watcher, token string, n int) []*salesforcev1.WatchChangesResponse {
	t.Helper()
	var out []*salesforcev1.WatchChangesResponse
	err := w.Watch(t.Context(), token, nil, func(r *salesforcev1.WatchChangesResponse) error {
		if r.GetWaiting() != nil {
			return nil
		}
		out = append(out, r)
		if len(out) == n {
			return errStop
		}
		return nil
	})
	require.ErrorIs(t, err, errStop)
	return out
}

func kinds(r *salesforcev1.WatchChangesResponse) (out []string) {
	for _, c := range r.GetChanges() {
		out = append(out, strings.TrimPrefix(c.GetKind().String(), "CHANGE_KIND_")+" "+c.GetRecordId())
	}
	return out
}

func TestWatch(t *testing.T) {
	t.Parallel()
	t.Run("the first message comes before anything else and can be resumed", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		first := run(t, w, "", 1)[0]
		require.Empty(t, first.GetChanges())
		require.Empty(t, o.from, "nothing was subscribed yet")

		o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", acme))}
		out := run(t, w, first.GetResumeToken(), 2)
		require.Equal(t, first.GetResumeToken(), out[0].GetResumeToken())
		require.Equal(t, []string{"CREATED " + acme}, kinds(out[1]))
		require.Empty(t, o.from[accounts].Replay, "without a replay id the feed is read from its oldest event")
	})
	t.Run("events from before the beginning are left out, those within the clocks' margin are not", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		old, near := event("CREATE", "r1", acme), event("CREATE", "r2", bolt)
		old.Committed, near.Committed = started.Add(-6*time.Minute), started.Add(-4*time.Minute)
		o.batches[accounts] = []pubsub.Batch{batch(old), batch(near)}
		out := run(t, w, "", 3)
		require.Empty(t, out[1].GetChanges())
		require.Equal(t, []string{"CREATED " + bolt}, kinds(out[2]))
		require.Equal(t, [][]string{{bolt}}, o.calls, "records of old events are not read")
		run(t, w, out[1].GetResumeToken(), 2)
		require.Equal(t, "r1", string(o.from[accounts].Replay))
	})
	t.Run("one read serves all events of a message, and a change carries the record as it is now", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		own := event("UPDATE", "r2", acme, bolt)
		own.Origin = "com/salesforce/api/rest/66.0;client=selfsame"
		own.Changed = []string{"Name", "LastModifiedDate", "BillingAddress.City"}
		o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", acme[:15]), own)}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"CREATED " + acme, "UPDATED " + acme, "UPDATED " + bolt}, kinds(out))
		require.Equal(t, [][]string{{acme, bolt}}, o.calls)
		for _, c := range out.GetChanges() {
			require.NotNil(t, c.GetAccount())
			require.Nil(t, c.GetContact())
		}
		require.False(t, out.GetChanges()[0].GetOwnWrite())
		require.True(t, out.GetChanges()[1].GetOwnWrite())
		require.Equal(t, []string{"name", "address.city"}, out.GetChanges()[1].GetChangedFields())
		require.Equal(t, started.Add(time.Second), out.GetChanges()[0].GetCommitTime().AsTime())
	})
	t.Run("gaps and deletions", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		gone := "001000000000009AAA"
		o.bin = map[string]bool{gone: true}
		o.batches[accounts] = []pubsub.Batch{batch(
			event("GAP_UPDATE", "r1", acme), event("UPDATE", "r2", gone), event("GAP_DELETE", "r3", acme), event("DELETE", "r4", bolt),
			event("UNDELETE", "r5", bolt), event("NEW_TYPE", "r9", acme))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{
			"UPDATED " + acme, "DELETED " + gone, "UPDATED " + acme, "DELETED " + bolt, "UNDELETED " + bolt, "UPDATED " + acme,
		}, kinds(out))
		require.Nil(t, out.GetChanges()[3].GetAccount(), "a deletion has no record, even when it is back")
		require.Empty(t, o.listed, "a gap that names its records needs no list")
		ids := map[string]bool{}
		for _, c := range out.GetChanges() {
			ids[c.GetId()] = true
		}
		require.Len(t, ids, 6)
	})
	t.Run("accounts come before contacts when both are waiting", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := setup(t)
			o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", acme)), batch(event("UPDATE", "r3", acme))}
			o.batches[contacts] = []pubsub.Batch{batch(event("CREATE", "r2", ada)), batch(event("UPDATE", "r4", ada))}
			var got []string
			err := w.Watch(t.Context(), "", nil, func(r *salesforcev1.WatchChangesResponse) error {
				synctest.Wait() // the other topic's batch is there by now
				some := kinds(r)
				if contact := slices.IndexFunc(some, func(k string) bool { return strings.HasSuffix(k, ada) }); contact >= 0 {
					require.False(t, slices.ContainsFunc(some[contact:], func(k string) bool { return strings.HasSuffix(k, acme) }))
				}
				got = append(got, some...)
				if len(got) == 4 {
					return errStop
				}
				return nil
			})
			require.ErrorIs(t, err, errStop)
			require.Less(t, slices.Index(got, "CREATED "+acme), slices.Index(got, "UPDATED "+acme))
			require.Less(t, slices.Index(got, "CREATED "+ada), slices.Index(got, "UPDATED "+ada))
		})
	})
	t.Run("events in large numbers are read together, also those that come a moment later", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := setup(t)
			large := func(first, n int) pubsub.Batch {
				var events []pubsub.Event
				for i := range n {
					id := rest.FullID(fmt.Sprintf("001%012d", first+i))
					o.rows[id] = row(id, "n")
					events = append(events, event("UPDATE", fmt.Sprintf("r%d", first+i), id))
				}
				return batch(events...)
			}
			o.batches[accounts] = []pubsub.Batch{large(0, 100), large(100, 100), large(200, 60), batch(event("UPDATE", "r300", acme))}
			o.pause = linger / 2
			began := time.Now()
			out := run(t, w, "", 3)
			require.Equal(t, []int{0, 200, 61}, []int{len(out[0].GetChanges()), len(out[1].GetChanges()), len(out[2].GetChanges())})
			require.Equal(t, []int{200, 61}, []int{len(o.calls[0]), len(o.calls[1])})
			require.LessOrEqual(t, time.Since(began), 3*linger)
			o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r300", acme))}
			run(t, w, out[1].GetResumeToken(), 2)
			require.Equal(t, "r199", string(o.from[accounts].Replay), "the position is that of the last event that was sent")
		})
	})
	t.Run("a single edit does not wait for others", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := setup(t)
			o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", acme)), batch(event("UPDATE", "r2", bolt))}
			began := time.Now()
			out := run(t, w, "", 3)
			require.Equal(t, []string{"UPDATED " + acme}, kinds(out[1]))
			require.Equal(t, []string{"UPDATED " + bolt}, kinds(out[2]))
			require.Zero(t, time.Since(began))
		})
	})
	t.Run("an empty message moves the position and is passed on", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.batches[contacts] = []pubsub.Batch{{Position: pubsub.Position{Replay: []byte("tip")}}}
		out := run(t, w, "", 2)
		require.Empty(t, out[1].GetChanges())
		run(t, w, out[1].GetResumeToken(), 2)
		require.Equal(t, "tip", string(o.from[contacts].Replay))
		require.Empty(t, o.from[accounts].Replay)
	})
	t.Run("a large batch is sent in parts, and only the last one moves the position", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		var ids []string
		for i := range 1200 {
			id := rest.FullID(fmt.Sprintf("001%012d", i))
			ids = append(ids, id)
			o.rows[id] = row(id, "n")
		}
		o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", ids...))}
		out := run(t, w, "", 4)
		require.Equal(t, []int{0, 500, 500, 200}, []int{len(out[0].GetChanges()), len(out[1].GetChanges()), len(out[2].GetChanges()), len(out[3].GetChanges())})
		require.Equal(t, out[0].GetResumeToken(), out[1].GetResumeToken())
		require.Equal(t, out[0].GetResumeToken(), out[2].GetResumeToken())
		require.NotEqual(t, out[0].GetResumeToken(), out[3].GetResumeToken())
		for _, c := range o.calls {
			require.LessOrEqual(t, len(c), hydrateMax)
		}
	})
	t.Run("records that cannot be read for now are read later, never skipped", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, w := setup(t)
			o.errs = []error{
				fault.New(fault.Unavailable, auth.ReasonUnreachable, "away"),
				fault.New(fault.Exhausted, rest.ReasonLimit, "used up").WithRetryAfter(5 * time.Minute),
				fault.New(fault.Timeout, fault.ReasonTimeout, "slow"),
			}
			o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", acme))}
			begin := time.Now()
			out := run(t, w, "", 2)
			require.Equal(t, []string{"CREATED " + acme}, kinds(out[1]))
			require.Greater(t, time.Since(begin), 5*time.Minute, "it waits as long as it is asked to")
		})
	})
	for name, err := range map[string]error{
		"records that can never be read": fault.New(fault.Forbidden, rest.ReasonAccess, "no"),
		"a login that is refused":        fault.New(fault.Unavailable, auth.ReasonLoginRefused, "no"),
	} {
		t.Run(name+" end the stream", func(t *testing.T) {
			t.Parallel()
			o, w := setup(t)
			o.errs = []error{err}
			o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", acme))}
			require.ErrorIs(t, w.Watch(t.Context(), "", nil, func(*salesforcev1.WatchChangesResponse) error { return nil }), err)
		})
	}
	t.Run("the end of one topic's feed ends the stream", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.end = fault.New(fault.Precondition, pubsub.ReasonFeedMissing, "off")
		err := w.Watch(t.Context(), "", nil, func(*salesforcev1.WatchChangesResponse) error { return nil })
		require.Equal(t, pubsub.ReasonFeedMissing, fault.ReasonOf(err))
	})
	t.Run("an object that is not mapped is refused", func(t *testing.T) {
		t.Parallel()
		_, w := setup(t)
		err := w.Watch(t.Context(), "", []string{"nonsense"}, func(*salesforcev1.WatchChangesResponse) error { return nil })
		require.Equal(t, ReasonNotMapped, fault.ReasonOf(err))
	})
}

func testLanes(t testing.TB) []*lane {
	t.Helper()
	m, err := mapping.Default()
	require.NoError(t, err)
	lanes, err := (&Watcher{o: Options{Mapping: m}}).lanes(nil)
	require.NoError(t, err)
	return lanes
}

func TestToken(t *testing.T) {
	t.Parallel()
	at := started.UnixMilli()
	good := token{Version: 2, Org: "00D000000000062EAA", Topics: map[string]position{
		"account": {Replay: []byte{0, 1, 255}, Time: at, Fills: []fill{{ID: "AAAAAAAAAAAAAAAAAAAA", Object: "account", Cause: causeOverflow, From: at - 1000, Until: at, At: at - 500, After: acme}}},
		"contact": {Since: at, Time: at},
	}}
	lanes := testLanes(t)
	t.Run("it is read as it was written", func(t *testing.T) {
		t.Parallel()
		text, err := good.encode()
		require.NoError(t, err)
		got, err := parseToken(text, lanes)
		require.NoError(t, err)
		require.Equal(t, good, got)
	})
	t.Run("a token of the version before is read", func(t *testing.T) {
		t.Parallel()
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"o":"00D000000000062EAA","t":{"account":{"r":"cg=="},"contact":{"s":1}}}`))
		got, err := parseToken(text, lanes)
		require.NoError(t, err)
		require.Equal(t, "r", string(got.Topics["account"].Replay))
		require.Equal(t, tokenVersion, got.Version)
	})
	t.Run("the largest token is small enough", func(t *testing.T) {
		t.Parallel()
		large := token{Version: 2, Org: good.Org, Topics: map[string]position{}}
		for i := range 16 {
			name := fmt.Sprintf("my_custom_object_with_a_name_of_the_greatest_length_that_is_%04d", i)
			large.Topics[name] = position{Replay: []byte(rand.Text()[:16]), Time: at, Fills: []fill{{ID: "AAAAAAAAAAAAAAAAAAAA", Object: name, Cause: causePosition, From: at, Until: at, Live: true, At: at, After: acme, Keyset: true, Sent: 1e6}}}
		}
		_, err := large.encode()
		require.NoError(t, err)
	})
	t.Run("what is not a token is refused", func(t *testing.T) {
		t.Parallel()
		account := func(f fill) map[string]position {
			return map[string]position{"account": {Replay: []byte("r"), Fills: []fill{f}}, "contact": {Since: 1}}
		}
		for _, bad := range []token{
			{},
			{Version: 3, Org: good.Org, Topics: good.Topics},
			{Version: 2, Topics: good.Topics},
			{Version: 2, Org: good.Org, Topics: map[string]position{"account": {Since: 1}}},
			{Version: 2, Org: good.Org, Topics: map[string]position{"account": {Since: 1}, "contact": {}}},
			{Version: 2, Org: good.Org, Topics: map[string]position{"account": {Since: 1}, "lead": {Since: 1}}},
			{Version: 2, Org: good.Org, Topics: account(fill{ID: "x", Object: "contact", Cause: causeOverflow, From: 1, Until: 2, At: 1})},
			{Version: 2, Org: good.Org, Topics: account(fill{Object: "account", Cause: causeOverflow, From: 1, Until: 2, At: 1})},
			{Version: 2, Org: good.Org, Topics: account(fill{ID: "x", Object: "account", Cause: "whim", From: 1, Until: 2, At: 1})},
			{Version: 2, Org: good.Org, Topics: account(fill{ID: "x", Object: "account", Cause: causeOverflow, From: 2, Until: 2, At: 2})},
			{Version: 2, Org: good.Org, Topics: account(fill{ID: "x", Object: "account", Cause: causeOverflow, From: 1, Until: 2, At: 0})},
			{Version: 2, Org: good.Org, Topics: account(fill{ID: "x", Object: "account", Cause: causeOverflow, From: 1, Until: 2, At: 1, After: "' OR Id != '"})},
		} {
			text, err := bad.encode()
			require.NoError(t, err)
			_, err = parseToken(text, lanes)
			require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(err), "%+v", bad)
		}
		for _, text := range []string{"!", "e30", "bnVsbA", "W10"} {
			_, err := parseToken(text, lanes)
			require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(err), text)
		}
	})
	t.Run("a position in another org is no position", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		first := run(t, w, "", 1)[0]
		o.id = "00D000000000063EAA"
		err := w.Watch(t.Context(), first.GetResumeToken(), nil, func(*salesforcev1.WatchChangesResponse) error { return nil })
		require.Equal(t, fault.ReasonResumeTokenExpired, fault.ReasonOf(err))
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add("eyJ2IjoxLCJvIjoiMDBEIiwidCI6e319")
	lanes := testLanes(f)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseToken(text, lanes)
		if err != nil {
			require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(err))
			return
		}
		_, err = got.encode()
		require.NoError(t, err)
	})
}

func TestOwnWrite(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]bool{
		"com/salesforce/api/rest/66.0;client=selfsame":         true,
		"com/salesforce/api/rest/66.0; client=selfsame":        true,
		"com/salesforce/api/rest/66.0":                         false,
		"com/salesforce/api/rest/66.0;client=selfsame-eu":      false,
		"com/salesforce/api/rest/66.0;client=my-selfsame":      false,
		"com/salesforce/api/soap/58.0;client=SfdcInternalAPI/": false,
		"client=selfsame": false,
		"":                false,
	} {
		require.Equal(t, want, ownWrite(origin, "selfsame"), origin)
	}
	require.False(t, ownWrite("com/salesforce/api/rest/66.0;client=", ""))
}

func TestTopic(t *testing.T) {
	t.Parallel()
	require.Equal(t, accounts, topic("Account"))
	require.Equal(t, "/data/My_Account__ChangeEvent", topic("My_Account__c"))
}
