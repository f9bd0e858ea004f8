package backend

import "net"

// Loopback reports whether a host, a name or an address, is this machine itself: only there may what we log on with travel in
// the clear.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
