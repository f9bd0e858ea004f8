//go:build unix

package db

import (
	"os"
	"syscall"
)

const canLock = true

// lockFile locks a file until it is closed or the process ends. It fails if another one holds the lock.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
