// Package caller carries the identity of whoever makes the current call.
//
// The invariant: a Verified identity comes from a credential that this process checked (a client certificate,
// a token), never from metadata a caller can set. An unverified name is a label for logs and for keeping
// callers apart on a trusted network; it grants nothing. The package does not authenticate: serve and the REST
// edge do, and put the result into the context.
package caller

import "context"

// Identity names a caller. The zero value is nobody.
type Identity struct {
	// Name is the SPIFFE id, DNS name or common name of the certificate, the client id of the token, or the
	// name the caller gave itself.
	Name string
	// Verified is true if a credential proves the name.
	Verified bool
}

type contextKey struct{}

// With returns ctx with the identity of the caller.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// From returns the identity of the caller; the zero value if nobody set one.
func From(ctx context.Context) Identity {
	id, _ := ctx.Value(contextKey{}).(Identity)
	return id
}
