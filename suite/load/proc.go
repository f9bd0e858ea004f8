package load

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc/<pid>/stat: USER_HZ, which is 100 in the ABI of Linux. The sum of user and
// system time is exact to one tick.
const tick = 10 * time.Millisecond

// cpuTime returns the user and system time that a process has used since it started.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	// The second field is the program's name in parentheses, which may hold anything.
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const utime, stime = 14 - 3, 15 - 3 // as proc(5) counts, less what was cut off
	if len(fields) <= stime {
		return 0, fmt.Errorf("processor time of %d: %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(user+system) * tick, nil
}

// Memory is the resident memory of a process, in bytes.
type Memory struct {
	// Resident is what it holds now, program text included.
	Resident int64 `json:"resident"`
	// Anonymous is the part that is not backed by a file: heap and stacks.
	Anonymous int64 `json:"anonymous"`
	// Peak is the most that it has held since it started.
	Peak int64 `json:"peak"`
}

func memory(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("memory: %w", err)
	}
	var m Memory
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "VmRSS":
			to = &m.Resident
		case "RssAnon":
			to = &m.Anonymous
		case "VmHWM":
			to = &m.Peak
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("memory: %s: %w", name, err)
		}
		*to = kib << 10
	}
	if m.Resident == 0 || m.Peak == 0 {
		return Memory{}, fmt.Errorf("memory of %d is not known", pid)
	}
	return m, nil
}

// usage is the processor time of several processes.
type usage map[string]time.Duration

func use(pids map[string]int) (usage, error) {
	u := usage{}
	for name, pid := range pids {
		t, err := cpuTime(pid)
		if err != nil {
			return nil, err
		}
		u[name] = t
	}
	return u, nil
}

// watchPeak samples the resident memory of processes until ctx ends, and returns the most anonymous memory of each:
// the kernel keeps the peak of the whole, but not of this part.
func watchPeak(ctx context.Context, pids map[string]int, every time.Duration) map[string]int64 {
	peak := map[string]int64{}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		for name, pid := range pids {
			// A process that has ended is found by whoever waits for its work.
			if m, err := memory(pid); err == nil {
				peak[name] = max(peak[name], m.Anonymous)
			}
		}
		select {
		case <-ctx.Done():
			return peak
		case <-t.C:
		}
	}
}
