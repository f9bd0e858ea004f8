package write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// far is an org whose calls take a second, and which notices what it is asked at the same time.
type far struct {
	CRM // calls that no test makes

	mu            sync.Mutex
	running, most int
	clash         []string // records that were written twice at the same time
	busy          map[string]bool
	last          map[string]any
	calls         int
}

func (f *far) Upsert(_ context.Context, _, field string, records []rest.Record) ([]rest.Result, error) {
	f.enter(field, records)
	time.Sleep(time.Second) // in a synctest bubble
	return f.leave(field, records), nil
}

func (f *far) UpsertOne(ctx context.Context, object, field, key string, fields rest.Record) (rest.Result, error) {
	r := rest.Record{field: key}
	for k, v := range fields {
		r[k] = v
	}
	out, err := f.Upsert(ctx, object, field, []rest.Record{r})
	return out[0], err
}

func (f *far) enter(field string, records []rest.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	f.running++
	f.most = max(f.most, f.running)
	for _, r := range records {
		key := strings.ToLower(r[field].(string))
		if f.busy[key] {
			f.clash = append(f.clash, key)
		}
		f.busy[key] = true
	}
}

func (f *far) leave(field string, records []rest.Record) []rest.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	out := make([]rest.Result, len(records))
	for i, r := range records {
		key := strings.ToLower(r[field].(string))
		delete(f.busy, key)
		f.last[key] = r["Name"]
		out[i] = rest.Result{ID: "001" + key}
	}
	return out
}

// hung is an org that never answers.
type hung struct{ CRM }

func (hung) Upsert(ctx context.Context, _, _ string, _ []rest.Record) ([]rest.Result, error) {
	<-ctx.Done()
	return nil, fault.Wrap(fault.Canceled, fault.ReasonCanceled, ctx.Err(), "the call was cancelled")
}

func newFar() *far { return &far{busy: map[string]bool{}, last: map[string]any{}} }

func account(t *testing.T) *mapping.Object {
	t.Helper()
	m, err := mapping.Default()
	require.NoError(t, err)
	return m.Account
}

func named(key, name string) Row { return Row{ExternalID: key, Fields: map[string]any{"Name": name}} }

func accounts(n int) []Row {
	out := make([]Row, n)
	for i := range out {
		out[i] = named(fmt.Sprint("A-", i), "first")
	}
	return out
}

// sides is a gateway that never changes.
func sides(n int) func(context.Context) int { return func(context.Context) int { return n } }

func given(rows ...Row) func() (Row, error) {
	return func() (Row, error) {
		if len(rows) == 0 {
			return Row{}, io.EOF
		}
		r := rows[0]
		rows = rows[1:]
		return r, nil
	}
}

func TestCollectionsAtTheSameTime(t *testing.T) {
	t.Parallel()
	t.Run("so many calls are on their way as may be, and each record has one outcome", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, began := newFar(), time.Now()
			told := map[string]int{}
			transport, err := New(Options{CRM: o, Together: sides(4)}).Stream(t.Context(), Load{Object: account(t), Backlog: 1900}, given(accounts(1900)...), func(key string, out Outcome) error {
				require.True(t, out.Written())
				told[key]++ // one at a time, or the race detector says so
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, Collections, transport)
			require.Equal(t, 4, o.most)
			require.Equal(t, 10, o.calls)
			require.Equal(t, 3*time.Second, time.Since(began), "ten calls of a second, four at a time")
			require.Len(t, told, 1900)
			for key, n := range told {
				require.Equal(t, 1, n, key)
			}
		})
	})
	t.Run("a load widens and narrows with what may be at the time, and one call may always be", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, began := newFar(), time.Now()
			// A call is sent when there is room, which is found out when another one has been told.
			room := func(context.Context) int {
				return []int{2, 2, 5, 5, 1, 1, 0, 0, 0, 3}[min(9, int(time.Since(began)/time.Second))]
			}
			var most []int
			told := func(string, Outcome) error {
				o.mu.Lock()
				defer o.mu.Unlock()
				if second := int(time.Since(began) / time.Second); len(most) < second {
					most = append(most, o.calls)
				}
				return nil
			}
			_, err := New(Options{CRM: o, Together: room}).Stream(t.Context(), Load{Object: account(t)}, given(accounts(24*rest.MaxWrite)...), told)
			require.NoError(t, err)
			require.Equal(t, []int{2, 4, 9, 14, 15, 16, 17, 18, 19, 22, 24}, most, "calls begun when those of each second were answered")
			require.Equal(t, 5, o.most)
		})
	})
	t.Run("a load whose caller leaves while it waits for room ends", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			n := 0
			hanging := hung{CRM: newFar()}
			time.AfterFunc(time.Minute, leave)
			rows := given(accounts(5 * rest.MaxWrite)...)
			next := func() (Row, error) {
				if err := ctx.Err(); err != nil {
					return Row{}, err // as a stream does
				}
				return rows()
			}
			_, err := New(Options{CRM: hanging, Together: sides(2)}).Stream(ctx, Load{Object: account(t)}, next, func(_ string, out Outcome) error {
				require.Error(t, out.Failed)
				n++
				return nil
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 3*rest.MaxWrite, n, "two calls that were on their way, and the one that waited")
		})
	})
	t.Run("records that belong to a parent go one call after the other", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := newFar()
			contacts := make([]Row, 900)
			for i := range contacts {
				contacts[i] = row(fmt.Sprint("C-", i), "")
			}
			_, err := New(Options{CRM: o, Together: sides(4)}).Stream(t.Context(), Load{Object: contact(t)}, given(contacts...), func(string, Outcome) error { return nil })
			require.NoError(t, err)
			require.Equal(t, 1, o.most)
			require.Equal(t, 5, o.calls)
		})
	})
	t.Run("a record that comes again waits for itself, and its later values stay", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := newFar()
			rows := accounts(600)
			rows = append(rows, named("a-7", "second"), named("A-450", "second"))
			rows = append(rows, accounts(300)[:5]...)
			rows[602].Fields = map[string]any{"Name": "third"}
			n := 0
			_, err := New(Options{CRM: o, Together: sides(8)}).Stream(t.Context(), Load{Object: account(t)}, given(rows...), func(string, Outcome) error { n++; return nil })
			require.NoError(t, err)
			require.Empty(t, o.clash)
			require.Equal(t, 607, n)
			require.Equal(t, []any{"second", "second", "third", "first"}, []any{o.last["a-7"], o.last["a-450"], o.last["a-0"], o.last["a-9"]})
		})
	})
	t.Run("when nobody hears outcomes any more, nothing new is sent and what is on its way is waited for", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, deaf := newFar(), errors.New("the caller is gone")
			_, err := New(Options{CRM: o, Together: sides(3)}).Stream(t.Context(), Load{Object: account(t)}, given(accounts(4000)...), func(string, Outcome) error { return deaf })
			require.ErrorIs(t, err, deaf)
			require.Zero(t, o.running)
			require.Less(t, o.calls, 8)
		})
	})
	t.Run("when rows cannot be read any more, what is on its way is waited for", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o, cut := newFar(), errors.New("the stream is cut")
			next, i, n := given(accounts(1000)...), 0, 0
			_, err := New(Options{CRM: o, Together: sides(3)}).Stream(t.Context(), Load{Object: account(t)}, func() (Row, error) {
				if i++; i > 650 {
					return Row{}, cut
				}
				return next()
			}, func(string, Outcome) error { n++; return nil })
			require.ErrorIs(t, err, cut)
			require.Zero(t, o.running)
			require.Equal(t, 600, n, "what was sent has its outcome")
		})
	})
}
