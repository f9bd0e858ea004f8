package auth

import (
	"crypto/subtle"
	"strings"
)

// App is a connected app, besides its key.
type App struct {
	// Secret is the consumer secret; empty means that flows with a secret are
	// refused.
	Secret string
	// RunAs is the username that the client credentials flow logs in.
	RunAs string
	// Refusal is the error answer to every login of the app; empty for none.
	Refusal string
}

// app finds an app that may log somebody in by its secret.
func (v *Verifier) app(id, secret string) (App, *Refusal) {
	app, known := v.Apps[id]
	if !known {
		return App{}, named("unknown_app")
	}
	if r := v.Orders.app(id, app.Refusal); r != nil {
		return App{}, r
	}
	if app.Secret == "" || !same(app.Secret, secret) {
		return App{}, named("bad_secret")
	}
	return app, nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// ClientCredentials checks the secret of an app and returns the user that it
// runs as.
func (v *Verifier) ClientCredentials(id, secret string) (User, *Refusal) {
	app, refusal := v.app(id, secret)
	if refusal != nil {
		return User{}, refusal
	}
	if v.find(app.RunAs) == nil {
		return User{}, named("no_run_as_user")
	}
	return v.user(app.RunAs)
}

// Password checks the secret of an app and the password of a user, which is
// followed by the security token if the user has one.
func (v *Verifier) Password(id, secret, username, password string) (User, *Refusal) {
	if _, refusal := v.app(id, secret); refusal != nil {
		return User{}, refusal
	}
	if _, ok := v.Login(username, password); !ok {
		return User{}, named("authentication_failure")
	}
	return v.user(username)
}

// Login checks a username and password as the SOAP login does: it does not
// tell why it refuses.
func (v *Verifier) Login(username, password string) (User, bool) {
	u := v.find(username)
	if u == nil || u.Password == "" || !same(u.Password+u.SecurityToken, password) {
		return User{}, false
	}
	if v.Orders.user(u.Username, u.Refusal) != nil {
		return User{}, false
	}
	return *u, true
}

// HasPasswords reports whether anybody can log in with a password.
func (v *Verifier) HasPasswords() bool {
	for _, u := range v.Users {
		if u.Password != "" {
			return true
		}
	}
	return false
}

func (v *Verifier) find(username string) *User {
	for i, u := range v.Users {
		if strings.EqualFold(u.Username, username) {
			return &v.Users[i]
		}
	}
	return nil
}
