// Command freeport prints a TCP port of the loopback interface that is free at the moment.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer func() { _ = l.Close() }()
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
}
