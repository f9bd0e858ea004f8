package rest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

func TestClass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, message string
		op            Op
		want          Class
	}{
		{"UNABLE_TO_LOCK_ROW", "", OpUpsert, Retry},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "trigger: UNABLE_TO_LOCK_ROW", OpUpdate, Retry},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "trigger: division by zero", OpUpdate, Reject},
		{"DUPLICATE_VALUE", "", OpUpsert, RetryOnce},
		{"DUPLICATE_VALUE", "", OpUpdate, Reject},
		{"DUPLICATE_VALUE", "", OpCreate, Reject},
		{"INVALID_SESSION_ID", "", OpRead, Reauthenticate},
		{"REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", OpRead, WaitForQuota},
		{"REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded.", OpRead, Retry},
		{"UNKNOWN_EXCEPTION", "", OpRead, Retry},
		{"UNKNOWN_EXCEPTION", "", OpUpsert, Unknown},
		{"SERVER_UNAVAILABLE", "", OpUpsert, Retry},
		{"PROCESSING_HALTED", "", OpUpsert, Conflicted},
		{codeUnmet, "", OpUpdate, Conflicted},
		{"QUERY_TIMEOUT", "", OpRead, RetryOnce},
		{"REQUIRED_FIELD_MISSING", "", OpUpsert, Reject},
		{"A_CODE_NOBODY_KNOWS", "", OpUpsert, Reject},
	} {
		require.Equal(t, c.want, vendorError{ErrorCode: c.code, Message: c.message}.refusal(c.op).Class, "%s %s %d", c.code, c.message, c.op)
	}
	t.Run("a call that failed has a class, too", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, WaitForQuota, ClassOf(fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "")))
		require.Equal(t, Retry, ClassOf(fault.New(fault.Exhausted, ReasonConcurrency, "")))
		require.Equal(t, Reauthenticate, ClassOf(fault.New(fault.Unavailable, auth.ReasonLoginRefused, "")))
		require.Equal(t, Retry, ClassOf(fault.New(fault.Unavailable, auth.ReasonUnreachable, "")))
		require.Equal(t, Unknown, ClassOf(uncertain(fault.New(fault.Timeout, fault.ReasonTimeout, ""))))
		require.Equal(t, Reject, ClassOf(fault.New(fault.Precondition, "", "")))
	})
}

func TestRepetitionsArePaidFor(t *testing.T) {
	t.Parallel()
	// Every call of a broken org wants two repetitions; only what was put aside is spent.
	v := setup(t, slices.Repeat([]step{{status: 503}}, 60)...)
	v.client.guard.circuit = circuitbreaker.NewBuilder[any]().WithFailureThreshold(1000).Build()
	v.client.guard.tokens = 2
	for range 10 {
		_, err := v.client.Describe(t.Context(), "Account")
		require.Equal(t, ReasonUnavailable, fault.ReasonOf(err))
	}
	require.Len(t, v.got(), 10+2+1, "ten calls earn one and a half repetitions")
}

func TestCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(Options{Meter: noopMeter(), CircuitPause: 5 * time.Second})
		broken := &trouble{err: fault.New(fault.Unavailable, auth.ReasonUnreachable, "")}
		refused := &trouble{err: fault.New(fault.Invalid, ReasonRequired, "")}
		for range 200 {
			require.Nil(t, g.admit())
			g.settle(refused, time.Second)
		}
		require.Nil(t, g.admit(), "refusals prove that the org works")
		g.settle(nil, time.Second)
		for range 4000 {
			if err := g.admit(); err != nil {
				require.Equal(t, ReasonCircuitOpen, err.Reason)
				require.Equal(t, fault.Unavailable, err.Kind)
				require.Positive(t, err.RetryAfter)
				break
			}
			g.settle(broken, time.Second)
		}
		require.NotNil(t, g.admit(), "most of the last calls failed")
		time.Sleep(6 * time.Second)
		require.Nil(t, g.admit(), "one call finds out")
		g.settle(broken, time.Second)
		require.NotNil(t, g.admit())
		time.Sleep(6 * time.Second)
		require.Nil(t, g.admit())
		g.settle(nil, time.Second)
		for range 10 {
			require.Nil(t, g.admit(), "it works again")
			g.settle(nil, time.Second)
		}
	})
}

// openCircuit makes most calls fail, and waits until the next one may find out whether the org is back.
func openCircuit(t *testing.T, g *guard) {
	t.Helper()
	for range circuitWindow {
		require.Nil(t, g.admit())
		g.settle(&trouble{err: fault.New(fault.Unavailable, auth.ReasonUnreachable, "")}, time.Second)
	}
	require.True(t, g.circuit.IsOpen())
	require.NotNil(t, g.held())
	time.Sleep(6 * time.Second)
}

// poor is a budget that has nothing left.
type poor struct{ Budget }

