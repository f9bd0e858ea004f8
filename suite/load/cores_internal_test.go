//go:build linux

package load

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What sends the load and what is asked share no core, and afterwards everything is as before. It moves this process, so it is not parallel.
func TestSeparate(t *testing.T) {
	var before unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &before))
	c, err := separate()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.end()) })
	stands := func(pid int) (set unix.CPUSet) {
		require.NoError(t, unix.SchedGetaffinity(pid, &set))
		return set
	}
	var cmd *exec.Cmd
	require.NoError(t, c.start(func() error {
		cmd = exec.CommandContext(t.Context(), "sleep", "60")
		return cmd.Start()
	}))
	t.Cleanup(func() { _ = cmd.Wait() }) // the end of the test's context kills it
	if before.Count() == 1 {
		require.Zero(t, c.apart())
		require.Equal(t, before, stands(cmd.Process.Pid))
		return
	}
	require.Equal(t, before.Count()-1, c.apart())
	require.Equal(t, c.rest, stands(cmd.Process.Pid))
	everywhere := func(want unix.CPUSet) {
		tasks, err := filepath.Glob("/proc/self/task/*")
		require.NoError(t, err)
		for _, task := range tasks {
			id, err := strconv.Atoi(filepath.Base(task))
			require.NoError(t, err)
			var set unix.CPUSet
			if unix.SchedGetaffinity(id, &set) == nil { // a thread may end
				require.Equal(t, want, set)
			}
		}
	}
	everywhere(c.load)
	require.Equal(t, 1, c.load.Count())
	for i := range 1024 {
		require.False(t, c.load.IsSet(i) && c.rest.IsSet(i), "a core is of one of the two")
	}
	require.NoError(t, c.end())
	everywhere(before)
}
