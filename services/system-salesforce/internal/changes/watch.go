// Package changes turns the change events of Salesforce into the feed that WatchChanges serves.
//
// The problem: an event tells what changed in a transaction, possibly long ago, possibly without saying what, and a feed must
// be resumable from its very first message. The invariant: a response's token never lies beyond the changes already sent, and
// a change is sent with the record as it is now or as deleted; so whoever stores the token with the effect loses nothing and
// sees a change twice only under the same id.
//
// A stream that begins "now" reads the feed from its oldest event and leaves out what was committed before: subscribing to the
// tip would silently miss what happens between our first message and the moment Salesforce acts on the subscription.
//
// It stores nothing: the position belongs to the watcher.
package changes

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/retry"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// maxChanges bounds one response, so that it stays well under the 4 MiB a client takes.
const maxChanges = 500

// Feed is what the watcher needs of package pubsub.
type Feed interface {
	Subscribe(ctx context.Context, topic string, from pubsub.Position, handle func(context.Context, pubsub.Batch) error) error
}

// Records is what the watcher needs of package rest.
type Records interface {
	Retrieve(ctx context.Context, object string, ids, fields []string) ([]rest.Record, error)
}

// Sessions tells which org the service talks to.
type Sessions interface {
	Session(ctx context.Context) (auth.Session, error)
}

// Options are what a Watcher works with; all are required.
type Options struct {
	Feed     Feed
	Records  Records
	Sessions Sessions
	Mapping  *mapping.Mapping
	// ClientName marks our own writes in the origin of an event.
	ClientName string
	Meter      metric.MeterProvider
	Log        *slog.Logger
	Now        func() time.Time
}

// Watcher serves feeds. Create it with New; it is safe for concurrent use.
type Watcher struct {
	o       Options
	sources []source // in the order in which they appear within a response
	metrics metrics
	backoff retry.Backoff
}

// source is one kind of record and its topic.
type source struct {
	object *mapping.Object
	kind   salesforcev1.Object
	topic  string
}

// New returns a watcher for accounts and contacts.
func New(o Options) (*Watcher, error) {
	m, err := newMetrics(o.Meter)
	if err != nil {
		return nil, err
	}
	return &Watcher{
		o: o, metrics: m, backoff: retry.Backoff{Min: 500 * time.Millisecond, Max: 30 * time.Second, Jitter: 0.3},
		sources: []source{
			{object: o.Mapping.Account, kind: salesforcev1.Object_OBJECT_ACCOUNT, topic: topic(o.Mapping.Account.SObject)},
			{object: o.Mapping.Contact, kind: salesforcev1.Object_OBJECT_CONTACT, topic: topic(o.Mapping.Contact.SObject)},
		},
	}, nil
}

// Salesforce hands out at most 100 events at a time, and reading the records they are about costs a call of the org's
// daily allowance for up to hydrateMax of them. When so many events come at once that more may follow, they are waited for.
const (
	many   = 10                     // events of one source that are worth waiting for more
	linger = 500 * time.Millisecond // how long; a single edit never waits
)

