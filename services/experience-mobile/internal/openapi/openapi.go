// Package openapi holds the published description of the REST surface: what the generator made of the contract, plus
// what the contract cannot say (security, problems, keys, entity tags, headers).
//
// The invariant: openapi.json equals Build of the generated file; a test compares them, so neither can be edited alone.
package openapi

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

//go:generate go run ./gen ../../../../proto/gen/openapi/selfsame/mobile/v1/mobile_service.openapi.json openapi.json

//go:embed openapi.json
var document []byte

// Document returns the description as published.
func Document() []byte { return document }

// Handler serves the description.
func Handler() http.Handler { return Static("application/json", document) }

// Static serves a document that changes only with the program, with an entity tag.
func Static(contentType string, body []byte) http.Handler {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("ETag", tag)
		h.Set("Cache-Control", "public, max-age=300")
		if strings.Contains(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", contentType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		// The client may be gone; there is nobody to tell.
		_, _ = w.Write(body)
	})
}
