package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Channel is a custom channel: a topic that carries the change events of
// several objects, or several platform events.
type Channel struct {
	// Name ends in __chn.
	Name string `json:"name"`
	// Members are names of objects, or of platform events; not both.
	Members []string `json:"members"`
}

// Topic is the name that clients subscribe to.
func (c Channel) Topic() string {
	if len(c.Members) > 0 && strings.HasSuffix(c.Members[0], eventSuffix) {
		return "/event/" + c.Name
	}
	return "/data/" + c.Name
}

// Managed is a managed event subscription, whose position the server keeps.
type Managed struct {
	DeveloperName string `json:"developerName"`
	TopicName     string `json:"topicName"`
	// State is RUN or STOP; empty means RUN.
	State string `json:"state"`
	// DefaultReplay is where a subscription without a position starts, and
	// ErrorRecoveryReplay where it goes on if its position is lost: LATEST or
	// EARLIEST; empty means LATEST.
	DefaultReplay       string `json:"defaultReplay"`
	ErrorRecoveryReplay string `json:"errorRecoveryReplay"`
}

// eventSuffix marks platform events among the objects of a schema file.
const eventSuffix = "__e"

// Event reports whether the object is a platform event: something that is
// published and never stored.
func (o *Object) Event() bool { return strings.HasSuffix(o.Name, eventSuffix) }

// prefixLetter begins the key prefixes that are given in order.
func (o *Object) prefixLetter() rune {
	if o.Event() {
		return 'e'
	}
	return 'a'
}

// expandEvent adds the fields that every platform event has.
func (o *Object) expandEvent() {
	o.Fields = append([]*Field{
		{Name: "CreatedDate", Label: "Created Date", Type: DateTime, Sys: SysCreated},
		{Name: "CreatedById", Label: "Created By ID", Type: Reference, ReferenceTo: []string{"User"}, Relationship: "CreatedBy", Sys: SysCreatedBy},
	}, o.Fields...)
}

// checkTopics refuses channels and managed subscriptions that could not work.
func (s *Schema) checkTopics() error {
	for _, o := range s.Objects {
		if o.Event() != (o.Prefix[0] == 'e') {
			return fmt.Errorf("object %s: key prefixes that begin with e are those of platform events", o.Name)
		}
	}
	var names []string
	for _, c := range s.Channels {
		if !strings.HasSuffix(c.Name, "__chn") || len(c.Members) == 0 {
			return fmt.Errorf("channel %q does not end in __chn or has no members", c.Name)
		}
		for _, m := range c.Members {
			o := s.Object(m)
			if o == nil {
				return fmt.Errorf("channel %s: the object %s is unknown", c.Name, m)
			}
			if o.Event() != strings.HasPrefix(c.Topic(), "/event/") {
				return fmt.Errorf("channel %s mixes objects and platform events", c.Name)
			}
		}
		if slices.Contains(names, c.Name) {
			return fmt.Errorf("channel %s is defined twice", c.Name)
		}
		names = append(names, c.Name)
	}
	for _, m := range s.Managed {
		if m.DeveloperName == "" || m.TopicName == "" {
			return fmt.Errorf("managed subscription %q has no developer name or no topic", m.DeveloperName)
		}
	}
	return nil
}
