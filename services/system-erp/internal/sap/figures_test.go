package sap

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

var (
	records = flag.Int("records", 10_000, "customers to read in TestFigures")
	figures = flag.String("page", "", "file that the figures of TestFigures are written to")
)

// requests looks for n new customers, makes them, and returns how many HTTP requests that took.
func requests(t *testing.T, n int) int64 {
	t.Helper()
	s := system(t, sandbox.Config{}, nil)
	require.NoError(t, s.Ping(t.Context()))
	before := s.Requests()
	for from := 0; from < n; from += 200 {
		most := min(200, n-from)
		keys, drafts := make([]remote.Key, most), make([]draft, most)
		for i := range keys {
			keys[i] = key(from + i)
			drafts[i] = draft{Key: keys[i], Record: erp.Customer{
				Kind: erp.Organization, Name: fmt.Sprint("Customer ", from+i), Email: "a@b.example", Addresses: []erp.Address{{City: "Bonn", Country: "DE", Usage: erp.UsageDefault}},
			}}
		}
		found, err := s.Customers().Find(t.Context(), keys)
		require.NoError(t, err)
		require.Len(t, found, most)
		out, err := s.Customers().Insert(t.Context(), drafts)
		require.NoError(t, err)
		for _, w := range out {
			require.NoError(t, w.Err)
		}
	}
	return s.Requests() - before
}

// reading is what it takes to read customers.
type reading struct {
	seen, requests int
	// before and most are bytes on the heap, of the sandbox in the same process too.
	before, most uint64
}

// read makes n customers, reads all that changed since, in pages, and looks at the heap on the way.
func read(t *testing.T, n int) reading {
	t.Helper()
	s := system(t, sandbox.Config{}, func(c *Config) { c.BatchSize, c.PageSize = 200, min(500, n/4) })
	begun := time.Now().Add(-time.Minute)
	for from := 0; from < n; from += 200 {
		drafts := make([]draft, min(200, n-from))
		for i := range drafts {
			drafts[i] = draft{Key: key(from + i), Record: erp.Customer{Kind: erp.Organization, Name: fmt.Sprint("Customer ", from+i)}}
		}
		out, err := s.Customers().Insert(t.Context(), drafts)
		require.NoError(t, err)
		require.NoError(t, out[len(out)-1].Err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	r := reading{before: heap()}
	sent := s.Requests()
	require.NoError(t, s.scanned(t, begun, func(page int) {
		if r.seen += page; r.seen%max(n/4, 1) == 0 {
			r.most = max(r.most, heap())
		}
	}))
	r.requests = int(s.Requests() - sent)
	return r
}

// scanned reads once what changed since, without the second reading that follows a slow one.
func (s *System) scanned(t *testing.T, since time.Time, page func(n int)) error {
	t.Helper()
	return customers{s}.scan(t.Context(), since, func(list []snap) error { page(len(list)); return nil })
}

// TestFigures holds what SAP is asked for and what is held of it: a thousand customers are looked for and made in at most 40
// requests, 10,000 changes read in at most 100, and the heap does not grow with what is read. With -page it writes the figures.
func TestFigures(t *testing.T) {
	thousand, many := 1000, *records
	if testing.Short() {
		thousand, many = 100, 100
	}
	sent := requests(t, thousand)
	t.Logf("%d customers looked for and made in %d requests", thousand, sent)
	require.LessOrEqual(t, sent, int64(40*thousand/1000))
	changes := read(t, min(many, 10_000))
	t.Logf("%d changes read in %d requests", changes.seen, changes.requests)
	require.Equal(t, min(many, 10_000), changes.seen)
	require.LessOrEqual(t, changes.requests, max(changes.seen/100, 5))
	all := changes
	if many > 10_000 {
		all = read(t, many)
	}
	t.Logf("heap before %d MiB, at most %d MiB while reading %d records", all.before>>20, all.most>>20, all.seen)
	require.Equal(t, many, all.seen)
	require.Less(t, all.most, all.before+32<<20)
	if *figures == "" {
		return
	}
	const head = `# What SAP is asked for

Written by ` + "`make bench-sap`" + `: requests to the [sandbox](../../services/system-erp/sandbox/README.md) and bytes of the heap, counted. Nothing here depends on how fast the
machine is. The heap is that of one process with the sandbox in it; what it held before the reading is mostly the sandbox's records.

| what | figure | target |
|---|---|---|
`
	text := head + fmt.Sprintf("| %d customers looked for and made, in batches | **%d** requests | at most %d |\n", thousand, sent, 40*thousand/1000) +
		fmt.Sprintf("| %d changed customers read | **%d** requests | at most 100 |\n", changes.seen, changes.requests) +
		fmt.Sprintf("| heap while %d customers are read | **%.1f MiB** above the %.1f MiB before | flat |\n", all.seen, float64(int64(all.most)-int64(all.before))/(1<<20), float64(all.before)/(1<<20))
	require.NoError(t, os.WriteFile(*figures, []byte(text), 0o600))
}
