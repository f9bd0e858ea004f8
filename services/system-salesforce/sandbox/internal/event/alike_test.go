package event

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// wire is what two events of one transaction have in common that say the same.
func wire(t *testing.T, l *Layout, ch store.Change) string {
	t.Helper()
	what, err := l.content(ch)
	require.NoError(t, err)
	return fmt.Sprint(what.kind, what.nulled, what.diffs, what.changed, string(what.body))
}

// TestAlike holds the comparison of changes against that of their encodings.
func TestAlike(t *testing.T) {
	t.Parallel()
	model, err := schema.Load()
	require.NoError(t, err)
	var commits [][]store.Change
	s := store.New(store.Options{Schema: model, Now: time.Now, OnCommit: func(c store.Commit) { commits = append(commits, c.Changes) }})
	account, contact := model.Object("Account"), model.Object("Contact")
	rng := rand.New(rand.NewPCG(7, 7))
	long := strings.Repeat("a line of a long text\n", 60)
	values := func() map[string]any {
		in := map[string]any{"LastName": "A"}
		for name, some := range map[string][]any{
			"FirstName": {nil, "B", "C"}, "MailingCity": {nil, "Rome", "Bonn"}, "Phone": {nil, "1"}, "Email": {nil, "a@example.com"},
			"Description": {nil, "short", long, long + "more\n", "first\n" + long}, "LastName": {"A", "B"},
		} {
			if rng.IntN(2) == 0 {
				in[name] = some[rng.IntN(len(some))]
			}
		}
		return in
	}
	var people []string
	for range 30 {
		err := s.Write(store.Meta{User: "u"}, func(tx *store.Tx) error {
			for range 12 {
				if _, refusal := tx.Create(account, map[string]any{"Name": fmt.Sprint("Account ", rng.IntN(3))}); refusal != nil {
					return refusal
				}
				if len(people) < 30 || rng.IntN(8) == 0 {
					id, refusal := tx.Create(contact, values())
					if refusal != nil {
						return refusal
					}
					people = append(people, id)
					continue
				}
				if refusal := tx.Update(contact, people[rng.IntN(len(people))], values()); refusal != nil {
					return refusal
				}
			}
			return nil
		})
		require.NoError(t, err)
	}

	seed := maphash.MakeSeed()
	layouts := map[*schema.Object]*Layout{}
	for _, o := range []*schema.Object{account, contact} {
		layouts[o], err = NewLayout(o)
		require.NoError(t, err)
	}
	alike, unlike := 0, 0
	for _, changes := range commits {
		said := make([]string, len(changes))
		for i, a := range changes {
			l := layouts[a.New.Object]
			mark, most := l.fingerprint(seed, a)
			what, err := l.content(a)
			require.NoError(t, err)
			require.LessOrEqual(t, len(what.body), most, "the bound holds")
			said[i] = wire(t, l, a)
			for j, b := range changes[:i] {
				if a.New.Object != b.New.Object {
					continue
				}
				want := said[i] == said[j]
				require.Equal(t, want, l.same(a, b), "%v\n%v", a.New, b.New)
				if other, _ := l.fingerprint(seed, b); want {
					alike++
					require.Equal(t, mark, other, "what says the same has the same fingerprint")
				} else {
					unlike++
				}
			}
		}
	}
	require.Greater(t, alike, 100)
	require.Greater(t, unlike, 100)
}

// TestPayload makes an event once, for everybody who asks.
func TestPayload(t *testing.T) {
	t.Parallel()
	times := 0
	p := &payload{encode: func() ([]byte, error) { times++; return []byte("x"), nil }}
	done := make(chan []byte)
	for range 4 {
		go func() { done <- p.bytes() }()
	}
	for range 4 {
		require.Equal(t, []byte("x"), <-done)
	}
	require.Equal(t, 1, times)
	require.Empty(t, Published(&Layout{}, "id", nil).Payload())
}

// TestReadSkips goes past an event that cannot be encoded, and says so once.
func TestReadSkips(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	bus := NewBus(BusOptions{Now: time.Now, Retention: time.Hour, Keep: 10})
	l := &Layout{Object: &schema.Object{}}
	broken := &Event{Layout: l, payload: &payload{log: slog.New(slog.NewTextHandler(&log, nil)), encode: func() ([]byte, error) { return nil, fmt.Errorf("no") }}}
	from := bus.Earliest()
	bus.Publish([]*Event{Published(l, "a", []byte("12")), broken, Published(l, "b", []byte("34")), Published(l, "c", []byte("56"))})
	names := func(c *Cursor, size int) []string {
		events, err := c.Read(func(*Event) bool { return true }, 10, size)
		require.NoError(t, err)
		var out []string
		for _, e := range events {
			out = append(out, e.Name)
		}
		return out
	}
	require.Equal(t, []string{"a", "b"}, names(from, 5), "two events are as much as fits")
	rest, err := bus.After(bus.Wire(from.Position()))
	require.NoError(t, err, "the position is that of an event that was read")
	require.Equal(t, []string{"c"}, names(from, 5))
	require.Equal(t, []string{"c"}, names(rest, 5))
	require.Equal(t, 1, strings.Count(log.String(), "could not be encoded"))
	require.True(t, slices.IsSorted(names(bus.Earliest(), 100)))
}
