package storetest

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// Schema gives a test an empty database with the schema of today.
var Schema = dbtest.NewTemplate(func(ctx context.Context, d *db.DB) error {
	_, err := store.Open(ctx, d)
	return err
})
