package sandbox_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// withSecrets adds an app with a secret and a user with a password.
func withSecrets(c *sandbox.Config) {
	c.Apps = append(c.Apps,
		sandbox.App{ClientID: "secret-app", ClientSecret: "s3cret", RunAs: "robot@example.com"},
		sandbox.App{ClientID: "no-user-app", ClientSecret: "s3cret"},
		sandbox.App{ClientID: "blocked-app", ClientSecret: "s3cret", RunAs: "robot@example.com", Refusal: "inactive_org"},
	)
	c.Users[0].Password, c.Users[0].SecurityToken, c.Users[0].Email = "pass<word", "TOKEN", "robot@example.com"
}

// token posts a form to the token endpoint, as host if one is given.
func (o *org) tokenForm(host string, form url.Values, basic ...string) (int, map[string]any) {
	o.t.Helper()
	req, err := http.NewRequest("POST", o.base+"/services/oauth2/token", strings.NewReader(form.Encode()))
	require.NoError(o.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if host != "" {
		req.Host = host
	}
	if basic != nil {
		req.SetBasicAuth(basic[0], basic[1])
	}
	resp, err := o.client.Do(req)
	require.NoError(o.t, err)
	defer resp.Body.Close()
	var body map[string]any
	require.NoError(o.t, json.NewDecoder(resp.Body).Decode(&body))
	return resp.StatusCode, body
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	o := setup(t, withSecrets)
	form := func(id, secret string) url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	}
	status, body := o.tokenForm("", form("secret-app", "s3cret"))
	require.Equal(t, 200, status, body)
	require.NotEmpty(t, body["signature"])
	require.NotContains(t, body, "expires_in")
	require.NotContains(t, body, "refresh_token")
	o.token = body["access_token"].(string)
	require.Equal(t, "robot@example.com", o.want(200, "GET", "/services/oauth2/userinfo", "").object()["preferred_username"])
	status, _ = o.tokenForm("", url.Values{"grant_type": {"client_credentials"}}, "secret-app", "s3cret")
	require.Equal(t, 200, status)
	for name, tc := range map[string]struct {
		host, id, secret, code, description string
	}{
		"a wrong secret":         {"", "secret-app", "other", "invalid_client", "invalid client credentials"},
		"an app without secrets": {"", clientID, "", "invalid_client", "invalid client credentials"},
		"an unknown app":         {"", "nobody", "s3cret", "invalid_client_id", "client identifier invalid"},
		"no user to run as":      {"", "no-user-app", "s3cret", "invalid_grant", "no client credentials user enabled"},
		"a refused app":          {"", "blocked-app", "s3cret", "inactive_org", "organization is inactive"},
		"the login host":         {"login.salesforce.com", "secret-app", "s3cret", "invalid_grant", "request not supported on this domain"},
		"the test login host":    {"test.salesforce.com:443", "secret-app", "s3cret", "invalid_grant", "request not supported on this domain"},
	} {
		status, body := o.tokenForm(tc.host, form(tc.id, tc.secret))
		require.Equal(t, 400, status, name)
		require.Equal(t, map[string]any{"error": tc.code, "error_description": tc.description}, body, name)
	}
}

func TestPasswordFlow(t *testing.T) {
	t.Parallel()
	o := setup(t, withSecrets)
	form := func(user, password string) url.Values {
		return url.Values{"grant_type": {"password"}, "client_id": {"secret-app"}, "client_secret": {"s3cret"}, "username": {user}, "password": {password}}
	}
	status, body := o.tokenForm("", form("Robot@example.com", "pass<wordTOKEN"))
	require.Equal(t, 200, status, body)
	for _, f := range []url.Values{form("robot@example.com", "pass<word"), form("stranger@example.com", ""), form("nobody@example.com", "x")} {
		status, body = o.tokenForm("", f)
		require.Equal(t, 400, status)
		require.Equal(t, map[string]any{"error": "invalid_grant", "error_description": "authentication failure"}, body)
	}
}

