package processcustomer

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/keys"
	"github.com/selfsame-io/selfsame/pkg/idempotent/redisstore"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// answers is the store of answers to calls with an idempotency key.
type answers struct {
	store idempotent.Store
	// completeTx stores an answer in the transaction of its effect, where the store can.
	completeTx func(ctx context.Context, tx *sql.Tx, resp proto.Message) error
	// eraseTx erases what is kept about a subject in a transaction of the caller, where the store can; else it is nil.
	eraseTx func(ctx context.Context, tx *sql.Tx, subject string) (int, error)
	close   func() error
}

// openAnswers opens the store of answers: in the database of the customers, or in Redis. In the database a call whose effect is
// there is one commit, with its answer. In Redis its key is claimed before and its answer stored after its effect: an attempt that
// dies in between is done again when its lease is over, and finds its effect by the id that follows from the key.
func openAnswers(ctx context.Context, d *db.DB, records *store.Store, cfg Store) (answers, error) {
	secret := []byte(cfg.KeySecret.Reveal())
	if len(secret) == 0 {
		var err error
		if secret, err = records.Secret(ctx, rand.Reader); err != nil {
			return answers{}, err
		}
	}
	old, err := keys.ParseSecrets(cfg.OldKeySecrets.Reveal())
	if err != nil {
		return answers{}, fmt.Errorf("store.old_key_secrets: %w", err)
	}
	if url := cfg.Keys.Reveal(); url != "" {
		s, closeStore, err := redisstore.Open(ctx, url, secret, redisstore.Options{Prefix: Name + ":", OtherSecrets: old})
		if err != nil {
			return answers{}, fmt.Errorf("store.keys: %w", err)
		}
		return answers{s, func(context.Context, *sql.Tx, proto.Message) error { return nil }, nil, closeStore}, nil
	}
	s, err := idempotent.NewSQLStore(d, secret, nil, idempotent.OtherSecrets(old...))
	if err != nil {
		return answers{}, err
	}
	return answers{s, s.CompleteTx, s.EraseTx, func() error { return nil }}, nil
}
