package remote

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Meet asks the other system once who it is and what it can do; after that it costs nothing. While it is away, or lacks what is
// needed, this fails, and with it Capabilities and every write.
func (s *Store) Meet(ctx context.Context) error {
	if s.caps.Load() != nil {
		return nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.sys.Ping(ctx); err != nil {
		return fmt.Errorf("meet the ERP: %w", err)
	}
	c, err := s.Capabilities(ctx)
	if err != nil {
		return fmt.Errorf("ask the ERP what it can do: %w", err)
	}
	level := slog.LevelInfo
	if len(c.Missing) > 0 {
		level = slog.LevelWarn
	}
	s.o.Log.Log(ctx, level, "the ERP is known", "backend", c.Kind, "release", c.Release, "missing", c.Missing)
	return nil
}

// look meets the other system if that is still to be done, and looks for changes. It tells how long the other system wants to be
// left alone, and what came of it is on the gauge.
func (s *Store) look(ctx context.Context) (rest time.Duration) {
	err := s.Meet(ctx)
	if err == nil {
		err = s.Sync(ctx)
	}
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		s.o.Log.WarnContext(ctx, "changes of the ERP cannot be read", "reason", fault.ReasonOf(err), "error", err)
	}
	s.counters.connected(ctx, err == nil)
	return min(fault.RetryAfter(err), time.Hour)
}
