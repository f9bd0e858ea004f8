// Package goforce holds the cases of github.com/nimajalali/go-force.
//
// The client builds no path itself: it follows the links of the root resource
// and of the object list. Its logins go to fixed hosts of Salesforce, so it takes
// over the session of another program.
package goforce
