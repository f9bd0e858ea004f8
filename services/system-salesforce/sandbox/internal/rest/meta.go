package rest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
)

// versions lists what is served. It needs no session and is not counted.
func versions(method string) *answer {
	if method != http.MethodGet && method != http.MethodHead {
		return wrongMethod(method)
	}
	type version struct {
		Label   string `json:"label"`
		URL     string `json:"url"`
		Version string `json:"version"`
	}
	var out []version
	for n := oldestVersion; n <= newestVersion; n++ {
		v := fmt.Sprintf("%d.0", n)
		out = append(out, version{season(n), render.Base(v), v})
	}
	return reply(http.StatusOK, out)
}

// season names a release: three a year, 31.0 being Summer '14.
func season(n int) string {
	i := n - 31
	names := [...]string{"Summer", "Winter", "Spring"}
	return fmt.Sprintf("%s '%02d", names[i%3], 14+(i+2)/3)
}

func (c *call) resources() *answer {
	base := render.Base(c.version)
	out := map[string]string{"identity": c.base(c.r) + "/id/" + c.opt.Sessions.Org() + "/" + c.session.User.ID}
	for _, name := range []string{"sobjects", "query", "queryAll", "limits", "jobs", "composite", "tooling"} {
		out[name] = base + "/" + name
	}
	return reply(http.StatusOK, out)
}

// replication serves the ids of what changed or went away in a period.
func (c *call) replication(object, what string) *answer {
	o := c.opt.Schema.Object(object)
	if o == nil {
		return notFound()
	}
	start, ok1 := c.instant("start")
	end, ok2 := c.instant("end")
	now := c.opt.Now()
	switch {
	case !ok1 || !ok2:
		return fail(http.StatusBadRequest, "INVALID_REPLICATION_DATE", "start and end must be ISO 8601 dates")
	case !start.Before(end):
		return fail(http.StatusBadRequest, "INVALID_REPLICATION_DATE", "startDate must be before endDate")
	case end.Sub(start) < time.Minute:
		return fail(http.StatusBadRequest, "INVALID_REPLICATION_DATE", "startDate should be at least one minute greater than endDate")
	case start.Before(now.AddDate(0, 0, -30)):
		return fail(http.StatusBadRequest, "INVALID_REPLICATION_DATE", "startDate cannot be more than 30 days ago")
	}
	if end.After(now) {
		end = now
	}
	return c.changed(o, what == "deleted", start, end)
}
