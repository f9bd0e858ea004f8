package describe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// org answers slowly, and with err if it has one.
type org struct {
	calls atomic.Int64
	err   error
	name  string
}

func (o *org) Describe(ctx context.Context, _ string) ([]rest.Field, error) {
	o.calls.Add(1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []rest.Field{{Name: o.name, Createable: true, Updateable: true, Picklist: []rest.Picklist{{Value: "a", Active: true}, {Value: "b"}}}}, o.err
}

func TestSchema(t *testing.T) {
	t.Parallel()
	t.Run("many ask and the org is asked once, until the description is too old", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := &org{name: "Name"}
			c := New(Options{Source: o})
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					s, err := c.Schema(t.Context(), "Account")
					if err != nil || s.Fields()[0].Name != "Name" {
						t.Error("no description", err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, o.calls.Load())
			s, err := c.Schema(t.Context(), "Account")
			require.NoError(t, err)
			require.Equal(t, []string{"a"}, s.Fields()[0].Values, "values that are switched off are none")
			time.Sleep(31 * time.Minute)
			_, err = c.Schema(t.Context(), "Account")
			require.NoError(t, err)
			require.EqualValues(t, 2, o.calls.Load())
			c.Forget("Account")
			_, err = c.Schema(t.Context(), "Account")
			require.NoError(t, err)
			require.EqualValues(t, 3, o.calls.Load())
		})
	})
	t.Run("an org that is away is answered for, for a day, and asked now and then", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := &org{name: "Name"}
			c := New(Options{Source: o})
			_, err := c.Schema(t.Context(), "Account")
			require.NoError(t, err)
			o.err = errors.New("away")
			time.Sleep(40 * time.Minute)
			for range 3 {
				_, err = c.Schema(t.Context(), "Account")
				require.NoError(t, err)
			}
			require.EqualValues(t, 2, o.calls.Load(), "not at every question")
			time.Sleep(25 * time.Hour)
			_, err = c.Schema(t.Context(), "Account")
			require.ErrorContains(t, err, "away")
		})
	})
	t.Run("an object that is gone is not answered for", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := &org{name: "Name"}
			c := New(Options{Source: o})
			_, err := c.Schema(t.Context(), "Account")
			require.NoError(t, err)
			o.err = fault.New(fault.NotFound, rest.ReasonNotFound, "no such object")
			time.Sleep(40 * time.Minute)
			_, err = c.Schema(t.Context(), "Account")
			require.True(t, fault.Is(err, fault.NotFound))
		})
	})
	t.Run("a caller that leaves does not take the answer with it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := &org{name: "Name"}
			c := New(Options{Source: o})
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan error, 1)
			go func() { _, err := c.Schema(ctx, "Account"); first <- err }()
			synctest.Wait()
			second := make(chan error, 1)
			go func() { _, err := c.Schema(t.Context(), "Account"); second <- err }()
			synctest.Wait()
			cancel()
			require.Error(t, <-first)
			require.NoError(t, <-second)
		})
	})
	t.Run("a description that is doubted is asked for again, once a minute at most", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := &org{name: "Name"}
			c := New(Options{Source: o})
			old, err := c.Schema(t.Context(), "Account")
			require.NoError(t, err)
			require.Same(t, old, c.Renew(t.Context(), "Account", old))
			require.EqualValues(t, 1, o.calls.Load())
			time.Sleep(2 * time.Minute)
			fresh := c.Renew(t.Context(), "Account", old)
			require.NotSame(t, old, fresh)
			require.Same(t, fresh, c.Renew(t.Context(), "Account", old), "somebody has asked already")
			require.Same(t, fresh, c.Renew(t.Context(), "Account", fresh))
			require.EqualValues(t, 2, o.calls.Load())
			time.Sleep(2 * time.Minute)
			o.err = errors.New("away")
			require.Same(t, fresh, c.Renew(t.Context(), "Account", fresh))
		})
	})
}
