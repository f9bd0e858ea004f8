package load

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// cores is where the processes of a measurement stand: what sends the load on one core, as if on a machine of its own, and everything
// that it asks on the others. Nothing is moved where there is one core only.
type cores struct {
	all, load, rest unix.CPUSet
}

// separate gives this process the core of the load, until end. What is measured is started by start.
func separate() (*cores, error) {
	c := &cores{}
	if err := unix.SchedGetaffinity(0, &c.all); err != nil {
		return nil, fmt.Errorf("load: cores: %w", err)
	}
	if c.all.Count() < 2 {
		return c, nil
	}
	c.rest = c.all
	for i := range len(c.all) * strconv.IntSize {
		if c.all.IsSet(i) {
			c.load.Set(i)
			c.rest.Clear(i)
			break
		}
	}
	if err := move(c.load); err != nil {
		return nil, errors.Join(err, move(c.all))
	}
	return c, nil
}

// apart returns how many cores there are for what is asked; zero if the load stands on the same.
func (c *cores) apart() int { return c.rest.Count() }

// end lets this process stand anywhere again.
func (c *cores) end() error {
	if c.apart() == 0 {
		return nil
	}
	return move(c.all)
}

// start calls a function that starts processes, which stand where what is asked stands: a process stays where the one stood that
// started it, and a Go program counts the cores it may use when it begins.
func (c *cores) start(processes func() error) error {
	if c.apart() == 0 {
		return processes()
	}
	if err := move(c.rest); err != nil {
		return err
	}
	return errors.Join(processes(), move(c.load))
}

const maxPasses = 100

// move puts all threads of this process on cores. A thread stands where the one stood that made it, so it is repeated until none had to be moved.
func move(to unix.CPUSet) error {
	moved := true
	for passes := 0; moved; passes++ {
		if passes == maxPasses {
			return errors.New("load: cores: threads do not stay where they are put")
		}
		moved = false
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return fmt.Errorf("load: cores: %w", err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				return fmt.Errorf("load: cores: %w", err)
			}
			var now unix.CPUSet
			err = unix.SchedGetaffinity(id, &now)
			if err == nil && now != to {
				moved, err = true, unix.SchedSetaffinity(id, &to)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) { // a thread may end
				return fmt.Errorf("load: cores: %w", err)
			}
		}
	}
	return nil
}
