package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/match/evaluate"
)

// matchDedup finds the records of large files that are about one entity, without holding them in memory.
func (a *App) matchDedup(ctx context.Context, c matchFlags) error {
	if err := c.need(map[string]string{"fields": c.fields, "model": c.model, "out": c.out}); err != nil {
		return err
	}
	if slices.Contains(c.records, c.out) {
		return usagef("--out would take the place of the records")
	}
	m, err := evaluate.ReadMapping(c.fields)
	if err != nil {
		return err
	}
	x, err := evaluate.ReadModel(c.model, m)
	if err != nil {
		return err
	}
	// What fails leaves an earlier file as it was.
	out, err := os.CreateTemp(filepath.Dir(c.out), filepath.Base(c.out)+".*")
	if err != nil {
		return fmt.Errorf("make the file of clusters: %w", err)
	}
	r, err := evaluate.Dedup(ctx, x, m, c.records, out, evaluate.DedupOptions{MaxPerSource: c.maxPerSource, Dir: c.temp})
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), c.out)
	}
	if err != nil {
		return errors.Join(err, os.Remove(out.Name()))
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
