package target

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Rows is a table of ours whose unique constraint decides who was first.
type Rows[Req, Res any] interface {
	// Insert makes the row; a violation of the constraint is returned as the driver's error. What must happen together
	// with the row happens in tx.
	Insert(ctx context.Context, tx *sql.Tx, key string, req Req) (Res, error)
	// Find returns the row with the key.
	Find(ctx context.Context, q db.Querier, key string) (Res, bool, error)
	// Same reports whether the row is what req asks for.
	Same(stored Res, req Req) bool
}

// Unique has an effect that is a row in our own database. It reads first, so that a repeated call writes nothing; the
// constraint decides between simultaneous ones. It cannot make anything outside the database happen once.
type Unique[Req, Res any] struct {
	// DB is the database, Rows the table.
	DB   *db.DB
	Rows Rows[Req, Res]
}

// maxRaces is how often a row that was there and is not is made again.
const maxRaces = 5

// Do implements Effect.
func (u Unique[Req, Res]) Do(ctx context.Context, key string, req Req) (res Res, err error) {
	if res, ok, err := u.find(ctx, key, req); ok || err != nil {
		return res, err
	}
	for range maxRaces {
		err = u.DB.Tx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			res, err = u.Rows.Insert(ctx, tx, key, req)
			return err
		})
		switch {
		case err == nil:
			return res, nil
		case !db.IsUnique(err) && !fault.Is(err, fault.Uncertain):
			return res, err
		}
		// Another was first, or our own commit was cut off: the row tells. On SQLite the other's may not be committed yet;
		// an empty transaction commits behind it, unless a third one spoiled the group and it runs again.
		if waitErr := u.DB.Tx(ctx, func(context.Context, *sql.Tx) error { return nil }); waitErr != nil {
			return res, waitErr
		}
		if res, ok, err := u.find(ctx, key, req); ok || err != nil {
			return res, err
		}
	}
	return res, fault.Wrap(fault.Conflict, "", err, "the row was there and is not; try again")
}

func (u Unique[Req, Res]) find(ctx context.Context, key string, req Req) (res Res, ok bool, err error) {
	res, ok, err = u.Rows.Find(ctx, u.DB.Read(), key)
	if err != nil {
		return res, false, fmt.Errorf("look up the effect: %w", err)
	}
	if ok && !u.Rows.Same(res, req) {
		var none Res
		return none, false, reused()
	}
	return res, ok, nil
}
