// Package keystore opens the store of idempotency keys of this service.
//
// The problem: a platform event has no key in Salesforce, so only the key of the call tells that it was published already. The
// invariant: keys outlive the process and are the same for all replicas, and so is the secret that hides them.
//
// What a key means is package idempotent.
package keystore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// purgeEvery is how often answers that are too old are removed.
const purgeEvery = time.Minute

//go:embed migrations/*.sql
var migrations embed.FS

// Open returns the store of keys in d. Without a secret it uses one of the database's own, made on first use. Keys from the time of
// one of the old secrets are still found. The caller closes d.
func Open(ctx context.Context, d *db.DB, secret []byte, old ...[]byte) (*idempotent.SQLStore, error) {
	if len(secret) == 0 {
		var err error
		if secret, err = ownSecret(ctx, d); err != nil {
			return nil, err
		}
	}
	return idempotent.NewSQLStore(d, secret, nil, idempotent.OtherSecrets(old...))
}

func ownSecret(ctx context.Context, d *db.DB) ([]byte, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open the store of keys: %w", err)
	}
	if err := d.Migrate(ctx, files, "salesforce_key_migration"); err != nil {
		return nil, fmt.Errorf("open the store of keys: %w", err)
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	var secret []byte
	err = d.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO salesforce_key_secret (id, secret) VALUES (1, $1) ON CONFLICT (id) DO NOTHING", fresh); err != nil {
			return fmt.Errorf("make the secret of the keys: %w", err)
		}
		if err := tx.QueryRowContext(ctx, "SELECT secret FROM salesforce_key_secret WHERE id = 1").Scan(&secret); err != nil {
			return fmt.Errorf("read the secret of the keys: %w", err)
		}
		return nil
	})
	return secret, err
}

// Desk returns what operators see of the keys, and shows in metrics what the store holds until stop is called.
func Desk(ctx context.Context, d *db.DB, store *idempotent.SQLStore, tel *telemetry.Telemetry) (desk *keys.Server, stop func() error, err error) {
	log, err := keys.OpenLog(ctx, d, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log of the keys: %w", err)
	}
	if stop, err = idempotent.Observe(tel.Meter, store); err != nil {
		return nil, nil, fmt.Errorf("observe the keys: %w", err)
	}
	desk, err = keys.New(store, log, tel.Log, tel.Meter)
	return desk, stop, err
}

// Forget removes answers after their retention until ctx ends.
func Forget(ctx context.Context, store *idempotent.SQLStore, tel *telemetry.Telemetry) error {
	return idempotent.Sweep(ctx, store, purgeEvery, tel.Log, tel.Meter)
}
