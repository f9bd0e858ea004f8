package audit_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/audit"
)

// chain is a trail in memory.
type chain struct {
	entries     []audit.Entry
	head, begin audit.Mark
	err         error
	onRead      func()
}

func (c *chain) Head(context.Context) (audit.Mark, error)      { return c.head, c.err }
func (c *chain) Beginning(context.Context) (audit.Mark, error) { return c.begin, c.err }

func (c *chain) Entries(_ context.Context, after int64, limit int) ([]audit.Entry, error) {
	if c.onRead != nil {
		c.onRead()
	}
	var out []audit.Entry
	for _, e := range c.entries {
		if e.Position > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, c.err
}

func (c *chain) add(e audit.Entry) {
	e.Position = c.head.Position + 1
	e.Hash = e.Sum(c.head.Hash)
	c.entries = append(c.entries, e)
	c.head = audit.Mark{Position: e.Position, Hash: e.Hash}
}

func (c *chain) trim(upTo int64) {
	i := slices.IndexFunc(c.entries, func(e audit.Entry) bool { return e.Position == upTo })
	m := audit.Mark{Position: upTo, Hash: c.entries[i].Hash}
	c.entries, c.begin = slices.Clone(c.entries[i+1:]), m
	position, hash, _ := cut(m.String())
	c.add(audit.Entry{Kind: audit.KindTrimmed, ChangeID: position, Reason: hash})
}

func cut(s string) (string, string, bool) {
	i := slices.Index([]byte(s), ':')
	return s[:i], s[i+1:], true
}

func newChain(n int) *chain {
	c := &chain{}
	for i := range n {
		c.add(audit.Entry{Micros: int64(i), GoldenID: "c_1", Kind: "changed", Fields: "phone", Detail: []byte{byte(i)}})
	}
	return c
}

func walk(t *testing.T, c *chain) audit.Report {
	t.Helper()
	r, err := audit.Walk(t.Context(), c, audit.Cursor{}, 1<<20)
	require.NoError(t, err)
	require.True(t, r.Done)
	return r
}

func TestWalk(t *testing.T) {
	t.Parallel()
	t.Run("a chain nobody touched holds", func(t *testing.T) {
		t.Parallel()
		for _, n := range []int{0, 1, 2, 999, 1000, 1001, 2500} {
			r := walk(t, newChain(n))
			require.Empty(t, r.Problems)
			require.EqualValues(t, n, r.Cursor.Checked)
		}
	})
	t.Run("it is checked in pieces", func(t *testing.T) {
		t.Parallel()
		c := newChain(3500)
		var at audit.Cursor
		pieces := 0
		for done := false; !done; pieces++ {
			r, err := audit.Walk(t.Context(), c, at, 1)
			require.NoError(t, err)
			require.Empty(t, r.Problems)
			at, done = r.Cursor, r.Done
		}
		require.Equal(t, 4, pieces)
		require.EqualValues(t, 3500, at.Checked)
	})
	t.Run("every way of tampering shows at its place", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			tamper func(c *chain)
			want   audit.Problem
		}{
			"a part changed":           {func(c *chain) { c.entries[4].Reason = "x" }, audit.Problem{Position: 5, Kind: audit.EntryChanged}},
			"a value changed":          {func(c *chain) { c.entries[4].Detail = []byte("x") }, audit.Problem{Position: 5, Kind: audit.EntryChanged}},
			"text moved to the next":   {func(c *chain) { c.entries[4].Kind, c.entries[4].System = "change", "d" }, audit.Problem{Position: 5, Kind: audit.EntryChanged}},
			"a hash made to fit":       {func(c *chain) { c.entries[4].Reason = "x"; c.entries[4].Hash = c.entries[4].Sum(c.entries[3].Hash) }, audit.Problem{Position: 6, Kind: audit.EntryChanged}},
			"the last one made to fit": {func(c *chain) { c.entries[9].Reason = "x"; c.entries[9].Hash = c.entries[9].Sum(c.entries[8].Hash) }, audit.Problem{Position: 10, Kind: audit.EndChanged}},
			"removed":                  {func(c *chain) { c.entries = slices.Delete(c.entries, 4, 5) }, audit.Problem{Position: 5, Kind: audit.EntryMissing}},
			"the first removed":        {func(c *chain) { c.entries = c.entries[1:] }, audit.Problem{Position: 1, Kind: audit.EntryMissing}},
			"the last removed":         {func(c *chain) { c.entries = c.entries[:9] }, audit.Problem{Position: 10, Kind: audit.EntryMissing}},
			"all removed":              {func(c *chain) { c.entries = nil }, audit.Problem{Position: 1, Kind: audit.EntryMissing}},
			"two exchanged":            {func(c *chain) { e := c.entries; e[4], e[5] = e[5], e[4]; e[4].Position, e[5].Position = 5, 6 }, audit.Problem{Position: 5, Kind: audit.EntryChanged}},
			"the beginning moved up":   {func(c *chain) { c.begin = audit.Mark{Position: 5, Hash: c.entries[4].Hash}; c.entries = c.entries[5:] }, audit.Problem{Position: 5, Kind: audit.BeginningChanged}},
			"a beginning made up":      {func(c *chain) { c.begin = audit.Mark{Position: 5, Hash: []byte("x")}; c.entries = c.entries[5:] }, audit.Problem{Position: 6, Kind: audit.EntryChanged}},
		} {
			x := newChain(10)
			c.tamper(x)
			r := walk(t, x)
			require.NotEmpty(t, r.Problems, name)
			require.Equal(t, c.want, r.Problems[0], name)
		}
	})
	t.Run("trimming leaves a chain that holds", func(t *testing.T) {
		t.Parallel()
		c := newChain(50)
		c.trim(20)
		c.trim(40)
		r := walk(t, c)
		require.Empty(t, r.Problems)
		require.EqualValues(t, 12, r.Cursor.Checked)
		c.begin.Position--
		require.NotEmpty(t, walk(t, c).Problems)
	})
	t.Run("trimming while it is checked is no problem", func(t *testing.T) {
		t.Parallel()
		c := newChain(2500)
		reads := 0
		c.onRead = func() {
			if reads++; reads == 2 {
				c.trim(1500)
			}
		}
		require.Empty(t, walk(t, c).Problems)
	})
	t.Run("entries added while it is checked are left for the next time", func(t *testing.T) {
		t.Parallel()
		c := newChain(5)
		c.onRead = func() { c.add(audit.Entry{Kind: "new"}) }
		r := walk(t, c)
		require.Empty(t, r.Problems)
		require.EqualValues(t, 5, r.Cursor.Checked)
	})
	t.Run("a chain that cannot be read is an error, not a finding", func(t *testing.T) {
		t.Parallel()
		_, err := audit.Walk(t.Context(), &chain{err: errors.New("down")}, audit.Cursor{}, 10)
		require.ErrorContains(t, err, "down")
	})
}

