package write

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// collections sends the rows in batches, several at a time: over a network most of a call is waiting. Rows of objects that belong to
// a parent go one batch after the other, for those of one parent would lock each other out. A record that comes again ends the batch
// before, and waits for it, so that the later values stay.
func (s *stream) collections(ctx context.Context) error {
	f := &flights{stream: s, ctx: ctx, keys: map[string]bool{}}
	f.landed.L = &f.mu
	err := f.run()
	return errors.Join(err, f.group.Wait())
}

// together is how many batches may be on their way now.
func (s *stream) together(ctx context.Context) int {
	if s.load.Object.Parent() != "" {
		return 1
	}
	return max(1, s.w.o.Together(ctx))
}

// parcel is what one call carries; no key comes twice.
type parcel struct {
	rows []Row
	keys map[string]bool
}

// flights are the calls of one load that are on their way. Those that are answered are joined by group.
type flights struct {
	*stream
	ctx   context.Context //nolint:containedctx // of the one call of collections
	group errgroup.Group

	telling sync.Mutex // held while sink is called
	mu      sync.Mutex
	landed  sync.Cond // a call was told
	flying  int
	keys    map[string]bool // of records whose calls have not been told
	failed  bool            // the sink did: nothing more is sent
}

func (f *flights) run() error {
	p := parcel{keys: map[string]bool{}}
	for {
		row, err := f.take()
		if errors.Is(err, io.EOF) {
			f.send(p)
			return nil
		}
		if err != nil {
			return err
		}
		row.own = true
		key := strings.ToLower(row.ExternalID)
		if len(p.rows) == rest.MaxWrite || p.keys[key] {
			if !f.send(p) {
				return nil // the group says why
			}
			p = parcel{keys: map[string]bool{}}
		}
		p.keys[key] = true
		p.rows = append(p.rows, row)
	}
}

// send lets a parcel go as soon as there is room, and none of its records is on its way. It reports whether more may be sent. It waits
// only for calls that are on their way, each of which ends, at the latest with the context.
func (f *flights) send(p parcel) bool {
	if len(p.rows) == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.failed && f.flying > 0 && (f.flying >= f.together(f.ctx) || f.crosses(p)) {
		f.landed.Wait()
	}
	if f.failed {
		return false
	}
	f.flying++
	for key := range p.keys {
		f.keys[key] = true
	}
	f.group.Go(func() error { return f.call(p) })
	return true
}

// crosses reports whether a record of the parcel is on its way already. f.mu must be held.
func (f *flights) crosses(p parcel) bool {
	for key := range p.keys {
		if f.keys[key] {
			return true
		}
	}
	return false
}

// call writes a parcel and tells what became of it. An error is the sink's.
func (f *flights) call(p parcel) error {
	told := false
	defer func() { f.land(p, told) }()
	err := f.tell(p, f.w.Batch(f.ctx, f.load.Object, p.rows))
	told = err == nil
	return err
}

// land makes room for the next parcel.
func (f *flights) land(p parcel, told bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying--
	for key := range p.keys {
		delete(f.keys, key)
	}
	f.failed = f.failed || !told
	f.landed.Signal() // only one sends
}

func (f *flights) tell(p parcel, outcomes []Outcome) error {
	f.telling.Lock()
	defer f.telling.Unlock()
	for i, o := range outcomes {
		if err := f.sink(p.rows[i].ExternalID, o); err != nil {
			return err
		}
	}
	return nil
}
