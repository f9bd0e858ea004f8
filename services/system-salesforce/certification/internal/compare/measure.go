package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/server"
)

// Bench is where the binaries are and how much is measured.
type Bench struct {
	// Sandbox and Adapter are binaries; Module is the folder of the service's module.
	Sandbox, Adapter, Module string
	// Dir is an empty folder.
	Dir string
	// Log says how far it is.
	Log func(format string, args ...any)

	made int
}

// world starts a sandbox of its own for fn, and stops it.
func (b *Bench) world(ctx context.Context, fn func(p *server.Process, o *Org, dir string) error) (err error) {
	b.made++
	dir := filepath.Join(b.Dir, strconv.Itoa(b.made))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	p, err := server.Start(ctx, b.Sandbox, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop(), os.RemoveAll(dir)) }()
	return fn(p, NewOrg(p.Env()), dir)
}

// Subject is what one client did in all rounds.
type Subject struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Rounds holds the passes of each round.
	Rounds [][]Pass `json:"rounds"`
	// ProcessorSeconds and PeakBytes are the least and the most of all rounds, for all passes of a round together.
	ProcessorSeconds float64 `json:"processor_seconds"`
	PeakBytes        int64   `json:"peak_bytes"`
	// SandboxSeconds is the least processor time of the sandbox, PassSeconds that of all processes without their starting.
	SandboxSeconds float64 `json:"sandbox_seconds,omitempty"`
	PassSeconds    float64 `json:"pass_seconds,omitempty"`
}

func (s *Subject) add(passes []Pass, used Used) {
	s.Rounds = append(s.Rounds, passes)
	s.PeakBytes = max(s.PeakBytes, used.PeakBytes)
	s.ProcessorSeconds = least(s.ProcessorSeconds, used.ProcessorSeconds)
	s.SandboxSeconds = least(s.SandboxSeconds, used.sandbox)
	s.PassSeconds = least(s.PassSeconds, used.passes)
}

// least is the smaller of two numbers of which 0 is none.
func least(a, b float64) float64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// rate is records per second over all passes of a round.
func rate(passes []Pass) float64 {
	var n, seconds float64
	for _, p := range passes {
		n, seconds = n+float64(p.Succeeded), seconds+p.Seconds
	}
	return n / seconds
}

// Rate is the median over the rounds.
func (s Subject) Rate() float64 {
	var all []float64
	for _, r := range s.Rounds {
		all = append(all, rate(r))
	}
	return median(all)
}

// Calls is the most calls that one pass took.
func (s Subject) Calls() int64 {
	var most int64
	for _, r := range s.Rounds {
		for _, p := range r {
			most = max(most, p.Calls)
		}
	}
	return most
}

// Ratio is how many times as fast as other it was: the median of the ratios of each round, and the least and the greatest.
func (s Subject) Ratio(other Subject) (mid, least, most float64) {
	var all []float64
	for i, r := range s.Rounds {
		all = append(all, rate(r)/rate(other.Rounds[i]))
	}
	return median(all), slices.Min(all), slices.Max(all)
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	if n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[n/2]
}

// Comparison is one measurement of all clients.
type Comparison struct {
	Circumstances Circumstances `json:"circumstances"`
	Accounts      int           `json:"accounts"`
	// Latency is what the sandbox adds to each answer.
	Latency string `json:"latency"`
	// Subjects are the adapter by default, the adapter in other ways, and the others.
	Subjects []Subject `json:"subjects"`
}

