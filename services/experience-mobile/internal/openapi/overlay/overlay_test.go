package overlay_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi/overlay"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

const generated = "../../../../../proto/gen/openapi/selfsame/mobile/v1/mobile_service.openapi.json"

func TestBuild(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(generated)
	require.NoError(t, err)
	built, err := overlay.Build(raw)
	require.NoError(t, err)

	t.Run("the published description is what the contract says now", func(t *testing.T) {
		t.Parallel()
		published, err := os.ReadFile("../openapi.json")
		require.NoError(t, err)
		require.Equal(t, string(published), string(built), "run go generate ./internal/openapi")
	})
	t.Run("every reference leads somewhere", func(t *testing.T) {
		t.Parallel()
		var doc map[string]any
		require.NoError(t, json.Unmarshal(built, &doc))
		refs := 0
		walk(doc, func(ref string) {
			refs++
			var at any = doc
			for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				m, ok := at.(map[string]any)
				require.True(t, ok, ref)
				at = m[part]
			}
			require.NotNil(t, at, ref)
		})
		require.Greater(t, refs, 50)
	})
	t.Run("every operation says what it needs", func(t *testing.T) {
		t.Parallel()
		var doc struct {
			Paths map[string]map[string]struct {
				OperationID string                `json:"operationId"`
				Security    []map[string][]string `json:"security"`
				Parameters  []map[string]any      `json:"parameters"`
				Responses   map[string]any        `json:"responses"`
			} `json:"paths"`
		}
		require.NoError(t, json.Unmarshal(built, &doc))
		require.Len(t, doc.Paths, 17)
		for path, item := range doc.Paths {
			for verb, op := range item {
				if op.OperationID == "GetMeta" {
					require.Empty(t, op.Security, "an app reads it before anybody signs in")
					continue
				}
				require.Len(t, op.Security, 1, path)
				require.Contains(t, op.Responses, "401", path)
				require.NotContains(t, op.Responses, "default", path)
				keyed := false
				for _, p := range op.Parameters {
					require.NotEqual(t, "updateMask", p["name"], path)
					keyed = keyed || p["$ref"] == "#/components/parameters/IdempotencyKey"
				}
				require.Equal(t, verb != "get" && op.OperationID != "ApplyMutations", keyed, op.OperationID)
			}
		}
	})
	t.Run("what is sent and what is answered have schemas of their own", func(t *testing.T) {
		t.Parallel()
		type schema struct {
			Type       any               `json:"type"`
			Ref        string            `json:"$ref"`
			Properties map[string]schema `json:"properties"`
			Required   []string          `json:"required"`
			MaxLength  int               `json:"maxLength"`
			Minimum    *int              `json:"minimum"`
			MaxItems   int               `json:"maxItems"`
			Pattern    string            `json:"pattern"`
		}
		var doc struct {
			Paths map[string]map[string]struct {
				Parameters []struct {
					Name   string `json:"name"`
					Schema schema `json:"schema"`
				} `json:"parameters"`
			} `json:"paths"`
			Components struct {
				Schemas map[string]schema `json:"schemas"`
			} `json:"components"`
		}
		require.NoError(t, json.Unmarshal(built, &doc))
		all := doc.Components.Schemas
		update := all["CustomerUpdate"]
		require.Len(t, update.Properties, 7)
		require.NotContains(t, update.Properties, "etag")
		require.Empty(t, update.Required)
		require.Equal(t, []any{"string", "null"}, update.Properties["phone"].Type)
		require.Equal(t, "string", update.Properties["name"].Type, "a customer keeps a name")
		require.Equal(t, []any{"object", "null"}, all["AddressUpdate"].Type)
		require.Equal(t, []any{"string", "null"}, all["AddressUpdate"].Properties["city"].Type)
		require.Equal(t, "^([A-Z]{2})?$", all["AddressUpdate"].Properties["country"].Pattern)
		require.Equal(t, "#/components/schemas/CustomerUpdate", all["Mutation"].Properties["customer"].Ref)
		require.Equal(t, []string{"name"}, all["NewCustomer"].Required)
		require.Equal(t, "string", all["NewCustomer"].Properties["phone"].Type)
		require.Equal(t, 40, all["NewCustomer"].Properties["phone"].MaxLength)
		require.Equal(t, 200, all["NewOrder"].Properties["items"].MaxItems)
		require.NotEmpty(t, all["NewOrderItem"].Properties["quantity"].Pattern)
		require.Equal(t, []string{"city", "country", "postalCode", "region", "street"}, all["Address"].Required)
		for _, name := range []string{"customerId", "name", "phone", "etag", "orders", "pendingSystems"} {
			require.Contains(t, all["Customer"].Required, name)
		}
		require.NotContains(t, all["Customer"].Required, "address", "it may be absent")
		require.Zero(t, all["Customer"].Properties["phone"].MaxLength, "systems may hold more")
		require.Equal(t, []string{"customers", "nextPageToken", "syncToken"}, all["SyncCustomersResponse"].Required)
		require.Empty(t, all["NewOrder"].Properties["purchaseOrder"].Required)
		limited := 0
		for _, p := range doc.Paths["/v1/customers"]["get"].Parameters {
			if p.Name == "pageSize" && p.Schema.Minimum != nil {
				limited++
			}
		}
		require.Equal(t, 1, limited)
	})
	t.Run("who is to wait is always told how long", func(t *testing.T) {
		t.Parallel()
		for _, e := range problem.Catalogue() {
			if e.Status == http.StatusServiceUnavailable || e.Status == http.StatusTooManyRequests {
				require.Positive(t, e.RetrySeconds, e.Code)
			}
		}
	})
	t.Run("a file that is no description is refused", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{"", "[]", "{}", `{"components":{"schemas":{}}}`, `{"paths":{"/x":{"get":{}}},"components":{"schemas":{}}}`} {
			_, err := overlay.Build([]byte(bad))
			require.Error(t, err, bad)
		}
	})
}

func walk(v any, visit func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if text, ok := child.(string); ok && k == "$ref" {
				visit(text)
			}
			walk(child, visit)
		}
	case []any:
		for _, child := range v {
			walk(child, visit)
		}
	}
}
