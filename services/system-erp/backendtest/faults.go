package backendtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
)

// faultCases are for a back end with something between it and its ERP.
func faultCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){
		"a lost answer to a new customer is found again": func(t *testing.T, w *World) {
			w.Arm(LoseAnswer, 1)
			res := one(t, w.Backend, upsert{Key: w.ref("l"), Record: w.company("l")})
			if res.Err != nil {
				refused(t, res.Err, fault.Uncertain, fault.ReasonOutcomeUncertain, "")
				res = one(t, w.Backend, upsert{Key: w.ref("l"), Record: w.company("l")})
			}
			require.NoError(t, res.Err)
			w.oneCustomer(t, "l")
		},
		"a lost answer to a new order is found again": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "lo").ID, "lo")
			w.Arm(LoseAnswer, 1)
			o, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
			if err != nil {
				refused(t, err, fault.Uncertain, fault.ReasonOutcomeUncertain, "")
				o, outcome, err = w.Backend.CreateOrder(t.Context(), asked)
			}
			require.NoError(t, err)
			require.Contains(t, []erp.Outcome{erp.Created, erp.AlreadyExists}, outcome)
			w.oneOrder(t, asked.ClientRef, o.ID)
		},
		"50 calls for one order of which answers are lost make one": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "l50").ID, "l50")
			w.Arm(LoseAnswer, 3)
			together(t, 50, func(int) error {
				_, _, err := w.Backend.CreateOrder(t.Context(), asked)
				if fault.ReasonOf(err) == fault.ReasonOutcomeUncertain {
					return nil
				}
				return err
			})
			w.Arm(LoseAnswer, 0)
			o, _, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			w.oneOrder(t, asked.ClientRef, o.ID)
		},
		"what did not arrive is uncertain until it cannot arrive any more": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "dr").ID, "dr")
			w.Arm(Drop, 1)
			_, _, err := w.Backend.CreateOrder(t.Context(), asked)
			refused(t, err, fault.Uncertain, fault.ReasonOutcomeUncertain, "")
			_, _, err = w.Restart(t).CreateOrder(t.Context(), asked)
			refused(t, err, fault.Uncertain, fault.ReasonOutcomeUncertain, "")
			there, err := w.Outside.Orders(t.Context(), asked.ClientRef)
			require.NoError(t, err)
			require.Empty(t, there, "nothing is sent a second time while the first may arrive")
			w.advance(w.Settle + w.Lease)
			o, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome)
			w.oneOrder(t, asked.ClientRef, o.ID)

			w.Arm(Drop, 1)
			res := one(t, w.Backend, upsert{Key: w.ref("drc"), Record: w.company("drc")})
			refused(t, res.Err, fault.Uncertain, fault.ReasonOutcomeUncertain, "")
			res = one(t, w.Backend, upsert{Key: w.ref("drc"), Record: w.company("drc")})
			refused(t, res.Err, fault.Uncertain, fault.ReasonOutcomeUncertain, "")
			w.advance(w.Settle + w.Lease)
			require.NoError(t, one(t, w.Backend, upsert{Key: w.ref("drc"), Record: w.company("drc")}).Err)
			w.oneCustomer(t, "drc")
		},
		"a lost answer to a change is looked up": func(t *testing.T, w *World) {
			c := w.customer(t, "lc")
			w.Arm(LoseAnswer, 1)
			changed := w.company("lc")
			changed.Name = w.name("lc2")
			res := one(t, w.Backend, upsert{Key: w.ref("lc"), Record: changed, Expected: c.Version})
			require.NoError(t, res.Err)
			require.Equal(t, erp.Updated, res.Outcome)
			again := one(t, w.Backend, upsert{Key: w.ref("lc"), Record: changed, Expected: c.Version})
			require.NoError(t, again.Err, "the same change again is no conflict")
			require.Equal(t, erp.Unchanged, again.Outcome)
		},
		"a record somebody works on is tried again, and given back in the end": func(t *testing.T, w *World) {
			c := w.customer(t, "lk")
			w.Arm(Lock, 2)
			res := one(t, w.Backend, upsert{Record: erp.Customer{Head: erp.Head{ID: c.ID}, Name: w.name("lk2")}})
			require.NoError(t, res.Err)
			w.Arm(Lock, 1000)
			res = one(t, w.Backend, upsert{Record: erp.Customer{Head: erp.Head{ID: c.ID}, Name: w.name("lk3")}})
			refused(t, res.Err, fault.Conflict, backend.ReasonLocked, "")
			asked := w.order(c.ID, "lk")
			_, _, err := w.Backend.CreateOrder(t.Context(), asked)
			refused(t, err, fault.Conflict, backend.ReasonLocked, "")
			w.Arm(Lock, 0)
			o, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Created, outcome, "a lock message leaves nothing uncertain")
			w.oneOrder(t, asked.ClientRef, o.ID)
		},
		"a process that dies before it could note a customer": func(t *testing.T, w *World) {
			w.Arm(Die, 1)
			res, err := w.Backend.Customers().Upsert(t.Context(), []upsert{{Key: w.ref("die"), Record: w.company("die")}})
			require.True(t, err != nil || res[0].Err != nil)
			w.Backend = w.Restart(t)
			w.advance(w.Lease + w.Lease)
			again := one(t, w.Backend, upsert{Key: w.ref("die"), Record: w.company("die")})
			require.NoError(t, again.Err)
			w.oneCustomer(t, "die")
		},
		"a process that dies before it could note an order": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "dio").ID, "dio")
			w.Arm(Die, 1)
			_, _, err := w.Backend.CreateOrder(t.Context(), asked)
			require.Error(t, err)
			w.Backend = w.Restart(t)
			w.advance(w.Lease + w.Lease)
			o, outcome, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.AlreadyExists, outcome)
			w.oneOrder(t, asked.ClientRef, o.ID)
			require.NotEqual(t, erp.OrderCancelled, o.State)
			_, outcome, err = w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.Unchanged, outcome)
		},
		"an ERP that is away leaves what is known, with its age": outage,
		"a database that was lost does not make a second order": func(t *testing.T, w *World) {
			asked := w.order(w.customer(t, "db").ID, "db")
			first, _, err := w.Backend.CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			again, outcome, err := w.Lost(t).CreateOrder(t.Context(), asked)
			require.NoError(t, err)
			require.Equal(t, erp.AlreadyExists, outcome, "the ERP itself says whose order it is")
			require.Equal(t, first.ID, again.ID)
			w.oneOrder(t, asked.ClientRef, first.ID)
		},
	}
}