func TestRefusalsCanBeOrdered(t *testing.T) {
	t.Parallel()
	o := setup(t, withSecrets)
	for name, want := range map[string][2]string{
		"unapproved":             {"invalid_grant", "user hasn't approved this consumer"},
		"not_admin_approved":     {"invalid_app_access", "user is not admin approved to access this app"},
		"inactive":               {"inactive_user", "user is inactive"},
		"inactive_org":           {"inactive_org", "organization is inactive"},
		"bad_audience":           {"invalid_grant", "audience is invalid"},
		"bad_assertion":          {"invalid_grant", "invalid assertion"},
		"expired":                {"invalid_grant", "expired authorization code"},
		"unknown_app":            {"invalid_client_id", "client identifier invalid"},
		"bad_secret":             {"invalid_client", "invalid client credentials"},
		"authentication_failure": {"invalid_grant", "authentication failure"},
		"no_run_as_user":         {"invalid_grant", "no client credentials user enabled"},
		"unsupported_grant":      {"unsupported_grant_type", "grant type not supported"},
	} {
		for _, order := range []string{`{"apps":{"` + clientID + `":"` + name + `"}}`, `{"users":{"Robot@Example.com":"` + name + `"}}`} {
			o.want(200, "PUT", "/__sandbox__/logins", order)
			status, body := o.grant(o.assertion(nil))
			require.Equal(t, 400, status, order)
			require.Equal(t, map[string]any{"error": want[0], "error_description": want[1]}, body, order)
		}
	}
	o.want(200, "GET", v62+"/limits", "") // running sessions go on
	o.want(400, "PUT", "/__sandbox__/logins", `{"users":{"robot@example.com":"nonsense"}}`)
	o.want(400, "PUT", "/__sandbox__/logins", `{"people":{}}`)
	require.JSONEq(t, `{"apps":{},"users":{"stranger@example.com":""}}`, o.want(200, "PUT", "/__sandbox__/logins", `{"apps":{},"users":{"stranger@example.com":""}}`).text)
	status, _ := o.grant(o.assertion(map[string]any{"sub": "stranger@example.com"}))
	require.Equal(t, 200, status)
	o.want(204, "DELETE", "/__sandbox__/logins", "")
	status, _ = o.grant(o.assertion(map[string]any{"sub": "stranger@example.com"}))
	require.Equal(t, 400, status)
	o.login()
}

func TestUnknownRefusalsAreNotConfigured(t *testing.T) {
	t.Parallel()
	_, err := sandbox.New(sandbox.Config{Apps: []sandbox.App{{ClientID: "a", ClientSecret: "b", Refusal: "nonsense"}}})
	require.ErrorContains(t, err, "nonsense")
}

func TestReusedSessionsDieTogether(t *testing.T) {
	t.Parallel()
	o := setup(t, withSecrets, func(c *sandbox.Config) { c.SessionReuse = true })
	first := o.token
	o.login()
	require.Equal(t, first, o.token)
	_, other := o.tokenForm("", url.Values{"grant_type": {"client_credentials"}, "client_id": {"secret-app"}, "client_secret": {"s3cret"}})
	require.NotEqual(t, first, other["access_token"], "another app has another session")
	o.want(200, "POST", "/services/oauth2/revoke?token="+url.QueryEscape(o.token), "")
	o.token = first
	o.want(401, "GET", v62+"/limits", "")
	o.login()
	require.NotEqual(t, first, o.token)
	second := o.token
	o.clock.advance(3 * time.Hour)
	o.login()
	require.NotEqual(t, second, o.token, "an expired session is not handed out")
}

func TestSessionsAreNotReusedByDefault(t *testing.T) {
	t.Parallel()
	o := setup(t)
	first := o.token
	o.login()
	require.NotEqual(t, first, o.token)
	o.want(200, "GET", v62+"/limits", "")
}

func TestSessionsCanBeEnded(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) {
		c.Users = append(c.Users, sandbox.User{Username: "second@example.com"})
	})
	_, body := o.grant(o.assertion(map[string]any{"sub": "second@example.com"}))
	second := body["access_token"].(string)
	first := o.token
	o.want(204, "DELETE", "/__sandbox__/sessions?username=Robot@example.com", "")
	require.Equal(t, "INVALID_SESSION_ID", o.want(401, "GET", v62+"/limits", "").code())
	o.token = second
	o.want(200, "GET", v62+"/limits", "")
	o.want(204, "DELETE", "/__sandbox__/sessions", "")
	o.want(401, "GET", v62+"/limits", "")
	o.want(400, "DELETE", "/__sandbox__/sessions?username=nobody", "")
	o.token = first
	o.want(401, "GET", v62+"/limits", "")
}

// node is an XML element, to look at its children by position.
type node struct {
	XMLName  xml.Name
	Children []node `xml:",any"`
	Text     string `xml:",chardata"`
}

func (n node) names() []string {
	var out []string
	for _, c := range n.Children {
		out = append(out, c.XMLName.Local)
	}
	return out
}

