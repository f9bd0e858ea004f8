package rpc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/later"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// death ends a process at one of its points: before a statement, before and after the answer is stored, and after the commit.
type death struct {
	at, passed int
}

var errDied = errors.New("the process died here")

func (d *death) point() error {
	if d.passed++; d.at > 0 && d.passed >= d.at {
		return errDied
	}
	return nil
}

// mortalKeys are keys of a process that dies: what it has not said by then it never says.
type mortalKeys struct {
	*idempotent.SQLStore

	dies *death
}

func (k mortalKeys) Begin(ctx context.Context, c idempotent.Claim) (idempotent.Result, error) {
	res, err := k.SQLStore.Begin(ctx, c)
	return res, errors.Join(err, k.dies.point())
}

func (k mortalKeys) Heartbeat(ctx context.Context, g idempotent.Grant, lease time.Duration) error {
	if err := k.dies.point(); err != nil {
		return err
	}
	return k.SQLStore.Heartbeat(ctx, g, lease)
}

func (k mortalKeys) Complete(ctx context.Context, g idempotent.Grant, a idempotent.Answer) error {
	if err := k.dies.point(); err != nil {
		return err
	}
	return k.SQLStore.Complete(ctx, g, a)
}

// process is one process of the service on a database, as far as calls go.
type process struct {
	t         *testing.T
	api       *API
	intercept grpc.UnaryServerInterceptor
	dies      *death
}

func startProcess(t *testing.T, w *enginetest.World, d *db.DB, dies *death) *process {
	t.Helper()
	keys, err := idempotent.NewSQLStore(d, []byte("a secret of the keys of a test"), nil)
	require.NoError(t, err)
	var asked idempotent.Store = keys
	if dies != nil {
		asked = mortalKeys{keys, dies}
	}
	records := w.Store
	if dies != nil {
		records = w.Store.Through(func(_ context.Context, query string, args []any) (string, []any, error) {
			return query, args, dies.point()
		})
	}
	w.Wrap(func(engine.Store) engine.Store { return records }, nil)
	w.Start()
	queue, err := later.Open(t.Context(), d)
	require.NoError(t, err)
	answer := keys.CompleteTx
	if dies != nil {
		answer = func(ctx context.Context, tx *sql.Tx, resp proto.Message) error {
			if err := dies.point(); err != nil {
				return err
			}
			if err := keys.CompleteTx(ctx, tx, resp); err != nil {
				return err
			}
			return dies.point()
		}
	}
	return &process{
		t: t, dies: dies,
		api: New(Deps{
			Store: records, Writer: w.Intake, Rules: w.Folder.Rules, Orders: &orderBook{}, Later: queue, Answer: answer, Now: w.Clock.Now,
		}),
		// A key that is blocked is refused at once.
		intercept: idempotent.UnaryServer(asked, idempotent.Options{Wait: time.Millisecond, Resource: Resource, Subject: Subject}),
	}
}

// heard is what a caller hears besides the answer.
type heard struct {
	method string
	md     metadata.MD
}

func (h *heard) Method() string { return h.method }

func (h *heard) SetHeader(md metadata.MD) error {
	h.md = metadata.Join(h.md, md)
	return nil
}
func (h *heard) SendHeader(md metadata.MD) error { return h.SetHeader(md) }
func (h *heard) SetTrailer(md metadata.MD) error { return h.SetHeader(md) }

