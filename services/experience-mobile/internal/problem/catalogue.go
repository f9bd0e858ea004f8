package problem

import (
	"net/http"
	"slices"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Codes of the REST edge. The others in the catalogue come from the services below.
const (
	RouteNotFound           = "ROUTE_NOT_FOUND"
	MethodNotAllowed        = "METHOD_NOT_ALLOWED"
	PathInvalid             = "PATH_INVALID"
	MalformedJSON           = "JSON_MALFORMED"
	ValidationFailed        = fault.ReasonValidationFailed
	NotAcceptable           = "NOT_ACCEPTABLE"
	UnsupportedMediaType    = "UNSUPPORTED_MEDIA_TYPE"
	BodyTooLarge            = "BODY_TOO_LARGE"
	HeadersTooLarge         = "HEADERS_TOO_LARGE"
	BodyIncomplete          = "BODY_INCOMPLETE"
	TokenMissing            = "TOKEN_MISSING"
	TokenInvalid            = "TOKEN_INVALID"
	InsufficientScope       = "INSUFFICIENT_SCOPE"
	AuthUnavailable         = "AUTH_UNAVAILABLE"
	IfMatchInvalid          = "IF_MATCH_INVALID"
	IdempotencyKeyMissing   = "IDEMPOTENCY_KEY_MISSING"
	IdempotencyKeyInvalid   = "IDEMPOTENCY_KEY_INVALID"
	IdempotencyKeyReused    = "IDEMPOTENCY_KEY_REUSED"
	IdempotencyInProgress   = "IDEMPOTENCY_IN_PROGRESS"
	IdempotencyKeyExpired   = "IDEMPOTENCY_KEY_EXPIRED"
	IdempotencyResultGone   = "IDEMPOTENCY_RESULT_GONE"
	IdempotencyUnavailable  = "IDEMPOTENCY_STORE_UNAVAILABLE"
	IdempotencyNotSupported = "IDEMPOTENCY_NOT_SUPPORTED"
	IdempotencyQuota        = "IDEMPOTENCY_QUOTA_EXCEEDED"
	IdempotencyUnreadable   = "IDEMPOTENCY_ANSWER_UNREADABLE"
	FieldMastered           = "FIELD_MASTERED"
	CustomerPending         = "CUSTOMER_PENDING"
	CustomerBlocked         = "CUSTOMER_BLOCKED"
	SyncTokenInvalid        = "SYNC_TOKEN_INVALID"
	SyncTokenExpired        = "SYNC_TOKEN_EXPIRED"
	PreconditionRequired    = "PRECONDITION_REQUIRED"
	PredecessorFailed       = "PREDECESSOR_FAILED"
	UpgradeRequired         = "UPGRADE_REQUIRED"
	Overloaded              = "OVERLOADED"
	CustomerUnknown         = "CUSTOMER_UNKNOWN"
	CustomerDeleted         = "CUSTOMER_DELETED"
	OrderUnknown            = "ORDER_UNKNOWN"
	OrderDelivered          = "ORDER_DELIVERED"
	OrderClosed             = "ORDER_CLOSED"
	CaseUnknown             = "CASE_UNKNOWN"
	ProductUnknown          = "PRODUCT_UNKNOWN"
	OperationUnknown        = "OPERATION_UNKNOWN"
	OperationExpired        = "OPERATION_EXPIRED"
	Maintenance             = "MAINTENANCE"
)

// statusClientClosed is what the access log shows when the client went away; nobody reads the answer.
const statusClientClosed = 499

// Entry is one line of the catalogue.
type Entry struct {
	// Code is the stable UPPER_SNAKE word.
	Code string
	// Status is the HTTP status.
	Status int
	// Title is the short text, the same for every occurrence.
	Title string
	// Detail is the text when the occurrence has none of its own, and always for 5xx.
	Detail string
	// Retryable is true if the same request, with the same key, may be sent again unchanged.
	Retryable bool
	// RetrySeconds is the Retry-After when nobody knows better; zero sends none.
	RetrySeconds int
	// Action tells the client what to do, for the reference.
	Action string
}

// Catalogue returns every code that this service answers with, by status.
func Catalogue() []Entry {
	return slices.Concat(requestEntries(), recordEntries(), stateEntries(), serverEntries())
}

// requestEntries are refusals of the request itself.
func requestEntries() []Entry {
	return []Entry{
		{
			ValidationFailed, http.StatusBadRequest, "The request is not valid", "The request breaks a rule.", false, 0,
			"Correct what `errors` names; it lists every violation found.",
		},
		{
			MalformedJSON, http.StatusBadRequest, "The body is not JSON", "The body is not one well-formed JSON object in UTF-8.", false, 0,
			"Send one JSON object.",
		},
		{
			PathInvalid, http.StatusBadRequest, "The path is not valid", "The path is not well-formed, percent-encoded UTF-8.", false, 0,
			"Correct the path.",
		},
		{
			BodyIncomplete, http.StatusBadRequest, "The body did not arrive", "The connection ended or stalled before the whole body had arrived.", true, 0,
			"Send the request again with the same key.",
		},
		{
			IfMatchInvalid, http.StatusBadRequest, "If-Match is not valid", "If-Match holds exactly one entity tag in double quotes, or an asterisk.", false, 0,
			"Send the ETag header of an earlier answer unchanged.",
		},
		{
			fault.ReasonPageTokenInvalid, http.StatusBadRequest, "The page token is not valid", "The page token was not made for this query.", false, 0,
			"Start again without `pageToken`; keep all other parameters the same from page to page.",
		},
		{
			SyncTokenInvalid, http.StatusBadRequest, "The sync token is not valid", "The sync token is not one that this service gave out.", false, 0,
			"Send the token of an earlier answer unchanged, or begin again without one.",
		},
		{
			IdempotencyKeyMissing, http.StatusBadRequest, "Idempotency-Key is missing", "This request needs the header Idempotency-Key.", false, 0,
			"Make one key per intended change, store it, and send it with every try.",
		},
		{
			IdempotencyKeyInvalid, http.StatusBadRequest, "Idempotency-Key is not valid", "Idempotency-Key is one header line with 16 to 255 characters: letters, digits and ._~:+/=- bare, or visible ASCII in double quotes.", false, 0,
			"Correct the key; a UUID is a good one.",
		},
		{
			TokenMissing, http.StatusUnauthorized, "A bearer token is needed", "The request carries no bearer token.", false, 0,
			"Sign in and send `Authorization: Bearer …`.",
		},
		{
			TokenInvalid, http.StatusUnauthorized, "The bearer token is not accepted", "The bearer token is expired, not meant for this service, or not signed by a trusted issuer.", false, 0,
			"Get a new token.",
		},
		{fault.ReasonUnauthenticated, http.StatusUnauthorized, "The caller is not known", "The caller is not known.", false, 0, "Get a new token."},
		{
			InsufficientScope, http.StatusForbidden, "The token lacks a scope", "The token does not carry the scope that this request needs.", false, 0,
			"Ask for a token with the scope that `WWW-Authenticate` names.",
		},
		{fault.ReasonForbidden, http.StatusForbidden, "Not allowed", "The caller may not do this.", false, 0, "Do not repeat."},
		{RouteNotFound, http.StatusNotFound, "There is no such route", "No route of this API has this path.", false, 0, "See /openapi.json."},
		{
			MethodNotAllowed, http.StatusMethodNotAllowed, "The method is not allowed here", "This route does not offer the method; the header Allow lists those it does.", false, 0,
			"Use a method that `Allow` lists.",
		},
		{
			NotAcceptable, http.StatusNotAcceptable, "Only JSON is offered", "This API answers with application/json only.", false, 0,
			"Send `Accept: application/json`, or no Accept header.",
		},
		{BodyTooLarge, http.StatusRequestEntityTooLarge, "The body is too large", "The body is larger than this API accepts.", false, 0, "Send less."},
		{
			HeadersTooLarge, http.StatusRequestHeaderFieldsTooLarge, "The headers are too large", "The headers have more than 16 KiB or 100 lines.", false, 0,
			"Send fewer headers.",
		},
		{
			UnsupportedMediaType, http.StatusUnsupportedMediaType, "Only JSON is accepted", "The body must be application/json without a content encoding.", false, 0,
			"Send `Content-Type: application/json`.",
		},
	}
}

// recordEntries are refusals that are about one record. What the caller may not see is told as what is not there.
func recordEntries() []Entry {
	return []Entry{
		{
			CustomerUnknown, http.StatusNotFound, "There is no such customer", "No customer that this token sees has this id.", false, 0,
			"Do not repeat; a customer that was merged into another is found under its old id, too.",
		},
		{
			OrderUnknown, http.StatusNotFound, "There is no such order", "No order that this token sees has this number.", false, 0,
			"Do not repeat.",
		},
		{
			CaseUnknown, http.StatusNotFound, "There is no such case", "No case that this token sees has this id.", false, 0,
			"Do not repeat.",
		},
		{
			ProductUnknown, http.StatusNotFound, "There is no such product", "No product has this SKU.", false, 0,
			"Do not repeat.",
		},
		{
			OperationUnknown, http.StatusNotFound, "There is no such operation", "No operation of this caller has this id; one is kept for 90 days after its end.", false, 0,
			"Read the customer's orders.",
		},
		{
			CustomerDeleted, http.StatusConflict, "The customer is deleted", "Every system has deleted the customer.", false, 0,
			"Remove it from what is stored; a new one needs a new key.",
		},
		{
			OrderDelivered, http.StatusConflict, "The order is delivered", "A delivered order cannot be cancelled.", false, 0,
			"Read the order.",
		},
		{
			OrderClosed, http.StatusConflict, "The order is closed", "The order is closed and changes no more.", false, 0,
			"Read the order.",
		},
		{
			OperationExpired, http.StatusConflict, "It was given up", "What was to be done later could not be done in time; nothing was placed.", false, 0,
			"Decide anew; then use a new key.",
		},
	}
}

// stateEntries are refusals that depend on what is stored.
func stateEntries() []Entry {
	return []Entry{
		{fault.ReasonNotFound, http.StatusNotFound, "Not found", "There is no such thing.", false, 0, "Do not repeat."},
		{fault.ReasonAlreadyExists, http.StatusConflict, "It exists already", "It exists already.", false, 0, "Read it."},
		{
			fault.ReasonConflict, http.StatusConflict, "Another change was faster", "Another change was faster; nothing was changed.", true, 0,
			"Send the same request again with the same key.",
		},
		{
			fault.ReasonPreconditionFailed, http.StatusConflict, "The state does not allow this", "The present state does not allow this.", false, 0,
			"Read the resource and decide anew.",
		},
		{
			CustomerPending, http.StatusConflict, "The customer is not everywhere yet", "The system that keeps orders does not have the customer yet.", true, 2,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			CustomerBlocked, http.StatusConflict, "No orders for this customer", "The customer is blocked for orders.", false, 0,
			"Ask whoever blocked the customer; then use a new key.",
		},
		{
			fault.ReasonOutcomeUncertain, http.StatusConflict, "The outcome is not known yet", "Whether the change happened is not known yet; it is being found out.", true, 5,
			"Send the same request later with the same key; never with a new one.",
		},
		{
			IdempotencyInProgress, http.StatusConflict, "The first request is still running", "A request with this key is still being worked on.", true, 1,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			IdempotencyResultGone, http.StatusGone, "The answer is no longer kept", "The change was made, but its answer is no longer kept.", false, 0,
			"Read the resource; the change must not be sent again.",
		},
		{
			SyncTokenExpired, http.StatusGone, "The sync token is too old", "What changed since the sync token is no longer known.", false, 0,
			"Begin again without a token and replace everything that is stored; the link `restart` says where.",
		},
		{
			PreconditionRequired, http.StatusPreconditionRequired, "If-Match is needed", "A change must say which state it is based on.", false, 0,
			"Read the resource and send its ETag as If-Match.",
		},
		{
			PredecessorFailed, http.StatusFailedDependency, "An earlier change has to come first", "An earlier change of the same record did not come through; this one was not tried.", true, 0,
			"Send both again, in order, with the same keys.",
		},
		{
			UpgradeRequired, http.StatusUpgradeRequired, "The app is too old", "This version of the app is no longer served.", false, 0,
			"Ask for an update of the app; /v1/meta and the link `latest-version` say which.",
		},
		{
			fault.ReasonETagMismatch, http.StatusPreconditionFailed, "Somebody else was faster", "The customer has changed since it was read.", false, 0,
			"Read it again, repeat the change on what it is now, with a new key.",
		},
		{
			IdempotencyKeyExpired, http.StatusPreconditionFailed, "The key is too old", "The key is older than keys are remembered.", false, 0,
			"Look up whether the change was made; if not, use a new key.",
		},
		{
			IdempotencyKeyReused, http.StatusUnprocessableEntity, "The key belongs to another request", "This key was sent before with another request.", false, 0,
			"Use a new key for a new change.",
		},
		{
			FieldMastered, http.StatusUnprocessableEntity, "Another system decides this field", "Another system decides the value of this field.", false, 0,
			"Change the field in that system.",
		},
		{
			IdempotencyQuota, http.StatusTooManyRequests, "Too many keys", "This caller has used too many keys for now.", true, 5,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			fault.ReasonExhausted, http.StatusTooManyRequests, "Too many requests", "A limit is used up for now.", true, 5,
			"Wait for `Retry-After`.",
		},
	}
}

// serverEntries are failures of ours. Their detail is the only text a client gets to see.
func serverEntries() []Entry {
	return []Entry{
		{fault.ReasonCanceled, statusClientClosed, "The client went away", "The request was cancelled.", true, 0, "None: nobody reads this answer."},
		{
			fault.ReasonInternal, http.StatusInternalServerError, "Something went wrong here", "Something went wrong here. The request id leads to the details.", false, 0,
			"Report `requestId`.",
		},
		{
			IdempotencyUnreadable, http.StatusInternalServerError, "The answer cannot be read", "The change was made, but its stored answer cannot be read.", false, 0,
			"Read the resource; report `requestId`.",
		},
		{fault.ReasonUnimplemented, http.StatusNotImplemented, "Not offered", "This is not offered.", false, 0, "Do not repeat."},
		{IdempotencyNotSupported, http.StatusNotImplemented, "No key is taken here", "This request takes no Idempotency-Key.", false, 0, "Drop the header."},
		{
			fault.ReasonUnavailable, http.StatusServiceUnavailable, "Not available now", "The service behind this route does not answer now.", true, 2,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			Overloaded, http.StatusServiceUnavailable, "Too much to do", "More is asked for than can be done now; this request was not begun.", true, 1,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			Maintenance, http.StatusServiceUnavailable, "Closed for maintenance", "Something below is being worked on; this request was not begun.", true, 30,
			"Wait for `Retry-After`.",
		},
		{fault.ReasonNotReady, http.StatusServiceUnavailable, "Not ready yet", "The service is starting.", true, 2, "Wait for `Retry-After`."},
		{fault.ReasonShuttingDown, http.StatusServiceUnavailable, "Shutting down", "This instance is shutting down.", true, 1, "Wait for `Retry-After`."},
		{
			fault.ReasonStoreUnavailable, http.StatusServiceUnavailable, "Not available now", "The store behind this route does not answer now.", true, 2,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			IdempotencyUnavailable, http.StatusServiceUnavailable, "Keys cannot be checked now", "The key could not be checked, and nothing was changed; or what was changed could not be noted.", true, 1,
			"Wait for `Retry-After`, then send the same request with the same key.",
		},
		{
			AuthUnavailable, http.StatusServiceUnavailable, "Tokens cannot be checked now", "The keys of the token's issuer cannot be read now.", true, 2,
			"Wait for `Retry-After`.",
		},
		{
			fault.ReasonTimeout, http.StatusGatewayTimeout, "It took too long", "The answer did not come in time. A change may have been made or not.", true, 0,
			"Send the same request again with the same key.",
		},
		{
			fault.ReasonDeadlineTooShort, http.StatusGatewayTimeout, "It took too long", "Too little time was left to begin.", true, 0,
			"Send the same request again with the same key.",
		},
	}
}