// soap posts a SOAP envelope and returns the element in the body.
func (o *org) soap(status int, path, header, body string) node {
	o.t.Helper()
	req, err := http.NewRequest("POST", o.base+path, strings.NewReader(`<?xml version="1.0" encoding="utf-8"?>
<se:Envelope xmlns:se="http://schemas.xmlsoap.org/soap/envelope/"><se:Header xmlns="urn:partner.soap.sforce.com">`+header+`</se:Header>
<se:Body xmlns="urn:partner.soap.sforce.com">`+body+`</se:Body></se:Envelope>`))
	require.NoError(o.t, err)
	req.Header.Set("Content-Type", "text/xml")
	req.Header.Set("SOAPAction", `""`)
	resp, err := o.client.Do(req)
	require.NoError(o.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(o.t, err)
	require.Equal(o.t, status, resp.StatusCode, string(b))
	require.Equal(o.t, "text/xml;charset=UTF-8", resp.Header.Get("Content-Type"))
	var n node
	require.NoError(o.t, xml.Unmarshal(b, &n), string(b))
	require.Equal(o.t, "http://schemas.xmlsoap.org/soap/envelope/", n.XMLName.Space)
	return n.Children[0].Children[0]
}

func soapLogin(user, password string) string {
	return "<login><username>" + user + "</username><password>" + password + "</password></login>"
}

func TestSOAPLogin(t *testing.T) {
	t.Parallel()
	o := setup(t, withSecrets)
	result := o.soap(200, "/services/Soap/u/50.0/", "", soapLogin("robot@example.com", "pass&lt;wordTOKEN")).Children[0]
	require.Equal(t, []string{"metadataServerUrl", "passwordExpired", "sandbox", "serverUrl", "sessionId", "userId", "userInfo"}, result.names())
	require.Equal(t, o.base+"/services/Soap/u/50.0/"+orgID[:15], result.Children[3].Text)
	require.Equal(t, "005000000000001AAA", result.Children[5].Text)
	info := result.Children[6]
	require.Equal(t, "organizationId", info.names()[8])
	require.Equal(t, orgID, info.Children[8].Text)
	require.Equal(t, "robot@example.com", info.Children[20].Text)
	o.token = result.Children[4].Text
	o.want(200, "GET", v62+"/limits", "")

	session := "<SessionHeader><sessionId>" + o.token + "</sessionId></SessionHeader>"
	require.Equal(t, orgID, o.soap(200, "/services/Soap/u/66.0", session, "<getUserInfo/>").Children[0].Children[8].Text)
	require.Equal(t, "2026-05-14T10:00:00.000Z", o.soap(200, "/services/Soap/u/66.0", session, "<getServerTimestamp/>").Children[0].Children[0].Text)
	o.soap(200, "/services/Soap/u/50.0/"+orgID[:15], session, "<logout/>")
	o.want(401, "GET", v62+"/limits", "")
	require.Equal(t, "sf:INVALID_SESSION_ID", o.soap(500, "/services/Soap/u/50.0", session, "<logout/>").Children[0].Text)
}

func TestSOAPLoginIsRefused(t *testing.T) {
	t.Parallel()
	o := setup(t, withSecrets)
	off := setup(t)
	good := soapLogin("robot@example.com", "pass&lt;wordTOKEN")
	for name, tc := range map[string]struct {
		org        *org
		path, body string
		code, part string
	}{
		"a version without login":    {o, "/services/Soap/u/65.0", good, "sf:INVALID_OPERATION", "INVALID_OPERATION: The SOAP Login operation is not available in the API version specified (65.0)."},
		"a wrong password":           {o, "/services/Soap/u/64.0", soapLogin("robot@example.com", "pass&lt;word"), "sf:INVALID_LOGIN", "Invalid username, password, security token; or user locked out."},
		"a user without a password":  {o, "/services/Soap/u/64.0", soapLogin("stranger@example.com", ""), "sf:INVALID_LOGIN", "Invalid username"},
		"a retired version":          {o, "/services/Soap/u/30.0", good, "sf:UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL"},
		"an organization without it": {off, "/services/Soap/u/50.0", good, "sf:INVALID_OPERATION", "disabled by default"},
		"no call":                    {o, "/services/Soap/u/50.0", "", "soapenv:Client", "not a SOAP envelope"},
	} {
		f := tc.org.soap(500, tc.path, "", tc.body)
		require.Equal(t, "Fault", f.XMLName.Local, name)
		require.Equal(t, tc.code, f.Children[0].Text, name)
		require.Contains(t, f.Children[1].Text, tc.part, name)
		if code, ok := strings.CutPrefix(tc.code, "sf:"); ok {
			require.Equal(t, code, f.Children[2].Children[0].Children[0].Text, name)
			require.Equal(t, "urn:fault.partner.soap.sforce.com", f.Children[2].Children[0].Children[0].XMLName.Space, name)
		}
	}
	o.want(200, "PUT", "/__sandbox__/logins", `{"users":{"robot@example.com":"inactive"}}`)
	require.Equal(t, "sf:INVALID_LOGIN", o.soap(500, "/services/Soap/u/50.0", "", good).Children[0].Text)
	require.Equal(t, "soapenv:Client", o.soap(500, "/services/Soap/u/50.0", "<SessionHeader><sessionId>"+o.token+"</sessionId></SessionHeader>", "<describeGlobal/>").Children[0].Text)
	require.Equal(t, 405, o.do("GET", "/services/Soap/u/50.0", "").status)
	require.Equal(t, 404, o.do("POST", "/services/Soap/m/50.0", "x").status)
}
