// Package problem is the one shape in which the REST surface says no: RFC 9457 problem+json with a stable code.
//
// The invariant: every code has one entry in the catalogue, which fixes its HTTP status, its title, whether the
// same request may be sent again, and, for 5xx, its whole text. What another process said never becomes the text
// of a 5xx answer; a code that the catalogue does not know gets the status of its fault kind.
//
// The package does not decide what is wrong with a request; edge and rpc do.
package problem
