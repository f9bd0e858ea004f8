package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func TestTokenAnswersAsSalesforce(t *testing.T) {
	t.Parallel()
	o := setup(t)
	status, body := o.grant(o.assertion(nil))
	require.Equal(t, http.StatusOK, status)
	require.True(t, strings.HasPrefix(body["access_token"].(string), orgID[:15]+"!"))
	require.Equal(t, o.base, body["instance_url"])
	require.Equal(t, o.base+"/id/"+orgID+"/005000000000001AAA", body["id"])
	require.Equal(t, "Bearer", body["token_type"])
	require.NotContains(t, body, "expires_in")
}

func TestAssertionsOfRealClientsAreAccepted(t *testing.T) {
	t.Parallel()
	o := setup(t)
	soon := o.clock.now().Add(2 * time.Minute)
	for name, claims := range map[string]map[string]any{
		"own URL as audience":                        {"aud": o.base},
		"own URL with a trailing slash":              {"aud": o.base + "/"},
		"own host as audience":                       {"aud": strings.TrimPrefix(o.base, "http://")},
		"test login as audience":                     {"aud": "https://test.salesforce.com"},
		"expiry as text":                             {"exp": fmt.Sprint(soon.Unix())},
		"expiry in milliseconds":                     {"exp": soon.UnixMilli()},
		"expired within the allowed skew":            {"exp": o.clock.now().Add(-2 * time.Minute).Unix()},
		"issued-at and another spelling of the user": {"iat": o.clock.now().Unix(), "sub": "Robot@Example.com"},
	} {
		status, body := o.grant(o.assertion(claims))
		require.Equal(t, http.StatusOK, status, "%s: %v", name, body)
	}
}

func TestAssertionsAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t)
	strict := setup(t, func(c *sandbox.Config) { c.Strict = true })
	tampered := o.assertion(nil)
	tampered = tampered[:len(tampered)-8] + "AAAAAAAA"
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + tampered[strings.IndexByte(tampered, '.'):]
	once := o.assertion(map[string]any{"jti": "x1"})
	status, _ := o.grant(once)
	require.Equal(t, http.StatusOK, status)
	for _, tc := range []struct {
		name, assertion, code, description string
		org                                *org
	}{
		{"an unknown app", o.assertion(map[string]any{"iss": "other"}), "invalid_client_id", "client identifier invalid", o},
		{"a bad signature", tampered, "invalid_grant", "invalid assertion", o},
		{"no signature algorithm", unsigned, "invalid_grant", "invalid assertion", o},
		{"garbage", "x.y", "invalid_grant", "invalid assertion", o},
		{"a foreign audience", o.assertion(map[string]any{"aud": "https://example.com"}), "invalid_grant", "audience is invalid", o},
		{"an expired assertion", o.assertion(map[string]any{"exp": o.clock.now().Add(-4 * time.Minute).Unix()}), "invalid_grant", "expired authorization code", o},
		{"a missing expiry", o.assertion(map[string]any{"exp": nil}), "invalid_grant", "invalid assertion", o},
		{"an unapproved user", o.assertion(map[string]any{"sub": "stranger@example.com"}), "invalid_grant", "user hasn't approved this consumer", o},
		{"an unknown user", o.assertion(map[string]any{"sub": "nobody@example.com"}), "invalid_grant", "user hasn't approved this consumer", o},
		{"a user without admin approval", o.assertion(map[string]any{"sub": "outsider@example.com"}), "invalid_app_access", "user is not admin approved to access this app", o},
		{"an inactive user", o.assertion(map[string]any{"sub": "gone@example.com"}), "inactive_user", "user is inactive", o},
		{"a second use of a jti", once, "invalid_grant", "invalid assertion", o},
		{"strict: milliseconds", strict.assertion(map[string]any{"exp": strict.clock.now().Add(time.Minute).UnixMilli()}), "invalid_grant", "invalid assertion", strict},
		{"strict: expiry as text", strict.assertion(map[string]any{"exp": fmt.Sprint(strict.clock.now().Add(time.Minute).Unix())}), "invalid_grant", "invalid assertion", strict},
		{"strict: a trailing slash", strict.assertion(map[string]any{"aud": strict.base + "/"}), "invalid_grant", "audience is invalid", strict},
		{"strict: a far expiry", strict.assertion(map[string]any{"exp": strict.clock.now().Add(time.Hour).Unix()}), "invalid_grant", "invalid assertion", strict},
	} {
		status, body := tc.org.grant(tc.assertion)
		require.Equal(t, http.StatusBadRequest, status, tc.name)
		require.Equal(t, map[string]any{"error": tc.code, "error_description": tc.description}, body, tc.name)
	}
}

func TestOtherGrantsAreUnsupported(t *testing.T) {
	t.Parallel()
	o := setup(t)
	resp, err := o.client.PostForm(o.base+"/services/oauth2/token", url.Values{"grant_type": {"password"}})
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Cache-Control"), "no-store")
}

func TestSessions(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.SessionTTL = time.Hour })
	require.Equal(t, orgID, o.want(200, "GET", "/services/oauth2/userinfo", "").object()["organization_id"])
	good := o.token
	o.token = ""
	o.want(200, "GET", "/id/"+orgID+"/005000000000001AAA?format=json&oauth_token="+url.QueryEscape(good), "")
	bad := o.want(401, "GET", v62+"/limits", "")
	require.Equal(t, "INVALID_SESSION_ID", bad.code())
	require.Equal(t, "Session expired or invalid", bad.array()[0]["message"])
	o.token = good
	o.want(200, "GET", v62+"/limits", "")
	o.clock.advance(61 * time.Minute)
	require.Equal(t, "INVALID_SESSION_ID", o.want(401, "GET", v62+"/limits", "").code())
	o.login()
	o.want(200, "POST", "/services/oauth2/revoke?token="+url.QueryEscape(o.token), "")
	o.want(401, "GET", v62+"/limits", "")
}
