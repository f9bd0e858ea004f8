package pubsub

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// allEvents is the topic of the changes of all objects together.
const allEvents = "/data/ChangeEvents"

// topic is something to subscribe to; layout is nil if it carries events of
// several forms.
type topic struct {
	name   string
	layout *event.Layout
	match  func(*event.Event) bool
}

// publishable reports whether clients may publish there: only to platform
// events, since changes are published by what causes them.
func (t *topic) publishable() bool { return t.layout != nil && t.layout.Object.Event() }

func topics(layouts map[*schema.Object]*event.Layout, s *schema.Schema) map[string]*topic {
	out := map[string]*topic{allEvents: {name: allEvents, match: func(e *event.Event) bool { return !e.Layout.Object.Event() }}}
	for _, l := range layouts {
		out[l.Topic()] = &topic{name: l.Topic(), layout: l, match: func(e *event.Event) bool { return e.Layout == l }}
	}
	for _, c := range s.Channels {
		members := map[*event.Layout]bool{}
		for _, name := range c.Members {
			if l := layouts[s.Object(name)]; l != nil {
				members[l] = true
			}
		}
		out[c.Topic()] = &topic{name: c.Topic(), match: func(e *event.Event) bool { return members[e.Layout] }}
	}
	return out
}

func (s *Server) getTopic(ctx context.Context, in []byte) ([]byte, error) {
	id := newRPCID()
	token, err := s.admit(ctx, id)
	if err != nil {
		return nil, err
	}
	name, err := decodeName(in)
	if err != nil {
		return nil, unaryFailure(ctx, codes.InvalidArgument, "", id, "The request could not be read.")
	}
	if name == "" {
		return nil, unaryFailure(ctx, codes.InvalidArgument, "", id, "The topic name is missing.")
	}
	t := s.byTopic[name]
	if t == nil {
		return nil, unaryFailure(ctx, codes.NotFound, codeTopic, id, "The topic does not exist: "+name+".")
	}
	b := putString(nil, 1, name)
	b = putString(b, 2, s.opt.Sessions.Org())
	publish, subscribe := s.may(token, t)
	if publish {
		b = putVarint(b, 3, 1)
	}
	if subscribe {
		b = putVarint(b, 4, 1)
	}
	if t.layout != nil {
		b = putString(b, 5, t.layout.SchemaID)
	}
	return putString(b, 6, id), nil
}

func (s *Server) getSchema(ctx context.Context, in []byte) ([]byte, error) {
	id := newRPCID()
	if _, err := s.admit(ctx, id); err != nil {
		return nil, err
	}
	name, err := decodeName(in)
	switch {
	case err != nil:
		return nil, unaryFailure(ctx, codes.InvalidArgument, "", id, "The request could not be read.")
	case name == "":
		return nil, unaryFailure(ctx, codes.InvalidArgument, "", id, "The schema id is missing.")
	}
	l := s.bySchema[name]
	if l == nil {
		return nil, unaryFailure(ctx, codes.NotFound, codeSchema, id, "The schema does not exist: "+name+".")
	}
	b := putString(nil, 1, l.JSON)
	b = putString(b, 2, l.SchemaID)
	return putString(b, 3, id), nil
}
