package telemetry

// Keys of log and span attributes. Use these, so that one search finds a record in every service.
const (
	KeyService    = "service"
	KeySystem     = "system"
	KeyObject     = "object"
	KeyRecordID   = "record_id"
	KeyExternalID = "external_id"
	KeyCustomerID = "customer_id"
	KeyChangeID   = "change_id"
	KeyAttempt    = "attempt"
	KeyOutcome    = "outcome"
	KeyReason     = "reason"
	KeyKind       = "kind"
	KeyMethod     = "method"
	KeyError      = "error"
	KeyLoop       = "loop"
	KeyCaller     = "caller"
	KeyCount      = "count"
	KeyDuration   = "duration_ms"
	KeyVersion    = "version"
	KeyState      = "state"
	KeyTopic      = "topic"
	KeyJobID      = "job_id"
	KeyTraceID    = "trace_id"
	KeySpanID     = "span_id"
)
