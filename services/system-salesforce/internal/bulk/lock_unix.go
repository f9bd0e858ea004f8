//go:build unix && !solaris && !aix

package bulk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes the lock of an open file, or says that another process has it.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor is small
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrClaimed
	}
	if err != nil {
		return fmt.Errorf("lock the folder of bulk loads: %w", err)
	}
	return nil
}