func TestCompare(t *testing.T) {
	t.Parallel()
	c := newChain(10)
	noted, err := audit.ParseMark(audit.Mark{Position: 5, Hash: c.entries[4].Hash}.String())
	require.NoError(t, err)
	compare := func() (bool, bool) {
		equal, known, err := audit.Compare(t.Context(), c, noted)
		require.NoError(t, err)
		return equal, known
	}
	equal, known := compare()
	require.True(t, equal && known)

	// Somebody rewrites history from entry 3 on so that the chain holds in itself.
	rest := slices.Clone(c.entries[3:])
	c.entries, c.head = c.entries[:2], audit.Mark{Position: 2, Hash: c.entries[1].Hash}
	c.add(audit.Entry{Kind: "forged"})
	for _, e := range rest {
		c.add(e)
	}
	require.Empty(t, walk(t, c).Problems)
	equal, known = compare()
	require.True(t, known)
	require.False(t, equal, "only what was noted elsewhere shows it")
	c.trim(6)
	_, known = compare()
	require.False(t, known)
	for _, text := range []string{"", "5", "x:00", "5:zz", "-1:00"} {
		_, err := audit.ParseMark(text)
		require.Error(t, err, text)
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	key := audit.NewKey()
	d := audit.Detail{Fields: []audit.Field{{Name: "phone", Before: "1", After: "2", Rule: "latest"}}, Note: "why"}
	sealed, err := audit.Seal(key, "c_1", d)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "phone")
	got, err := audit.Open(key, "c_1", sealed)
	require.NoError(t, err)
	require.Equal(t, d, got)
	_, err = audit.Open(audit.NewKey(), "c_1", sealed)
	require.ErrorIs(t, err, audit.ErrSealed)
	_, err = audit.Open(key, "c_2", sealed)
	require.ErrorIs(t, err, audit.ErrSealed, "it is bound to its subject")
	sealed[20] ^= 1
	_, err = audit.Open(key, "c_1", sealed)
	require.ErrorIs(t, err, audit.ErrSealed)
}