// call sends a request with a key, and returns the answer and what became of the key.
func (p *process) call(key string, req proto.Message) (proto.Message, string, error) {
	var do func(ctx context.Context) (any, error)
	method := ""
	switch req := req.(type) {
	case *customerv1.CreateCustomerRequest:
		method = customerv1.CustomerService_CreateCustomer_FullMethodName
		do = func(ctx context.Context) (any, error) { return p.api.customers.CreateCustomer(ctx, req) }
	case *customerv1.UpdateCustomerRequest:
		method = customerv1.CustomerService_UpdateCustomer_FullMethodName
		do = func(ctx context.Context) (any, error) { return p.api.customers.UpdateCustomer(ctx, req) }
	case *customerv1.QueueOrderRequest:
		method = customerv1.ScreenService_QueueOrder_FullMethodName
		do = func(ctx context.Context) (any, error) { return p.api.screens.QueueOrder(ctx, req) }
	default:
		p.t.Fatalf("nobody takes a %T", req)
	}
	h := &heard{method: method}
	ctx := grpc.NewContextWithServerTransportStream(metadata.NewIncomingContext(p.t.Context(), metadata.Pairs(idempotent.Metadata, key)), h)
	resp, err := p.intercept(ctx, req, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		resp, err := do(ctx)
		if err == nil && p.dies != nil {
			err = p.dies.point()
		}
		return resp, err
	})
	out, _ := resp.(proto.Message)
	return out, strings.Join(h.md.Get(idempotent.StatusMetadata), ","), err
}

func named(name string) *customerv1.CreateCustomerRequest {
	return &customerv1.CreateCustomerRequest{Customer: &customerv1.Customer{Name: name, TaxId: "TAX " + name}}
}

// effects are the methods whose whole effect is in the database of the service: a request, and how often it had its effect.
func effects(t *testing.T, w *enginetest.World, p *process) map[string]struct {
	request func(n int) proto.Message
	count   func(n int) int
} {
	t.Helper()
	known, _, err := p.call("known-0123456789", named("Known Ltd"))
	require.NoError(t, err)
	customer := known.(*customerv1.CreateCustomerResponse).GetCustomer()
	name := func(n int) string { return fmt.Sprintf("Crash %d Ltd", n) }
	updates := func() int {
		g, err := find(t.Context(), w.Store.Read(), golden.Customer, customer.GetId())
		require.NoError(t, err)
		return int(g.Version)
	}
	before := updates()
	updated := 0
	queued := map[string]bool{}
	return map[string]struct {
		request func(n int) proto.Message
		count   func(n int) int
	}{
		"CreateCustomer": {
			request: func(n int) proto.Message { return named(name(n)) },
			count: func(n int) int {
				found, err := w.Store.Read().ListGoldens(t.Context(), golden.Customer, match.Fold(name(n)), "", 10)
				require.NoError(t, err)
				return len(found)
			},
		},
		"UpdateCustomer": {
			request: func(n int) proto.Message {
				return &customerv1.UpdateCustomerRequest{
					Customer: &customerv1.Customer{Id: customer.GetId(), Phone: fmt.Sprint(n)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"phone"}},
				}
			},
			count: func(int) int {
				updated++
				return updates() - before - updated + 1
			},
		},
		"QueueOrder": {
			request: func(n int) proto.Message {
				return &customerv1.QueueOrderRequest{Owner: "me", Order: &customerv1.NewOrder{
					CustomerId: customer.GetId(), Items: []*customerv1.NewOrderItem{{Sku: "pump", Quantity: fmt.Sprint(n)}},
				}}
			},
			count: func(int) int {
				found, err := p.api.screens.d.Later.List(t.Context(), false, later.Mark{}, 1000)
				require.NoError(t, err)
				fresh := 0
				for _, o := range found {
					if !queued[o.ID] {
						fresh++
					}
					queued[o.ID] = true
				}
				return fresh
			},
		},
	}
}

// A process that dies on the way of a call leaves nothing or everything: the same request with the same key is answered at once, and
// had its effect once.
func TestDiesAtEveryStatement(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"CreateCustomer", "UpdateCustomer", "QueueOrder"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
				w := enginetest.New(t, d)
				e := effects(t, w, startProcess(t, w, d, nil))[method]
				committed := 0
				for n := 1; ; n++ {
					key, req, dies := fmt.Sprintf("dies-0123456789-%d", n), e.request(n), &death{at: n}
					first, _, failed := startProcess(t, w, d, dies).call(key, req)
					if dies.passed < n {
						require.NoError(t, failed)
						require.Greater(t, n, 4, "read, answer, commit")
						break
					}
					again := startProcess(t, w, d, nil)
					second, status, err := again.call(key, req)
					require.NoError(t, err, "point %d", n)
					third, replayed, err := again.call(key, req)
					require.NoError(t, err)
					require.Equal(t, idempotent.StatusReplayed, replayed)
					require.True(t, proto.Equal(second, third), "point %d", n)
					if failed == nil {
						committed++
						require.Equal(t, idempotent.StatusReplayed, status)
						require.True(t, proto.Equal(first, second), "point %d", n)
					} else {
						require.Equal(t, idempotent.StatusExecuted, status, "point %d: %v", n, failed)
					}
					require.Equal(t, 1, e.count(n), "point %d", n)
				}
				require.Equal(t, 1, committed, "the point after the commit")
			})
		})
	}
}

