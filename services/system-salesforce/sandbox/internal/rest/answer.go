package rest

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// answer is a whole response, kept until the server decides whether the client
// gets it.
type answer struct {
	status int
	header http.Header
	body   []byte
	// stream, if it is set, writes the body instead.
	stream func(w io.Writer) error
	// partial says that a record of a collection was refused.
	partial bool
}

func raw(status int, body []byte) *answer {
	return &answer{status: status, header: http.Header{}, body: body}
}

func empty(status int) *answer { return raw(status, nil) }

func reply(status int, v any) *answer {
	b, err := json.Marshal(v)
	if err != nil {
		return fail(http.StatusInternalServerError, "UNKNOWN_EXCEPTION", "An unexpected error occurred.")
	}
	return raw(status, b)
}

// apiError is one element of an error body.
type apiError struct {
	// Misspelt is the name under which single-record calls really answer with
	// the duplicates. They are under both.
	Misspelt   *duplicateResult `json:"duplicateResut,omitempty"`
	Duplicates *duplicateResult `json:"duplicateResult,omitempty"`

	Message string   `json:"message"`
	Code    string   `json:"errorCode"`
	Fields  []string `json:"fields,omitempty"`
}

func fail(status int, code, message string, fields ...string) *answer {
	return reply(status, []apiError{{Message: message, Code: code, Fields: fields}})
}

func notFound() *answer {
	return fail(http.StatusNotFound, "NOT_FOUND", "The requested resource does not exist")
}

func wrongMethod(method string) *answer {
	return fail(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "HTTP Method '"+method+"' not allowed. Allowed are HEAD,GET,POST,PATCH,DELETE")
}

// refused answers the refusal of a single record.
func refused(err *store.Error) *answer {
	status := http.StatusBadRequest
	switch err.Code {
	case "NOT_FOUND", "ENTITY_IS_DELETED":
		status = http.StatusNotFound
	case "INSUFFICIENT_ACCESS_OR_READONLY", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY":
		status = http.StatusForbidden
	}
	d := duplicates(err.Duplicates)
	return reply(status, []apiError{{Misspelt: d, Duplicates: d, Message: err.Message, Code: err.Code, Fields: err.Fields}})
}

// saved is the result of writing one record.
type saved struct {
	ID      string        `json:"id,omitempty"`
	Success bool          `json:"success"`
	Errors  []recordError `json:"errors"`
	Created *bool         `json:"created,omitempty"`
}

// recordError is the error of one record in a collection, where the code has
// another name than elsewhere.
type recordError struct {
	Code    string   `json:"statusCode"`
	Message string   `json:"message"`
	Fields  []string `json:"fields"`

	Duplicates *duplicateResult `json:"duplicateResult,omitempty"`
}

func success(id string) saved { return saved{ID: id, Success: true, Errors: enqueued(id)} }

func failure(id string, err *store.Error) saved {
	fields := err.Fields
	if fields == nil {
		fields = []string{}
	}
	return saved{ID: id, Errors: []recordError{{err.Code, err.Message, fields, duplicates(err.Duplicates)}}}
}
