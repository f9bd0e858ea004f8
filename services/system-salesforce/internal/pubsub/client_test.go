package pubsub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub/eventbus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const schemaID = "a01VpgrsZNJdn-7KStJcxQ"

func eventOf(changeType string, ids ...string) map[string]any {
	return map[string]any{
		"ChangeEventHeader": map[string]any{
			"entityName": "Account", "recordIds": ids, "changeType": changeType, "changeOrigin": "com/salesforce/api/rest/66.0;client=selfsame",
			"transactionKey": "tx", "sequenceNumber": int32(1), "commitTimestamp": int64(1777636800123), "commitNumber": int64(1) << 60,
			"commitUser": "005000000000001AAA", "nulledFields": []string{"0x04"}, "diffFields": []string{}, "changedFields": []string{"0xA0", "4-0x02"},
		},
		"Name": "Acme", "Phone": "1", "BillingAddress": map[string]any{"City": "Berlin", "Street": nil, "State": nil, "PostalCode": nil, "Country": nil},
	}
}

func encodeEvent(t testing.TB, s *schema, event map[string]any) []byte {
	t.Helper()
	payload, err := s.codec.Encode(event)
	require.NoError(t, err)
	return payload
}

type sessions struct{ generation, renewals atomic.Int64 }

func (s *sessions) Session(context.Context) (auth.Session, error) {
	return auth.Session{Token: "token" + string(rune('0'+s.generation.Load())), InstanceURL: "https://acme.example", OrgID: "00DXX"}, nil
}

func (s *sessions) Renew(ctx context.Context, _ auth.Session) (auth.Session, error) {
	s.generation.Add(1)
	s.renewals.Add(1)
	return s.Session(ctx)
}

func (s *sessions) Accepted(auth.Session) {}

// bus is a Pub/Sub API that follows a script: one function per stream, in order; the last one serves all later streams.
type bus struct {
	eventbus.UnimplementedPubSubServer
	t       *testing.T
	schema  string
	schemas atomic.Int64

	mu      sync.Mutex
	scripts []func(*eventbus.FetchRequest, grpc.BidiStreamingServer[eventbus.FetchRequest, eventbus.FetchResponse]) error
	firsts  []*eventbus.FetchRequest
	meta    []metadata.MD
}

func (b *bus) GetSchema(_ context.Context, r *eventbus.SchemaRequest) (*eventbus.SchemaInfo, error) {
	b.schemas.Add(1)
	return &eventbus.SchemaInfo{SchemaId: r.GetSchemaId(), SchemaJson: b.schema}, nil
}

func (b *bus) Subscribe(stream grpc.BidiStreamingServer[eventbus.FetchRequest, eventbus.FetchResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	b.mu.Lock()
	b.firsts, b.meta = append(b.firsts, first), append(b.meta, md)
	script := b.scripts[0]
	if len(b.scripts) > 1 {
		b.scripts = b.scripts[1:]
	}
	b.mu.Unlock()
	return script(first, stream)
}

func (b *bus) first(i int) *eventbus.FetchRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.firsts[i]
}

type stream = grpc.BidiStreamingServer[eventbus.FetchRequest, eventbus.FetchResponse]

