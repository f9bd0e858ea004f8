package pubsub

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/managed"
)

func (s *Server) managedSubscribe(stream grpc.ServerStream) error {
	return s.follow(stream, decodeManaged, (*subscription).openManaged)
}

// openManaged checks the first request, which names the subscription. The
// stream goes on where the last commit left off.
func (s *subscription) openManaged(r fetchRequest) error {
	key := r.subscription
	if key == "" {
		key = r.name
	}
	known := s.server.opt.Managed
	m, ok := known.Find(key)
	if !ok || r.subscription != "" && r.name != "" && m.DeveloperName != r.name {
		return s.fail(&refusal{codes.NotFound, codeManaged, "The managed event subscription does not exist: " + key + "."})
	}
	s.managed = m.ID
	if err := s.running(); err != nil {
		return err
	}
	if err := s.choose(m.Topic); err != nil {
		return err
	}
	if err := s.ask(r); err != nil {
		return err
	}
	s.cursor = s.resume(known.Position(m.ID), m)
	s.fresh = true
	if r.commit != nil {
		return s.commit(*r.commit)
	}
	return nil
}

// resume finds the position to go on from.
func (s *subscription) resume(position []byte, m managed.Subscription) *event.Cursor {
	bus, from := s.server.opt.Bus, m.DefaultReplay
	if position != nil {
		c, err := bus.After(position)
		if err == nil && !s.fires(faults.CorruptReplay) {
			return c
		}
		from = m.ErrorRecovery
	}
	if from == managed.Earliest {
		return bus.Earliest()
	}
	return bus.Latest()
}

// running checks that a managed subscription still exists and is not stopped.
func (s *subscription) running() error {
	if s.managed == "" {
		return nil
	}
	m, ok := s.server.opt.Managed.Find(s.managed)
	switch {
	case !ok:
		return s.fail(&refusal{codes.NotFound, codeManaged, "The managed event subscription does not exist: " + s.managed + "."})
	case m.State != managed.Run:
		return s.fail(&refusal{codes.FailedPrecondition, codeStopped, "The managed event subscription is stopped: " + m.DeveloperName + "."})
	}
	return nil
}

// same refuses a later request that names another subscription.
func (s *subscription) same(r fetchRequest) error {
	if s.managed == "" {
		return nil
	}
	for _, key := range []string{r.subscription, r.name} {
		if key == "" {
			continue
		}
		if m, ok := s.server.opt.Managed.Find(key); !ok || m.ID != s.managed {
			return s.fail(&refusal{codes.InvalidArgument, "", "The managed subscription of a stream cannot change."})
		}
	}
	return nil
}

// commit keeps a position if the bus knows it, and answers.
func (s *subscription) commit(r commitRequest) error {
	b := putString(nil, 1, r.id)
	b = putBytes(b, 2, r.replayID)
	if _, err := s.server.opt.Bus.After(r.replayID); err != nil {
		b = putError(b, 3, errorCommit, "The replay ID is not valid and was not committed.")
	} else {
		s.server.opt.Managed.Commit(s.managed, r.replayID)
	}
	return s.send(nil, putVarint(b, 4, uint64(s.server.opt.Now().UnixMilli())))
}
