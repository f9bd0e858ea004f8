// Package message is how the sandbox refuses: SAP's error with its code, its text and the field it is about.
//
// The numbers of message classes other than those of the Gateway framework are ours: SAP documents few of them. A client
// that depends on one of the others depends on the sandbox.
package message

import (
	"fmt"
	"net/http"
)

// Error is a refused request. It is immutable once returned.
type Error struct {
	// Status is the status of HTTP.
	Status int
	// Code is the message class and number.
	Code string
	// Text is for people.
	Text string
	// Target is the property to blame; empty when none is.
	Target string
}

// Error returns code and text.
func (e *Error) Error() string { return e.Code + ": " + e.Text }

// New makes an error of any status.
func New(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Text: fmt.Sprintf(format, args...)}
}

// Bad makes a business error: 400.
func Bad(code, format string, args ...any) *Error {
	return New(http.StatusBadRequest, code, format, args...)
}

// At names the property to blame.
func (e *Error) At(target string) *Error {
	e.Target = target
	return e
}

// Note is a message beside a success, sent in the header sap-message.
type Note struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Target   string `json:"target"`
	Severity string `json:"severity"` // info, warning, error
}
