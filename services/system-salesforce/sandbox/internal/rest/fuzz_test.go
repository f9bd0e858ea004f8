package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A sub-request is arbitrary text from outside: resolving its references ends
// with a request without references, or with a refusal.
func FuzzReferences(f *testing.F) {
	known := references{}
	for name, body := range map[string]string{
		"one": `{"id":"001","n":5,"nested":{"a":[{"b":"x"},null,true]}}`, "list": `[{"id":"1"},{"id":"2"}]`, "broken": `{`, "text": `"t"`,
	} {
		known[name] = asPart(&name, raw(http.StatusOK, []byte(body)))
	}
	failed := "failed"
	known[failed] = asPart(&failed, notFound())
	f.Add("/services/data/v62.0/sobjects/Account/@{one.id}?fields=@{one.nested.a[0].b}", `{"a":"@{list[1].id}","b":["x @{one.n}"]}`)
	f.Add("@{one}", `{"a":"@{failed.id}"}`)
	f.Add("v62.0/query?q=@{list[9].id}", `"@{broken.id}"`)
	f.Add("http://[::1", `{"a":"@{one.nested.a[-1]}","b":"@{one.nested.a[1].b}","c":"@{text.x}"}`)
	f.Add("%zz", `{"@{one.id}":"@{one..id}@{one.[0]}@{one[}@{}"}`)
	f.Fuzz(func(t *testing.T, link, text string) {
		var body any
		if json.Unmarshal([]byte(text), &body) != nil {
			body = text
		}
		filled, out, bad := known.fill(&part{URL: link, Body: body})
		if bad != nil {
			if bad.status != http.StatusBadRequest || !strings.Contains(string(bad.body), "Invalid reference specified.") {
				t.Fatalf("%q was refused with %s", link, bad.body)
			}
			return
		}
		if reference.MatchString(filled) && !reference.MatchString(link) {
			t.Fatalf("%q became %q", link, filled)
		}
		if _, err := json.Marshal(out); err != nil {
			t.Fatalf("%q became a body that is no JSON: %v", text, err)
		}
		if version, seg, _, ok := target(filled); ok && version == "" {
			t.Fatalf("%q has the segments %q but no version", filled, seg)
		}
	})
}

// A text in a SOAP answer never ends its element early.
func FuzzSOAPTexts(f *testing.F) {
	f.Add("a<b>&\"'\x00\xff")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if got := tag("e", text); strings.Count(got, "<") > 2 || !strings.HasPrefix(got, "<e") {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
