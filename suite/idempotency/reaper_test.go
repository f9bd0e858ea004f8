package idempotency_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
	"github.com/selfsame-io/selfsame/suite"
)

// mortal is the command of a service that stops where it is told to: "mortal DIR SERVICE flags…".
const mortal = "mortal"

// point is a place in the work of a service: right after a span with this name has ended, the nth of the trace. A span is a call,
// a statement, a question to the store of keys; between two ends there is nothing that leaves a mark.
type point struct {
	Service string `json:"service"`
	Trace   string `json:"trace"` // empty: any
	Name    string `json:"name"`
	Nth     int    `json:"nth"`
}

func (p point) String() string { return fmt.Sprintf("%s after %s, %d", p.Service, p.Name, p.Nth) }

// The files by which a test talks to a service.
const (
	fileRecord  = "record"   // while it is there every service notes its spans
	fileSpans   = ".spans"   // what a service noted
	fileStop    = ".stop"    // the point where a service is to stop
	fileReached = ".reached" // it has stopped there
	fileGo      = ".go"      // it may go on
)

// reaper is told of each span of a service when it ends, by whoever ended it, and stops the service there: nobody else can end a
// span meanwhile. What is stopped is then killed, or goes on.
type reaper struct {
	dir, service string

	mu     sync.Mutex
	target point
	met    int
}

func (r *reaper) path(kind string) string { return filepath.Join(r.dir, r.service+kind) }

// ExportSpans implements sdktrace.SpanExporter.
func (r *reaper) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range spans {
		if err := r.ended(s.SpanContext().TraceID().String(), s.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (*reaper) Shutdown(context.Context) error { return nil }

func (r *reaper) ended(trace, name string) error {
	if _, err := os.Stat(filepath.Join(r.dir, fileRecord)); err == nil {
		f, err := os.OpenFile(r.path(fileSpans), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "%s %s\n", trace, name)
		return errors.Join(err, f.Close())
	}
	text, err := os.ReadFile(r.path(fileStop))
	if err != nil {
		return nil //nolint:nilerr // nobody wants it to stop
	}
	var want point
	if err := json.Unmarshal(text, &want); err != nil {
		return err
	}
	if want != r.target {
		r.target, r.met = want, 0
	}
	if want.Name != name || want.Trace != "" && want.Trace != trace {
		return nil
	}
	if r.met++; r.met < want.Nth {
		return nil
	}
	if err := errors.Join(os.Remove(r.path(fileStop)), os.WriteFile(r.path(fileReached), nil, 0o600)); err != nil {
		return err
	}
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if _, err := os.Stat(r.path(fileGo)); err == nil {
			tick.Stop()
			return nil
		}
	}
}

// runMortal is the process of a service with a reaper.
func runMortal(ctx context.Context, dir, service string, args []string) error {
	o := conf.Options{Program: service, Args: args}
	with := []telemetry.Option{telemetry.WithSpanExporter(&reaper{dir: dir, service: service})}
	switch service {
	case suite.ExperienceMobile:
		cfg, err := conf.Load(o, experiencemobile.DefaultConfig())
		cfg.TelemetryOptions = with
		return errors.Join(err, experiencemobile.Run(ctx, cfg))
	case suite.ProcessCustomer:
		cfg, err := conf.Load(o, processcustomer.DefaultConfig())
		cfg.TelemetryOptions = with
		return errors.Join(err, processcustomer.Run(ctx, cfg))
	case suite.SystemERP:
		cfg, err := conf.Load(o, systemerp.DefaultConfig())
		cfg.TelemetryOptions = with
		return errors.Join(err, systemerp.Run(ctx, cfg))
	default:
		cfg, err := conf.Load(o, systemsalesforce.DefaultConfig())
		cfg.TelemetryOptions = with
		return errors.Join(err, systemsalesforce.Run(ctx, cfg))
	}
}

// stops are the services of a world that stop where they are told to.
type stops struct{ dir string }

func (s stops) file(service, kind string) string { return filepath.Join(s.dir, service+kind) }

// record returns the spans that services ended while do ran, in the order of each service.
func (s stops) record(t *testing.T, do func()) map[string][][2]string {
	t.Helper()
	require.NoError(t, os.WriteFile(s.file("", fileRecord), nil, 0o600))
	do()
	require.NoError(t, os.Remove(s.file("", fileRecord)))
	out := map[string][][2]string{}
	for _, service := range []string{suite.ExperienceMobile, suite.ProcessCustomer, suite.SystemERP, suite.SystemSalesforce} {
		text, err := os.ReadFile(s.file(service, fileSpans))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.Remove(s.file(service, fileSpans)))
		for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			trace, name, _ := bytes.Cut(line, []byte(" "))
			out[service] = append(out[service], [2]string{string(trace), string(name)})
		}
	}
	return out
}

// set tells a service where to stop.
func (s stops) set(t *testing.T, p point) {
	t.Helper()
	for _, kind := range []string{fileGo, fileReached} {
		if err := os.Remove(s.file(p.Service, kind)); err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
	}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	// Nobody reads half of it.
	next := s.file(p.Service, ".next")
	require.NoError(t, os.WriteFile(next, text, 0o600))
	require.NoError(t, os.Rename(next, s.file(p.Service, fileStop)))
}

func (s stops) reached(p point) bool {
	_, err := os.Stat(s.file(p.Service, fileReached))
	return err == nil
}

// clear takes back that a service is to stop, and lets it go on if it has stopped meanwhile.
func (s stops) clear(t *testing.T, p point) {
	t.Helper()
	if err := os.Remove(s.file(p.Service, fileStop)); err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	s.on(t, p)
}

// on lets a stopped service go on.
func (s stops) on(t *testing.T, p point) {
	t.Helper()
	require.NoError(t, os.WriteFile(s.file(p.Service, fileGo), nil, 0o600))
}
