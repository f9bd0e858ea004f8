package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if !testing.Short() {
			d.Rehearse()
		}
		storetest.Run(t, d)
	})
}

// BenchmarkShown is the read behind every screen, on SQLite.
func BenchmarkShown(b *testing.B) {
	d := dbtest.Open(b, "sqlite")
	s, err := store.Open(b.Context(), d)
	require.NoError(b, err)
	id, err := golden.DeriveID(golden.Customer, "shown")
	require.NoError(b, err)
	values := golden.Values{
		golden.Name: "Schröder Immobile 1 GmbH", golden.Phone: "+493000000001", golden.Website: "https://www.customer-1.example", golden.TaxID: "DE100000001",
		golden.Street: "Hauptstraße 2", golden.City: "Leipzig", golden.PostalCode: "10001", golden.Country: "DE", golden.ERPNumber: "10001",
	}
	require.NoError(b, s.Tx(b.Context(), func(ctx context.Context, tx *store.Tx) error {
		g := &store.Golden{Record: golden.Record{ID: id, Object: golden.Customer, Values: values, Version: 1, Created: time.Now(), Updated: time.Now()}}
		return errors.Join(tx.PutGoldens(ctx, []*store.Golden{g}), tx.PutSources(ctx, []*store.Source{
			{Ref: golden.Ref{System: "erp", Object: golden.Customer, RecordID: "1"}, GoldenID: id, Shadow: values},
			{Ref: golden.Ref{System: "salesforce", Object: golden.Customer, RecordID: "1"}, GoldenID: id, Shadow: values},
		}))
	}))
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour) // as a call has
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Brief().Shown(ctx, id); err != nil {
			b.Fatal(err)
		}
	}
}
