package pubsub

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
)

const (
	// maxPending caps what a stream may have asked for and not received.
	maxPending = 100
	// maxBatch bounds the payload of one answer, below the 4 MB of gRPC.
	maxBatch = 3 << 20
)

// subscription is one open stream.
type subscription struct {
	server  *Server
	stream  grpc.ServerStream
	rpcID   string
	token   string
	topic   *topic
	managed string // id of the managed subscription, if it is one
	cursor  *event.Cursor
	pending int
	// fresh is set if the client is told at once where it started.
	fresh bool
	// frozen streams stay open and say nothing any more.
	frozen bool
}

func (s *Server) subscribe(stream grpc.ServerStream) error {
	return s.follow(stream, decodeFetch, (*subscription).open)
}

// follow serves a stream of requests that open finds in order.
func (s *Server) follow(stream grpc.ServerStream, decode func([]byte) (fetchRequest, error), open func(*subscription, fetchRequest) error) error {
	sub := &subscription{server: s, stream: stream, rpcID: newRPCID()}
	var f frame
	if err := stream.RecvMsg(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	first, err := decode(f.b)
	if err != nil {
		return sub.fail(&refusal{codes.InvalidArgument, "", "The request could not be read."})
	}
	if int(s.clients.Add(1)) > s.opt.MaxClients {
		s.clients.Add(-1)
		return sub.fail(&refusal{codes.ResourceExhausted, codeClients, "The number of concurrent clients exceeds the limit."})
	}
	defer s.clients.Add(-1)
	if err := sub.admit(); err != nil {
		return err
	}
	if err := open(sub, first); err != nil {
		return err
	}
	requests := make(chan []byte)
	ended := make(chan error, 1)
	// The reader ends with the stream: RecvMsg fails once this handler returned.
	go func() { ended <- forward(stream, requests) }()
	if sub.fresh {
		// Tell the tip at once, so that a client can note where it started.
		if err := sub.send(nil, nil); err != nil {
			return err
		}
	}
	return sub.loop(requests, ended, decode)
}

// forward hands on what arrives until the stream ends.
func forward(stream grpc.ServerStream, out chan<- []byte) error {
	for {
		var f frame
		if err := stream.RecvMsg(&f); err != nil {
			return err
		}
		select {
		case out <- f.b:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// fail ends the stream with a vendor error.
func (s *subscription) fail(bad *refusal) error {
	md, err := failure(bad.status, bad.code, s.rpcID, bad.message)
	s.stream.SetTrailer(md)
	return err
}

// admit checks who asks.
func (s *subscription) admit() error {
	if s.server.opt.Down() {
		return s.fail(unavailable())
	}
	var ok bool
	if s.token, ok = s.server.token(s.stream.Context()); !ok {
		return s.fail(unauthenticated())
	}
	return nil
}

// choose fixes the topic.
func (s *subscription) choose(name string) error {
	if s.topic = s.server.byTopic[name]; s.topic == nil {
		return s.fail(&refusal{codes.NotFound, codeTopic, "The topic does not exist: " + name + "."})
	}
	if _, may := s.server.may(s.token, s.topic); !may {
		return s.fail(&refusal{codes.PermissionDenied, codeAccess, "The user may not subscribe to the topic " + name + "."})
	}
	if s.fires(faults.Refuse) {
		return s.fail(unavailable())
	}
	return nil
}

func (s *subscription) fires(effect string) bool {
	return s.server.opt.Faults.Fires(effect, faults.Occasion{Topic: s.topic.name})
}

// open checks the first request, which fixes topic and position.
func (s *subscription) open(r fetchRequest) error {
	if err := s.choose(r.topic); err != nil {
		return err
	}
	if err := s.ask(r); err != nil {
		return err
	}
	bus := s.server.opt.Bus
	switch r.preset {
	case presetLatest:
		s.cursor, s.fresh = bus.Latest(), true
	case presetEarliest:
		s.cursor = bus.Earliest()
	case presetCustom:
		if len(r.replayID) == 0 {
			return s.fail(&refusal{codes.InvalidArgument, codeReplayEmpty, "The replay ID validation failed: a custom replay preset needs a replay ID."})
		}
		c, err := bus.After(r.replayID)
		if err != nil || s.fires(faults.CorruptReplay) {
			return s.corrupted()
		}
		s.cursor = c
	default:
		return s.fail(&refusal{codes.InvalidArgument, "", fmt.Sprintf("The replay preset %d is unknown.", r.preset)})
	}
	return nil
}

func (s *subscription) corrupted() error {
	return s.fail(&refusal{codes.InvalidArgument, codeReplay, "The Replay ID is corrupted. Ensure that the Replay ID is valid."})
}

// ask adds demand and takes a new session over.
func (s *subscription) ask(r fetchRequest) error {
	if r.refresh != "" {
		if _, ok := s.server.opt.Sessions.Check(r.refresh); !ok {
			return s.fail(&refusal{codes.Unauthenticated, codeAuthRefresh, authMessage})
		}
		s.token = r.refresh
	}
	if r.commit != nil && r.requested == 0 {
		return nil // only a position to keep
	}
	if r.requested <= 0 {
		return s.fail(&refusal{codes.InvalidArgument, codeRequested, "The requested number of events must be greater than 0."})
	}
	if r.topic != "" && r.topic != s.topic.name {
		return s.fail(&refusal{codes.InvalidArgument, "", "The topic of a subscription cannot change."})
	}
	s.pending = min(maxPending, s.pending+int(min(r.requested, maxPending)))
	return nil
}

// loop delivers until the stream ends.
func (s *subscription) loop(requests <-chan []byte, ended <-chan error, decode func([]byte) (fetchRequest, error)) error {
	keepAlive := time.NewTimer(s.server.opt.KeepAlive)
	defer keepAlive.Stop()
	for {
		more := s.cursor.More()
		sent, err := s.deliver()
		if err != nil {
			return err
		}
		if sent {
			keepAlive.Reset(s.server.opt.KeepAlive)
			continue
		}
		select {
		case <-more:
		case b := <-requests:
			if err := s.hear(b, decode); err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil // the client is done
			}
			return err
		case <-keepAlive.C:
			if !s.frozen && !s.fires(faults.LoseKeepAlive) {
				if err := s.send(nil, nil); err != nil {
					return err
				}
			}
			keepAlive.Reset(s.server.opt.KeepAlive)
		}
	}
}

// hear takes a later request.
func (s *subscription) hear(b []byte, decode func([]byte) (fetchRequest, error)) error {
	r, err := decode(b)
	if err != nil {
		return s.fail(&refusal{codes.InvalidArgument, "", "The request could not be read."})
	}
	if err := s.same(r); err != nil {
		return err
	}
	if err := s.ask(r); err != nil {
		return err
	}
	if r.commit != nil && !s.frozen {
		return s.commit(*r.commit)
	}
	return nil
}

// deliver sends what is there and asked for, and checks that the stream may go
// on.
func (s *subscription) deliver() (bool, error) {
	srv := s.server
	if err := s.allowed(); err != nil {
		return false, err
	}
	if s.frozen {
		return false, s.broken(s.cursor.Check())
	}
	events, err := s.cursor.Read(s.topic.match, s.pending, maxBatch)
	if err != nil {
		return false, s.broken(err)
	}
	if len(events) == 0 {
		return false, nil
	}
	if s.frozen = s.fires(faults.Freeze); s.frozen {
		return false, nil
	}
	if limit := srv.opt.DeliveryLimit; limit > 0 && srv.opt.Bus.Delivered()+len(events) > limit {
		return false, s.fail(&refusal{codes.ResourceExhausted, codeDeliveries, "The daily allocation of delivered events is used up."})
	}
	s.pending -= len(events)
	srv.opt.Bus.CountDelivered(len(events))
	if err := s.send(events, nil); err != nil {
		return false, err
	}
	if s.fires(faults.ResetStream) {
		return false, s.broken(event.ErrReset)
	}
	return true, nil
}

// allowed checks what may have changed since the stream was opened.
func (s *subscription) allowed() error {
	if s.server.opt.Down() {
		return s.fail(unavailable())
	}
	if _, ok := s.server.opt.Sessions.Check(s.token); !ok {
		return s.fail(unauthenticated())
	}
	return s.running()
}

// broken ends the stream for a reason that the cursor gave.
func (s *subscription) broken(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, event.ErrReset) && s.server.opt.Down():
		return s.fail(unavailable()) // what is down says so, whether it was asked before the streams broke or after
	case errors.Is(err, event.ErrReset):
		return s.fail(&refusal{codes.Unavailable, "", "RST_STREAM closed stream. HTTP/2 error code: CANCEL"})
	case errors.Is(err, event.ErrClosed):
		return s.fail(&refusal{codes.Unavailable, codeUnavailable, "The service is shutting down."})
	default:
		return s.corrupted()
	}
}

// send writes one answer; without events it is a keepalive. The answer of a
// managed subscription may also carry the outcome of a commit.
func (s *subscription) send(events []*event.Event, committed []byte) error {
	var b []byte
	for _, e := range events {
		b = putBytes(b, 1, s.server.consumerEvent(e))
	}
	b = putBytes(b, 2, s.server.opt.Bus.Wire(s.cursor.Position()))
	b = putString(b, 3, s.rpcID)
	b = putVarint(b, 4, uint64(s.pending))
	if committed != nil {
		b = putBytes(b, 5, committed)
	}
	return s.stream.SendMsg(&frame{b})
}

// consumerEvent wraps an event.
func (s *Server) consumerEvent(e *event.Event) []byte {
	inner := putString(nil, 1, e.Text())
	inner = putString(inner, 2, e.Layout.SchemaID)
	inner = putBytes(inner, 3, e.Payload())
	return putBytes(putBytes(nil, 1, inner), 2, s.opt.Bus.Wire(e.Replay))
}
