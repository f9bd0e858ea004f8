// Package certify runs unmodified third-party clients against the sandbox.
//
// It is a module of its own so that their dependencies stay out of the service.
package certify
