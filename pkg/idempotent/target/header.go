package target

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

// meaning is what an answer says about the key.
type meaning uint8

const (
	final      meaning = iota // this is the result
	replayed                  // this is the result, and it was before
	rejected                  // the target refuses the request itself
	inFlight                  // another attempt is at work
	mismatched                // the key belongs to another request
	tooOld                    // the target no longer knows
	untouched                 // not executed and not remembered: try again
	unclear                   // it may have been executed
	frozen                    // an unclear answer that the target will repeat for ever
	ignored                   // executed, and the key was not looked at
)

// Dialect is how a target speaks about keys.
type Dialect struct {
	// Name is for messages.
	Name string
	// Window is how long the target remembers a key.
	Window time.Duration

	header func(key string, firstSent time.Time) http.Header
	mean   func(Response) meaning
}

// Header calls a target that takes an idempotency key in a header. It repeats what may be repeated: with the key, even an
// unknown outcome may be.
//
// It trusts the target to do as it documents. It cannot help when the target is wrong, and after the window nothing but a
// search tells whether the effect happened.
type Header struct {
	// Client sends; nil means http.DefaultClient.
	Client *http.Client
	// Dialect is the target's.
	Dialect Dialect
	// Retry says how often; PerAttempt should be set. The zero value tries three times.
	Retry retry.Policy
	// Margin is how long before the end of the window a key is no longer used, for clocks that differ and calls that
	// take long; zero means a tenth of the window.
	Margin time.Duration
	// Now is the clock for the window; nil means time.Now.
	Now func() time.Time
}

var _ Effect[Request, Response] = Header{}

// Do implements Effect. Errors: Precondition with KEY_REUSED or KEY_EXPIRED, Conflict (another attempt is at work still),
// Unavailable (nothing happened), Uncertain (ask again with the same key), or what the target refused the request for. A
// refusal speaks for its own try: after one whose answer was lost it is Uncertain, unless the target says that it repeats
// the kept answer.
func (h Header) Do(ctx context.Context, key string, req Request) (Response, error) {
	now := time.Now
	if h.Now != nil {
		now = h.Now
	}
	if req.FirstSent.IsZero() {
		req.FirstSent = now()
	}
	margin := h.Margin
	if margin <= 0 {
		margin = h.Dialect.Window / 10
	}
	extra := h.Dialect.header(key, req.FirstSent)
	var (
		out  Response
		sent bool // a try may have had its effect; no later refusal takes that back
	)
	err := retry.Do(ctx, h.Retry, func(ctx context.Context) error {
		if now().Sub(req.FirstSent) > h.Dialect.Window-margin {
			return expired(h.Dialect.Window)
		}
		resp, err := send(ctx, h.Client, req, extra)
		if err != nil {
			if fault.Is(err, fault.Uncertain) {
				sent = true
				return fault.Wrap(fault.Unavailable, "", err, "the answer of the target was lost") // the key makes it repeatable
			}
			return err
		}
		out = resp
		return h.judge(&out, &sent)
	})
	switch {
	case err == nil:
		return out, nil
	case sent && !fault.Is(err, fault.Uncertain):
		return Response{}, fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the target may have done it; ask again with the same key")
	default:
		return Response{}, err
	}
}

func (h Header) judge(r *Response, sent *bool) error {
	switch h.Dialect.mean(*r) {
	case final:
		return nil
	case replayed:
		r.Replayed = true
		return nil
	case inFlight:
		*sent = true
		return fault.New(fault.Conflict, ReasonInProgress, "an attempt with this key is at work at the target").WithRetryAfter(retryAfter(r.Header))
	case mismatched:
		return reused()
	case tooOld:
		return expired(h.Dialect.Window)
	case untouched:
		return fault.New(fault.Unavailable, "", "the target does not take the request now").WithRetryAfter(retryAfter(r.Header))
	case frozen:
		return fault.New(fault.Uncertain, fault.ReasonOutcomeUncertain, "the target failed and will answer so for ever: look the effect up")
	case ignored:
		return fault.New(fault.Internal, ReasonNotSupported, "the target did the request and did not look at the key: it must not be called so")
	case unclear:
		*sent = true
		return fault.New(fault.Unavailable, "", "the target failed").WithRetryAfter(retryAfter(r.Header))
	case rejected:
	}
	if r.Header.Get("Idempotent-Replayed") == "true" {
		*sent = false // it is what the target kept of the try whose answer was lost
	}
	return refused(*r)
}

func simple(name string) func(string, time.Time) http.Header {
	return func(key string, _ time.Time) http.Header { return http.Header{http.CanonicalHeaderKey(name): {key}} }
}

// byStatus is what all dialects share.
func byStatus(r Response) meaning {
	switch {
	case r.Status >= 200 && r.Status < 300:
		return final
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
		return untouched
	case r.Status >= 500, r.Status == http.StatusRequestTimeout:
		return unclear
	default:
		return rejected
	}
}

