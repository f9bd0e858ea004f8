package bulk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// Sweep aborts upsert jobs of the own user that have waited for their rows longer than olderThan and belong to no load that is
// kept here: their making was answered, but the answer was lost. It returns how many. Other clients of the same user must not let
// a job wait for so long.
func (c *Client) Sweep(ctx context.Context, olderThan time.Duration) (int, error) {
	known, err := c.jobs()
	if err != nil {
		return 0, err
	}
	user, err := c.self(ctx)
	if err != nil {
		return 0, err
	}
	limit := c.o.Now().Add(-olderThan)
	swept := 0
	x := rest.Exchange{Method: http.MethodGet, Path: ingestPath, Query: url.Values{"jobType": {"V2Ingest"}}}
	for {
		var page struct {
			Done    bool      `json:"done"`
			Records []jobInfo `json:"records"`
			Next    string    `json:"nextRecordsUrl"`
		}
		if err := c.persist(ctx, func() error { return c.ask(ctx, x, nil, &page) }); err != nil {
			return swept, err
		}
		for _, j := range page.Records {
			made, err := time.Parse("2006-01-02T15:04:05.000-0700", j.Created)
			if err != nil || j.State != stateOpen || j.Operation != "upsert" || j.CreatedBy != user || known[j.ID] || !made.Before(limit) || !jobID.MatchString(j.ID) {
				continue
			}
			if err := c.persist(ctx, func() error { return c.change(ctx, j.ID, stateAborted) }); err != nil {
				return swept, err
			}
			swept++
		}
		if page.Done || !strings.HasPrefix(page.Next, "/services/data/") {
			return swept, nil
		}
		x = rest.Exchange{Method: http.MethodGet, Path: page.Next}
	}
}

// jobs are those of all loads that are kept or running.
func (c *Client) jobs() (map[string]bool, error) {
	entries, err := os.ReadDir(c.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of bulk loads: %w", err)
	}
	out := map[string]bool{}
	c.mu.Lock()
	for _, l := range c.running {
		l.mu.Lock()
		if l.j != nil { // one without a name is written nowhere
			l.j.all(func(p *part) { out[p.Job] = true })
		}
		l.mu.Unlock()
	}
	c.mu.Unlock()
	for _, e := range entries {
		j, err := read(filepath.Join(c.o.Dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if j != nil {
			j.all(func(p *part) { out[p.Job] = true })
		}
	}
	return out, nil
}

// self is the id of the user whose session is used.
func (c *Client) self(ctx context.Context) (string, error) {
	if id := c.user.Load(); id != nil && *id != "" {
		return *id, nil
	}
	var info struct {
		ID string `json:"user_id"`
	}
	if err := c.persist(ctx, func() error {
		return c.ask(ctx, rest.Exchange{Method: http.MethodGet, Path: "/services/oauth2/userinfo"}, nil, &info)
	}); err != nil {
		return "", err
	}
	if info.ID == "" {
		return "", fault.New(fault.Unavailable, rest.ReasonAnswerInvalid, "Salesforce does not say who is logged in")
	}
	c.user.Store(&info.ID)
	return info.ID, nil
}

// Kept reports whether an unfinished load has this name: Upsert with it goes on with that load, however few rows are given.
func (c *Client) Kept(load string) bool {
	if load == "" {
		return false
	}
	j, err := read(c.folder(load))
	return j != nil || err != nil // what cannot be read is for Upsert to refuse
}

const (
	tendEvery = 6 * time.Hour
	// endEvery is how often jobs of loads that ended early are looked for that could not be ended at once.
	endEvery = time.Minute
	// orphaned is how long a job waits for its rows before it is taken for lost.
	orphaned = 24 * time.Hour
	// forgotten is how long a load may stand still: a day longer than Salesforce keeps its jobs.
	forgotten = 8 * 24 * time.Hour
)

// Tend looks after what dead processes left behind until ctx ends, at the priority of audits: it aborts jobs that nobody knows, and
// drops loads that nobody has gone on with for so long that Salesforce has forgotten their jobs. What fails is tried again later.
func (c *Client) Tend(ctx context.Context) error {
	ctx = priority.With(ctx, priority.Audit)
	removal, err := telemetry.NewRemoval(c.o.Meter.Meter(scope), "bulk leftovers", tendEvery)
	if err != nil {
		return err
	}
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	soon := time.NewTicker(endEvery)
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-soon.C:
			if err := c.EndLeftovers(ctx); err != nil && ctx.Err() == nil {
				c.o.Log.LogAttrs(ctx, slog.LevelWarn, "jobs of ended bulk loads not ended yet", slog.String("reason", fault.ReasonOf(err)))
			}
			continue
		case <-tick.C:
		}
		c.tend(ctx, removal)
	}
}

func (c *Client) tend(ctx context.Context, removal *telemetry.Removal) {
	swept, err := c.Sweep(ctx, orphaned)
	dropped, err2 := c.drop(forgotten)
	if err := errors.Join(err, err2); removal.Done(ctx, err) {
		c.o.Log.LogAttrs(ctx, slog.LevelWarn, "bulk leftovers not looked after", slog.String("error", err.Error()))
	}
	if swept+dropped > 0 {
		c.o.Log.LogAttrs(ctx, slog.LevelInfo, "bulk leftovers removed", slog.Int("jobs", swept), slog.Int("loads", dropped))
	}
}

// drop removes loads that stand still.
func (c *Client) drop(after time.Duration) (int, error) {
	entries, err := os.ReadDir(c.o.Dir)
	if err != nil {
		return 0, fmt.Errorf("read the folder of bulk loads: %w", err)
	}
	n := 0
	for _, e := range entries {
		dir := filepath.Join(c.o.Dir, e.Name())
		if !strings.HasPrefix(e.Name(), named) || c.isRunning(dir) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, journalFile))
		if errors.Is(err, fs.ErrNotExist) {
			info, err = os.Stat(dir)
		}
		if err != nil {
			return n, fmt.Errorf("look at a bulk load: %w", err)
		}
		if c.o.Now().Sub(info.ModTime()) < after {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return n, fmt.Errorf("drop a bulk load: %w", err)
		}
		n++
	}
	return n, nil
}
