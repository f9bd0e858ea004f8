package edge

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// App is what the edge knows about the apps that call it. The zero value lets every version in.
type App struct {
	// Minimum is the oldest version that is served; empty for every one.
	Minimum string
	// Current is the newest version there is; empty when nobody says.
	Current string
	// Store is where a newer version is found.
	Store string
}

// appVersion refuses apps that are too old to be understood: a phone cannot be rolled back from here. An app that does
// not say its version is let in.
func (e *edge) appVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if said := r.Header.Get("App-Version"); said != "" && e.o.App.Minimum != "" && Older(said, e.o.App.Minimum) {
			if e.o.App.Store != "" {
				w.Header().Add("Link", "<"+e.o.App.Store+`>; rel="latest-version"`)
			}
			e.refuse(w, r, e.problems.New(problem.UpgradeRequired, "This version of the app is no longer served; the oldest one that is: "+e.o.App.Minimum+"."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Older reports whether version a comes before b. Versions are up to three numbers with dots, what follows a dash or a
// plus does not count; what is no version comes before every one.
func Older(a, b string) bool {
	x, y := versionOf(a), versionOf(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

func versionOf(s string) [3]int {
	s, _, _ = strings.Cut(s, "+")
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	var out [3]int
	if len(parts) > len(out) {
		return [3]int{-1}
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return [3]int{-1}
		}
		out[i] = n
	}
	return out
}

// maxClients bounds the applications that are counted apart.
const maxClients = 100

// clients are the applications seen on deprecated routes.
type clients struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (c *clients) label(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case id == "":
		return "unknown"
	case c.seen[id]:
	case len(c.seen) >= maxClients:
		return "other"
	default:
		c.seen[id] = true
	}
	return id
}

// deprecate tells callers of a route that it will go, and counts who still calls it. The two headers write dates
// differently: RFC 9745 and RFC 8594.
func (e *edge) deprecate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if d := c.route.deprecated; d != nil {
			h := w.Header()
			h.Set("Deprecation", "@"+strconv.FormatInt(d.since.Unix(), 10))
			h.Set("Sunset", d.sunset.UTC().Format(http.TimeFormat))
			h.Add("Link", "<"+e.base(c)+problem.DocPath+`#deprecated>; rel="deprecation"`)
			if d.successor != "" {
				h.Add("Link", "<"+successor(c.route, r.URL.EscapedPath())+`>; rel="successor-version"`)
			}
			e.oldCalls.Add(r.Context(), 1, metric.WithAttributes(
				attribute.String("http.route", c.route.template), attribute.String("selfsame.client", e.clients.label(c.principal.Client))))
		}
		next.ServeHTTP(w, r)
	})
}

// successor is the path of the route that takes the place of this one, for what was asked for: names in the template that
// both have stand for the same.
func successor(r *route, path string) string {
	out := r.deprecated.successor
	asked := strings.Split(path, "/")
	for i, part := range strings.Split(r.template, "/") {
		if strings.HasPrefix(part, "{") && i < len(asked) {
			out = strings.ReplaceAll(out, part, asked[i])
		}
	}
	return out
}

// deprecation is the end of a route's life.
type deprecation struct {
	since, sunset time.Time
	successor     string
}
