package sap_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/backendtest"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap/odata"
)

// leftOut are the cases that SAP's CAP runtime cannot judge, with the reason.
var leftOut = map[string]string{
	"a record somebody works on is tried again, and given back in the end": "CAP locks no business object, so it never says that somebody works on one",
}

// theirs returns the running server of certification/cap; without one the test is skipped, also in CI: installing it accepts
// a licence of SAP.
func theirs(t *testing.T) peer {
	t.Helper()
	address := os.Getenv("SELFSAME_TEST_CAP")
	if address == "" {
		t.Skip("SELFSAME_TEST_CAP is not set: `make certify-cap` starts SAP's own server code and sets it")
	}
	p := peer{base: address, user: "CERTIFY", password: "certify", large: 2500}
	if testing.Short() {
		p.large = 300
	}
	return p
}

// TestCAP holds the back end against SAP's own server code: it parses what we send, and its answers are in its own form.
func TestCAP(t *testing.T) {
	t.Parallel()
	p := theirs(t)
	t.Run("the protocol", func(t *testing.T) {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		for _, c := range protocolCases() {
			t.Run(c.name, func(t *testing.T) { c.run(t, p.desk(t, transport)) })
		}
	})
	seen := map[string]bool{}
	backendtest.Run(t, backendtest.Options{Only: func(name string) bool {
		seen[name] = true
		if why := leftOut[name]; why != "" {
			t.Logf("left out: %s: %s", name, why)
			return false
		}
		return true
	}}, func(t *testing.T) *backendtest.World {
		t.Helper()
		return p.world(t, "sqlite")
	})
	for name := range leftOut {
		require.True(t, seen[name], "there is no case %q to leave out", name)
	}
}

// company makes a business partner with a name and returns its id and tag.
func (d desk) company(ctx context.Context, name string) (id, tag string, err error) {
	a, err := d.Create(ctx, partners, "A_BusinessPartner", map[string]any{"BusinessPartnerCategory": "2", "OrganizationBPName1": name}, nil)
	if err != nil {
		return "", "", err
	}
	var made struct{ BusinessPartner string }
	return made.BusinessPartner, a.ETag, json.Unmarshal(a.Body, &made)
}

func (d desk) named(t *testing.T, id string) string {
	t.Helper()
	a, err := d.Get(t.Context(), partners, odata.Key("A_BusinessPartner", id), url.Values{"$select": {"OrganizationBPName1"}})
	require.NoError(t, err)
	var have struct{ OrganizationBPName1 string }
	require.NoError(t, json.Unmarshal(a.Body, &have))
	return have.OrganizationBPName1
}

type protocolCase struct {
	name string
	run  func(t *testing.T, d desk)
}

func protocolCases() []protocolCase {
	rename := func(name string) map[string]any { return map[string]any{"OrganizationBPName1": name} }
	return []protocolCase{
		{"a stale tag is a conflict, a good one is renewed", func(t *testing.T, d desk) {
			id, tag, err := d.company(t.Context(), "Stale")
			require.NoError(t, err)
			require.NotEmpty(t, tag)
			path := odata.Key("A_BusinessPartner", id)
			changed, err := d.Update(t.Context(), partners, path, tag, rename("Once"))
			require.NoError(t, err)
			_, err = d.Update(t.Context(), partners, path, tag, rename("Twice"))
			require.Equal(t, fault.Conflict, fault.KindOf(err), "%v", err)
			require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(err))
			require.Equal(t, http.StatusPreconditionFailed, odata.ProblemOf(err).Status)
			require.Equal(t, "Once", d.named(t, id))
			_, err = d.Update(t.Context(), partners, path, changed.ETag, rename("Twice"))
			require.NoError(t, err)
			require.Equal(t, "Twice", d.named(t, id))
		}},
		{"a change without a condition is refused", func(t *testing.T, d desk) {
			id, _, err := d.company(t.Context(), "Bare")
			require.NoError(t, err)
			_, err = d.Update(t.Context(), partners, odata.Key("A_BusinessPartner", id), "", rename("Other"))
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.Equal(t, http.StatusPreconditionRequired, odata.ProblemOf(err).Status)
			require.Equal(t, "Bare", d.named(t, id))
		}},
		{"a change set happens all or not at all, the others of a batch do", changeSets},
		{"pages of the server are followed", serverPages},
		{"what it refuses is told with its own words", func(t *testing.T, d desk) {
			_, _, err := d.Page(t.Context(), partners, "A_BusinessPartner", url.Values{"$filter": {"NoSuchField eq 'x'"}})
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.NotEmpty(t, odata.ProblemOf(err).Code)
			require.Contains(t, odata.ProblemOf(err).Message, "NoSuchField")
			_, err = d.Get(t.Context(), partners, odata.Key("A_BusinessPartner", "999999999"), nil)
			require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
			require.NotEmpty(t, odata.ProblemOf(err).Message)
		}},
		{"texts with quotes, ampersands and other alphabets are filtered for", func(t *testing.T, d desk) {
			name := "O'Neil & Söhne + 株式会社 100% " + rand.Text()[:6]
			id, _, err := d.company(t.Context(), name)
			require.NoError(t, err)
			found, err := d.ids(t.Context(), partners, "A_BusinessPartner", "OrganizationBPName1 eq "+odata.Quote(name), "BusinessPartner")
			require.NoError(t, err)
			require.Equal(t, []string{id}, found)
		}},
	}
}