// Two processes and many callers with one key: one effect, equal answers.
func TestManyWithOneKey(t *testing.T) {
	t.Parallel()
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
		w := enginetest.New(t, d)
		processes := []*process{startProcess(t, w, d, nil), startProcess(t, w, d, nil)}
		for method, e := range effects(t, w, processes[0]) {
			answers := make([]proto.Message, 20)
			var wg sync.WaitGroup
			for i := range answers {
				wg.Go(func() {
					for {
						resp, _, err := processes[i%2].call("many-0123456789-"+method, e.request(1))
						if err == nil {
							answers[i] = resp
							return
						}
						if fault.ReasonOf(err) == idempotent.ReasonInProgress {
							continue // as a caller is told
						}
						t.Errorf("%s: %v", method, err)
						return
					}
				})
			}
			wg.Wait()
			for _, a := range answers {
				require.True(t, proto.Equal(answers[0], a), method)
			}
			require.Equal(t, 1, e.count(1), method)
		}
	})
}

// A call whose effect is in the database is one commit there, its key and its answer included.
func TestOneCommit(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			tel, err := telemetry.Start(t.Context(), "test", telemetry.Config{LogLevel: "error"})
			require.NoError(t, err)
			defer func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) }()
			d, err := db.Open(t.Context(), storetest.Schema.DSN(t, engine), tel)
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close()) }()
			w := enginetest.New(t, d)
			p := startProcess(t, w, d, nil)
			commits := committed(t, d, tel)
			for method, e := range effects(t, w, p) {
				before := commits()
				_, status, err := p.call("commit-0123456789-"+method, e.request(1))
				require.NoError(t, err)
				require.Equal(t, idempotent.StatusExecuted, status)
				require.Equal(t, before+1, commits(), method)
				_, status, err = p.call("commit-0123456789-"+method, e.request(1))
				require.NoError(t, err)
				require.Equal(t, idempotent.StatusReplayed, status)
				require.Equal(t, before+1, commits(), "%s: a replay writes nothing", method)
			}
		})
	}
}

// committed returns how many transactions have written: on SQLite by the measured commits, which all writing passes; on PostgreSQL,
// where a statement may be a transaction of its own, by a trigger on every table.
func committed(t *testing.T, d *db.DB, tel *telemetry.Telemetry) func() int {
	t.Helper()
	if d.Engine() == db.SQLite {
		return func() (n int) {
			rec := httptest.NewRecorder()
			tel.Metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			for line := range strings.Lines(rec.Body.String()) {
				if strings.HasPrefix(line, "db_client_operation_duration_seconds_count{") && strings.Contains(line, `db_operation_name="sql.tx.commit"`) {
					var one int
					_, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):], &one)
					require.NoError(t, err)
					n += one
				}
			}
			return n
		}
	}
	_, err := d.Exec(t.Context(), `DO $$ DECLARE r record; BEGIN
 CREATE TABLE written (tx xid8 NOT NULL);
 CREATE FUNCTION note_writing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO written VALUES (pg_current_xact_id()); RETURN NULL; END';
 FOR r IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> 'written' LOOP
  EXECUTE format('CREATE TRIGGER note_writing AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION note_writing()', r.name);
 END LOOP; END $$`)
	require.NoError(t, err)
	return func() (n int) {
		require.NoError(t, d.Read().QueryRowContext(t.Context(), "SELECT count(DISTINCT tx) FROM written").Scan(&n))
		return n
	}
}
