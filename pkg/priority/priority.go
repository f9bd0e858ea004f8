// Package priority says how urgent a call is, along the whole chain of calls that it causes.
//
// The problem: a vendor's allowance is shared by everybody, and only the caller at the very top knows whether somebody is
// waiting for the answer. The invariant: a call carries one [Level], in its context within a process and in the metadata
// `selfsame-priority` between processes; a service that calls another because of it passes it on unless it states its own.
//
// A level is a wish, not a right: whoever may call a service may name any level. The package decides nothing; the budget
// of a system service does.
package priority

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Key is the metadata that carries a level.
const Key = "selfsame-priority"

// Level is how urgent a call is; a smaller level goes first. The zero value means that nobody said.
type Level uint8

const (
	// Unset means that nobody said; it is treated as Sync.
	Unset Level = iota
	// Interactive is work that a person is waiting for.
	Interactive
	// Sync keeps records agreeing; it may be some minutes late.
	Sync
	// Bulk is large work that may take hours: a first load, a migration.
	Bulk
	// Audit checks what should be right already and may be left for another day.
	Audit
)

// Levels returns the levels, the most urgent first.
func Levels() []Level { return []Level{Interactive, Sync, Bulk, Audit} }

// String returns the level's name in metadata and metrics.
func (l Level) String() string {
	switch l {
	case Interactive:
		return "interactive"
	case Bulk:
		return "bulk"
	case Audit:
		return "audit"
	case Unset, Sync:
	}
	return "sync"
}

// Parse returns the level of a name.
func Parse(name string) (Level, error) {
	for _, l := range Levels() {
		if l.String() == name {
			return l, nil
		}
	}
	return Unset, fmt.Errorf("%q is none of interactive, sync, bulk, audit", name)
}

type contextKey struct{}

// With returns ctx with the level for everything called with it.
func With(ctx context.Context, l Level) context.Context {
	return context.WithValue(ctx, contextKey{}, l)
}

// Stated returns the level that With or the caller of the current RPC stated; Unset when neither did, or when the caller
// stated something that is no level.
func Stated(ctx context.Context) Level {
	if l, ok := ctx.Value(contextKey{}).(Level); ok {
		return l
	}
	for _, name := range metadata.ValueFromIncomingContext(ctx, Key) {
		if l, err := Parse(name); err == nil {
			return l
		}
	}
	return Unset
}

// From returns the level of ctx: that which was stated, else Sync.
func From(ctx context.Context) Level {
	if l := Stated(ctx); l != Unset {
		return l
	}
	return Sync
}

// Outgoing returns ctx with the metadata for the next process: the stated level, else the given one. Metadata that is there
// already stays.
func Outgoing(ctx context.Context, otherwise Level) context.Context {
	if len(metadata.ValueFromOutgoingContext(ctx, Key)) > 0 {
		return ctx
	}
	l := Stated(ctx)
	if l == Unset {
		l = otherwise
	}
	if l == Unset {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, Key, l.String())
}

// UnaryClient passes the level on with every call of a connection.
func UnaryClient(otherwise Level) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(Outgoing(ctx, otherwise), method, req, reply, cc, opts...)
	}
}
