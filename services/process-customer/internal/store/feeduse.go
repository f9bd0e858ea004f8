package store

import (
	"slices"
	"time"
)

// InUse returns the feeds of the systems that are configured, and those that some process reads now: replicas may be started with
// another configuration. One that stays behind when its system is taken out of the configuration goes on if it comes back.
func InUse(feeds []Feed, configured []string, now time.Time) []Feed {
	return slices.DeleteFunc(slices.Clone(feeds), func(f Feed) bool { return !slices.Contains(configured, f.System) && !f.LeaseUntil.After(now) })
}
