package tryton

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// TestReplaced has somebody in Tryton replace a party by another one, with Tryton's own wizard: it is told as a merge.
func TestReplaced(t *testing.T) {
	cfg := real(t)
	if testing.Short() {
		t.Skip("one of the long ones: make test-full runs it; the fast tests run a part of the suite on the same server")
	}
	sys := reach(t, cfg)
	ctx := t.Context()
	of := "Twin " + rand.Text() // of different names, the wizard warns
	make := func(key string) string {
		id, err := outside{sys}.Make(ctx, of, erp.Ref{System: "selfsame", Type: "customer", Value: of + key})
		require.NoError(t, err)
		return id
	}
	stays, goes := make("a"), make("b")
	source, _ := number(goes)
	destination, _ := number(stays)
	var wizard []any
	require.NoError(t, sys.client.call(ctx, true, &wizard, "wizard.party.replace.create", sys.context(ctx, nil)))
	staff{sys, t}.do("wizard.party.replace.execute", wizard[0], map[string]any{"ask": map[string]any{"source": source, "destination": destination}}, "replace")

	into := map[string]string{}
	see := func(list []snapshot) error {
		for _, s := range list {
			if s.Record.Deleted {
				into[s.Record.ID] = s.Record.MergedInto
			}
		}
		return nil
	}
	read, err := parties{sys}.Read(ctx, []string{stays, goes})
	require.NoError(t, err)
	require.Len(t, read, 2)
	require.NoError(t, see(read))
	require.Equal(t, map[string]string{goes: stays}, into)
	since := read[0].Record.Updated // by Tryton's clock
	for _, s := range read {
		if s.Record.Deleted {
			since = s.Record.Updated
		}
	}
	clear(into)
	require.NoError(t, parties{sys}.Changed(ctx, since.Add(-time.Second), see), "whoever looks for changes finds it")
	require.Equal(t, stays, into[goes])
}
