//go:build !unix || solaris || aix

package bulk

import (
	"errors"
	"os"
)

// lock refuses: without a lock of the system one process might drop the loads of another.
func lock(*os.File) error { return errors.ErrUnsupported }