// Circumstances are what absolute numbers depend on.
type Circumstances struct {
	Date       string `json:"date"`
	Go         string `json:"go"`
	System     string `json:"system"`
	Cores      int    `json:"cores"`
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

func begin() Circumstances {
	return Circumstances{
		Date: time.Now().UTC().Format("2006-01-02 15:04"), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Cores: runtime.NumCPU(), LoadBefore: LoadAverage(),
	}
}

// way is a configuration of the adapter.
type way struct {
	name     string
	settings []string
}

// ways are those that are compared, the default one first.
func ways() []way {
	return []way{
		{"system-salesforce", nil},
		{"system-salesforce, collections", []string{"--salesforce.bulk_from=1000000000"}},
		{"system-salesforce, jobs", []string{"--salesforce.swift_to=0"}},
	}
}

// Upserts lets the adapter and the others write the same n accounts, twice in each round, round by round.
func (b *Bench) Upserts(ctx context.Context, n, rounds int, latency time.Duration, others []Other) (Comparison, error) {
	c := Comparison{Circumstances: begin(), Accounts: n, Latency: latency.String()}
	for _, w := range ways() {
		c.Subjects = append(c.Subjects, Subject{Name: w.name, Version: "this build"})
	}
	for _, o := range others {
		c.Subjects = append(c.Subjects, Subject{Name: o.Name, Version: o.Version})
	}
	for round := range rounds {
		// Each round begins with another, so that none always has the machine as another left it.
		for k := range c.Subjects {
			i := (k + round) % len(c.Subjects)
			passes, used, err := b.subject(ctx, n, latency, i, others)
			if err != nil {
				return c, err
			}
			c.Subjects[i].add(passes, used)
			b.Log("%-28s %6.0f records/s, %d and %d calls", c.Subjects[i].Name, rate(passes), passes[0].Calls, passes[1].Calls)
		}
	}
	c.Circumstances.LoadAfter = LoadAverage()
	return c, nil
}

// subject runs a way of the adapter or one of the others, which come behind, in a world of its own.
func (b *Bench) subject(ctx context.Context, n int, latency time.Duration, i int, others []Other) (passes []Pass, used Used, err error) {
	err = b.world(ctx, func(p *server.Process, o *Org, dir string) error {
		if err := o.Latency(ctx, latency); err != nil {
			return err
		}
		before, err := processor(p.PID())
		if err != nil {
			return err
		}
		if own := ways(); i < len(own) {
			passes, used, err = b.ours(ctx, o, dir, n, p.PID(), own[i])
		} else {
			passes, used, err = others[i-len(own)].Upserts(ctx, p.Env(), n)
		}
		if err != nil {
			return err
		}
		after, err := processor(p.PID())
		if err != nil {
			return err
		}
		used.sandbox = after - before
		return verify(ctx, o, passes, n)
	})
	return passes, used, err
}

func (b *Bench) ours(ctx context.Context, o *Org, dir string, n, sandbox int, w way) (passes []Pass, used Used, err error) {
	a, err := StartAdapter(ctx, b.Adapter, dir, o.env, w.settings...)
	if err != nil {
		return nil, Used{}, err
	}
	all := []int{a.cmd.Process.Pid, sandbox, os.Getpid()} // the last one drives the adapter
	before, errBefore := processors(all...)
	passes, err = a.Upserts(ctx, o, n)
	after, errAfter := processors(all...)
	m, errMemory := a.Memory()
	if err := errors.Join(err, errBefore, errAfter, errMemory, a.Stop()); err != nil {
		return nil, Used{}, err
	}
	return passes, Used{ProcessorSeconds: a.ProcessorTime().Seconds(), PeakBytes: m.Peak, passes: after - before}, nil
}

// verify looks at the org itself: all records are there once, as the last pass wrote them.
func verify(ctx context.Context, o *Org, passes []Pass, n int) error {
	for _, p := range passes {
		if p.Succeeded != int64(n) {
			return fmt.Errorf("%d of %d records were written", p.Succeeded, n)
		}
	}
	stats, err := o.Stats(ctx)
	if err != nil {
		return err
	}
	changed, err := o.Count(ctx, fmt.Sprintf("SELECT COUNT() FROM Account WHERE Name LIKE 'Account %%, pass %d' AND BillingCity = 'Berlin'", Passes-1))
	if err != nil {
		return err
	}
	if stats.Records["Account"] != int64(n) || changed != int64(n) {
		return fmt.Errorf("the org has %d accounts of which %d are as written, instead of %d", stats.Records["Account"], changed, n)
	}
	return nil
}

// Million is the load of very many leads.
type Million struct {
	Circumstances Circumstances `json:"circumstances"`
	Leads         int           `json:"leads"`
	Pass          Pass          `json:"pass"`
	// Idle is the adapter's memory before the load, its peak that of starting. Memory is what it held when the load ended, its peak
	// that of the load.
	Idle   Memory `json:"idle"`
	Memory Memory `json:"memory"`
	// ProcessorSeconds is what the adapter used, from its start to its end.
	ProcessorSeconds float64 `json:"processor_seconds"`
	// Sandbox is the memory of the sandbox, which keeps all records.
	Sandbox Memory `json:"sandbox"`
}

// Leads loads n leads through the adapter.
func (b *Bench) Leads(ctx context.Context, n int) (m Million, err error) {
	m = Million{Circumstances: begin(), Leads: n}
	err = b.world(ctx, func(p *server.Process, o *Org, dir string) error {
		a, err := StartAdapter(ctx, b.Adapter, dir, o.env)
		if err != nil {
			return err
		}
		m.Idle, err = a.Memory()
		if err == nil {
			err = a.ForgetPeak()
		}
		if err == nil {
			m.Pass, err = a.Leads(ctx, o, n)
		}
		var err2, err3 error
		m.Memory, err2 = a.Memory()
		m.Sandbox, err3 = memory(p.PID())
		if err := errors.Join(err, err2, err3, a.Stop()); err != nil {
			return err
		}
		m.ProcessorSeconds = a.ProcessorTime().Seconds()
		stats, err := o.Stats(ctx)
		if err == nil && (stats.Records["Lead"] != int64(n) || m.Pass.Succeeded != int64(n)) {
			err = fmt.Errorf("the org has %d leads, %d were reported, of %d", stats.Records["Lead"], m.Pass.Succeeded, n)
		}
		return err
	})
	m.Circumstances.LoadAfter = LoadAverage()
	return m, err
}

// GoBench is the result of a benchmark of "go test".
type GoBench struct {
	Circumstances Circumstances `json:"circumstances"`
	Name          string        `json:"name"`
	// Metrics are values by unit.
	Metrics map[string]float64 `json:"metrics"`
}

var (
	benchLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)
	benchPair = regexp.MustCompile(`([0-9.e+]+) (\S+)`)
)

