package keybench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Circumstances is where and when something was measured. It names no machine.
type Circumstances struct {
	Date  time.Time `json:"date"`
	Go    string    `json:"go"`
	OS    string    `json:"os"`
	Arch  string    `json:"arch"`
	Cores int       `json:"cores"`
	// LoadBefore and LoadAfter are the load averages of one minute; -1 where there is none. What is above zero before is
	// the work of others.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
	// Fsync is how long it takes to flush 4 KiB to the disk of the databases, in microseconds.
	Fsync float64 `json:"fsync_micros"`
}

func circumstances(dir string) (Circumstances, error) {
	c := Circumstances{
		Date: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Cores: runtime.NumCPU(), LoadBefore: loadAverage(), LoadAfter: -1,
	}
	var err error
	c.Fsync, err = fsync(dir)
	return c, err
}

func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return v
}

// fsync returns the median time of a flush.
func fsync(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "fsync")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []float64
	block := make([]byte, 4096)
	for range 31 {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, micros(time.Since(begun)))
	}
	return median(took), nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// work is one call of whatever is measured.
type work func(ctx context.Context) error

// Ratio compares the time of two ways to do something.
type Ratio struct {
	Group   string `json:"group"`
	Name    string `json:"name"`
	Against string `json:"against"`
	Callers int    `json:"callers"`
	Rounds  int    `json:"rounds"`
	Calls   int    `json:"calls"` // of each side in a round
	// Ratio is the time of the subject over that of the baseline: the median of the rounds, the least and the most.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// CPU is the ratio of the processor time of this process and the server, if that is on this machine.
	CPU float64 `json:"cpu"`
	// Medians, in microseconds for each call.
	BaseMicros float64 `json:"base_micros"`
	Micros     float64 `json:"micros"`
	BaseCPU    float64 `json:"base_cpu_micros"`
	CPUMicros  float64 `json:"cpu_micros"`
	// Target is the most that Ratio may be; zero: there is none.
	Target float64 `json:"target,omitempty"`
	// Throughput tells that the target is said of calls per second.
	Throughput bool `json:"throughput,omitempty"`
}

// side is a way to do something and what one round of it took.
type side struct {
	do        work
	wall, cpu float64
}

// wanted reports whether the options leave a comparison in.
func (b *Bench) wanted(name string) bool { return b.o.Match == nil || b.o.Match.MatchString(name) }

// compare measures the two in turns. Servers returns the processes whose time counts besides this one.
func (b *Bench) compare(ctx context.Context, r Ratio, servers func() []int, baseline, subject work) error {
	if !b.wanted(r.Name) {
		return nil
	}
	b.progress("%s: %s", r.Group, r.Name)
	base, subj := &side{do: baseline}, &side{do: subject}
	for _, s := range []*side{base, subj} { // warm up, and learn how many calls a round needs
		if err := s.round(ctx, r.Callers, 4*r.Callers, nil); err != nil {
			return fmt.Errorf("%s, %s: %w", r.Group, r.Name, err)
		}
		if err := s.round(ctx, r.Callers, 8*r.Callers, nil); err != nil {
			return fmt.Errorf("%s, %s: %w", r.Group, r.Name, err)
		}
	}
	r.Rounds = b.o.Rounds
	r.Calls = max(8*r.Callers, int(micros(b.o.Round)/max(base.wall, subj.wall)))
	var ratios, cpus, bw, bc, sw, sc []float64
	for i := range r.Rounds {
		order := []*side{base, subj}
		if i%2 == 1 {
			order = []*side{subj, base}
		}
		for _, s := range order {
			if err := s.round(ctx, r.Callers, r.Calls, servers); err != nil {
				return fmt.Errorf("%s, %s: %w", r.Group, r.Name, err)
			}
		}
		ratios, cpus = append(ratios, subj.wall/base.wall), append(cpus, subj.cpu/base.cpu)
		bw, bc, sw, sc = append(bw, base.wall), append(bc, base.cpu), append(sw, subj.wall), append(sc, subj.cpu)
	}
	r.Ratio, r.Low, r.High, r.CPU = median(ratios), slices.Min(ratios), slices.Max(ratios), median(cpus)
	r.BaseMicros, r.Micros, r.BaseCPU, r.CPUMicros = median(bw), median(sw), median(bc), median(sc)
	b.results.add(r)
	b.progress("  %.2f (%.2f to %.2f), %.1f against %.1f µs; processor time %.2f, %.1f against %.1f µs", r.Ratio, r.Low, r.High, r.Micros, r.BaseMicros, r.CPU, r.CPUMicros, r.BaseCPU)
	return nil
}

// round makes n calls with so many callers and notes the time for each.
func (s *side) round(ctx context.Context, callers, n int, servers func() []int) error {
	var pids []int
	if servers != nil {
		pids = servers()
	}
	var left atomic.Int64
	left.Store(int64(n))
	errs := make([]error, callers)
	var wg sync.WaitGroup
	before, begun := processorTime(pids), time.Now()
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				errs[i] = s.do(ctx)
			}
		})
	}
	wg.Wait()
	s.wall = micros(time.Since(begun)) / float64(n)
	s.cpu = micros(processorTime(pids)-before) / float64(n)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// processorTime is that of this process and the others.
func processorTime(pids []int) time.Duration {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return 0
	}
	sum := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}
