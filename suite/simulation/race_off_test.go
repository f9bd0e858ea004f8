//go:build !race

package simulation_test

// racing is true under the race detector, which makes the database ten times slower.
const racing = false