// Prepare runs the benchmark of preparing rows for a bulk load.
func (b *Bench) Prepare(ctx context.Context) ([]GoBench, error) {
	at := begin()
	cmd := exec.CommandContext(ctx, "go", "test", "./internal/bulk", "-run", "^$", "-bench", "^BenchmarkPrepare$", "-benchtime", "10x")
	cmd.Dir = b.Module
	cmd.Env = append(os.Environ(), "GOWORK=off")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run the benchmark: %w\n%s", err, text)
	}
	at.LoadAfter = LoadAverage()
	out := parseBench(text, at)
	if len(out) == 0 {
		return nil, fmt.Errorf("the benchmark reported nothing:\n%s", text)
	}
	return out, nil
}

// parseBench reads what "go test -bench" prints.
func parseBench(text []byte, at Circumstances) []GoBench {
	var out []GoBench
	for _, m := range benchLine.FindAllSubmatch(text, -1) {
		g := GoBench{Circumstances: at, Name: string(m[1]), Metrics: map[string]float64{}}
		for _, pair := range benchPair.FindAllSubmatch(m[2], -1) {
			if v, err := strconv.ParseFloat(string(pair[1]), 64); err == nil {
				g.Metrics[string(pair[2])] = v
			}
		}
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b GoBench) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
