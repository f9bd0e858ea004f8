package rest

import (
	"net/http"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// instant reads a time parameter. A plus sign that was not encoded arrives as
// a blank.
func (c *call) instant(name string) (time.Time, bool) {
	return store.ParseTime(strings.ReplaceAll(c.query.Get(name), " ", "+"))
}

func (c *call) changed(o *schema.Object, gone bool, start, end time.Time) *answer {
	type deleted struct {
		ID   string `json:"id"`
		Date string `json:"deletedDate"`
	}
	ids, bin := []string{}, []deleted{}
	hidden := c.hidden()
	_ = c.look(func(v store.View) error { // fn never fails
		for r := range v.Since(o, start.Unix()) {
			if r.Modified >= end.Unix()+1 {
				break
			}
			switch {
			case hidden != nil && hidden(r.ID):
			case gone && r.Deleted:
				bin = append(bin, deleted{r.ID, wireTime(time.Unix(r.Modified, 0))})
			case !gone && !r.Deleted:
				ids = append(ids, r.ID)
			}
		}
		if gone {
			for _, r := range v.Buried(o, start.Unix(), end.Unix()) {
				bin = append(bin, deleted{r.ID, wireTime(time.Unix(r.Modified, 0))})
			}
		}
		return nil
	})
	if len(ids)+len(bin) > c.opt.ReplicationIDs {
		return fail(http.StatusBadRequest, "EXCEEDED_ID_LIMIT", "too many ids in the period")
	}
	// A later write may still fall into the running second, so it is not
	// covered yet.
	covered := end.Truncate(time.Second)
	if gone {
		return reply(http.StatusOK, map[string]any{
			"deletedRecords": bin, "latestDateCovered": wireTime(covered), "earliestDateAvailable": wireTime(c.opt.Now().AddDate(0, 0, -15)),
		})
	}
	return reply(http.StatusOK, map[string]any{"ids": ids, "latestDateCovered": wireTime(covered)})
}

func wireTime(t time.Time) string { return t.UTC().Format(render.TimeForm) }
