package auth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// The token endpoint may be a proxy, a captive portal or an attacker: its answer ends with a session that can be used, or with an
// error that says when to try again. Neither holds what the description said.
func FuzzTokenAnswer(f *testing.F) {
	f.Add(200, `{"access_token":"00D000000000062!x","instance_url":"https://acme.my.salesforce.com/","id":"https://login.salesforce.com/id/00D000000000062EAA/005000000000001AAA","scope":"api"}`)
	f.Add(200, `{"access_token":"x","instance_url":"/","id":"/id/00D"}`)
	f.Add(200, `{"access_token":"!","instance_url":"u","id":"/id//005"}`)
	f.Add(200, `<html>log in to the guest network</html>`)
	f.Add(400, `{"error":"invalid_grant","error_description":"user hasn't approved this consumer"}`)
	f.Add(400, `{"error":"invalid_grant","error_description":"audience of jane@example.test"}`)
	f.Add(400, `{"error":7}`)
	f.Add(503, `{"error":"server_error"}`)
	f.Add(429, ``)
	f.Fuzz(func(t *testing.T, code int, body string) {
		if code == http.StatusOK {
			session, err := parseSession([]byte(body))
			if err == nil {
				if session.Token == "" || session.OrgID == "" || session.InstanceURL == "" || strings.HasSuffix(session.InstanceURL, "/") {
					t.Fatalf("%q became a session that cannot be used: %+v", body, session)
				}
				if session.UserID != "" && !strings.HasPrefix(session.UserID, "005") {
					t.Fatalf("%q became the user %q", body, session.UserID)
				}
				return
			}
			if session != (Session{}) {
				t.Fatalf("%q became a session and an error", body)
			}
			temporary(t, err, ReasonUnreachable)
			return
		}
		err := refusal(code, []byte(body))
		reason := fault.ReasonOf(err)
		temporary(t, err, ReasonUnreachable, ReasonLoginRefused)
		if reason == ReasonLoginRefused && (code >= 500 || code == http.StatusTooManyRequests) {
			t.Fatalf("%d counts against the user", code)
		}
		if own, _ := fault.As(err); reason == ReasonLoginRefused && own.Message != "Salesforce refuses the login: "+known(own.Message) {
			t.Fatalf("%q is shown as %q", body, own.Message)
		}
	})
}

// temporary fails unless the error is one that waiting may mend, with the time to wait.
func temporary(t *testing.T, err error, reasons ...string) {
	t.Helper()
	for _, r := range reasons {
		if fault.ReasonOf(err) == r && fault.KindOf(err) == fault.Unavailable && fault.RetryAfter(err) > 0 {
			return
		}
	}
	t.Fatalf("an error that cannot be acted on: %v", err)
}

// known returns the advice a message ends with if it is one of those that hint gives to plain codes and words of ours.
func known(message string) string {
	advice := []string{""}
	for _, code := range []string{"invalid_app_access", "invalid_client", "inactive_user", "unsupported_grant_type", "invalid_grant", "other"} {
		for _, words := range []string{"", "hasn't approved this consumer", "audience", "signature", "expired authorization code"} {
			advice = append(advice, hint(code, words))
		}
	}
	for _, a := range advice[1:] {
		if strings.HasSuffix(message, ": "+a) {
			return a
		}
	}
	return ""
}
