package sourcetest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

var errEnough = errors.New("enough")

// watchUntil watches from token until enough says so and returns the last token. The first batch is given to started.
func watchUntil(t *testing.T, sys source.System, token string, started func(), enough func(source.Change) bool) string {
	t.Helper()
	last, first := "", true
	err := sys.Watch(deadline(t), token, func(b source.Batch) error {
		require.NotEmpty(t, b.Token)
		last = b.Token
		if first {
			first = false
			started()
		}
		for _, c := range b.Changes {
			if enough(c) {
				return errEnough
			}
		}
		return nil
	})
	require.ErrorIs(t, err, errEnough)
	return last
}

func watchNow(t *testing.T, sys source.System, people People) {
	before := people.Create(golden.Customer, "", golden.Values{golden.Name: "Before"})
	id := ""
	watchUntil(t, sys, "", func() {
		id = people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	}, func(c source.Change) bool {
		require.NotEqual(t, before, c.Ref.RecordID, "an empty token starts now")
		if c.Ref.RecordID != id {
			return false
		}
		require.NotEmpty(t, c.ID)
		require.Equal(t, golden.Ref{System: sys.Name(), Object: golden.Customer, RecordID: id}, c.Ref)
		require.NotNil(t, c.Record)
		require.Equal(t, "Acme", c.Record.Values[golden.Name])
		require.False(t, c.CommitTime.IsZero())
		return true
	})
}

func watchResume(t *testing.T, sys source.System, people People) {
	var first, second string
	token := watchUntil(t, sys, "", func() {
		first = people.Create(golden.Customer, "", golden.Values{golden.Name: "One"})
	}, func(c source.Change) bool { return c.Ref.RecordID == first })
	second = people.Create(golden.Customer, "", golden.Values{golden.Name: "Two"})
	watchUntil(t, sys, token, func() {}, func(c source.Change) bool {
		require.NotEqual(t, first, c.Ref.RecordID, "a change before the token came again")
		return c.Ref.RecordID == second
	})
}

func watchDelete(t *testing.T, sys source.System, people People) {
	id := people.Create(golden.Customer, "", golden.Values{golden.Name: "Acme"})
	watchUntil(t, sys, "", func() { people.Delete(golden.Customer, id) }, func(c source.Change) bool {
		if c.Ref.RecordID != id || !c.Deleted {
			return false
		}
		require.Nil(t, c.Record)
		return true
	})
}

func watchBadToken(t *testing.T, sys source.System, _ People) {
	err := sys.Watch(deadline(t), "no token at all", func(source.Batch) error { return nil })
	require.Error(t, err)
	require.False(t, fault.Retryable(err))
}

func watchEnds(t *testing.T, sys source.System, _ People) {
	ctx, cancel := context.WithCancel(deadline(t))
	err := sys.Watch(ctx, "", func(source.Batch) error { cancel(); return nil })
	require.Equal(t, fault.Canceled, fault.KindOf(err))
	err = sys.Watch(deadline(t), "", func(source.Batch) error { return errEnough })
	require.ErrorIs(t, err, errEnough)
}
