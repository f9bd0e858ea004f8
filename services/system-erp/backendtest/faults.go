package backendtest

import (
	"testing"

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

// repeatCases are what is left of the faults where nothing is in between.
func repeatCases() map[string]func(t *testing.T, w *World) {
	return map[string]func(t *testing.T, w *World){"a caller who got no answer calls again": repeats}
}

func repeats(t *testing.T, w *World) {
	asked := w.order(w.customer(t, "rep").ID, "rep")
	for i := range 3 {
		o, outcome, err := w.Restart(t).CreateOrder(t.Context(), asked)
		require.NoError(t, err)
		require.Equal(t, i == 0, outcome == erp.Created)
		w.oneOrder(t, asked.ClientRef, o.ID)
		require.NoError(t, one(t, w.Restart(t), upsert{Key: w.ref("rep"), Record: w.company("rep")}).Err)
	}
	w.oneCustomer(t, "rep")
}
