package changes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// masters are what changes say about merges, by record.
func masters(changes []*salesforcev1.Change) map[string]string {
	out := map[string]string{}
	for _, c := range changes {
		if c.GetMergedInto() != "" {
			out[c.GetRecordId()] = c.GetMergedInto()
		}
	}
	return out
}

func TestMergedRecords(t *testing.T) {
	t.Parallel()
	t.Run("a deletion says what a merge put in the record's place, for one question", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.masters, o.bin = map[string]string{bolt: acme, binned: acme}, map[string]bool{binned: true}
		o.batches[accounts] = []pubsub.Batch{batch(event("UPDATE", "r1", acme, binned), event("DELETE", "r2", bolt, hidden), event("UPDATE", "r3", acme))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"UPDATED " + acme, "DELETED " + binned, "DELETED " + bolt, "DELETED " + hidden, "UPDATED " + acme}, kinds(out))
		require.Equal(t, map[string]string{bolt: acme, binned: acme}, masters(out.GetChanges()))
		require.Equal(t, [][]string{{binned, bolt, hidden}}, o.merged)
	})
	t.Run("where nothing was deleted nobody is asked", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.batches[accounts] = []pubsub.Batch{batch(event("CREATE", "r1", acme))}
		run(t, w, "", 2)
		require.Empty(t, o.merged)
	})
	t.Run("an org that does not say who was merged has deletions", func(t *testing.T) {
		t.Parallel()
		o, w := setup(t)
		o.askErr = fault.New(fault.Precondition, rest.ReasonNotWritable, "no such column")
		o.batches[accounts] = []pubsub.Batch{batch(event("DELETE", "r1", bolt))}
		out := run(t, w, "", 2)[1]
		require.Equal(t, []string{"DELETED " + bolt}, kinds(out))
		require.Empty(t, masters(out.GetChanges()))
	})
	t.Run("a merge in a lost range is told", func(t *testing.T) {
		t.Parallel()
		o, w := overflowing(t)
		o.deleted = []rest.Deletion{{ID: binned, At: started}}
		o.masters = map[string]string{binned: acme}
		changes, _ := until(t, w)
		require.Equal(t, map[string]string{binned: acme}, masters(changes))
	})
	t.Run("an org says whom it merged", func(t *testing.T) {
		t.Parallel()
		x := begin(t, settings{})
		ids := x.accounts(3, "a ")
		c := newConsumer()
		x.agree(c)
		x.merge(ids[0], ids[1])
		x.remove("Account", ids[2])
		var told []*salesforcev1.Change
		err := x.watcher.Watch(x.soon(), c.token, nil, func(r *salesforcev1.WatchChangesResponse) error {
			c.store(t, r)
			told = append(told, r.GetChanges()...)
			if len(c.records) == 1 {
				return errStop
			}
			return nil
		})
		require.ErrorIs(t, err, errStop)
		require.Equal(t, map[string]string{rest.FullID(ids[1]): rest.FullID(ids[0])}, masters(told))
		x.advance(16 * 24 * time.Hour)
		said, err := x.crm.Masters(t.Context(), "Account", ids)
		require.NoError(t, err)
		require.Empty(t, said, "the record is forgotten, and with it who took its place")
	})
}
