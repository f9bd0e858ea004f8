// Package docs is the page that explains the REST API to people. It is one file without anything from elsewhere; it
// reads /openapi.json in the browser, so it shows what this very process serves. The problem codes are written into
// it here, because every problem's type leads to its code on this page.
package docs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/openapi"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

//go:embed page.html
var page string

//go:embed page.js
var script string

//go:embed page.css
var style string

// Handler renders the page once and serves it.
func Handler() (http.Handler, error) {
	t, err := template.New("page").Parse(page)
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Script": template.JS(script), "Style": template.CSS(style), "Problems": problem.Catalogue(), //nolint:gosec // our own files
	})
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	// Only this script and this style run, whatever finds its way into the page.
	policy := "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src '" +
		digest(script) + "'; style-src '" + digest(style) + "'"
	static := openapi.Static("text/html; charset=utf-8", b.Bytes())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		static.ServeHTTP(w, r)
	}), nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
