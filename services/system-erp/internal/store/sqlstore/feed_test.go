package sqlstore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

// load makes customers, and as many changes.
func load(t testing.TB, s *Store, total int) {
	t.Helper()
	for from := 0; from < total; from += 200 {
		ups := make([]store.Upsert[erp.Customer], min(200, total-from))
		for i := range ups {
			ups[i] = store.Upsert[erp.Customer]{Key: erp.Ref{System: "s", Type: "t", Value: fmt.Sprint(from + i)}, Record: erp.Customer{Name: "C"}}
		}
		_, err := s.customers.Upsert(t.Context(), ups)
		require.NoError(t, err)
	}
}

// follow reads the whole feed in pages of the default size and returns how many changes and calls that were. Each is called
// after a page, which may be forgotten then.
func follow(t testing.TB, s *Store, each func()) (seen, calls int) {
	t.Helper()
	for at := int64(0); ; each() {
		list, err := s.Changes(t.Context(), at, 200)
		require.NoError(t, err)
		calls++
		for _, c := range list {
			require.Equal(t, at+1, c.Position)
			at = c.Position
		}
		seen += len(list)
		if len(list) < 200 {
			return seen, calls
		}
	}
}

// TestFeed_FewCalls reads many changes in few calls: 10,000 in at most 100.
func TestFeed_FewCalls(t *testing.T) {
	t.Parallel()
	template.Each(t, func(t *testing.T, d *db.DB) {
		total := 10_000
		if testing.Short() {
			total = 400
		}
		s := open(t, d, Options{})
		load(t, s, total)
		seen, calls := follow(t, s, func() {})
		require.Equal(t, total, seen)
		require.LessOrEqual(t, calls, total/100)
	})
}
