package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
)

const jwtGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

func (s *Server) oauth(r *http.Request, what string) *answer {
	switch what {
	case "token":
		if r.Method != http.MethodPost {
			return wrongMethod(r.Method)
		}
		return s.token(r)
	case "userinfo":
		return s.userinfo(r)
	case "revoke":
		return s.revoke(r)
	}
	return notFound()
}

func oauthError(r *auth.Refusal) *answer {
	a := reply(http.StatusBadRequest, r)
	noStore(a)
	return a
}

func noStore(a *answer) {
	a.header.Set("Cache-Control", "no-cache,must-revalidate,max-age=0,no-store,private")
}

func (s *Server) token(r *http.Request) *answer {
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return oauthError(&auth.Refusal{Code: "invalid_request", Description: "the request could not be read"})
	}
	base := s.base(r)
	user, app, refusal := s.grant(r, base)
	if refusal != nil {
		return oauthError(refusal)
	}
	session := s.opt.Sessions.Issue(user, app)
	body := map[string]string{
		"access_token": session.Token,
		"instance_url": base,
		"id":           base + "/id/" + s.opt.Sessions.Org() + "/" + user.ID,
		"token_type":   "Bearer",
		"scope":        "api id",
		"issued_at":    session.IssuedAt(),
	}
	if r.PostForm.Get("grant_type") != jwtGrant {
		body["signature"] = sign(s.opt.Verifier.Apps[app].Secret, body["id"]+body["issued_at"])
	}
	a := reply(http.StatusOK, body)
	noStore(a)
	return a
}

// grant checks what the client logs in with.
func (s *Server) grant(r *http.Request, base string) (u auth.User, app string, refusal *auth.Refusal) {
	v, form := s.opt.Verifier, r.PostForm
	kind := form.Get("grant_type")
	if kind == jwtGrant {
		return v.Verify(form.Get("assertion"), base)
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	switch kind {
	case "client_credentials":
		if h := strings.ToLower(r.Host); strings.HasPrefix(h, "login.salesforce.com") || strings.HasPrefix(h, "test.salesforce.com") {
			return u, id, &auth.Refusal{Code: "invalid_grant", Description: "request not supported on this domain"}
		}
		u, refusal = v.ClientCredentials(id, secret)
	case "password":
		u, refusal = v.Password(id, secret, form.Get("username"), form.Get("password"))
	default:
		refusal = &auth.Refusal{Code: "unsupported_grant_type", Description: "grant type not supported"}
	}
	return u, id, refusal
}

// sign makes the signature by which a client can see that the identity URL was
// not changed on the way.
func sign(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Server) userinfo(r *http.Request) *answer {
	session, ok := s.opt.Sessions.Check(bearer(r))
	if !ok {
		return badToken()
	}
	u, base := session.User, s.base(r)
	return reply(http.StatusOK, map[string]any{
		"sub": base + "/id/" + s.opt.Sessions.Org() + "/" + u.ID, "user_id": u.ID, "organization_id": s.opt.Sessions.Org(),
		"preferred_username": u.Username, "name": u.Name, "email": u.Email, "active": true,
		"urls": map[string]string{"rest": base + "/services/data/v{version}/"},
	})
}

// badToken is what the identity services answer, unlike the REST API.
func badToken() *answer {
	a := raw(http.StatusForbidden, []byte("Bad_OAuth_Token"))
	a.header.Set("Content-Type", "text/html;charset=UTF-8")
	return a
}

// identity serves /id/{organization}/{user}.
func (s *Server) identity(r *http.Request, seg []string) *answer {
	token := bearer(r)
	if token == "" {
		token = r.URL.Query().Get("oauth_token")
	}
	session, ok := s.opt.Sessions.Check(token)
	if !ok {
		return badToken()
	}
	u := session.User
	if len(seg) != 2 || seg[0] != s.opt.Sessions.Org() || seg[1] != u.ID {
		return notFound()
	}
	base := s.base(r)
	return reply(http.StatusOK, map[string]any{
		"id": base + "/id/" + s.opt.Sessions.Org() + "/" + u.ID, "asserted_user": true, "user_id": u.ID, "organization_id": s.opt.Sessions.Org(),
		"username": u.Username, "display_name": u.Name, "email": u.Email, "user_type": "STANDARD", "active": true,
		"urls": map[string]string{"rest": base + "/services/data/v{version}/", "sobjects": base + "/services/data/v{version}/sobjects/"},
	})
}

func (s *Server) revoke(r *http.Request) *answer {
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return oauthError(&auth.Refusal{Code: "invalid_request", Description: "the request could not be read"})
	}
	if !s.opt.Sessions.Revoke(r.Form.Get("token")) {
		return oauthError(&auth.Refusal{Code: "invalid_token", Description: "this token is not valid"})
	}
	return empty(http.StatusOK)
}
