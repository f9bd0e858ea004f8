package edge

import (
	"context"
	"net/http"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// Verifier checks a bearer token, in a time that it bounds itself. Its errors are *fault.Error.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

const challenge = `Bearer realm="selfsame"`

// authenticate lets in who shows a good token with the scope of the route.
func (e *edge) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		principal, err := e.principal(r)
		if err == nil {
			err = principal.Require(c.route.scope)
		}
		if err != nil {
			e.challenge(w, c.route.scope, fault.ReasonOf(err))
			e.refuse(w, r, e.problems.FromError(err, nowhere))
			return
		}
		c.principal = principal
		next.ServeHTTP(w, r)
	})
}

func (e *edge) principal(r *http.Request) (auth.Principal, error) {
	token, err := auth.Bearer(r.Header.Values("Authorization"))
	if err != nil {
		return auth.Principal{}, err
	}
	return e.o.Tokens.Verify(r.Context(), token)
}

// challenge says how to get in (RFC 6750). Also a missing token is called invalid_token: mobile clients branch on it.
func (e *edge) challenge(w http.ResponseWriter, scope, reason string) {
	switch reason {
	case auth.ReasonTokenMissing, auth.ReasonTokenInvalid:
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token", scope="`+scope+`"`)
	case auth.ReasonScope:
		w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+scope+`"`)
	}
}

func nowhere(f fault.Field) problem.Violation {
	return problem.Violation{Parameter: f.Path, Code: f.Reason, Detail: f.Description}
}
