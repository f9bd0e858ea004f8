package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	pollEvery    = time.Second
	checkTimeout = 900 * time.Millisecond
)

// readiness is the one answer to "may this service be called?", for gRPC health and /readyz alike.
type readiness struct {
	checks []Check
	health *health.Server

	mu       sync.Mutex
	draining bool
	ready    bool
	late     bool // the last look had no answer in time
	services []string
	report   map[string]string // check name → "ok" or why not
}

func newReadiness(checks []Check) *readiness {
	r := &readiness{checks: checks, health: health.NewServer(), services: []string{""}, report: map[string]string{}}
	r.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	return r
}

// serves names the gRPC services that share this readiness.
func (r *readiness) serves(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = append(r.services, names...)
	for _, n := range names {
		r.health.SetServingStatus(n, healthpb.HealthCheckResponse_NOT_SERVING)
	}
}

// watch runs the checks until ctx ends: quickly until the service is ready for the first time, then every second.
func (r *readiness) watch(ctx context.Context) {
	wait := 10 * time.Millisecond
	for {
		if r.poll(ctx) {
			wait = pollEvery
		} else {
			wait = min(2*wait, pollEvery)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// poll looks once. A check that is refused ends readiness at once; one that has no answer in time does so the second time in a
// row, because a machine that stands still for a second says nothing about what is asked.
func (r *readiness) poll(ctx context.Context) bool {
	report, ready, late := make(map[string]string, len(r.checks)), true, false
	for _, c := range r.checks {
		report[c.Name] = "ok"
		if err := check(ctx, c); err != nil {
			report[c.Name] = err.Error()
			if errors.Is(err, errLate) {
				late = true
			} else {
				ready = false
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if late && (r.late || !r.ready) {
		ready = false
	}
	r.report, r.ready, r.late = report, ready, late
	r.publish()
	return ready
}

// errLate is the error of a check that had no answer in time.
var errLate = errors.New("no answer in time")

func check(ctx context.Context, c Check) (err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	defer func() {
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", errLate, err)
		}
	}()
	defer func() {
		if recover() != nil {
			err = errors.New("the check panicked")
		}
	}()
	return c.Ready(ctx)
}

// drain makes the service not ready for good.
func (r *readiness) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.publish()
}

// publish tells gRPC health. The caller holds mu.
func (r *readiness) publish() {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if r.ready && !r.draining {
		status = healthpb.HealthCheckResponse_SERVING
	}
	for _, n := range r.services {
		r.health.SetServingStatus(n, status)
	}
}

type readyPage struct {
	Ready    bool              `json:"ready"`
	Draining bool              `json:"draining,omitempty"`
	Checks   map[string]string `json:"checks"`
}

func (r *readiness) page() readyPage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return readyPage{Ready: r.ready && !r.draining, Draining: r.draining, Checks: r.report}
}

// opsHandler answers /livez (the process serves), /readyz (it may be called) and /metrics.
func opsHandler(r *readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		page := r.page()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !page.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(page)
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}
