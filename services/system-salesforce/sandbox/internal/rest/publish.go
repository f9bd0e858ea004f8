package rest

import (
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
)

// enqueued are the errors in the result of a write that succeeded: none, but
// for a platform event a note that carries the event's own id.
func enqueued(id string) []recordError {
	if !strings.HasPrefix(id, "e") { // only platform events have such ids
		return []recordError{}
	}
	return []recordError{{Code: "OPERATION_ENQUEUED", Message: event.PlatformID(id), Fields: []string{}}}
}
