package simulation

import (
	"context"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// Bug names a mistake that can be broken into our side, to see that it is noticed.
type Bug string

// None is the product as it is.
const None Bug = ""

// bug is a mistake at one of the seams: between us and a system, between us and the database, or in a statement.
type bug struct {
	system    func(*world, source.System) source.System
	store     func(*process, engine.Store) engine.Store
	statement func(w *world, ctx context.Context, query string, args []any) (string, []any, error)
}

var bugs = map[Bug]func() bug{}