func setup(t *testing.T, watchdog time.Duration, scripts ...func(*eventbus.FetchRequest, stream) error) (*bus, *Client, *sessions) {
	t.Helper()
	b := &bus{t: t, schema: schemaText(t), scripts: scripts}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	eventbus.RegisterPubSubServer(server, b)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:bus", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(); server.Stop(); wg.Wait() })
	s := &sessions{}
	c, err := New(Options{Conn: conn, Sessions: s, Watchdog: watchdog, Meter: noop.NewMeterProvider(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	c.backoff = retry.Backoff{Min: time.Millisecond, Max: 2 * time.Millisecond}
	return b, c, s
}

func (b *bus) response(replays ...string) *eventbus.FetchResponse {
	s := testSchema(b.t)
	r := &eventbus.FetchResponse{LatestReplayId: []byte("far ahead"), PendingNumRequested: 100}
	for _, id := range replays {
		r.Events = append(r.Events, &eventbus.ConsumerEvent{
			ReplayId: []byte(id), Event: &eventbus.ProducerEvent{SchemaId: schemaID, Payload: encodeEvent(b.t, s, eventOf("UPDATE", "001000000000001AAA"))},
		})
	}
	return r
}

func failWith(code codes.Code, errorCode string) func(*eventbus.FetchRequest, stream) error {
	return func(_ *eventbus.FetchRequest, s stream) error {
		if errorCode != "" {
			s.SetTrailer(metadata.Pairs("error-code", errorCode))
		}
		return status.Error(code, "rpcId: 1234")
	}
}

var errEnough = errors.New("enough")

// take subscribes until n events and the empty batches between them have come.
func take(t *testing.T, c *Client, from Position, n int) (replays []string, last Position) {
	t.Helper()
	err := c.Subscribe(t.Context(), "/data/AccountChangeEvent", from, func(_ context.Context, b Batch) error {
		for _, e := range b.Events {
			replays = append(replays, string(e.ReplayID))
		}
		last = b.Position
		if len(replays) >= n {
			return errEnough
		}
		return nil
	})
	require.ErrorIs(t, err, errEnough)
	return replays, last
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	t.Run("events are decoded, and the schema is asked for once", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, time.Minute, func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r1", "r2")) })
		var got []Event
		err := c.Subscribe(t.Context(), "/data/AccountChangeEvent", Position{}, func(_ context.Context, batch Batch) error {
			got = append(got, batch.Events...)
			require.Equal(t, "r2", string(batch.Position.Replay), "the latest id of a message with events lies beyond them")
			return errEnough
		})
		require.ErrorIs(t, err, errEnough)
		require.Equal(t, Event{
			ReplayID: []byte("r1"), Entity: "Account", RecordIDs: []string{"001000000000001AAA"}, ChangeType: "UPDATE",
			Origin: "com/salesforce/api/rest/66.0;client=selfsame", Committed: time.UnixMilli(1777636800123).UTC(), User: "005000000000001AAA",
			Changed: []string{"Phone", "LastModifiedDate", "BillingAddress.City", "Type"},
		}, got[0])
		require.Len(t, got, 2)
		require.EqualValues(t, 1, b.schemas.Load())
		require.Equal(t, eventbus.ReplayPreset_EARLIEST, b.first(0).GetReplayPreset())
		require.EqualValues(t, 100, b.first(0).GetNumRequested())
		require.Equal(t, []string{"token0"}, b.meta[0].Get("accesstoken"))
		require.Equal(t, []string{"https://acme.example"}, b.meta[0].Get("instanceurl"))
		require.Equal(t, []string{"00DXX"}, b.meta[0].Get("tenantid"))
	})
	t.Run("a broken stream goes on after the last batch that was taken", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, time.Minute,
			func(_ *eventbus.FetchRequest, s stream) error {
				return errors.Join(s.Send(b.response("r1", "r2")), status.Error(codes.Unavailable, "RST_STREAM closed stream"))
			},
			func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r3")) }, // ends without an error
			func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r4")) })
		got, last := take(t, c, Position{Replay: []byte("r0")}, 4)
		require.Equal(t, []string{"r1", "r2", "r3", "r4"}, got)
		require.Equal(t, "r4", string(last.Replay))
		for i, want := range []string{"r0", "r2", "r3"} {
			require.Equal(t, eventbus.ReplayPreset_CUSTOM, b.first(i).GetReplayPreset())
			require.Equal(t, want, string(b.first(i).GetReplayId()))
		}
	})
	t.Run("an empty message moves the position", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, time.Minute,
			func(_ *eventbus.FetchRequest, s stream) error {
				return s.Send(&eventbus.FetchResponse{LatestReplayId: []byte("tip")})
			},
			func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r1")) })
		take(t, c, Position{}, 1)
		require.Equal(t, "tip", string(b.first(1).GetReplayId()))
	})
	t.Run("a stream that says nothing is opened again", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, 300*time.Millisecond,
			func(_ *eventbus.FetchRequest, s stream) error { <-s.Context().Done(); return nil },
			func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r1")) })
		take(t, c, Position{}, 1)
	})
	t.Run("demand is topped up before it runs out, never beyond a hundred", func(t *testing.T) {
		t.Parallel()
		var b *bus
		outstanding := 0
		b, c, _ := setup(t, time.Minute, func(first *eventbus.FetchRequest, s stream) error {
			outstanding = int(first.GetNumRequested())
			for i := range 500 {
				for outstanding <= 50 {
					more, err := s.Recv()
					if err != nil {
						return err
					}
					if outstanding += int(more.GetNumRequested()); outstanding > 100 {
						b.t.Errorf("%d events are outstanding", outstanding)
					}
				}
				outstanding--
				r := b.response("r" + string(rune('a'+i%26)))
				r.PendingNumRequested = int32(outstanding)
				if err := s.Send(r); err != nil {
					return err
				}
			}
			return nil
		})
		take(t, c, Position{}, 500)
	})
	t.Run("a session that ended is renewed", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, s := setup(t, time.Minute, failWith(codes.Unauthenticated, "sfdc.platform.eventbus.grpc.service.auth.error"),
			func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r1")) })
		take(t, c, Position{}, 1)
		require.EqualValues(t, 1, s.renewals.Load())
		require.Equal(t, []string{"token1"}, b.meta[1].Get("accesstoken"))
	})
	t.Run("it ends with the caller", func(t *testing.T) {
		t.Parallel()
		_, c, _ := setup(t, time.Minute, func(_ *eventbus.FetchRequest, s stream) error { <-s.Context().Done(); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := c.Subscribe(ctx, "/data/AccountChangeEvent", Position{}, func(context.Context, Batch) error { return nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestSubscribe_Fails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code      codes.Code
		errorCode string
		kind      fault.Kind
		reason    string
		streams   int
	}{
		"when the replay id is no longer kept":    {codes.InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted", fault.Precondition, fault.ReasonResumeTokenExpired, 1},
		"when the replay id is refused":           {codes.InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.validation.failed", fault.Precondition, fault.ReasonResumeTokenExpired, 1},
		"when the topic is not there":             {codes.NotFound, "", fault.Precondition, ReasonFeedMissing, 1},
		"when the user may not read the topic":    {codes.PermissionDenied, "", fault.Precondition, ReasonFeedMissing, 1},
		"when the subscription itself is refused": {codes.InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid", fault.Internal, ReasonFeedUnavailable, 1},
		"when nothing helps":                      {codes.Unavailable, "sfdc.platform.eventbus.grpc.service.unavailable", fault.Unavailable, ReasonFeedUnavailable, maxFailures},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, client, _ := setup(t, time.Minute, failWith(c.code, c.errorCode))
			err := client.Subscribe(t.Context(), "/data/AccountChangeEvent", Position{Replay: []byte("r")}, func(context.Context, Batch) error { return nil })
			require.Equal(t, c.kind, fault.KindOf(err))
			require.Equal(t, c.reason, fault.ReasonOf(err))
			require.Len(t, b.firsts, c.streams)
		})
	}
	t.Run("when nothing helps, and the log has the code and the reason but not the text of the vendor", func(t *testing.T) {
		t.Parallel()
		_, client, _ := setup(t, time.Minute, func(*eventbus.FetchRequest, stream) error {
			return status.Error(codes.Aborted, "user jane@example.test of tenant secret")
		})
		var log bytes.Buffer
		client.log = slog.New(slog.NewTextHandler(&log, nil))
		err := client.Subscribe(t.Context(), "/data/AccountChangeEvent", Position{}, func(context.Context, Batch) error { return nil })
		require.Equal(t, ReasonFeedUnavailable, fault.ReasonOf(err))
		require.Contains(t, log.String(), "code=Aborted reason="+ReasonFeedUnavailable)
		require.NotContains(t, log.String(), "jane")
		require.NotContains(t, log.String(), "secret")
	})
	t.Run("when an event cannot be read, instead of skipping it", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, time.Minute, func(_ *eventbus.FetchRequest, s stream) error {
			r := b.response("r1", "r2")
			r.Events[1].Event.Payload = r.Events[1].Event.Payload[:5]
			return s.Send(r)
		})
		err := c.Subscribe(t.Context(), "/data/AccountChangeEvent", Position{}, func(context.Context, Batch) error { return io.EOF })
		require.Equal(t, ReasonEventUnreadable, fault.ReasonOf(err))
	})
}

func TestTip(t *testing.T) {
	t.Parallel()
	t.Run("it is the position of the first message, and nothing before it counts", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, time.Minute, func(_ *eventbus.FetchRequest, s stream) error {
			if err := s.Send(&eventbus.FetchResponse{LatestReplayId: []byte("tip"), PendingNumRequested: 1}); err != nil {
				return err
			}
			<-s.Context().Done()
			return nil
		})
		tip, err := c.Tip(t.Context(), "/data/AccountChangeEvent")
		require.NoError(t, err)
		require.Equal(t, Batch{Position: Position{Replay: []byte("tip")}, Org: "00DXX"}, tip)
		require.Equal(t, eventbus.ReplayPreset_LATEST, b.first(0).GetReplayPreset())
	})
	t.Run("an event that comes instead is behind it", func(t *testing.T) {
		t.Parallel()
		var b *bus
		b, c, _ := setup(t, time.Minute, func(_ *eventbus.FetchRequest, s stream) error { return s.Send(b.response("r1")) })
		tip, err := c.Tip(t.Context(), "/data/AccountChangeEvent")
		require.NoError(t, err)
		require.Equal(t, "r1", string(tip.Position.Replay))
		require.Empty(t, tip.Events)
	})
	t.Run("a stream that ends or says nothing is opened again", func(t *testing.T) {
		t.Parallel()
		b, c, _ := setup(t, 300*time.Millisecond,
			failWith(codes.Unavailable, ""),
			func(_ *eventbus.FetchRequest, s stream) error { <-s.Context().Done(); return nil },
			func(_ *eventbus.FetchRequest, s stream) error {
				return s.Send(&eventbus.FetchResponse{LatestReplayId: []byte("tip")})
			})
		tip, err := c.Tip(t.Context(), "/data/AccountChangeEvent")
		require.NoError(t, err)
		require.Equal(t, "tip", string(tip.Position.Replay))
		require.NotNil(t, b.first(2), "one that fails, one that says nothing, and the one that answers")
	})
	t.Run("what waiting does not mend is returned", func(t *testing.T) {
		t.Parallel()
		_, c, _ := setup(t, time.Minute, failWith(codes.NotFound, ""))
		_, err := c.Tip(t.Context(), "/data/AccountChangeEvent")
		require.Equal(t, ReasonFeedMissing, fault.ReasonOf(err))
	})
}
