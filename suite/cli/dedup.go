package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/selfsame-io/selfsame/services/process-customer/match/evaluate"
)

// matchDedup finds the records of large files that are about one entity, without holding them in memory.
func (a *App) matchDedup(ctx context.Context, c matchFlags) error {
	if err := c.need(map[string]string{"fields": c.fields, "model": c.model, "out": c.out}); err != nil {
		return err
	}
	if err := c.spares(c.model); err != nil {
		return err
	}
	m, err := evaluate.ReadMapping(c.fields)
	if err != nil {
		return err
	}
	x, err := evaluate.ReadModel(c.model, m)
	if err != nil {
		return err
	}
	var r evaluate.DedupReport
	err = evaluate.Replace(c.out, func(w io.Writer) (err error) {
		r, err = evaluate.Dedup(ctx, x, m, c.records, w, evaluate.DedupOptions{MaxPerSource: c.maxPerSource, Dir: c.temp})
		return err
	})
	if err != nil {
		return fmt.Errorf("find clusters: %w", err)
	}
	if c.output == "json" {
		return a.json(r)
	}
	err = a.printf("%d records: %d of them in %d clusters of two or more; a person would be asked about %d pairs\n%d pairs compared in %.0f s, %.0f MiB of memory; wrote %s\n",
		r.Records, r.Clustered, r.Clusters, r.Asked, r.Candidates, r.Seconds, r.MemoryMiB, c.out)
	if err == nil && r.Quality != nil {
		err = a.printf("precision %.4f, recall %.4f, F1 %.4f\n", r.Quality.Precision, r.Quality.Recall, r.Quality.F1)
	}
	return err
}

// spares refuses an --out that is one of the files that are read.
func (c matchFlags) spares(more ...string) error {
	for _, in := range append(append(more, c.fields), c.records...) {
		if sameFile(in, c.out) {
			return usagef("--out would take the place of %s", in)
		}
	}
	return nil
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	at, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(at, other)
}
