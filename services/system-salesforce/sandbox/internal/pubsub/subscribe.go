package pubsub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const (
	// allEvents is the topic of all objects together.
	allEvents = "/data/ChangeEvents"
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
	topic   string
	match   func(*event.Event) bool
	cursor  *event.Cursor
	pending int
}

func (s *Server) subscribe(stream grpc.ServerStream) error {
	sub := &subscription{server: s, stream: stream, rpcID: newRPCID()}
	first, err := receive(stream)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if err := sub.open(first); err != nil {
		return err
	}
	requests := make(chan fetchRequest)
	ended := make(chan error, 1)
	// The reader ends with the stream: RecvMsg fails once this handler returned.
	go func() { ended <- forward(stream.Context(), stream, requests) }()
	if first.preset == presetLatest {
		// Tell the tip at once, so that a client can note where it started.
		if err := sub.send(nil); err != nil {
			return err
		}
	}
	return sub.loop(requests, ended)
}

func receive(stream grpc.ServerStream) (fetchRequest, error) {
	var f frame
	if err := stream.RecvMsg(&f); err != nil {
		return fetchRequest{}, err
	}
	return decodeFetch(f.b)
}

func forward(ctx context.Context, stream grpc.ServerStream, out chan<- fetchRequest) error {
	for {
		r, err := receive(stream)
		if err != nil {
			return err
		}
		select {
		case out <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fail ends the stream with a vendor error.
func (s *subscription) fail(c codes.Code, code, message string) error {
	md, err := failure(c, code, s.rpcID, message)
	s.stream.SetTrailer(md)
	return err
}

// open checks the first request, which fixes topic and position.
func (s *subscription) open(r fetchRequest) error {
	srv := s.server
	if srv.opt.Down() {
		return s.fail(codes.Unavailable, codeUnavailable, "The service is unavailable.")
	}
	token, ok := srv.token(s.stream.Context())
	if !ok {
		return s.fail(codes.Unauthenticated, codeAuth, authMessage)
	}
	s.token, s.topic = token, r.topic
	if l := srv.byTopic[r.topic]; l != nil {
		s.match = func(e *event.Event) bool { return e.Layout == l }
	} else if r.topic == allEvents {
		s.match = func(e *event.Event) bool { return !e.Layout.Object.Event() }
	} else {
		return s.fail(codes.NotFound, codeTopic, "The topic does not exist: "+r.topic+".")
	}
	if err := s.ask(r); err != nil {
		return err
	}
	switch r.preset {
	case presetLatest:
		s.cursor = srv.opt.Bus.Latest()
	case presetEarliest:
		s.cursor = srv.opt.Bus.Earliest()
	case presetCustom:
		if len(r.replayID) == 0 {
			return s.fail(codes.InvalidArgument, codeReplayEmpty, "The replay ID validation failed: a custom replay preset needs a replay ID.")
		}
		c, err := srv.opt.Bus.After(r.replayID)
		if err != nil {
			return s.corrupted()
		}
		s.cursor = c
	default:
		return s.fail(codes.InvalidArgument, "", fmt.Sprintf("The replay preset %d is unknown.", r.preset))
	}
	return nil
}

func (s *subscription) corrupted() error {
	return s.fail(codes.InvalidArgument, codeReplay, "The Replay ID is corrupted. Ensure that the Replay ID is valid.")
}

// ask adds demand.
func (s *subscription) ask(r fetchRequest) error {
	if r.requested <= 0 {
		return s.fail(codes.InvalidArgument, codeRequested, "The requested number of events must be greater than 0.")
	}
	if r.topic != "" && r.topic != s.topic {
		return s.fail(codes.InvalidArgument, "", "The topic of a subscription cannot change.")
	}
	s.pending = min(maxPending, s.pending+int(min(r.requested, maxPending)))
	return nil
}

// loop delivers until the stream ends.
func (s *subscription) loop(requests <-chan fetchRequest, ended <-chan error) error {
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
		case r := <-requests:
			if err := s.ask(r); err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil // the client is done
			}
			if errors.Is(err, errWire) {
				return s.fail(codes.InvalidArgument, "", "The request could not be read.")
			}
			return err
		case <-keepAlive.C:
			if err := s.send(nil); err != nil {
				return err
			}
			keepAlive.Reset(s.server.opt.KeepAlive)
		}
	}
}

// deliver sends what is there and asked for, and checks that the stream may go
// on.
func (s *subscription) deliver() (bool, error) {
	srv := s.server
	if srv.opt.Down() {
		return false, s.fail(codes.Unavailable, codeUnavailable, "The service is unavailable.")
	}
	if _, ok := srv.opt.Sessions.Check(s.token); !ok {
		return false, s.fail(codes.Unauthenticated, codeAuth, authMessage)
	}
	events, err := s.cursor.Read(s.match, s.pending, maxBatch)
	switch {
	case errors.Is(err, event.ErrReset):
		return false, s.fail(codes.Unavailable, codeClosed, "RST_STREAM closed stream. HTTP/2 error code: CANCEL")
	case errors.Is(err, event.ErrClosed):
		return false, s.fail(codes.Unavailable, codeUnavailable, "The service is shutting down.")
	case err != nil:
		return false, s.corrupted()
	case len(events) == 0:
		return false, nil
	}
	s.pending -= len(events)
	return true, s.send(events)
}

// send writes one FetchResponse; without events it is a keepalive.
func (s *subscription) send(events []*event.Event) error {
	var b []byte
	for _, e := range events {
		b = putBytes(b, 1, s.server.consumerEvent(e))
	}
	b = putBytes(b, 2, s.server.opt.Bus.Wire(s.cursor.Position()))
	b = putString(b, 3, s.rpcID)
	b = putVarint(b, 4, uint64(s.pending))
	return s.stream.SendMsg(&frame{b})
}

// consumerEvent wraps an event.
func (s *Server) consumerEvent(e *event.Event) []byte {
	inner := putString(nil, 1, e.Text())
	inner = putString(inner, 2, e.Layout.SchemaID)
	inner = putBytes(inner, 3, e.Payload)
	return putBytes(putBytes(nil, 1, inner), 2, s.opt.Bus.Wire(e.Replay))
}
