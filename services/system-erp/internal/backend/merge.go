package backend

import (
	"context"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// Merging joins customers that turned out to be one.
type Merging interface {
	// MergeCustomers puts survivor in the place of duplicate: its contacts, orders, warranties and agreed prices become the
	// survivor's, and its tombstone, which is returned, names the survivor. The survivor's own fields stay. Unchanged when the
	// two are one already; NOT_FOUND, RECORD_DELETED or a refusal of the field "into" otherwise. Missing where duplicates are
	// merged in the ERP itself.
	MergeCustomers(ctx context.Context, duplicate, survivor string) (store.Result[erp.Customer], error)
}