// Stripe is the dialect of Stripe: Idempotency-Key, remembered for at least 24 hours. 409 while in flight, 400 idempotency_error for another
// request. The first answer is kept once execution began, a 500 too; Stripe-Should-Retry overrides what a status says.
func Stripe() Dialect {
	return Dialect{Name: "Stripe", Window: 24 * time.Hour, header: simple("Idempotency-Key"), mean: func(r Response) meaning {
		var body struct {
			Error struct{ Type, Code string } `json:"error"`
		}
		_ = json.Unmarshal(r.Body, &body) // an answer without such a body is judged by its status
		switch {
		case body.Error.Code == "idempotency_key_in_use":
			return inFlight
		case body.Error.Type == "idempotency_error":
			return mismatched
		case r.Header.Get("Stripe-Should-Retry") == "true":
			return unclear
		case r.Status >= 500 && (r.Header.Get("Idempotent-Replayed") == "true" || r.Header.Get("Stripe-Should-Retry") == "false"):
			return frozen
		case body.Error.Code == "lock_timeout":
			return untouched
		case r.Status < 300 && r.Header.Get("Idempotent-Replayed") == "true":
			return replayed
		default:
			return byStatus(r)
		}
	}}
}

// Zuora is the dialect of Zuora: Idempotency-Key, less than 255 characters, POST and PATCH, removed after 24 hours. The answer is kept, success or
// failure; 409 while in flight, 422 for another tenant, URL or method. It does not compare bodies.
func Zuora() Dialect {
	return Dialect{Name: "Zuora", Window: 24 * time.Hour, header: simple("Idempotency-Key"), mean: func(r Response) meaning {
		switch r.Status {
		case http.StatusConflict:
			return inFlight
		case http.StatusUnprocessableEntity:
			return mismatched
		default:
			return byStatus(r)
		}
	}}
}

// NetSuite is the dialect of NetSuite: X-NetSuite-Idempotency-Key, a UUID, for asynchronous requests only: the answer is 202 with the place of the
// job. A repeated request is answered 400 with IDEMPOTENCY_ERROR and the place of the first job, which here is a success.
// It does not compare requests.
func NetSuite() Dialect {
	return Dialect{
		Name: "NetSuite", Window: 24 * time.Hour,
		header: func(key string, _ time.Time) http.Header {
			return http.Header{"X-Netsuite-Idempotency-Key": {UUID(key)}, "Prefer": {"respond-async"}}
		},
		mean: func(r Response) meaning {
			var body struct {
				Details []struct {
					Code string `json:"o:errorCode"`
				} `json:"o:errorDetails"`
			}
			_ = json.Unmarshal(r.Body, &body) // as above
			duplicate := len(body.Details) > 0 && body.Details[0].Code == "IDEMPOTENCY_ERROR"
			switch {
			case duplicate && r.Header.Get("Location") != "":
				return replayed
			case duplicate:
				return inFlight
			case r.Status == http.StatusOK || r.Status == http.StatusNoContent:
				return ignored // done synchronously: the key counts for asynchronous requests only
			default:
				return byStatus(r)
			}
		},
	}
}

// IETF is the dialect of draft-ietf-httpapi-idempotency-key-header: the key as a quoted string, 409 in flight, 422 for another request. The
// window is the target's to publish.
func IETF(window time.Duration) Dialect {
	return Dialect{
		Name: "Idempotency-Key", Window: window,
		header: func(key string, _ time.Time) http.Header { return http.Header{"Idempotency-Key": {`"` + key + `"`}} },
		mean: func(r Response) meaning {
			switch {
			case r.Status == http.StatusConflict:
				return inFlight
			case r.Status == http.StatusUnprocessableEntity:
				return mismatched
			case r.Status < 300 && r.Header.Get("Idempotent-Replayed") == "true":
				return replayed
			default:
				return byStatus(r)
			}
		},
	}
}

// Repeatable is the dialect of OASIS Repeatable Requests 1.0, as SAP and Microsoft speak it: Repeatability-Request-ID, a UUID, and
// Repeatability-First-Sent. Unlike the others the target refuses what is older than its window (412). An answer without
// Repeatability-Result comes from a server that did not look at the headers.
func Repeatable(window time.Duration) Dialect {
	return Dialect{
		Name: "Repeatable Requests", Window: window,
		header: func(key string, first time.Time) http.Header {
			return http.Header{
				"Repeatability-Request-Id": {UUID(key)}, "Repeatability-First-Sent": {first.UTC().Format(http.TimeFormat)},
			}
		},
		mean: func(r Response) meaning {
			result := r.Header.Get("Repeatability-Result")
			switch {
			case r.Status == http.StatusPreconditionFailed && result == "rejected":
				return tooOld
			case r.Status == http.StatusConflict && result == "rejected":
				return inFlight
			case r.Status == http.StatusBadRequest && result == "rejected":
				return mismatched
			case r.Status == http.StatusNotImplemented:
				return rejected
			case r.Status < 300 && result != "accepted":
				return ignored
			default:
				return byStatus(r)
			}
		},
	}
}
