package edge

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// overdue answers nobody before they have given up.
type overdue struct{ grpc.ClientConnInterface }

func (overdue) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// TestBudgets asks every route of the contract for what does not come.
func TestBudgets(t *testing.T) {
	t.Parallel()
	const common = 5 * time.Second
	own := map[string]time.Duration{"POST /v1/sync:apply": 25 * time.Second, "GET /v1/customers/{customer_id}": time.Second, "POST /v1/orders": 2 * time.Second}
	tel := start(t)
	routes, err := Routes()
	require.NoError(t, err)
	for name := range own {
		require.Contains(t, routes, name)
	}
	for _, name := range routes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, err := New(Options{Telemetry: tel, Service: overdue{}, Tokens: anyone{}, Budget: common, Budgets: own, MaxBody: 1 << 20})
				require.NoError(t, err)
				verb, template, _ := strings.Cut(name, " ")
				r := httptest.NewRequestWithContext(t.Context(), verb, strings.NewReplacer("{", "", "}", "").Replace(template), strings.NewReader("{}"))
				r.Header.Set("Authorization", "Bearer x")
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Grpc-Timeout", "30M")
				if verb != http.MethodGet {
					r.Header.Set("Idempotency-Key", "of-a-request-that-is-late")
				}
				w := &connection{ResponseRecorder: httptest.NewRecorder()}
				begin := time.Now()
				h.ServeHTTP(w, r)
				want, ok := own[name]
				if !ok {
					want = common
				}
				require.Equal(t, http.StatusGatewayTimeout, w.Code, w.Body)
				require.Equal(t, "TIMEOUT", w.Header().Get("X-Error-Code"))
				require.Equal(t, want, time.Since(begin))
				require.True(t, w.until[len(w.until)-1].After(time.Now()), "the answer may still be written")
			})
		})
	}
}
