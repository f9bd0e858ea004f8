// Package simpleforce holds the cases of github.com/simpleforce/simpleforce.
//
// The client keeps the reason of most failures to its log: its calls return nil.
package simpleforce
