package bulk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrClaimed means that another process uses a folder.
var ErrClaimed = errors.New("another process uses the folder of bulk loads")

// lockFile says in its folder that a process uses it.
const lockFile = "lock"

// Claim makes a folder, readable by its owner only, and holds it for this process until release is called or the process ends: two
// processes in one folder would drop each other's loads. ErrClaimed if another has it. The lock is the operating system's, so that
// nothing is left of it after a crash; processes on several machines that share the folder need not see each other's.
func Claim(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of bulk loads: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the folder of bulk loads: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("the folder of bulk loads is no folder: %s", info.Mode())
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of bulk loads: %w", err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}
