package bulk

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func readAll(t testing.TB, data string, delim byte, ending string) ([][]string, []string, error) {
	t.Helper()
	// One byte at a time, so that every border falls between two reads.
	c := newCSV(iotest.OneByteReader(strings.NewReader(data)), 0, delim, ending)
	var rows [][]string
	var bad []string
	for {
		r, err := c.read()
		if errors.Is(err, io.EOF) {
			return rows, bad, nil
		}
		if err != nil {
			return rows, bad, err
		}
		if r.bad != "" {
			bad = append(bad, r.bad)
			continue
		}
		var out []string
		for _, v := range r.values {
			out = append(out, string(v))
		}
		rows = append(rows, out)
	}
}

func TestCSVIsReadByTheRulesOfTheBulkAPI(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, data string
		delim      byte
		ending     string
		want       [][]string
	}{
		{"plain values", "a,b\n1,2\n", ',', "LF", [][]string{{"a", "b"}, {"1", "2"}}},
		{"no line ending after the last record", "a,b\n1,2", ',', "LF", [][]string{{"a", "b"}, {"1", "2"}}},
		{"windows line endings", "a,b\r\n1,2\r\n", ',', "CRLF", [][]string{{"a", "b"}, {"1", "2"}}},
		{"either ending if none is declared", "a\r\nb\nc", ',', "", [][]string{{"a"}, {"b"}, {"c"}}},
		{"quotes around delimiters, line ends and quotes", "\"a,\"\"b\"\"\nc\",d\n", ',', "LF", [][]string{{"a,\"b\"\nc", "d"}}},
		{"another line ending inside quotes", "\"a\r\nb\",c\n", ',', "LF", [][]string{{"a\r\nb", "c"}}},
		{"blanks are kept", " a , b \n", ',', "LF", [][]string{{" a ", " b "}}},
		{"empty values", ",,\n\"\",x,\n", ',', "LF", [][]string{{"", "", ""}, {"", "x", ""}}},
		{"empty lines are skipped", "\na\n\n\nb\n\n", ',', "LF", [][]string{{"a"}, {"b"}}},
		{"pipes", "a|b,c\n", '|', "LF", [][]string{{"a", "b,c"}}},
		{"tabs", "a\tb\n", '\t', "LF", [][]string{{"a", "b"}}},
		{"carets", "a^b\n", '^', "LF", [][]string{{"a", "b"}}},
		{"semicolons", "a;b\n", ';', "LF", [][]string{{"a", "b"}}},
		{"backquotes", "a`b\n", '`', "LF", [][]string{{"a", "b"}}},
		{"nothing", "", ',', "LF", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rows, bad, err := readAll(t, tc.data, tc.delim, tc.ending)
			require.NoError(t, err)
			require.Empty(t, bad)
			require.Equal(t, tc.want, rows)
		})
	}
}

func TestBadCSVIsRefusedByRecordOrAsAWhole(t *testing.T) {
	t.Parallel()
	rows, bad, err := readAll(t, "a,b\n1, \"2\"\n3,4\n\"5\" ,6\n7,\"8\"x\n9,1\"0,1\n,1\"\n11,12\n", ',', "LF")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"a", "b"}, {"3", "4"}, {"11", "12"}}, rows, "a bad record does not hurt its neighbours")
	require.Len(t, bad, 4)
	for _, tc := range []struct {
		name, data, ending string
		want               error
	}{
		{"a windows ending where LF is declared", "a,b\r\n1,2\r\n", "LF", errLineEnding},
		{"a unix ending where CRLF is declared", "a,b\n1,2\n", "CRLF", errLineEnding},
		{"one wrong ending in the middle", "a\r\nb\nc\r\n", "CRLF", errLineEnding},
		{"an open quote", "a,b\n1,\"2\n", "LF", errOpenQuote},
	} {
		_, _, err := readAll(t, tc.data, ',', tc.ending)
		require.ErrorIs(t, err, tc.want, tc.name)
	}
	_, bad, err = readAll(t, strings.Repeat("x", maxCSVField+1)+"\n", ',', "LF")
	require.NoError(t, err)
	require.Len(t, bad, 1)
	rows, bad, err = readAll(t, strings.Repeat(",", maxColumns+7)+"\n\xff\nok\n", ',', "LF")
	require.NoError(t, err)
	require.Len(t, bad, 2)
	require.Equal(t, [][]string{{"ok"}}, rows)
}

