package remote

import (
	"context"

	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// MergeCustomers implements backend.Merging: what belongs to a customer of a foreign ERP is there, in places that only its own
// tools know. A merge that was made there is mirrored as far as the System says it.
func (s *Store) MergeCustomers(context.Context, string, string) (store.Result[erp.Customer], error) {
	return store.Result[erp.Customer]{}, backend.Missing(s.sys.Kind(), "merging customers; merge them in the ERP")
}
