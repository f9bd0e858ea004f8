package pubsub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
)

// producerEvent is one event to publish.
type producerEvent struct {
	id, schema string
	payload    []byte
}

type publishRequest struct {
	topic   string
	refresh string
	events  []producerEvent
}

func decodePublish(b []byte) (publishRequest, error) {
	var r publishRequest
	var inner error
	err := walk(b, func(num protowire.Number, _ uint64, p []byte) {
		switch num {
		case 1:
			r.topic = string(p)
		case 2:
			var e producerEvent
			inner = errors.Join(inner, walk(p, func(num protowire.Number, _ uint64, p []byte) {
				switch num {
				case 1:
					e.id = string(p)
				case 2:
					e.schema = string(p)
				case 3:
					e.payload = p
				}
			}))
			r.events = append(r.events, e)
		case 3:
			r.refresh = string(p)
		}
	})
	return r, errors.Join(err, inner)
}

// refusal is the end of a call with a vendor error.
type refusal struct {
	status        codes.Code
	code, message string
}

// target checks what a request is for, and whether the session may do it.
func (s *Server) target(token string, r publishRequest) (*topic, *refusal) {
	t := s.byTopic[r.topic]
	switch {
	case r.topic == "":
		return nil, &refusal{codes.InvalidArgument, "", "The topic name is missing."}
	case t == nil:
		return nil, &refusal{codes.NotFound, codeTopic, "The topic does not exist: " + r.topic + "."}
	case !t.publishable():
		return nil, &refusal{codes.PermissionDenied, codePublish, "Events cannot be published to the topic " + r.topic + "."}
	case len(r.events) == 0:
		return nil, &refusal{codes.InvalidArgument, codePublish, "A publish request needs at least one event."}
	}
	if may, _ := s.may(token, t); !may {
		return nil, &refusal{codes.PermissionDenied, codeAccess, "The user may not publish to the topic " + r.topic + "."}
	}
	return t, nil
}

// The numbers of ErrorCode.
const (
	errorPublish = 1
	errorCommit  = 2
)

func putError(b []byte, num protowire.Number, code uint64, message string) []byte {
	return putBytes(b, num, putString(putVarint(nil, 1, code), 2, message))
}

// results publishes the events that are in order, each on its own, and writes
// the PublishResponse.
func (s *Server) results(t *topic, r publishRequest, rpcID string) []byte {
	var out []byte
	for _, e := range r.events {
		var result []byte
		if err := s.acceptable(t, e); err != nil {
			result = putError(nil, 2, errorPublish, err.Error())
		} else {
			id := e.id
			if id == "" {
				id = newRPCID()
			}
			result = putBytes(nil, 1, s.opt.Bus.Put(event.Published(t.layout, id, e.payload)))
		}
		out = putBytes(out, 1, putString(result, 3, e.id))
	}
	out = putString(out, 2, t.layout.SchemaID)
	return putString(out, 3, rpcID)
}

func (s *Server) acceptable(t *topic, e producerEvent) error {
	switch {
	case e.schema != t.layout.SchemaID:
		return fmt.Errorf("the schema id %q is not that of the topic", e.schema)
	case len(e.payload) > s.opt.MaxEventBytes:
		return fmt.Errorf("the event has %d bytes, more than the limit of %d", len(e.payload), s.opt.MaxEventBytes)
	}
	return t.layout.Accept(e.payload)
}

func (s *Server) publish(ctx context.Context, in []byte) ([]byte, error) {
	id := newRPCID()
	token, err := s.admit(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := decodePublish(in)
	if err != nil {
		return nil, unaryFailure(ctx, codes.InvalidArgument, "", id, "The request could not be read.")
	}
	t, bad := s.target(token, r)
	if bad != nil {
		return nil, unaryFailure(ctx, bad.status, bad.code, id, bad.message)
	}
	return s.results(t, r, id), nil
}

// publishing is one open PublishStream.
type publishing struct {
	server *Server
	stream grpc.ServerStream
	rpcID  string
	token  string
	topic  string
}

func (s *Server) publishStream(stream grpc.ServerStream) error {
	p := &publishing{server: s, stream: stream, rpcID: newRPCID()}
	if s.opt.Down() {
		return p.fail(unavailable())
	}
	var ok bool
	if p.token, ok = s.token(stream.Context()); !ok {
		return p.fail(unauthenticated())
	}
	requests := make(chan []byte)
	ended := make(chan error, 1)
	// The reader ends with the stream: RecvMsg fails once this handler returned.
	go func() { ended <- forward(stream, requests) }()
	silence := time.NewTimer(s.opt.PublishSilence)
	defer silence.Stop()
	for {
		select {
		case b := <-requests:
			if bad := p.serve(b); bad != nil {
				return p.fail(bad)
			}
			silence.Reset(s.opt.PublishSilence)
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil // the client is done
			}
			return err
		case <-silence.C:
			return p.fail(&refusal{codes.Aborted, "", fmt.Sprintf("No publish request arrived within %v.", s.opt.PublishSilence)})
		case <-s.stopping:
			return p.fail(unavailable())
		}
	}
}

func (p *publishing) fail(bad *refusal) error {
	md, err := failure(bad.status, bad.code, p.rpcID, bad.message)
	p.stream.SetTrailer(md)
	return err
}

// serve answers one request; the first one fixes the topic.
func (p *publishing) serve(b []byte) *refusal {
	s := p.server
	r, err := decodePublish(b)
	switch {
	case err != nil:
		return &refusal{codes.InvalidArgument, "", "The request could not be read."}
	case s.opt.Down():
		return unavailable()
	case p.topic != "" && r.topic != "" && r.topic != p.topic:
		return &refusal{codes.InvalidArgument, "", "The topic of a publish stream cannot change."}
	}
	if r.refresh != "" {
		if _, ok := s.opt.Sessions.Check(r.refresh); !ok {
			return &refusal{codes.Unauthenticated, codeAuthRefresh, authMessage}
		}
		p.token = r.refresh
	}
	if _, ok := s.opt.Sessions.Check(p.token); !ok {
		return unauthenticated()
	}
	if r.topic == "" {
		r.topic = p.topic
	}
	t, bad := s.target(p.token, r)
	if bad != nil {
		return bad
	}
	p.topic = r.topic
	if err := p.stream.SendMsg(&frame{s.results(t, r, p.rpcID)}); err != nil {
		return &refusal{codes.Unavailable, "", "The answer could not be sent."}
	}
	return nil
}
