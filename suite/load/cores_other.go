//go:build !linux

package load

// cores are left alone elsewhere than on Linux.
type cores struct{}

func separate() (*cores, error) { return &cores{}, nil }

func (*cores) apart() int { return 0 }

func (*cores) end() error { return nil }

func (*cores) start(processes func() error) error { return processes() }
