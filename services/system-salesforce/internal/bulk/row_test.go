package bulk

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/retry"
)

func TestValuesAsText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		value  any
		want   string
		null   bool
		reason string
	}{
		{nil, "", true, ""},
		{"", "", true, ""},
		{Keep, "", false, ""},
		{"a, \"b\"", "a, \"b\"", false, ""},
		{true, "true", false, ""},
		{int(-5), "-5", false, ""},
		{int32(7), "7", false, ""},
		{int64(math.MaxInt64), "9223372036854775807", false, ""},
		{0.1, "0.1", false, ""},
		{1e21, "1000000000000000000000", false, ""},
		{math.NaN(), "", false, ReasonValue},
		{math.Inf(-1), "", false, ReasonValue},
		{json.Number("123456789012345678.99"), "123456789012345678.99", false, ""},
		{json.Number("-1.5e3"), "-1500", false, ""},
		{json.Number("1.25E-3"), "0.00125", false, ""},
		{json.Number("12e-1"), "1.2", false, ""},
		{json.Number("1e9999"), "", false, ReasonValue},
		{json.Number("0x10"), "", false, ReasonValue},
		{time.Date(2026, 2, 3, 4, 5, 6, 7_000_000, time.FixedZone("", 3600)), "2026-02-03T03:05:06.007Z", false, ""},
		{"#N/A", "", false, ReasonValue},
		{"a\xff", "", false, ReasonValue},
		{strings.Repeat("ä", 32_000), strings.Repeat("ä", 32_000), false, ""},
		{strings.Repeat("ä", 32_001), "", false, ReasonTooLong},
		{[]byte("x"), "", false, ReasonValue},
	} {
		got, null, problem := appendText(nil, tc.value)
		reason := ""
		if problem != nil {
			reason = problem.Reason
		}
		require.Equal(t, tc.reason, reason, "%v", tc.value)
		require.Equal(t, tc.want, string(got), "%v", tc.value)
		require.Equal(t, tc.null, null, "%v", tc.value)
	}
}

func TestRowsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	s := Spec{Object: "Lead", ExternalID: "Key__c", Columns: []string{"City", "Key__c", "Name"}, LineEnding: LF, Delimiter: Comma}
	for _, tc := range []struct {
		name   string
		row    Row
		reason string
	}{
		{"a key that is null", Row{Values: []any{"c", nil, "n"}}, ReasonKeyMissing},
		{"a key that is kept", Row{Values: []any{"c", Keep, "n"}}, ReasonKeyMissing},
		{"a key with a blank in front", Row{Values: []any{"c", " k", "n"}}, ReasonKeyInvalid},
		{"too few values", Row{Values: []any{"c", "k"}}, ReasonRowShape},
		{"a field that is no column", Row{Fields: map[string]any{"Key__c": "k", "Other": 1}}, ReasonRowShape},
		{"nothing", Row{}, ReasonRowShape},
		{"a value of an unknown type", Row{Values: []any{struct{}{}, "k", "n"}}, ReasonValue},
	} {
		problem := newLine(&s).set(tc.row, "")
		require.NotNil(t, problem, tc.name)
		require.Equal(t, tc.reason, problem.Reason, tc.name)
	}
	ln := newLine(&s)
	require.Nil(t, ln.set(Row{Values: []any{"c", "k", "n"}}, ""))
	require.Equal(t, "k,c,n\n", string(ln.out), "the key comes first, so that no line is empty")
	require.Nil(t, ln.set(Row{Fields: map[string]any{"Key__c": "k", "Name": nil}}, ""))
	require.Equal(t, "k,,#N/A\n", string(ln.out))
	wide := Spec{Object: "Lead", ExternalID: "Key__c", LineEnding: LF, Delimiter: Comma}
	fields := map[string]any{"Key__c": "k"}
	for i := range 13 {
		fields[fmt.Sprintf("F%d", i)] = strings.Repeat("x", 31_000)
	}
	require.Equal(t, ReasonRowTooLong, newLine(&wide).set(Row{Fields: fields}, "").Reason)
}

func TestKeysOfManyRuns(t *testing.T) {
	t.Parallel()
	for _, size := range []int{7, 100, 10_000} {
		k := newKeys(filepath.Join(t.TempDir(), "keys"), false, size)
		want := map[int64]bool{}
		for i := range int64(2000) {
			key := fmt.Sprint("key ", i)
			if i%250 == 249 {
				key = fmt.Sprint("KEY ", i-200)
				want[i], want[i-200] = true, true
			}
			require.NoError(t, k.add([]byte(key), i))
		}
		got, err := k.doubtful()
		require.NoError(t, err)
		require.Equal(t, want, got, "runs of %d", size)
		require.NoError(t, k.close())
	}
}

