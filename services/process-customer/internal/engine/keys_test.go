package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	w := enginetest.New(t, storetest.Schema.Open(t, "sqlite"))
	var looks atomic.Int64
	w.Wrap(func(engine.Store) engine.Store {
		return w.Store.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
			if strings.Contains(query, "match_key") {
				looks.Add(1)
			}
			return query, args, nil
		})
	}, nil)
	w.Start()
	first := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "First", golden.TaxID: "DE123456781", golden.PostalCode: "50667"})
	second := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Second", golden.TaxID: "DE123456782", golden.PostalCode: "50667"})
	w.Settle()
	require.Positive(t, looks.Load())
	edit := func(id, field, value string) {
		looks.Store(0)
		w.ERP.Edit(golden.Customer, id, golden.Values{field: value})
		w.Settle()
	}
	owner := func(tax string) golden.ID {
		owners, err := w.Store.Read().Owners(t.Context(), []store.Key{{Object: golden.Customer, Kind: "tax_id", Value: tax}})
		require.NoError(t, err)
		for _, id := range owners {
			return id
		}
		return ""
	}
	a, b := w.Golden(w.ERP, golden.Customer, first).ID, w.Golden(w.ERP, golden.Customer, second).ID
	require.NotEqual(t, a, b)

	edit(second, golden.Phone, "1")
	require.Zero(t, looks.Load(), "an edit of what nobody is recognised by costs no look at keys")

	edit(second, golden.TaxID, "DE123456781")
	require.Positive(t, looks.Load())
	require.Equal(t, a, owner("DE123456781"), "the first owner keeps a key")
	require.Empty(t, owner("DE123456782"), "one that is not used any more is free")

	edit(first, golden.TaxID, "DE123456783")
	require.Equal(t, a, owner("DE123456783"))
	require.Empty(t, owner("DE123456781"))

	edit(second, golden.Phone, "2")
	require.Equal(t, b, owner("DE123456781"), "who had to do without a key takes it with the next edit, whatever that is of")

	edit(second, golden.Phone, "3")
	require.Zero(t, looks.Load())

	require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, "UPDATE golden SET version = version + 1 WHERE id = $1", string(b))
		return err
	}))
	edit(second, golden.Phone, "4")
	require.Positive(t, looks.Load(), "what an earlier release has written since is looked at")
	edit(second, golden.Phone, "5")
	require.Zero(t, looks.Load())
	w.Check()
}
