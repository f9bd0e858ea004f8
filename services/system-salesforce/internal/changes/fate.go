package changes

import (
	"context"
	"log/slog"
	"maps"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// fate is what the org says about a record that an event or a list names.
type fate uint8

const (
	// unreadable is a record that is not returned and that nobody says is deleted: a sharing rule hides it, or it was purged and
	// its deletion comes as an event of its own. Nothing is sent about it, so whoever knows the record keeps it.
	unreadable fate = iota
	// alive is a record that was read.
	alive
	// deleted is a record that the org says is deleted.
	deleted
)

// sampleIDs is how many ids of unreadable records one line of the log names.
const sampleIDs = 10

// reading is what the org said about some records.
type reading struct {
	rows map[string]rest.Record
	gone map[string]bool
	// masters are the records that merges put in the place of others, by the id of the other.
	masters map[string]string
}

func newReading() *reading {
	return &reading{rows: map[string]rest.Record{}, gone: map[string]bool{}, masters: map[string]string{}}
}

func (r *reading) fate(id string) fate {
	switch {
	case r.rows[id] != nil:
		return alive
	case r.gone[id]:
		return deleted
	}
	return unreadable
}

// without returns the ids about which nothing is known.
func (r *reading) without(ids []string) (out []string) {
	for _, id := range ids {
		if r.fate(id) == unreadable {
			out = append(out, id)
		}
	}
	return out
}

// read reads records by id. A record that is not returned is not deleted for that: the org is asked, once for all of them.
func (w *Watcher) read(ctx context.Context, s *source, ids []string, size int, columns []string, into *reading) error {
	if err := w.retrieve(ctx, s, ids, size, columns, into.rows); err != nil {
		return err
	}
	rest := into.without(ids)
	if len(rest) == 0 {
		return nil
	}
	said, err := w.isDeleted(ctx, s, rest)
	if err != nil {
		return err
	}
	var back []string
	for _, id := range rest {
		switch is, ok := said[id]; {
		case ok && is:
			into.gone[id] = true
		case ok: // it can be read now
			back = append(back, id)
		}
	}
	if err := w.retrieve(ctx, s, back, size, columns, into.rows); err != nil {
		return err
	}
	if hidden := into.without(rest); len(hidden) > 0 {
		w.metrics.hidden(ctx, s.name, len(hidden))
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "changed records cannot be read, their changes are left out", slog.String("object", s.name),
			slog.Int("count", len(hidden)), slog.Any("records", hidden[:min(len(hidden), sampleIDs)]))
	}
	return nil
}

// isDeleted asks which records are deleted. An object that knows no deletion says nothing about any.
func (w *Watcher) isDeleted(ctx context.Context, s *source, ids []string) (said map[string]bool, err error) {
	err = w.patiently(ctx, s.name, "which records are deleted", func() (err error) {
		said, err = w.o.Records.IsDeleted(ctx, s.sobject, ids)
		return err
	})
	if fault.Is(err, fault.Precondition) {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "the org does not say which records are deleted", slog.String("object", s.name),
			slog.String("reason", fault.ReasonOf(err)))
		return nil, nil
	}
	return said, err
}

// merges says whether records of an object can be merged in Salesforce. These are all that can; other objects have no MasterRecordId.
func (s *source) merges() bool {
	switch strings.ToLower(s.sobject) {
	case "account", "contact", "lead", "case":
		return true
	}
	return false
}

// mastersOf asks which of some deleted records were merged into others: no event says that. An org that does not say merges none.
func (w *Watcher) mastersOf(ctx context.Context, s *source, ids []string, into map[string]string) error {
	if len(ids) == 0 || !s.merges() {
		return nil
	}
	var said map[string]string
	err := w.patiently(ctx, s.name, "which records were merged", func() (err error) {
		said, err = w.o.Records.Masters(ctx, s.sobject, ids)
		return err
	})
	if fault.Is(err, fault.Precondition) {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "the org does not say which records were merged", slog.String("object", s.name),
			slog.String("reason", fault.ReasonOf(err)))
		return nil
	}
	if err != nil {
		return err
	}
	w.metrics.mergedRecords(ctx, s.name, len(said))
	maps.Copy(into, said)
	return nil
}
