//go:build unix

package db

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// readNow reads what is there from a socket that does not block. It reports whether there was anything: data, or an end.
func readNow(fd uintptr, b []byte) (n int, found bool, err error) {
	n, err = syscall.Read(int(fd), b)
	switch {
	case err == nil && n > 0:
		return n, true, nil
	case err == nil:
		return 0, true, io.EOF
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, false, nil
	default:
		return 0, true, &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)}
	}
}
