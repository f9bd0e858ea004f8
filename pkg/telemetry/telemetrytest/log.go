// Package telemetrytest is for tests of what services tell of themselves.
package telemetrytest

import (
	"bytes"
	"strings"
	"sync"
)

// Log keeps what is logged: the writer of a service under test. The zero value is empty. It is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer; it never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// With returns the lines that contain what, in order.
func (l *Log) With(what string) (out []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, what) {
			out = append(out, line)
		}
	}
	return out
}