func TestPlacesOfRecordsAreExact(t *testing.T) {
	t.Parallel()
	data := "h1,h2\r\n\r\n\"a\r\n\",b\r\nc,d"
	c := newCSV(strings.NewReader(data), 0, ',', "CRLF")
	var got []string
	for {
		r, err := c.read()
		if err != nil {
			break
		}
		got = append(got, data[r.start:r.end])
	}
	require.Equal(t, []string{"h1,h2", "\"a\r\n\",b", "c,d"}, got)
}

func TestABlobKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	b := &blob{limit: 3*blockSize + 5}
	want := bytes.Repeat([]byte("0123456789"), blockSize/4)
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 100_003)
		_, err := b.Write(rest[:n])
		require.NoError(t, err)
		rest = rest[n:]
	}
	held := 0
	for _, block := range b.blocks {
		held += cap(block)
	}
	require.Less(t, held, len(want)+blockSize, "the content is held once")
	got, err := io.ReadAll(b.section(0, b.size))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	got, err = io.ReadAll(b.section(blockSize-3, blockSize+4))
	require.NoError(t, err)
	require.Equal(t, want[blockSize-3:blockSize+4], got)
	_, err = b.Write(make([]byte, blockSize))
	require.ErrorIs(t, err, errTooLarge)
}

// FuzzCSV reads anything without failing in other ways than the documented
// ones, agrees with itself whatever the size of the reads is, and reads back
// what it wrote.
func FuzzCSV(f *testing.F) {
	f.Add("a,b\n1,\"2 \"\"x\"\"\"\n", byte(0))
	f.Add("a\r\n\"b\r\nc\"\r\n", byte(1))
	f.Add("\"", byte(2))
	f.Add(",\"a\" ,\n\r\r\n", byte(0))
	f.Fuzz(func(t *testing.T, data string, mode byte) {
		ending := [...]string{"LF", "CRLF", ""}[mode%3]
		rows, bad, err := readAll(t, data, ',', ending)
		if err != nil && !errors.Is(err, errLineEnding) && !errors.Is(err, errOpenQuote) {
			t.Fatal(err)
		}
		c := newCSV(strings.NewReader(data), 0, ',', ending)
		n, last := 0, int64(0)
		for {
			r, failed := c.read()
			if failed != nil {
				if err == nil && !errors.Is(failed, io.EOF) || err != nil && !errors.Is(failed, err) {
					t.Fatalf("%v in small reads, %v in large ones", err, failed)
				}
				break
			}
			if r.start < last || r.end <= r.start || r.end > int64(len(data)) {
				t.Fatalf("record at %d to %d after %d of %d", r.start, r.end, last, len(data))
			}
			last = r.end
			n++
		}
		if n != len(rows)+len(bad) {
			t.Fatalf("%d and %d records", n, len(rows)+len(bad))
		}
		var out []byte
		for _, r := range rows {
			for i, v := range r {
				if i > 0 {
					out = append(out, ',')
				}
				out = appendQuoted(out, v)
			}
			out = append(out, '\n')
		}
		again, bad, err := readAll(t, string(out), ',', "LF")
		if err != nil || len(bad) > 0 || len(again) != len(rows) {
			t.Fatalf("written rows are not read back: %v %v", bad, err)
		}
		for i := range rows {
			if strings.Join(rows[i], "\x00") != strings.Join(again[i], "\x00") {
				t.Fatalf("%q became %q", rows[i], again[i])
			}
		}
		std := csv.NewReader(bytes.NewReader(out))
		std.FieldsPerRecord = -1
		if all, err := std.ReadAll(); err != nil || len(all) != len(rows) {
			t.Fatalf("another reader disagrees: %v", err)
		}
	})
}
