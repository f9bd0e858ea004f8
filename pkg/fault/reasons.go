package fault

// Domain is the ErrorInfo domain of every reason in this suite.
const Domain = "selfsame.io"

// Reasons that several packages share. A service adds its own as constants beside the code that raises them.
const (
	ReasonInternal           = "INTERNAL"
	ReasonPanic              = "PANIC"
	ReasonValidationFailed   = "VALIDATION_FAILED"
	ReasonUnauthenticated    = "UNAUTHENTICATED"
	ReasonForbidden          = "FORBIDDEN"
	ReasonNotFound           = "NOT_FOUND"
	ReasonAlreadyExists      = "ALREADY_EXISTS"
	ReasonPreconditionFailed = "PRECONDITION_FAILED"
	ReasonETagMismatch       = "ETAG_MISMATCH"
	ReasonConflict           = "CONFLICT"
	ReasonExhausted          = "EXHAUSTED"
	ReasonUnavailable        = "UNAVAILABLE"
	ReasonNotReady           = "NOT_READY"
	ReasonShuttingDown       = "SHUTTING_DOWN"
	ReasonStoreUnavailable   = "STORE_UNAVAILABLE"
	ReasonTimeout            = "TIMEOUT"
	ReasonDeadlineTooShort   = "DEADLINE_TOO_SHORT"
	ReasonCanceled           = "CANCELED"
	ReasonOutcomeUncertain   = "OUTCOME_UNCERTAIN"
	ReasonUnimplemented      = "UNIMPLEMENTED"
	ReasonForeignAnswer      = "FOREIGN_ANSWER"
	ReasonPageTokenInvalid   = "PAGE_TOKEN_INVALID"
	ReasonResumeTokenInvalid = "RESUME_TOKEN_INVALID"
	ReasonResumeTokenExpired = "RESUME_TOKEN_EXPIRED"
)

// metaUncertain marks, in ErrorInfo metadata, an Uncertain error whose reason is not OUTCOME_UNCERTAIN.
const metaUncertain = "uncertain"
