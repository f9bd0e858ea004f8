package auth

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// refusals are the error answers of the token endpoint that can be asked for,
// by the name they are asked for by.
func refusals() map[string]Refusal {
	return map[string]Refusal{
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
	}
}

// named returns the error answer with a name; nil for the empty name.
func named(name string) *Refusal {
	if r, ok := refusals()[name]; ok {
		return &r
	}
	return nil
}

// KnownRefusal reports whether there is an error answer with a name. The empty
// name stands for none and is known.
func KnownRefusal(name string) bool { return name == "" || named(name) != nil }

// RefusalNames lists the error answers that can be asked for.
func RefusalNames() []string { return slices.Sorted(maps.Keys(refusals())) }

// Orders say which apps and users are refused, while the server runs. They
// replace what an app or user was configured with. The zero value is ready and
// safe for concurrent use.
type Orders struct {
	mu    sync.Mutex
	apps  map[string]string
	users map[string]string
}

// Set replaces all orders. The keys are consumer keys and usernames, the values
// names of refusals; an empty value lets the app or user in.
func (o *Orders) Set(apps, users map[string]string) {
	lower := make(map[string]string, len(users))
	for name, r := range users {
		lower[strings.ToLower(name)] = r
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.apps, o.users = maps.Clone(apps), lower
}

// Get returns copies of the current orders.
func (o *Orders) Get() (apps, users map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.apps), maps.Clone(o.users)
}

func (o *Orders) app(id, configured string) *Refusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r, ok := o.apps[id]; ok {
		return named(r)
	}
	return named(configured)
}

func (o *Orders) user(name, configured string) *Refusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r, ok := o.users[strings.ToLower(name)]; ok {
		return named(r)
	}
	return named(configured)
}
