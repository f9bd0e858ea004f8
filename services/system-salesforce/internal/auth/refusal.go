package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

const (
	unreachableRetry = 2 * time.Second
	refusedRetry     = 30 * time.Second
)

func unreachable(cause error) error {
	return fault.Wrap(fault.Unavailable, ReasonUnreachable, cause, "Salesforce cannot be reached").WithRetryAfter(unreachableRetry)
}

// withoutURL drops the URL from the errors of net/http: it says nothing new, and some carry data.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// refusal classifies an answer of the token endpoint other than 200. A refused login is Unavailable to our callers: nothing
// is wrong with their calls, and they will succeed once a person has repaired the access.
func refusal(code int, body []byte) error {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	decoded := json.Unmarshal(body, &answer) == nil && answer.Error != ""
	if !decoded || code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || answer.Error == "server_error" || answer.Error == "temporarily_unavailable" {
		return unreachable(fmt.Errorf("token endpoint answered %d", code))
	}
	return fault.New(fault.Unavailable, ReasonLoginRefused, "Salesforce refuses the login: %s", hint(answer.Error, answer.Description)).
		WithRetryAfter(refusedRetry)
}

// hint tells the operator what to repair. Only texts of our own are shown: a description may repeat a user name.
func hint(code, description string) string {
	d := strings.ToLower(description)
	switch {
	case strings.Contains(d, "hasn't approved this consumer"):
		return "the user has not approved the connected app; pre-authorise the user's profile or permission set"
	case code == "invalid_app_access", strings.Contains(d, "not admin approved"):
		return "the user's profile or permission set is not assigned to the connected app"
	case strings.Contains(d, "audience"):
		return "the audience is not the login URL Salesforce expects"
	case strings.Contains(d, "invalid assertion"), strings.Contains(d, "signature"):
		return "the private key does not belong to the certificate of the connected app"
	case strings.Contains(d, "expired authorization code"):
		return "the assertion counts as expired; check the clock of this machine"
	case code == "invalid_client_id", code == "invalid_client":
		return "the client id is not known"
	case code == "inactive_user", code == "inactive_org":
		return "the user or the org is not active"
	case code == "unsupported_grant_type":
		return "the JWT bearer flow is not enabled"
	case code == "invalid_grant":
		return "the grant is invalid"
	}
	return "for a reason this service does not know"
}

// Permanent reports whether a 401 with this text is about the app or the user, so that a new session cannot help.
func Permanent(text string) bool {
	return strings.Contains(text, "Connected app is not attached to Agent") ||
		strings.Contains(text, "This session is not valid for use with the REST API")
}