// Watch sends the changes after a token until ctx ends or send fails; an empty token starts now. The first response goes out
// at once and carries only the position.
//
// Errors: Invalid RESUME_TOKEN_INVALID, Precondition RESUME_TOKEN_EXPIRED, and those of pubsub.Client.Subscribe and
// rest.Client.Retrieve that waiting does not mend.
func (w *Watcher) Watch(ctx context.Context, text string, send func(*salesforcev1.WatchChangesResponse) error) error {
	t, err := w.start(ctx, text)
	if err != nil {
		return err
	}
	if err := w.send(t, nil, send); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	in := make([]chan pubsub.Batch, len(w.sources))
	for i, s := range w.sources {
		in[i] = make(chan pubsub.Batch, 1)
		from := pubsub.Position{Replay: t.Topics[s.object.Name].Replay}
		group.Go(func() error {
			return w.o.Feed.Subscribe(ctx, s.topic, from, func(ctx context.Context, b pubsub.Batch) error {
				// What waits here is lost with this call, and the caller's token is from before it.
				select {
				case in[i] <- b:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	group.Go(func() error { return w.merge(ctx, t, in, send) })
	return group.Wait()
}

// start returns the position to begin at.
func (w *Watcher) start(ctx context.Context, text string) (token, error) {
	var t token
	if text != "" {
		var err error
		if t, err = parseToken(text, w.objects()); err != nil {
			return t, err
		}
	}
	session, err := w.o.Sessions.Session(ctx)
	if err != nil {
		return t, err
	}
	now := w.o.Now()
	if text != "" {
		return t, t.check(session.OrgID, now)
	}
	t = token{Version: tokenVersion, Org: session.OrgID, Topics: map[string]position{}}
	for _, name := range w.objects() {
		t.Topics[name] = position{Since: now.UnixMilli()}
	}
	return t, nil
}

func (w *Watcher) objects() []string {
	var out []string
	for _, s := range w.sources {
		out = append(out, s.object.Name)
	}
	return out
}

// merge sends batches one after another. What the topics have at the same moment goes into one response, accounts first: a
// contact usually comes with its account.
func (w *Watcher) merge(ctx context.Context, t token, in []chan pubsub.Batch, send func(*salesforcev1.WatchChangesResponse) error) error {
	for {
		waiting, err := w.collect(ctx, in)
		if err != nil {
			return err
		}
		if t, err = w.step(ctx, t, waiting, send); err != nil {
			return err
		}
	}
}

// collect returns the batches that wait, by source: one of each, or as many as fill a read when they come in large numbers.
func (w *Watcher) collect(ctx context.Context, in []chan pubsub.Batch) ([][]pubsub.Batch, error) {
	accounts, contacts := in[0], in[1] // nil, which is never ready, once there is enough of it
	waiting := make([][]pubsub.Batch, len(in))
	add := func(i int, b pubsub.Batch) (rest chan pubsub.Batch) {
		waiting[i] = append(waiting[i], b)
		if n := count(waiting[i]); n >= many && n < hydrateMax {
			return in[i]
		}
		return nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case b := <-accounts:
		accounts = add(0, b)
	case b := <-contacts:
		contacts = add(1, b)
	}
	var enough <-chan time.Time
	for accounts != nil || contacts != nil {
		select {
		case b := <-accounts:
			accounts = add(0, b)
			continue
		case b := <-contacts:
			contacts = add(1, b)
			continue
		default:
		}
		if (accounts == nil || waiting[0] == nil) && (contacts == nil || waiting[1] == nil) {
			break // nothing came in large numbers
		}
		if enough == nil {
			timer := time.NewTimer(linger)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-enough:
			return waiting, nil
		case b := <-accounts:
			accounts = add(0, b)
		case b := <-contacts:
			contacts = add(1, b)
		}
	}
	return waiting, nil
}

func count(batches []pubsub.Batch) (events int) {
	for _, b := range batches {
		events += len(b.Events)
	}
	return events
}

// step sends what is waiting and returns the position after it.
func (w *Watcher) step(ctx context.Context, t token, waiting [][]pubsub.Batch, send func(*salesforcev1.WatchChangesResponse) error) (token, error) {
	next := t
	next.Topics = maps.Clone(t.Topics)
	var changes []*salesforcev1.Change
	for i, batches := range waiting {
		s := w.sources[i]
		at := t.Topics[s.object.Name]
		var events []pubsub.Event
		for _, b := range batches {
			kept, passed := after(b.Events, at.Since)
			events = append(events, kept...)
			if len(b.Position.Replay) > 0 {
				at.Replay = b.Position.Replay
				if passed {
					at.Since = 0
				}
				next.Topics[s.object.Name] = at
			}
		}
		some, err := w.changes(ctx, s, events)
		if err != nil {
			return t, err
		}
		changes = append(changes, some...)
	}
	for len(changes) > maxChanges {
		// The token moves only with the last part: the position in between has no name.
		if err := w.send(t, changes[:maxChanges], send); err != nil {
			return t, err
		}
		changes = changes[maxChanges:]
	}
	return next, w.send(next, changes, send)
}

// after leaves out events committed before the stream was begun; passed is true when the stream has reached that point: at the
// first newer event, or at an empty batch, which comes only when there is nothing more to read.
func after(events []pubsub.Event, since int64) (kept []pubsub.Event, passed bool) {
	if since == 0 {
		return events, true
	}
	begin := time.UnixMilli(since).Add(-clockMargin)
	for _, e := range events {
		if !e.Committed.Before(begin) {
			kept = append(kept, e)
		}
	}
	return kept, len(kept) > 0 || len(events) == 0
}

func (w *Watcher) send(t token, changes []*salesforcev1.Change, send func(*salesforcev1.WatchChangesResponse) error) error {
	text, err := t.encode()
	if err != nil {
		return err
	}
	return send(&salesforcev1.WatchChangesResponse{Changes: changes, ResumeToken: text})
}
