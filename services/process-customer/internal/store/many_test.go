package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMany(t *testing.T) {
	t.Parallel()
	lite, arrays := Reader{}, Reader{q: conn{arrays: true}}

	t.Run("an id is a parameter of its own, or all are one array", func(t *testing.T) {
		t.Parallel()
		ids := []string{"a", "b"}
		require.Equal(t, "IN ($2,$3)", lite.among(1, len(ids)))
		require.Equal(t, []any{"x", "a", "b"}, bound(lite, []any{"x"}, ids))
		require.Equal(t, "= ANY($2)", arrays.among(1, len(ids)))
		require.Equal(t, "IN ($2,$3)", lite.oneOf(1, len(ids)))
		require.Equal(t, "IN (SELECT unnest($2::TEXT[]))", arrays.oneOf(1, len(ids)))
		require.Equal(t, []any{"x", ids}, bound(arrays, []any{"x"}, ids))
	})
	t.Run("lists have few lengths, and the last value fills them up", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "IN ($1,$2,$3,$4)", lite.among(0, 3))
		require.Equal(t, []any{"x", 1, 2, 3, 3}, bound(lite, []any{"x"}, []int{1, 2, 3}))
		require.Equal(t, "IN ()", lite.among(0, 0))
		require.Empty(t, bound(lite, nil, []int{}))
		lengths := map[int]bool{}
		for n := range maxRows + 1 {
			require.GreaterOrEqual(t, listed(n), n)
			require.LessOrEqual(t, listed(n), maxRows)
			require.Len(t, bound(lite, nil, make([]int, n)), listed(n))
			lengths[listed(n)] = true
		}
		require.Len(t, lengths, 10)
		require.Equal(t, maxRows+1, listed(maxRows+1))
	})
	t.Run("rows are parameters, or an array per column", func(t *testing.T) {
		t.Parallel()
		rows := [][]any{{"a", 1, true, []byte("x"), 0.5, nil}, {"b", int64(2), false, nil, 1.5, []byte("y")}}
		text, args := lite.table(1, []string{"TEXT", "BIGINT", "BOOLEAN", "BYTEA", "REAL", "BYTEA"}, rows[:1])
		require.Equal(t, "VALUES (CAST($2 AS TEXT),CAST($3 AS BIGINT),CAST($4 AS BOOLEAN),CAST($5 AS BYTEA),CAST($6 AS REAL),CAST($7 AS BYTEA))", text)
		require.Equal(t, rows[0], args)
		text, args = arrays.table(1, nil, rows)
		require.Equal(t, "SELECT * FROM unnest($2::TEXT[],$3::BIGINT[],$4::BOOLEAN[],$5::BYTEA[],$6::DOUBLE PRECISION[],$7::BYTEA[])"+
			" AS many (column1,column2,column3,column4,column5,column6)", text)
		require.Equal(t, []any{
			[]string{"a", "b"}, []int64{1, 2}, []bool{true, false}, [][]byte{[]byte("x"), nil}, []float64{0.5, 1.5}, [][]byte{nil, []byte("y")},
		}, args)
	})
	t.Run("no value is lost because it is of another type than the first", func(t *testing.T) {
		t.Parallel()
		type name string
		_, args := arrays.table(0, nil, [][]any{{"a", 1, nil}, {name("b"), "2", 3}})
		require.Equal(t, []any{[]any{"a", name("b")}, []any{1, "2"}, []any{nil, 3}}, args)
	})
}
