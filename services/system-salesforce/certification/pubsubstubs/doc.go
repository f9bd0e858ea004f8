// Package pubsubstubs holds the cases of the official Go stubs of the Pub/Sub
// API, github.com/developerforce/pub-sub-api/go, and of the sample client and the
// login that come with them.
//
// The sample client takes its settings from package variables and speaks TLS
// with the roots of the system, so the cases run one after the other.
package pubsubstubs
