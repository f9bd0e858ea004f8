//go:build race

package linear_test

// racing is true under the race detector, which makes the stores several times slower.
const racing = true
