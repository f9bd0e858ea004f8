package remote_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db/dbtest"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/system-erp/adapter"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// What is kept of answers about a record of a foreign ERP goes in the transaction that notes its end, and whoever reads the ERP
// after a crash notes it: nobody has to ask for the deletion again.
func TestDelete_WhoseProcessDiesBeforeItIsNoted(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dbtest.DSN(t, engine) // skips where there is none
			l, c, dsn := newLedger(), newClock(), template.DSN(t, engine)
			start := func() (*adapter.Store, *idempotent.SQLStore) {
				var answers *idempotent.SQLStore
				s, d := openRemote(t, dsn, l, c, func(o *adapter.Options) {
					o.Gone = func(ctx context.Context, tx *sql.Tx, ids []string) error {
						for _, id := range ids {
							if _, err := answers.EraseTx(ctx, tx, id); err != nil {
								return err
							}
						}
						return nil
					}
				})
				l.onDie(func() { _ = d.Close() })
				var err error
				answers, err = idempotent.NewSQLStore(d, []byte("0123456789abcdef"), nil)
				require.NoError(t, err)
				return s, answers
			}
			s, answers := start()
			kept := func(id string) idempotent.Result {
				res, err := answers.Begin(t.Context(), idempotent.Claim{
					Scope: idempotent.Scope{Key: id}, Fingerprint: []byte("f"), Owner: []byte("o"), Lease: time.Minute, Retention: time.Hour,
				})
				require.NoError(t, err)
				return res
			}
			var ids []string
			for _, name := range []string{"Goes", "Stays"} {
				res, err := s.Customers().Upsert(t.Context(), []store.Upsert[erp.Customer]{
					{Record: erp.Customer{Name: name}, Key: erp.Ref{System: "selfsame", Type: "customer", Value: name}},
				})
				require.NoError(t, err)
				require.NoError(t, res[0].Err)
				ids = append(ids, res[0].Record.ID)
				require.NoError(t, answers.Complete(t.Context(), kept(res[0].Record.ID).Grant, idempotent.Answer{OK: true, Body: []byte(name), Subject: res[0].Record.ID}))
			}
			require.NoError(t, s.Sync(t.Context()))
			l.arm(backendtest.Die, 1)
			_, err := s.Customers().Delete(t.Context(), ids[0])
			require.Error(t, err)
			require.True(t, l.customers[ids[0]].c.Deleted)

			s, answers = start()
			require.Equal(t, idempotent.Replay, kept(ids[0]).Outcome, "it is not known yet that the record is gone")
			require.NoError(t, s.Sync(t.Context()))
			require.Equal(t, idempotent.Gone, kept(ids[0]).Outcome)
			require.Equal(t, idempotent.Replay, kept(ids[1]).Outcome)
		})
	}
}
