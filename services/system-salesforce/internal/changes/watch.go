// Package changes turns the change events of Salesforce into the feed that WatchChanges serves.
//
// The problem: an event tells what changed in a transaction, possibly long ago, possibly without saying what; positions expire,
// the CRM loses count, and a feed must be resumable from its very first message. The invariant: a response's token never lies
// beyond the changes already sent, and a change is sent with the record as it is now or as deleted; so whoever stores the token
// with the effect loses nothing, and sees again only what is safe to see again. Only what says "deleted" makes a deletion: a record
// that cannot be read is left out, counted and logged.
//
// When a position is lost or the CRM says that too much happened, the feed marks the range and reads again what changed in it,
// by lists of what was updated and deleted. How far that has come is part of the token, so it survives any crash. Going on from
// the tip without that does not exist: where deletions of the range are forgotten, the watcher is told to read everything again.
//
// A stream that begins "now" reads the feed from its oldest event and leaves out what was committed before: subscribing to the
// tip would silently miss what happens between our first message and the moment Salesforce acts on the subscription.
//
// It stores nothing: the position belongs to the watcher.
package changes

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/retry"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Feed is what the watcher needs of package pubsub.
type Feed interface {
	Subscribe(ctx context.Context, topic string, from pubsub.Position, handle func(context.Context, pubsub.Batch) error) error
	Tip(ctx context.Context, topic string) (pubsub.Batch, error)
}

// Records is what the watcher needs of package rest.
type Records interface {
	Retrieve(ctx context.Context, object string, ids, fields []string) ([]rest.Record, error)
	Query(ctx context.Context, soql string) ([]rest.Record, error)
	Updated(ctx context.Context, object string, from, until time.Time) ([]string, error)
	Deleted(ctx context.Context, object string, from, until time.Time) (rest.Deletions, error)
	IsDeleted(ctx context.Context, object string, ids []string) (map[string]bool, error)
	Masters(ctx context.Context, object string, ids []string) (map[string]string, error)
	// ServerTime is the time by the clock that stamps records and events, as the last answer showed it; ReadClock asks for it.
	ServerTime() time.Time
	ReadClock(ctx context.Context) (time.Time, error)
}

// Sessions tells which org the service talks to.
type Sessions interface {
	Session(ctx context.Context) (auth.Session, error)
}

// Options are what a Watcher works with; all but Channel and Echo are required.
type Options struct {
	Feed     Feed
	Records  Records
	Sessions Sessions
	Mapping  *mapping.Mapping
	// Schema returns what the org says about an sObject.
	Schema func(ctx context.Context, sobject string) (*mapping.Schema, error)
	// Channel is one topic with the changes of every object, "/data/Selfsame__chn"; empty subscribes to each object's own.
	Channel string
	// ClientName marks our own writes in the origin of an event.
	ClientName string
	// Echo knows what this process wrote lately, for events whose origin does not name the client.
	Echo  *Echo
	Meter metric.MeterProvider
	Log   *slog.Logger
}

// Watcher serves feeds. Create it with New; it is safe for concurrent use.
type Watcher struct {
	o       Options
	metrics *metrics
	backoff retry.Backoff
}

// New returns a watcher.
func New(o Options) (*Watcher, error) {
	w := &Watcher{o: o, backoff: retry.Backoff{Min: 500 * time.Millisecond, Max: 30 * time.Second, Jitter: 0.3}}
	var err error
	if w.metrics, err = newMetrics(o.Meter, o.Records.ServerTime); err != nil {
		return nil, err
	}
	return w, nil
}

// Watch sends the changes of objects after a token until ctx ends or send fails; an empty token starts now, no objects means
// account and contact. The first response goes out at once and carries only the position.
//
// Errors: Invalid RESUME_TOKEN_INVALID, Precondition RESUME_TOKEN_EXPIRED and OBJECT_NOT_MAPPED, and those of
// pubsub.Client.Subscribe and rest.Client that waiting does not mend.
func (w *Watcher) Watch(ctx context.Context, text string, objects []string, send func(*salesforcev1.WatchChangesResponse) error) error {
	ctx = stated(ctx)
	lanes, err := w.lanes(objects)
	if err != nil {
		return err
	}
	session, err := w.o.Sessions.Session(ctx)
	if err != nil {
		return err
	}
	t, err := w.start(text, lanes, session.OrgID)
	if err != nil {
		return err
	}
	seen := w.metrics.watch(t)
	defer seen.close()
	m := &merger{seen: seen, token: t, lanes: lanes, send: send, ready: make(chan struct{}, 1)}
	if err := m.emit(nil, nil, nil); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range lanes {
		l.org, l.user, l.notify = t.Org, session.UserID, m.ready
		group.Go(func() error { return l.run(ctx, t.Topics[l.name]) })
	}
	group.Go(func() error { return m.run(ctx) })
	return group.Wait()
}

// stated gives the calls of a feed the urgency of keeping records agreeing unless the watcher has said something else.
func stated(ctx context.Context) context.Context {
	if priority.Stated(ctx) != priority.Unset {
		return ctx
	}
	return priority.With(ctx, priority.Sync)
}

// lanes returns what to subscribe to.
func (w *Watcher) lanes(objects []string) ([]*lane, error) {
	if len(objects) == 0 {
		objects = []string{objectAccount, objectContact}
	}
	var sources []*source
	for _, name := range objects {
		s, err := w.source(name)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	if w.o.Channel != "" {
		return []*lane{newLane(w, "channel", w.o.Channel, sources)}, nil
	}
	var out []*lane
	for _, s := range sources {
		out = append(out, newLane(w, s.name, topic(s.sobject), []*source{s}))
	}
	return out, nil
}

// start returns the position to begin at.
func (w *Watcher) start(text string, lanes []*lane, org string) (token, error) {
	if text != "" {
		t, err := parseToken(text, lanes)
		if err == nil && !sameOrg(t.Org, org) {
			err = otherOrg()
		}
		return t, err
	}
	now := w.o.Records.ServerTime().UnixMilli()
	t := token{Version: tokenVersion, Org: org, Topics: map[string]position{}}
	for _, l := range lanes {
		t.Topics[l.name] = position{Since: now, Time: now}
	}
	return t, nil
}