func (w *World) oneCustomer(t *testing.T, key string) {
	t.Helper()
	there, err := w.Outside.Customers(t.Context(), w.ref(key))
	require.NoError(t, err)
	require.Len(t, there, 1)
	c, err := w.Backend.Customers().Lookup(t.Context(), w.ref(key))
	require.NoError(t, err)
	require.Equal(t, there[0], c.ID)
}

func (w *World) oneOrder(t *testing.T, clientRef, id string) {
	t.Helper()
	there, err := w.Outside.Orders(t.Context(), clientRef)
	require.NoError(t, err)
	require.Equal(t, []string{id}, there)
}

// outage takes the ERP away for reading and writing.
func outage(t *testing.T, w *World) {
	sku := w.SKUs[0]
	products, err := w.Backend.Products(t.Context(), []string{sku})
	require.NoError(t, err)
	inventory := w.capabilities(t).Inventory
	var stock []erp.Stock
	if inventory {
		stock, err = w.Backend.Inventory(t.Context(), []string{sku})
		require.NoError(t, err)
	}
	w.Outage(true)
	defer w.Outage(false)
	if inventory {
		again, err := w.Backend.Inventory(t.Context(), []string{sku})
		require.NoError(t, err)
		require.Len(t, again, len(stock))
		for i := range again {
			require.True(t, stock[i].AsOf.Equal(again[i].AsOf), "figures that could not be asked for keep the age they have")
		}
	}
	w.advance(5 * time.Hour) // longer than products are used without asking
	again, err := w.Backend.Products(t.Context(), []string{sku})
	require.NoError(t, err, "nobody answers: what is known is used")
	require.True(t, products[sku].Same(again[sku]))
	_, err = w.Backend.Products(t.Context(), []string{w.Prefix + "never"})
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "what was never known is not made up: %v", err)
	u := upsert{Key: w.ref("away"), Record: w.company("away")}
	res, err := w.Backend.Customers().Upsert(t.Context(), []upsert{u})
	if err == nil {
		err = res[0].Err
	}
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "nothing was sent, and that is certain: %v", err)
	w.Outage(false)
	made := one(t, w.Backend, u)
	require.NoError(t, made.Err)
	require.Equal(t, erp.Created, made.Outcome, "and nothing has to be waited for")
	w.oneCustomer(t, "away")
}