func (poor) Begin(context.Context) (func(CallOutcome), error) {
	return nil, fault.New(fault.Exhausted, "API_BUDGET_EXHAUSTED", "")
}

func TestCircuitIgnoresWhatSaysNothing(t *testing.T) {
	t.Parallel()
	hurried := &trouble{err: fault.New(fault.Timeout, fault.ReasonTimeout, "")}
	gone := &trouble{err: fault.New(fault.Canceled, fault.ReasonCanceled, "")}
	t.Run("a call that the budget refuses neither closes the circuit nor counts", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := New(Options{Budget: poor{}})
			refuse := func() {
				_, err := c.Describe(t.Context(), "Account")
				require.Equal(t, "API_BUDGET_EXHAUSTED", fault.ReasonOf(err))
				_, err = c.Exchange(t.Context(), Exchange{Method: "GET", Path: "limits"})
				require.Equal(t, "API_BUDGET_EXHAUSTED", fault.ReasonOf(err))
			}
			refuse()
			require.Zero(t, c.guard.circuit.Metrics().Executions())
			openCircuit(t, c.guard)
			refuse()
			require.False(t, c.guard.circuit.IsClosed(), "nothing was sent that could have shown that the org is back")
			require.Nil(t, c.guard.admit(), "the call that finds out is still to come")
		})
	})
	t.Run("a caller's short deadline or departure is not held against the org, nor for it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(Options{Meter: noopMeter(), CircuitPause: 5 * time.Second})
			for range 10 * circuitWindow {
				require.Nil(t, g.admit())
				g.settle(hurried, time.Second)
				require.Nil(t, g.admit())
				g.settle(gone, time.Minute)
			}
			require.Zero(t, g.circuit.Metrics().Executions())
			openCircuit(t, g)
			for _, said := range []*trouble{hurried, gone} {
				require.Nil(t, g.admit())
				require.NotNil(t, g.admit(), "one call at a time")
				g.settle(said, time.Second)
				require.True(t, g.circuit.IsHalfOpen())
			}
			require.Nil(t, g.admit(), "the next call may find out")
			g.settle(nil, time.Second)
			require.True(t, g.circuit.IsClosed())
		})
	})
	t.Run("callers who wait in vain one after the other say that the org is silent, however short each of them waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(Options{Meter: noopMeter(), CircuitPause: 5 * time.Second})
			wait := func(said *trouble, took time.Duration) {
				require.Nil(t, g.admit())
				time.Sleep(took)
				g.settle(said, took)
			}
			for range 4 {
				wait(hurried, 2*time.Second)
			}
			wait(nil, time.Second)
			for range 4 {
				wait(hurried, 2*time.Second)
			}
			require.True(t, g.circuit.IsClosed(), "one answer in between, and it is not silent")
			time.Sleep(time.Minute)
			require.True(t, g.circuit.IsClosed(), "nobody waited")
			wait(hurried, 2*time.Second)
			require.NotNil(t, g.admit(), "ten seconds without an answer")
			time.Sleep(6 * time.Second)
			wait(hurried, time.Second)
			require.NotNil(t, g.admit(), "the call that was to find out waited in vain, too")
			time.Sleep(6 * time.Second)
			wait(nil, time.Second)
			for range 4 {
				wait(hurried, 2*time.Second)
			}
			require.True(t, g.circuit.IsClosed(), "the count begins again")
		})
	})
	t.Run("calls side by side give the org their time once, and two are no proof", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(Options{Meter: noopMeter(), CircuitPause: 5 * time.Second})
			for range 8 {
				require.Nil(t, g.admit())
			}
			time.Sleep(2 * time.Second)
			for range 8 {
				g.settle(hurried, 2*time.Second)
			}
			require.True(t, g.circuit.IsClosed())
			g = newGuard(Options{Meter: noopMeter(), CircuitPause: 5 * time.Second})
			for range 2 {
				time.Sleep(9 * time.Second)
				g.settle(hurried, 9*time.Second)
			}
			require.True(t, g.circuit.IsClosed())
		})
	})
	t.Run("an org that had time and did not answer is failing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(Options{Meter: noopMeter(), CircuitPause: 5 * time.Second})
			for range circuitWindow {
				g.settle(hurried, circuitPatience)
			}
			require.NotNil(t, g.admit())
		})
	})
}

