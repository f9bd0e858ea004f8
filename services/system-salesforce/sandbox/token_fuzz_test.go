package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documentedRefusals are the error codes that the token endpoint is known to answer with.
func documentedRefusals() map[string]bool {
	return map[string]bool{
		"invalid_request": true, "invalid_grant": true, "invalid_client": true, "invalid_client_id": true, "invalid_app_access": true,
		"unsupported_grant_type": true, "inactive_user": true, "inactive_org": true,
	}
}

// Whatever is posted to the token endpoint, it answers as Salesforce does: with a session, or with 400 and a documented error as
// JSON; never with a failure of its own, and never with a session for nothing.
func FuzzTokenEndpoint(f *testing.F) {
	const form = "application/x-www-form-urlencoded"
	o := setup(f, withSecrets)
	granted := func(v url.Values) string { return v.Encode() }
	f.Add(form, "", granted(url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {o.assertion(nil)}}))
	f.Add(form, "", granted(url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {o.assertion(map[string]any{"aud": []string{"x"}, "exp": "1e400", "sub": nil})}}))
	f.Add(form, "", granted(url.Values{"grant_type": {"client_credentials"}, "client_id": {"secret-app"}, "client_secret": {"s3cret"}}))
	f.Add(form, "Basic c2VjcmV0LWFwcDpzM2NyZXQ=", "grant_type=client_credentials")
	f.Add(form, "", granted(url.Values{"grant_type": {"password"}, "client_id": {"secret-app"}, "client_secret": {"s3cret"}, "username": {"robot@example.com"}, "password": {"pass<wordTOKEN"}}))
	f.Add(form, "Basic !", "grant_type=password&grant_type=client_credentials&username=%00")
	f.Add("application/json", "", `{"grant_type":"password"}`)
	f.Add("multipart/form-data; boundary=x", "", "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\npassword\r\n--x--")
	f.Add("multipart/form-data", "Bearer x", "grant_type=%zz&;=&&")
	f.Add("", "", "")
	f.Add(";", "\t", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=..")
	f.Fuzz(func(t *testing.T, contentType, authorization, body string) {
		req, err := http.NewRequest(http.MethodPost, o.base+"/services/oauth2/token", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", sendable(contentType))
		req.Header.Set("Authorization", sendable(authorization))
		resp, err := o.client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(text, &answer), "%d %s", resp.StatusCode, text)
		if resp.StatusCode == http.StatusOK {
			require.True(t, strings.HasPrefix(answer["access_token"].(string), orgID[:15]+"!"))
			require.True(t, strings.Contains(body, "assertion") || strings.Contains(body, "s3cret") || authorization != "", "a session for %q", body)
			return
		}
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "%s", text)
		require.Contains(t, documentedRefusals(), answer["error"], "%s", text)
		require.NotEmpty(t, answer["error_description"])
		require.Contains(t, resp.Header.Get("Content-Type"), "application/json")
		require.Contains(t, resp.Header.Get("Cache-Control"), "no-store")
	})
}

// sendable leaves out of a header value what no client can send.
func sendable(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(value, ""))
}