func TestLinesAreGroupedByParent(t *testing.T) {
	t.Parallel()
	for _, size := range []int{50, 400, 1 << 20} {
		s := &sorter{dir: t.TempDir(), size: size, width: 3}
		rng := rand.New(rand.NewPCG(1, 2))
		type row struct{ parent, line string }
		var want []row
		for i := range 300 {
			r := row{fmt.Sprintf("p%d", rng.IntN(9)), fmt.Sprintf("line %d\n", i)}
			want = append(want, r)
			require.NoError(t, s.add([]byte(r.parent), []byte(r.line)))
		}
		slices.SortStableFunc(want, func(a, b row) int { return strings.Compare(a.parent, b.parent) })
		var got []row
		require.NoError(t, s.each(func(g grouped) error {
			got = append(got, row{string(g.parent), string(g.line)})
			return nil
		}))
		require.Equal(t, want, got, "runs of %d bytes", size)
		left, err := filepath.Glob(filepath.Join(s.dir, "*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

func TestPartsAreCut(t *testing.T) {
	t.Parallel()
	cut := func(c cutter, parents string, size int64) []string {
		at := int64(0)
		for _, p := range parents {
			c.cut("f", at, size, []byte(string(p)))
			at += size
		}
		var out []string
		from := int64(0)
		for _, p := range c.parts {
			require.Equal(t, from, p.From, "parts follow each other")
			require.Equal(t, int64(p.Rows)*size, p.To-p.From)
			require.LessOrEqual(t, p.Rows, c.rows)
			require.LessOrEqual(t, p.To-p.From, c.bytes)
			out = append(out, parents[p.From/size:p.To/size])
			from = p.To
		}
		require.Equal(t, at, from, "all rows are in parts")
		return out
	}
	require.Equal(t, []string{"aaa", "bbb", "c"}, cut(cutter{bytes: 1000, rows: 3}, "aaabbbc", 10))
	require.Equal(t, []string{"aabb", "c"}, cut(cutter{bytes: 45, rows: 100}, "aabbc", 10))
	require.Equal(t, []string{"aa", "bbb", "ccc"}, cut(cutter{bytes: 1000, rows: 4, grouped: true}, "aabbbccc", 10), "one parent stays in one part")
	require.Equal(t, []string{"aaaa", "aa", "bbbb"}, cut(cutter{bytes: 1000, rows: 4, grouped: true}, "aaaaaabbbb", 10), "unless it alone fills a part")
	require.Equal(t, []string{"aabb", "cc"}, cut(cutter{bytes: 45, rows: 100, grouped: true}, "aabbcc", 10))
	require.Equal(t, []string{"a", "bbb"}, cut(cutter{bytes: 35, rows: 100, grouped: true}, "abbb", 10))
}

func TestTallyTellsKeysApart(t *testing.T) {
	t.Parallel()
	const n = 20_000
	l := &load{dir: t.TempDir(), spec: Spec{Delimiter: Comma, LineEnding: LF}}
	out, err := createLines(l.dir, "f", cutter{bytes: 1 << 30, rows: n})
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, out.add(fmt.Appendf(nil, "Key-%d,x\n", i), nil))
	}
	require.NoError(t, out.finish(true))
	require.Len(t, out.parts, 1)
	tally, err := l.count(t.Context(), out.parts[0])
	require.NoError(t, err)
	for i := range n {
		row, ok := tally.find(fmt.Appendf(nil, "kEY-%d", i))
		require.True(t, ok)
		require.Equal(t, i, row)
	}
	_, ok := tally.find([]byte("key-20000"))
	require.False(t, ok)
	require.True(t, tally.see([]byte("key-5"), done))
	require.False(t, tally.see([]byte("KEY-5"), again), "a row has one mark")
	require.Equal(t, done, tally.marks[5])
	require.True(t, tally.has(unseen, again))
	require.False(t, tally.has(again))
}

func TestPolls(t *testing.T) {
	t.Parallel()
	c := &Client{o: Options{Poll: retry.Backoff{Min: time.Second, Max: time.Minute, Factor: 2}}}
	require.Equal(t, 4*time.Second, c.untilPoll(3, time.Minute, 0, 0, 0), "of a job of unknown size by the number of polls")
	require.Equal(t, 4*time.Second, c.untilPoll(3, time.Minute, 0, 100, 0), "so too before anything is done")
	require.Equal(t, 5312500*time.Microsecond, c.untilPoll(3, 5*time.Second, 0, 100, 50), "when it is expected to end")
	require.Equal(t, 5250*time.Millisecond, c.untilPoll(3, 5*time.Second, 62500*time.Microsecond, 100, 50), "less the way there and back")
	require.Equal(t, time.Second, c.untilPoll(3, 5*time.Second, time.Minute, 100, 50), "but not at once")
	require.Equal(t, 8*time.Second, c.untilPoll(3, time.Hour, 0, 100, 50), "but not much later than without knowing")
	require.Equal(t, time.Minute, c.untilPoll(50, time.Hour, 0, 100, 50), "and at least once a minute")
	require.Equal(t, 16*time.Second, c.untilPoll(9, time.Hour, 0, 100, 100)+time.Second, "a job that is about to end is not asked all the time")
}
