//go:build !unix

package db

// readNow never finds anything here.
func readNow(uintptr, []byte) (n int, found bool, err error) { return 0, false, nil }
