// Package meta is what an app reads before anything else: which versions are served, what this service can do, and how
// long it keeps its promises. It is public and holds nothing about anybody.
package meta

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
)

// Info is what the operator decides of it.
type Info struct {
	// MinimumApp is the oldest version of the app that is served; empty for every one. CurrentApp is the newest, StoreURL
	// where it is found.
	MinimumApp, CurrentApp, StoreURL string
	// MaxBody is the size of the largest request body, in bytes.
	MaxBody int64
	// RequireIfMatch says that a change of a customer must be based on a state.
	RequireIfMatch bool
}

// syncLifetime is how long process-customer honours a sync token.
const syncLifetime = 30 * 24 * time.Hour

type document struct {
	API          string       `json:"apiVersion"`
	App          app          `json:"app"`
	Capabilities []string     `json:"capabilities"`
	Limits       limits       `json:"limits"`
	Idempotency  idempotency  `json:"idempotency"`
	Sync         sync         `json:"sync"`
	Links        []linkedPage `json:"links"`
}

type app struct {
	Minimum string `json:"minimumVersion"`
	Current string `json:"currentVersion"`
	Store   string `json:"storeUrl"`
}

type limits struct {
	MaxBody      int64 `json:"maxBodyBytes"`
	MaxPage      int   `json:"maxPageSize"`
	MaxMutations int   `json:"maxMutations"`
}

type idempotency struct {
	AnswerKept     string `json:"answerKept"`
	KeyRemembered  string `json:"keyRemembered"`
	OrderKept      string `json:"orderAnswerKept"`
	IfMatchNeeded  bool   `json:"ifMatchRequired"`
	KeyMinimumSize int    `json:"keyMinimumLength"`
}

type sync struct {
	TokenLifetime string `json:"tokenLifetime"`
	FullResync    string `json:"fullResync"`
}

type linkedPage struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// Handler serves the document.
func Handler(i Info) (http.Handler, error) {
	text, err := json.MarshalIndent(document{
		API: "1", App: app{i.MinimumApp, i.CurrentApp, i.StoreURL},
		Capabilities: []string{
			"availability", "cases", "contacts", "customers", "fields", "gzip", "operations", "order-cancellation", "order-events", "orders", "sync-apply", "sync-customers", "validate-only", "validate-only-all",
		},
		Limits: limits{MaxBody: i.MaxBody, MaxPage: 500, MaxMutations: 100},
		Idempotency: idempotency{
			AnswerKept: days(7 * 24 * time.Hour), OrderKept: days(30 * 24 * time.Hour), KeyRemembered: days(idempotent.DefaultTombstone),
			IfMatchNeeded: i.RequireIfMatch, KeyMinimumSize: 16,
		},
		Sync:  sync{TokenLifetime: days(syncLifetime), FullResync: "/v1/sync/customers"},
		Links: []linkedPage{{"service-desc", "/openapi.json"}, {"service-doc", "/docs"}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write meta: %w", err)
	}
	return openapi.Static("application/json", append(text, '\n')), nil
}

func days(d time.Duration) string { return fmt.Sprintf("P%dD", d/(24*time.Hour)) }
