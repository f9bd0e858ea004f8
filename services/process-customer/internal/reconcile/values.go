package reconcile

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// A comparison of values reads every record of a system, in pages, and compares each page with what is known of its records.
// What is not in the pages shows by ranges of keys: of each range it is summed up how many records there are and what the hashes of
// their ids add up to, on both sides. Only in a range that differs are records asked for. A key is the hash of an id, because no
// system promises an order in which it lists. So a page and the ranges are all that is held, however many records there are.

const (
	// rangeSize is how many records a range is to have: as many as one call reads.
	rangeSize = fetchSize
	// maxRanges bounds the ranges, and so what they need: 1 MiB.
	maxRanges = 1 << 16
	// knownPage is how many ids are read at once of what is known.
	knownPage = 5000
	// maxListings is how often a listing is begun of which the system forgets the pages.
	maxListings = 3
)

// ranges is by how much a system has more records than are known, by range of keys.
type ranges struct {
	seed  maphash.Seed
	shift int
	more  []keyRange
}

type keyRange struct {
	count int64
	sum   uint64
}

// newRanges returns ranges for so many records.
func newRanges(records int64) *ranges {
	n := bits.Len64(uint64(min(max(0, records)/rangeSize, maxRanges-1))) //nolint:gosec // not negative
	return &ranges{seed: maphash.MakeSeed(), shift: 64 - n, more: make([]keyRange, 1<<n)}
}

// of returns the range of an id, and its hash.
func (r *ranges) of(id string) (*keyRange, uint64) {
	h := maphash.String(r.seed, id)
	return &r.more[h>>r.shift], h
}

func (r *ranges) there(id string) {
	k, h := r.of(id)
	k.count, k.sum = k.count+1, k.sum+h
}

func (r *ranges) here(id string) {
	k, h := r.of(id)
	k.count, k.sum = k.count-1, k.sum-h
}

// differs reports whether the range of an id has other records in the system than are known.
func (r *ranges) differs(id string) bool {
	k, _ := r.of(id)
	return *k != keyRange{}
}

// some reports whether any range differs.
func (r *ranges) some() bool {
	for _, k := range r.more {
		if k != (keyRange{}) {
			return true
		}
	}
	return false
}

// reading is a comparison of the values of one kind of record.
type reading struct {
	c        *comparison
	obj      golden.Object
	records  int64 // about how many there are
	met      *ranges
	suspects []string // that are not judged yet
}

// values compares the records of one kind value by value. It says nothing about stamps: the next comparison by digests begins where
// it would have begun anyway.
func (c *comparison) values(ctx context.Context, obj golden.Object) error {
	records, err := c.r.count(ctx)
	if err != nil {
		return err
	}
	r := reading{c: c, obj: obj, records: records[c.run.System]}
	if err := r.pages(ctx); err != nil {
		return err
	}
	known := int64(0)
	err = c.known(ctx, obj, func(ids []string) error {
		for _, id := range ids {
			r.met.here(id)
		}
		known += int64(len(ids))
		return nil
	})
	if err != nil {
		return err
	}
	c.run.Compared += known
	c.readCalls += c.sys.ReadCalls(known)
	if r.met.some() {
		err = c.known(ctx, obj, func(ids []string) error {
			return r.suspect(ctx, slices.DeleteFunc(ids, func(id string) bool { return !r.met.differs(id) }))
		})
	}
	if err != nil {
		return err
	}
	return c.judge(ctx, obj, r.suspects)
}

// suspect has records judged, so many at a time that no call is made for few.
func (r *reading) suspect(ctx context.Context, ids []string) error {
	r.suspects = append(r.suspects, ids...)
	slices.Sort(r.suspects) // a page and a range may name the same one
	r.suspects = slices.Compact(r.suspects)
	n := len(r.suspects) - len(r.suspects)%fetchSize
	if err := r.c.judge(ctx, r.obj, r.suspects[:n]); err != nil {
		return err
	}
	r.suspects = append(r.suspects[:0], r.suspects[n:]...)
	return nil
}

// pages reads all that the system has and compares it page by page.
func (r *reading) pages(ctx context.Context) error {
	c, begun := r.c, 1
	r.met = newRanges(r.records)
	for token := ""; ; {
		recs, next, err := c.sys.List(ctx, r.obj, token)
		if cerr := c.called(ctx, 1); err == nil {
			err = cerr
		}
		if fault.ReasonOf(err) == fault.ReasonPageTokenInvalid && token != "" && begun < maxListings {
			c.r.log.InfoContext(ctx, "listing begins again", slog.String(telemetry.KeySystem, c.run.System), slog.String(telemetry.KeyObject, string(r.obj)))
			r.met, token, begun = newRanges(r.records), "", begun+1
			continue
		}
		if err != nil {
			return err
		}
		if err := r.page(ctx, recs); err != nil {
			return err
		}
		if token = next; token == "" {
			return nil
		}
	}
}

// page compares one page. What seems to differ is read again, because it may have changed since.
func (r *reading) page(ctx context.Context, recs []source.Record) error {
	ids := make([]string, 0, len(recs))
	for i := range recs {
		if !recs[i].Deleted {
			ids = append(ids, recs[i].Ref.RecordID)
			r.met.there(recs[i].Ref.RecordID)
		}
	}
	held, err := r.c.r.store.Read().Contents(ctx, r.c.run.System, r.obj, ids)
	if err != nil {
		return err
	}
	var suspects []string
	for i := range recs {
		rec := &recs[i]
		if rec.Deleted {
			continue
		}
		row := held[rec.Ref.RecordID]
		f, news := r.c.difference(rec, row, row != nil && rec.Version < row.Version)
		if f.Kind != "" || (news && r.c.run.Repair) {
			suspects = append(suspects, rec.Ref.RecordID)
		}
	}
	return r.suspect(ctx, suspects)
}

// known calls fn with the ids of the live records that are known, in pages.
func (c *comparison) known(ctx context.Context, obj golden.Object, fn func(ids []string) error) error {
	for after := ""; ; {
		ids, err := c.r.store.Read().LiveIDs(ctx, c.run.System, obj, after, knownPage)
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		if err := fn(ids); err != nil {
			return err
		}
		if err := c.called(ctx, 0); err != nil { // the run stays ours
			return err
		}
	}
}
