package bulk

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// processorTime is what this process has used of the processor.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var benchColumns = []string{"FirstName", "LastName", "Company", "Email", "Phone", "City", "Selfsame_Id__c"}

// generated makes n leads of seven columns, made up beforehand in part: what is measured is preparing, not making up.
func generated(n int) func() (Row, error) {
	const variety = 1024
	values := make([][]any, variety)
	for i := range values {
		values[i] = []any{"Ada", fmt.Sprintf("Lead, number %d", i), fmt.Sprintf("Company %d", i), fmt.Sprintf("lead%d@example.com", i), fmt.Sprintf("+49 30 %07d", i), "Berlin", ""}
	}
	i := 0
	key := make([]byte, 0, 16)
	return func() (Row, error) {
		if i == n {
			return Row{}, io.EOF
		}
		v := values[i%variety]
		key = fmt.Appendf(key[:0], "lead-%08d", i)
		v[6] = string(key)
		i++
		return Row{Values: v}, nil
	}
}

// BenchmarkPrepare reads, checks and spools 200,000 leads, finds keys that come twice, and cuts parts: all that happens before the
// first call. It reports rows per second of processor time of one core, also for rows that are given as fields by name and for
// rows that are grouped by parent.
func BenchmarkPrepare(b *testing.B) {
	const n = 200_000
	prepare := func(b *testing.B, s Spec, next func() func() (Row, error)) {
		b.Helper()
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		c, err := New(Options{API: nobody{}, Dir: b.TempDir()})
		require.NoError(b, err)
		s, err = s.check()
		require.NoError(b, err)
		b.ReportAllocs()
		spent := processorTime(b)
		for b.Loop() {
			l := &load{client: c, spec: s, dir: b.TempDir(), sink: func(Outcome) error { return nil }, stop: make(chan struct{})}
			require.NoError(b, l.prepare(b.Context(), next()))
			require.Len(b, l.j.Parts, 1)
			require.Equal(b, int64(n), l.j.Count.Rows)
			require.Zero(b, l.j.Count.Refused)
		}
		b.ReportMetric(float64(n)*float64(b.N)/(processorTime(b)-spent).Seconds(), "rows/cpu-s")
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	spec := Spec{Object: "Lead", ExternalID: "Selfsame_Id__c", Columns: benchColumns}
	b.Run("values", func(b *testing.B) {
		prepare(b, spec, func() func() (Row, error) { return generated(n) })
	})
	b.Run("fields", func(b *testing.B) {
		prepare(b, Spec{Object: "Lead", ExternalID: "Selfsame_Id__c"}, func() func() (Row, error) {
			from := generated(n)
			fields := map[string]any{}
			return func() (Row, error) {
				r, err := from()
				for i, v := range r.Values {
					fields[benchColumns[i]] = v
				}
				return Row{Fields: fields}, err
			}
		})
	})
	b.Run("grouped", func(b *testing.B) {
		s := spec
		s.Parent = "Company"
		prepare(b, s, func() func() (Row, error) { return generated(n) })
	})
}

// nobody answers no call.
type nobody struct{}

// Exchange implements API.
func (nobody) Exchange(context.Context, rest.Exchange) (*http.Response, error) { return nil, errCut }

// BenchmarkReader reads a result file.
func BenchmarkReader(b *testing.B) {
	const n = 100_000
	var file strings.Builder
	file.WriteString("\"sf__Id\",\"sf__Created\",\"Selfsame_Id__c\",\"LastName\"\n")
	for i := range n {
		fmt.Fprintf(&file, "\"00Q%015d\",\"true\",\"lead-%08d\",\"Lead, \"\"number\"\" %d\"\n", i, i, i)
	}
	text := file.String()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r := newReader(strings.NewReader(text), ',')
		rows := 0
		for ; ; rows++ {
			if err := r.next(); err != nil {
				break
			}
		}
		require.Equal(b, n+1, rows)
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
