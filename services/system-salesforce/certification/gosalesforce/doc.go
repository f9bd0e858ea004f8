// Package gosalesforce holds the cases of github.com/k-capehart/go-salesforce.
//
// The client hides the outcome of a bulk job that failed in part, so the case
// reads the result files.
package gosalesforce