func changeSets(t *testing.T, d desk) {
	name := "Set " + rand.Text()[:8]
	id, tag, err := d.company(t.Context(), name)
	require.NoError(t, err)
	partner := func(n string) odata.Op {
		return odata.Op{Method: http.MethodPost, Path: "A_BusinessPartner", Body: map[string]any{"BusinessPartnerCategory": "2", "OrganizationBPName1": name + n}}
	}
	stale := odata.Op{Method: http.MethodPatch, Path: odata.Key("A_BusinessPartner", id), IfMatch: tag, Body: map[string]any{"OrganizationBPName2": "x"}}
	_, err = d.Update(t.Context(), partners, stale.Path, tag, map[string]any{"OrganizationBPName2": "y"})
	require.NoError(t, err)
	answers, err := d.Batch(t.Context(), partners, []odata.Part{
		{partner("a")},
		{partner("b"), stale},
		{partner("c")},
		{{Method: http.MethodGet, Path: "A_BusinessPartner", Query: url.Values{"$filter": {"startswith(OrganizationBPName1," + odata.Quote(name) + ")"}, "$orderby": {"OrganizationBPName1"}}}},
	})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err)
	require.Equal(t, fault.ReasonETagMismatch, fault.ReasonOf(answers[1].Err), "%v", answers[1].Err)
	require.NoError(t, answers[2].Err)
	require.NoError(t, answers[3].Err)
	rows, _, err := odata.ParsePage(answers[3].Answers[0].Body)
	require.NoError(t, err)
	var names []string
	for _, row := range rows {
		var r struct{ OrganizationBPName1 string }
		require.NoError(t, json.Unmarshal(row, &r))
		names = append(names, r.OrganizationBPName1)
	}
	require.Equal(t, []string{name, name + "a", name + "c"}, names)
}

func serverPages(t *testing.T, d desk) {
	name, want := "Page "+rand.Text()[:8], 230
	parts := make([]odata.Part, want)
	for i := range parts {
		parts[i] = odata.Part{{Method: http.MethodPost, Path: "A_BusinessPartner", Body: map[string]any{"BusinessPartnerCategory": "2", "OrganizationBPName1": name, "SearchTerm1": fmt.Sprint(i)}}}
	}
	answers, err := d.Batch(t.Context(), partners, parts)
	require.NoError(t, err)
	for _, a := range answers {
		require.NoError(t, a.Err)
	}
	filter := "OrganizationBPName1 eq " + odata.Quote(name)
	n, err := d.Count(t.Context(), partners, "A_BusinessPartner", filter)
	require.NoError(t, err)
	require.Equal(t, want, n)
	pages, seen := 0, map[string]bool{}
	err = d.Pages(t.Context(), partners, "A_BusinessPartner", url.Values{"$filter": {filter}, "$orderby": {"BusinessPartner"}}, func(rows []json.RawMessage) error {
		pages++
		for _, row := range rows {
			var r struct{ BusinessPartner string }
			if err := json.Unmarshal(row, &r); err != nil {
				return err
			}
			seen[r.BusinessPartner] = true
		}
		return nil
	})
	require.NoError(t, err)
	require.Len(t, seen, want)
	require.Greater(t, pages, 1)
}