func TestSingle(t *testing.T) {
	t.Parallel()
	t.Run("one record goes by its key in the URL, and its key is not repeated", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 201, file: "single.json"})
		r, err := v.client.UpsertOne(t.Context(), "Contact", "Selfsame_Id__c", "C-1", Record{"Selfsame_Id__c": "C-1", "Account.Selfsame_Id__c": "A-1", "LastName": "L"})
		require.NoError(t, err)
		require.Equal(t, Result{ID: "003Hs00004abcdEIAQ", Created: true}, r)
		require.Equal(t, "/services/data/v66.0/sobjects/Contact/Selfsame_Id__c/C-1", v.got()[0].uri)
		require.Equal(t, map[string]any{"LastName": "L", "Account": map[string]any{"Selfsame_Id__c": "A-1"}}, v.got()[0].body)
	})
	for _, key := range []string{"a/b", "a b", "x@example.inc", "ü", "50%", ""} {
		t.Run(fmt.Sprintf("the key %q travels in the body", key), func(t *testing.T) {
			t.Parallel()
			v := setup(t, step{status: 200, file: "upsert_race_second.json"})
			_, err := v.client.UpsertOne(t.Context(), "Account", "Selfsame_Id__c", key, Record{"Name": "n"})
			require.NoError(t, err)
			require.Equal(t, "/services/data/v66.0/composite/sobjects/Account/Selfsame_Id__c", v.got()[0].uri)
			require.Equal(t, key, v.got()[0].body["records"].([]any)[0].(map[string]any)["Selfsame_Id__c"])
		})
	}
	t.Run("a record that is refused is an outcome, a call that is refused an error", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 400, file: "required.json"}, step{status: 403, file: "limit.json"})
		r, err := v.client.UpsertOne(t.Context(), "Account", "Selfsame_Id__c", "S-1", Record{})
		require.NoError(t, err)
		require.Equal(t, ReasonRequired, r.Refused.Reason)
		_, err = v.client.UpsertOne(t.Context(), "Account", "Selfsame_Id__c", "S-1", Record{})
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
	})
	t.Run("a key that several records have writes none of them", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 300, file: "several.json"})
		r, err := v.client.UpsertOne(t.Context(), "Account", "Selfsame_Id__c", "S-1", Record{})
		require.NoError(t, err)
		require.Equal(t, ReasonAmbiguous, r.Refused.Reason)
	})
	t.Run("a condition that does not hold is a conflict", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 412})
		r, err := v.client.UpdateOne(t.Context(), "Account", "001Hs00004abcdE", Record{}, Condition{ETag: `"x"`})
		require.NoError(t, err)
		require.Equal(t, fault.ReasonETagMismatch, r.Refused.Reason)
		require.Equal(t, Conflicted, r.Refused.Class)
	})
	t.Run("events whose acknowledgement is lost are not sent again", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{file: "reset"}, step{status: 200, file: "upsert.json"})
		_, err := v.client.Publish(t.Context(), "Order_Placed__e", records(4))
		require.Equal(t, fault.Uncertain, fault.KindOf(err))
		require.Len(t, v.got(), 1)
	})
	t.Run("events that were refused for the moment are sent again", func(t *testing.T) {
		t.Parallel()
		v := setup(t, step{status: 503}, step{status: 200, file: "upsert.json"})
		results, err := v.client.Publish(t.Context(), "Order_Placed__e", records(4))
		require.NoError(t, err)
		require.Len(t, results, 4)
		require.Equal(t, "POST", v.got()[1].method)
	})
}

func TestComposite(t *testing.T) {
	t.Parallel()
	v := setup(t, step{status: 200, file: "composite_halted.json"})
	out, err := v.client.Composite(t.Context(), true, []Part{
		{Ref: "a", Method: "PATCH", Path: "sobjects/Account/Selfsame_Id__c/A-1", Body: Record{"Name": "n"}, Op: OpUpsert},
		{Ref: "b", Method: "PATCH", Path: "sobjects/Contact/Selfsame_Id__c/C-1", Body: Record{"AccountId": "@{a.id}"}, Op: OpUpsert, Condition: Condition{Unmodified: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}},
	})
	require.NoError(t, err)
	require.Equal(t, ReasonRolledBack, out[0].Refused.Reason)
	require.Equal(t, Conflicted, out[0].Refused.Class)
	require.Equal(t, ReasonRequired, out[1].Refused.Reason)
	require.Equal(t, true, v.got()[0].body["allOrNone"])
	second := v.got()[0].body["compositeRequest"].([]any)[1].(map[string]any)
	require.Equal(t, "/services/data/v66.0/sobjects/Contact/Selfsame_Id__c/C-1", second["url"])
	require.Equal(t, map[string]any{"If-Unmodified-Since": "Fri, 01 May 2026 12:00:00 GMT"}, second["httpHeaders"])
}

func TestNumbersStayExact(t *testing.T) {
	t.Parallel()
	var row Record
	require.NoError(t, decode([]byte(`{"a":123456789012345678.12,"b":{"c":1}}`), &row))
	require.Equal(t, "123456789012345678.12", fmt.Sprint(row["a"]))
	require.Error(t, decode([]byte(`{} {}`), &row))
}

func noopMeter() metric.MeterProvider { return noop.NewMeterProvider() }
